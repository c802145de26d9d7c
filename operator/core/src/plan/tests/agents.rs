//! What agents and their servers do in the world.

use jiff::SignedDuration;
use mainstay_proto::{
    Action, Channel, Directory, Fence, Grant, GrantedRole, History, Marker, Order, Task, TaskState, pod,
};

use super::world::{NAME, NAMESPACE, Process, Volume, World, uuid};
use crate::GtidSet;

impl World {
    pub(super) fn start_pod(&mut self, ordinal: u32, hash: &str) {
        let uid = self.id("pod");
        let unbound = self.unbound.contains(&ordinal);
        let no_node = unbound.then(|| "Unschedulable: 0/2 nodes match anti-affinity".into());
        let trouble = no_node.or(self.bad.contains(hash).then(|| "ImagePullBackOff: bad:1".into()));
        let mut process = Process {
            uid,
            hash: hash.into(),
            role: None,
            writable: false,
            channel: None,
            task: None,
            trouble,
            heard: true,
            deleting: false,
            ending: false,
            at_start: self.came_with(ordinal),
            started_at: self.now + SignedDuration::from_millis(123),
            held: true,
            passed: false,
        };
        resume(&self.volumes[&ordinal], &mut process);
        process.held &= process.channel.is_some() || is_alone(&self.volumes[&ordinal]);
        self.pods.insert(ordinal, process);
    }

    /// As an agent would, without a crash in between.
    pub(super) fn obey(&mut self, ordinal: u32, order: &Order) {
        let fence = Fence { epoch: order.epoch, revision: order.revision };
        let donated = self.donated(&order.action);
        let cluster_id = order.cluster_id.clone();
        let server_uuid = uuid(self.directories);
        let volume = self.volumes.get_mut(&ordinal).unwrap();
        let Some(process) = self.pods.get_mut(&ordinal) else { return };
        assert_eq!(process.uid, order.pod_uid, "an order must name the pod that it was decided for");
        assert!(fence >= volume.highest, "an order from the past");
        volume.highest = fence;
        if passes(&order.action, self.spec.copy_tool_image().is_some(), process) {
            return;
        }
        let complete = |operation: &str| Directory::Complete {
            marker: Marker {
                cluster_id: cluster_id.clone(),
                ordinal,
                operation: operation.into(),
                server_uuid: server_uuid.clone(),
                grant: None,
            },
        };
        match &order.action {
            Action::Initialize { operation } => {
                assert!(!matches!(volume.directory, Some(Directory::Complete { .. })), "I6");
                self.initialized += 1;
                self.directories += 1;
                volume.directory = Some(complete(operation));
            }
            Action::Clone { operation, history, .. } | Action::Receive { operation, history, .. } => {
                assert!(!matches!(volume.directory, Some(Directory::Complete { .. })), "I6");
                self.cloned += 1;
                self.directories += 1;
                (volume.gtids, volume.history) = donated.expect("a donor of this cluster");
                assert_eq!(volume.history, *history, "it is told from which count its copy is");
                volume.purged = volume.gtids.clone();
                volume.directory = Some(complete(operation));
                volume.original = None;
                process.at_start = volume.gtids.clone();
            }
            Action::Lead { alone } => grant(volume, fence, GrantedRole::Primary { alone: *alone }),
            Action::Follow { source } => {
                grant(volume, fence, GrantedRole::Replica { source: source.clone() })
            }
            Action::StandDown => withdraw(volume),
        }
        process.held = false;
        take_up(&order.action, volume, process);
        let operation = operation_of(&order.action);
        let (kind, state) = (order.action.kind().into(), TaskState::Done);
        process.task = Some(Task { id: order.id.clone(), fence, kind, operation, state, progress: None });
        resume(volume, process);
    }

    /// What its directory held when the first pod mounted it that nobody has confirmed since.
    fn came_with(&mut self, ordinal: u32) -> GtidSet {
        let volume = self.volumes.get_mut(&ordinal).unwrap();
        if volume.unjudged.is_none() && matches!(volume.directory, Some(Directory::Complete { .. })) {
            volume.unjudged = Some(volume.gtids.clone());
        }
        volume.unjudged.clone().unwrap_or_else(|| volume.gtids.clone())
    }

    /// What a donor has to give.
    fn donated(&self, action: &Action) -> Option<(GtidSet, History)> {
        let (Action::Clone { donor, .. } | Action::Receive { donor, .. }) = action else { return None };
        let donor = &self.volumes[&self.ordinal_of(&donor.host)?];
        Some((donor.gtids.clone(), donor.history))
    }

    fn ordinal_of(&self, host: &str) -> Option<u32> {
        self.pods.keys().copied().find(|&i| pod::host(NAMESPACE, NAME, i) == host)
    }

    /// Its binary logs are purged, but for those that a connected receiver still needs (manual, "PURGE BINARY LOGS
    /// Statement").
    pub(super) fn purge(&mut self, ordinal: u32) {
        let host = pod::host(NAMESPACE, NAME, ordinal);
        let connected = |process: &Process| {
            process.channel.as_ref().is_some_and(|c| c.receiver_running && c.source_host == host)
        };
        let needed = self.pods.iter().filter(|(_, process)| connected(process));
        let needed: Vec<GtidSet> = needed.map(|(i, _)| self.volumes[i].gtids.clone()).collect();
        let Some(volume) = self.volumes.get_mut(&ordinal) else { return };
        let goes = needed.iter().fold(volume.gtids.clone(), |goes, has| goes.common(has));
        volume.purged = volume.purged.union(&goes);
    }

    /// A person runs `RESET BINARY LOGS AND GTIDS`, and the agent notices.
    pub(super) fn reset(&mut self, ordinal: u32) {
        let at = self.now.as_millisecond();
        let volume = self.volumes.get_mut(&ordinal).unwrap();
        (volume.gtids, volume.purged) = (GtidSet::default(), GtidSet::default());
        volume.history = volume.history.reset(ordinal, at);
        if self.pods[&ordinal].writable {
            (self.acknowledged, self.history) = (GtidSet::default(), volume.history);
        }
    }

    /// A client's commit on whoever is writable.
    pub(super) fn write(&mut self) {
        self.check();
        let Some((&primary, _)) = self.pods.iter().find(|(_, p)| p.writable) else { return };
        let volume = self.volumes.get_mut(&primary).unwrap();
        let Some(Directory::Complete { marker }) = &volume.directory else { panic!("it writes to nothing") };
        let uuid = &marker.server_uuid;
        let before = volume.gtids.count() - volume.gtids.foreign_to(uuid).count();
        let own: GtidSet = format!("{uuid}:1-{}", before + 1).parse().unwrap();
        volume.gtids = volume.gtids.union(&own);
        // One alone goes on by itself with what was changed behind everybody's back, until it is told to stop. What
        // it writes then makes good the numbers that it lost, but not the transactions.
        if volume.original.is_none() {
            self.acknowledged = self.acknowledged.union(&own);
        }
    }

    /// Replicas receive and apply what their source has, if it still has what they lack.
    pub(super) fn replicate(&mut self) {
        for (&i, process) in &mut self.pods {
            let (Some(channel), false) = (&mut process.channel, self.stalled.contains(&i)) else { continue };
            let source = (0..9).find(|&s| pod::host(NAMESPACE, NAME, s) == channel.source_host);
            let Some(source) = source.and_then(|s| self.volumes.get(&s)) else { continue };
            let (gtids, purged) = (source.gtids.clone(), source.purged.clone());
            let own = self.volumes.get_mut(&i).unwrap();
            if channel.receiver_error.is_some() || !channel.receiver_running {
                continue;
            }
            if own.gtids.contains(&purged) {
                own.gtids = own.gtids.union(&gtids);
            } else {
                channel.receiver_running = false;
                channel.receiver_error = Some("error 13114: purged".into());
            }
        }
    }
}

fn operation_of(action: &Action) -> Option<String> {
    match action {
        Action::Initialize { operation }
        | Action::Clone { operation, .. }
        | Action::Receive { operation, .. } => Some(operation.clone()),
        _ => None,
    }
}

/// Whether a container that only receives copies refuses the order, for the next one to carry it out.
fn passes(action: &Action, copy_tool: bool, process: &mut Process) -> bool {
    let receives = copy_tool && !process.passed;
    assert!(receives || !matches!(action, Action::Receive { .. }), "only one container has the tool");
    let passes = receives && matches!(action, Action::Initialize { .. } | Action::Clone { .. });
    process.passed |= passes;
    passes
}

fn withdraw(volume: &mut Volume) {
    if let Some(Directory::Complete { marker }) = &mut volume.directory {
        marker.grant = None;
    }
}

fn grant(volume: &mut Volume, fence: Fence, role: GrantedRole) {
    let Some(Directory::Complete { marker }) = &mut volume.directory else {
        panic!("I6: no role without data")
    };
    marker.grant = Some(Grant { fence, role });
}

fn is_alone(volume: &Volume) -> bool {
    let Some(Directory::Complete { marker }) = &volume.directory else { return false };
    marker.grant.as_ref().is_some_and(|grant| grant.role == GrantedRole::Primary { alone: true })
}

/// What an agent does by itself, from the grant on its volume: follow, or lead if it is alone.
pub(super) fn resume(volume: &Volume, process: &mut Process) {
    let Some(Directory::Complete { marker }) = &volume.directory else { return };
    match marker.grant.as_ref().map(|g| &g.role) {
        Some(GrantedRole::Replica { source }) => {
            process.writable = false;
            if process.channel.as_ref().is_some_and(|c| c.source_host == source.host && c.receiver_running) {
                return;
            }
            process.channel = Some(Channel {
                source_host: source.host.clone(),
                source_port: source.port,
                receiver_running: !process.held,
                applier_running: !process.held,
                lag_seconds: (!process.held).then_some(0),
                ..Channel::default()
            });
        }
        Some(GrantedRole::Primary { alone: true }) => process.writable = !process.held,
        Some(GrantedRole::Primary { alone: false }) | None => {}
    }
}

/// What an order changes in the server that runs.
fn take_up(action: &Action, volume: &mut Volume, process: &mut Process) {
    match action {
        Action::Lead { .. } => {
            volume.unjudged = None;
            process.channel = None;
            process.writable = true;
        }
        Action::Follow { .. } => volume.unjudged = None,
        Action::StandDown => {
            process.writable = false;
            process.channel.iter_mut().for_each(|channel| channel.receiver_running = false);
        }
        Action::Initialize { .. } | Action::Clone { .. } | Action::Receive { .. } => {}
    }
}

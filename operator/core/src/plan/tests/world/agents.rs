//! What agents and their servers do in the world: as the agent's own code decides, at once, and without a crash in between.

use jiff::SignedDuration;
use mainstay_agent_core::admission::{self, Decision, View};
use mainstay_agent_core::grant;
use mainstay_proto::{
    Action, Channel, Directory, Grant, GrantedRole, History, Marker, Order, Stage, Task, TaskState, pod,
};

use super::{NAME, NAMESPACE, Process, Volume, World, uuid};
use crate::GtidSet;

impl Volume {
    /// The role that was granted last.
    pub(super) fn granted(&self) -> Option<&Grant> {
        match &self.directory {
            Some(Directory::Complete { marker }) => marker.grant.as_ref(),
            _ => None,
        }
    }

    fn grant(&mut self, grant: Option<Grant>) {
        let Some(Directory::Complete { marker }) = &mut self.directory else {
            panic!("I6: no role without data")
        };
        marker.grant = grant;
    }
}

impl Process {
    /// What an agent does by itself once it does not wait for the operator any more.
    pub(super) fn resume(&mut self, granted: Option<&Grant>) {
        if let Some((_, action)) = grant::resumed(granted) {
            self.take_up(&action);
        }
    }

    /// What an order of a role changes in the server that runs.
    fn take_up(&mut self, action: &Action) {
        match action {
            Action::Lead { .. } => {
                self.channel = None;
                self.writable = true;
            }
            Action::Follow { source } => {
                self.writable = false;
                let receives =
                    |channel: &Channel| channel.source_host == source.host && channel.receiver_running;
                if !self.channel.as_ref().is_some_and(receives) {
                    self.channel = Some(Channel {
                        source_host: source.host.clone(),
                        source_port: source.port,
                        receiver_running: true,
                        applier_running: true,
                        lag_seconds: Some(0),
                        ..Channel::default()
                    });
                }
            }
            Action::StandDown => {
                self.writable = false;
                self.channel.iter_mut().for_each(|channel| channel.receiver_running = false);
            }
            Action::Initialize { .. } | Action::Clone { .. } | Action::Receive { .. } => {}
        }
    }
}

/// What a server has of a replica's channel when it comes up: its threads are not started.
fn configured(granted: Option<&Grant>) -> Option<Channel> {
    let GrantedRole::Replica { source } = &granted?.role else { return None };
    Some(Channel { source_host: source.host.clone(), source_port: source.port, ..Channel::default() })
}

impl World {
    pub(crate) fn start_pod(&mut self, ordinal: u32, hash: &str) {
        let (uid, place) = (self.id("pod"), self.place(ordinal));
        self.begin(ordinal, uid, hash.into(), place, true);
    }

    /// The pod with this UID begins to run on a machine, if one takes it; on a volume that another had, if it was `moved`.
    pub(super) fn begin(
        &mut self,
        ordinal: u32,
        uid: String,
        hash: String,
        node: Option<String>,
        moved: bool,
    ) {
        if self.local && !self.unbound.contains(&ordinal) {
            let volume = self.volumes.get_mut(&ordinal).unwrap();
            volume.host = volume.host.take().or(node.clone());
        }
        let no_node = node.is_none().then(|| "Unschedulable: 0/2 nodes are available".into());
        let no_image = || self.bad.contains(&hash).then(|| "ImagePullBackOff: bad:1".into());
        let no_volume = || self.volumes[&ordinal].lost.then(|| "FailedMount: there is no such volume".into());
        let trouble: Option<String> = no_node.or_else(no_image).or_else(no_volume);
        let runs = node.is_some() && !self.volumes[&ordinal].lost;
        let at_start = if runs { self.came_with(ordinal, moved) } else { GtidSet::default() };
        let granted = self.volumes[&ordinal].granted();
        let mut process = Process {
            uid,
            cluster_id: self.named.clone().unwrap_or_default(),
            hash,
            role: None,
            writable: false,
            channel: configured(granted).filter(|_| runs),
            task: None,
            runs,
            trouble,
            heard: true,
            deleting: false,
            ending: false,
            at_start,
            started_at: self.now + SignedDuration::from_millis(123),
            held: grant::waits(granted, moved),
            passed: false,
            node,
            broken: None,
            evicted: false,
        };
        if process.runs && !process.held {
            process.resume(granted);
        }
        self.pods.insert(ordinal, process);
    }

    /// No plan gives an order that its agent refuses: all of the world is seen at one moment.
    pub(crate) fn obey(&mut self, ordinal: u32, order: &Order) {
        let Some(process) = self.pods.get(&ordinal) else { return };
        let report = self.report(ordinal, process);
        let view = View {
            identity: &report.identity,
            stage: report.stage,
            highest: report.highest,
            directory: &report.directory,
            received: false,
            server: &report.server,
            running: None,
            writable: process.writable,
            ending: false,
        };
        let admission = admission::admit(order, &view);
        let (Some(volume), Some(process)) = (self.volumes.get_mut(&ordinal), self.pods.get_mut(&ordinal))
        else {
            return;
        };
        volume.highest = admission.seen.unwrap_or(volume.highest);
        if admission.renewed.is_some() {
            volume.grant(admission.renewed);
        }
        match admission.decision {
            Decision::Refuse(_, why) => panic!("{ordinal} refuses {order:?}: {why}"),
            Decision::Pass(_) => {
                process.passed = true;
                return;
            }
            Decision::Done if report.stage != Stage::Serve => return,
            Decision::Continue | Decision::Done => {}
            Decision::Begin if self.cut_off_in_the_middle(ordinal, order) => return,
            Decision::Begin => self.carry_out_order(ordinal, order),
        }
        self.is_done(ordinal, order);
    }

    /// The operator has spoken, and is told that it was carried out.
    fn is_done(&mut self, ordinal: u32, order: &Order) {
        let (Some(volume), Some(process)) = (self.volumes.get_mut(&ordinal), self.pods.get_mut(&ordinal))
        else {
            return;
        };
        if admission::is_judgement(&order.action) {
            volume.unjudged = None;
        }
        process.held = false;
        process.task = Some(Task {
            id: order.id.clone(),
            term: admission::term(order),
            kind: order.action.kind().into(),
            operation: order.action.operation().map(String::from),
            state: TaskState::Done,
            progress: None,
        });
    }

    /// Its pod dies while it makes its directory.
    fn cut_off_in_the_middle(&mut self, ordinal: u32, order: &Order) -> bool {
        let Some(operation) = order.action.operation().filter(|_| self.interrupted.remove(&ordinal)) else {
            return false;
        };
        self.volumes.get_mut(&ordinal).unwrap().directory = Some(Directory::Partial {
            operation: operation.into(),
            cluster_id: order.cluster_id.clone(),
            copied: !matches!(order.action, Action::Initialize { .. }),
        });
        self.pods.remove(&ordinal);
        true
    }

    fn carry_out_order(&mut self, ordinal: u32, order: &Order) {
        let action = &order.action;
        match action {
            Action::Initialize { operation } => {
                self.assert_nothing_is_there();
                self.initialized += 1;
                self.complete(ordinal, order, operation);
            }
            Action::Clone { operation, history, .. } | Action::Receive { operation, history, .. } => {
                let (gtids, from) = self.donated(action).expect("a donor of this cluster");
                assert_eq!(from, *history, "it is told from which count its copy is");
                self.cloned += 1;
                self.complete(ordinal, order, operation);
                let volume = self.volumes.get_mut(&ordinal).unwrap();
                (volume.purged, volume.gtids, volume.history) = (gtids.clone(), gtids.clone(), from);
                volume.original = None;
                self.pods.get_mut(&ordinal).unwrap().at_start = gtids;
            }
            Action::Lead { .. } | Action::Follow { .. } | Action::StandDown => {
                let granted = grant::of(action, admission::term(order));
                self.volumes.get_mut(&ordinal).unwrap().grant(granted);
                self.pods.get_mut(&ordinal).unwrap().take_up(action);
            }
        }
    }

    /// Its data directory is made, with a server UUID of its own.
    fn complete(&mut self, ordinal: u32, order: &Order, operation: &str) {
        let marker = Marker {
            cluster_id: order.cluster_id.clone(),
            ordinal,
            operation: operation.into(),
            server_uuid: uuid(self.directories),
            grant: None,
        };
        self.directories += 1;
        let volume = self.volumes.get_mut(&ordinal).unwrap();
        assert!(!matches!(volume.directory, Some(Directory::Complete { .. })), "I6");
        volume.directory = Some(Directory::Complete { marker });
    }

    /// What its directory held when the first pod mounted it that nobody has confirmed since.
    fn came_with(&mut self, ordinal: u32, moved: bool) -> GtidSet {
        let volume = self.volumes.get_mut(&ordinal).unwrap();
        if matches!(volume.directory, Some(Directory::Complete { .. })) {
            volume.unjudged = grant::unjudged(volume.unjudged.take(), volume.gtids.clone(), moved);
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

    /// Replicas receive and apply what their source has, if it still has what they lack.
    pub(crate) fn replicate(&mut self) {
        let off: Vec<u32> = self.pods.iter().filter(|(_, process)| !process.runs).map(|(&i, _)| i).collect();
        for (&i, process) in &mut self.pods {
            let (Some(channel), false) = (&mut process.channel, self.stalled.contains(&i)) else { continue };
            let source = (0..9).find(|&s| pod::host(NAMESPACE, NAME, s) == channel.source_host);
            let source = source.filter(|source| !off.contains(source));
            let Some(source) = source.and_then(|s| self.volumes.get(&s)) else { continue };
            let (gtids, purged) = (source.gtids.clone(), source.purged.clone());
            let own = self.volumes.get_mut(&i).unwrap();
            if own.full || channel.receiver_error.is_some() || !channel.receiver_running {
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

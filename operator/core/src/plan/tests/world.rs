//! A world of instances that carries out what the plan says, as agents and the StatefulSet would.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use mainstay_crd::names::{ANNOTATION_SWITCHOVER_TO, SWITCHOVER_TO_ANY};
use mainstay_crd::{KeepOrDelete, MySQLClusterSpec, MySQLClusterStatus, Retention, RetentionPolicy};
use mainstay_proto::{
    Action, Channel, Directory, Fence, Grant, GrantedRole, Identity, Marker, Order, Report, Server,
    ServerState, Stage, Task, TaskState, pod,
};
use serde_json::json;

use crate::{Agent, Claim, ClusterObject, GtidSet, Instance, Observation, Plan, Pod, Step, plan};

pub(super) const NAME: &str = "shop";
pub(super) const NAMESPACE: &str = "db";

/// What is on one claim.
#[derive(Clone, Debug, Default)]
pub(super) struct Volume {
    pub(super) claim_uid: String,
    pub(super) cluster_id: Option<String>,
    pub(super) directory: Option<Directory>,
    pub(super) gtids: GtidSet,
    pub(super) purged: GtidSet,
    /// Transactions that this instance was the first to commit.
    pub(super) committed: u64,
    pub(super) highest: Fence,
    pub(super) annotations: BTreeMap<String, String>,
    /// The volume's name, its reclaim policy, and what it was told that it holds.
    pub(super) pv: String,
    pub(super) labels: BTreeMap<String, String>,
    /// What was here before somebody changed it behind the operator's back.
    pub(super) original: Option<Box<Volume>>,
    pub(super) kept: bool,
    pub(super) told: Option<String>,
    /// The claim that it is reserved for, once its own is gone.
    pub(super) reserved: Option<String>,
    /// The claim is being deleted, but a pod still uses it.
    pub(super) deleting: bool,
    /// Rises with every change of the claim.
    pub(super) version: u64,
}

/// One pod: lost with all that is in it.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) uid: String,
    pub(super) hash: String,
    pub(super) role: Option<String>,
    pub(super) writable: bool,
    pub(super) channel: Option<Channel>,
    pub(super) task: Option<Task>,
    pub(super) trouble: Option<String>,
    pub(super) heard: bool,
    /// What the directory held when it started.
    pub(super) at_start: GtidSet,
    pub(super) started_at: Timestamp,
    /// Its replication waits for an order.
    pub(super) held: bool,
    /// The container that receives copies has made way for the next.
    pub(super) passed: bool,
}

pub(super) struct World {
    pub(super) spec: MySQLClusterSpec,
    pub(super) status: MySQLClusterStatus,
    pub(super) volumes: BTreeMap<u32, Volume>,
    pub(super) pods: BTreeMap<u32, Process>,
    pub(super) replicas: u32,
    pub(super) secrets: Option<String>,
    pub(super) now: Timestamp,
    pub(super) annotations: BTreeMap<String, String>,
    /// Nodes, by ordinal, that are being drained.
    pub(super) drained: BTreeSet<u32>,
    /// Replicas that receive nothing at the moment, and say nothing of it.
    pub(super) stalled: BTreeSet<u32>,
    /// The object is being deleted, and what keeps it.
    pub(super) deleting: bool,
    pub(super) finalizers: Vec<String>,
    /// The operator may not read volumes and nodes.
    pub(super) blind: bool,
    /// Volumes whose claim is gone.
    pub(super) released: Vec<Volume>,
    /// Volumes that were set aside, by claim.
    pub(super) aside: BTreeMap<String, Volume>,
    /// What is in VolumeSnapshots.
    pub(super) snapshots: BTreeMap<String, GtidSet>,
    /// The volumes' reclaim policy, where it is known.
    pub(super) reclaim: Option<String>,
    /// Directories that were cloned.
    pub(super) cloned: u32,
    /// Claims that were deleted.
    pub(super) deleted: u32,
    /// All that clients were told to be committed.
    pub(super) acknowledged: GtidSet,
    /// Directories that were initialised, ever: I4 says one.
    pub(super) initialized: u32,
    ids: u64,
}

pub(super) fn spec(replicas: i32) -> MySQLClusterSpec {
    serde_json::from_value(json!({
        "replicas": replicas, "image": "mysql:9.7", "storage": { "size": "1Gi" }
    }))
    .unwrap()
}

impl World {
    pub(super) fn new(replicas: i32) -> Self {
        World {
            spec: spec(replicas),
            status: MySQLClusterStatus::default(),
            volumes: BTreeMap::new(),
            pods: BTreeMap::new(),
            replicas: 0,
            secrets: None,
            now: Timestamp::UNIX_EPOCH,
            annotations: BTreeMap::new(),
            drained: BTreeSet::new(),
            stalled: BTreeSet::new(),
            deleting: false,
            finalizers: Vec::new(),
            blind: false,
            released: Vec::new(),
            aside: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            reclaim: None,
            cloned: 0,
            deleted: 0,
            acknowledged: GtidSet::default(),
            initialized: 0,
            ids: 0,
        }
    }

    pub(super) fn id(&mut self, what: &str) -> String {
        self.ids += 1;
        format!("{what}-{}", self.ids)
    }

    /// The object is deleted and made anew; claims and Secrets stay.
    pub(super) fn recreate(&mut self) {
        self.status = MySQLClusterStatus::default();
        self.pods.clear();
        self.replicas = 0;
    }

    pub(super) fn observe(&mut self) -> Observation {
        let fresh_id = self.id("fresh");
        let known = self.volumes.keys().chain(self.pods.keys()).copied();
        let ordinals: BTreeSet<u32> = known.chain(0..u32::try_from(self.spec.replicas).unwrap()).collect();
        let instances = ordinals.into_iter().map(|i| (i, self.instance(i))).collect();
        Observation {
            now: self.now,
            cluster: ClusterObject {
                namespace: NAMESPACE.into(),
                name: NAME.into(),
                uid: "uid".into(),
                generation: 1,
                deleting: self.deleting,
                annotations: self.annotations.clone(),
                finalizers: self.finalizers.clone(),
                spec: self.spec.clone(),
                status: self.status.clone(),
            },
            fresh_id,
            secrets_cluster_id: self.secrets.clone(),
            instances,
            stateful_set: self.replicas > 0,
            aside: self.aside.keys().map(|name| (name.clone(), Claim::default())).collect(),
            surroundings: self.surroundings(),
        }
    }

    fn instance(&self, ordinal: u32) -> Instance {
        let claim = self.volumes.get(&ordinal).map(|volume| Claim {
            name: format!("data-{NAME}-{ordinal}"),
            uid: volume.claim_uid.clone(),
            cluster_id: volume.cluster_id.clone(),
            phase: Some("Bound".into()),
            volume: Some(volume.pv.clone()),
            deleting: volume.deleting,
            resource_version: Some(volume.version.to_string()),
            annotations: volume.annotations.clone(),
            ..Claim::default()
        });
        let Some(process) = self.pods.get(&ordinal) else {
            return Instance { claim, ..Instance::default() };
        };
        let runs = process.trouble.is_none();
        let serving = runs && (process.writable || process.channel.is_some());
        let pod = Pod {
            uid: process.uid.clone(),
            node: Some(node(ordinal)),
            role: process.role.clone(),
            ready: serving,
            started: true,
            template_hash: Some(process.hash.clone()),
            trouble: process.trouble.clone(),
            ..Pod::default()
        };
        let agent = if process.heard && process.trouble.is_none() {
            Agent::Live { report: Box::new(self.report(ordinal, process)) }
        } else {
            Agent::Unheard
        };
        Instance { pod: Some(pod), claim, agent }
    }

    fn report(&self, ordinal: u32, process: &Process) -> Report {
        let volume = &self.volumes[&ordinal];
        let directory = volume.directory.clone().unwrap_or(Directory::Empty);
        let complete = matches!(directory, Directory::Complete { .. });
        let server = if let Directory::Complete { marker } = &directory {
            Server::Running {
                state: Box::new(ServerState {
                    version: "9.7.4".into(),
                    server_uuid: marker.server_uuid.clone(),
                    gtid_at_start: Some(process.at_start.to_string()),
                    started_at: Some(process.started_at),
                    held: process.held,
                    super_read_only: !process.writable,
                    gtid_executed: volume.gtids.to_string(),
                    gtid_purged: volume.purged.to_string(),
                    channel: process.channel.clone(),
                    ..ServerState::default()
                }),
            }
        } else {
            Server::Stopped { last_exit: None }
        };
        Report {
            proto: 1,
            agent_version: "0".into(),
            identity: Identity { ordinal, pod_uid: process.uid.clone(), ..Identity::default() },
            stage: match (complete, process.passed) {
                (true, _) => Stage::Serve,
                (false, false) if self.spec.copy_tool_image().is_some() => Stage::Receive,
                (false, _) => Stage::Prepare,
            },
            at: self.now,
            highest: volume.highest,
            directory,
            task: process.task.clone(),
            space: None,
            server,
        }
    }

    /// Plans once and carries out what comes of it.
    pub(super) fn turn(&mut self) -> Plan {
        let observation = self.observe();
        let plan = plan(&observation);
        self.apply(&observation, &plan);
        if let Some(step) = plan.step.clone() {
            self.carry_out(step);
        }
        // As the operator does: after a record was written, it first looks again; and as the API does, without the
        // finer parts of times.
        if !matches!(plan.step, Some(Step::Record { .. })) {
            let written = serde_json::to_value(&plan.instances).unwrap();
            self.status.instances = serde_json::from_value(written).unwrap();
        }
        self.replicate();
        self.now += SignedDuration::from_secs(1);
        self.check();
        plan
    }

    /// What must hold at any time.
    fn check(&self) {
        let writable: Vec<u32> = self.pods.iter().filter(|(_, p)| p.writable).map(|(&i, _)| i).collect();
        assert!(writable.len() <= 1, "I2: two are writable: {writable:?}");
        let Some(primary) = self.recorded_primary() else { return };
        if let Some(volume) =
            self.volumes.get(&primary).filter(|v| v.directory.is_some() && v.original.is_none())
        {
            assert!(volume.gtids.contains(&self.acknowledged), "I3: {primary} lacks acknowledged writes");
        }
    }

    /// Sets `spec.storage.retention.whenScaled`.
    pub(super) fn retain(&mut self, policy: RetentionPolicy) {
        let after = (policy == RetentionPolicy::DeleteAfter).then(|| "2m".to_owned());
        let when_scaled = Some(KeepOrDelete { policy, after });
        self.spec.storage.retention = Some(Retention { when_scaled, when_deleted: None });
    }

    /// A person asks that this ordinal lead, or any other than now.
    pub(super) fn ask(&mut self, to: Option<u32>) {
        let to = to.map_or(SWITCHOVER_TO_ANY.into(), |i| format!("{NAME}-{i}"));
        self.annotations.insert(ANNOTATION_SWITCHOVER_TO.into(), to);
    }

    pub(super) fn recorded_primary(&self) -> Option<u32> {
        self.status.replication.as_ref()?.primary.map(i32::unsigned_abs)
    }

    /// Turns until nothing is left to do.
    pub(super) fn settle(&mut self) -> Plan {
        for _ in 0..400 {
            let before = self.pods.len();
            let plan = self.turn();
            let applied = plan.cluster_id.is_none() || plan.stateful_set_replicas == self.replicas;
            if plan.step.is_none() && before == self.pods.len() && applied {
                // What replicas received in this turn may show in the next.
                let next = self.turn();
                match plan.look_again {
                    Some(wait) => self.now += wait,
                    None if next.step.is_none() => return next,
                    None => {}
                }
            }
        }
        panic!("it never settles: {:?}", self.turn());
    }

    fn apply(&mut self, observation: &Observation, plan: &Plan) {
        let ends = observation.cluster.deleting && !crate::protected(observation);
        if plan.cluster_id.is_none() || self.spec.paused || ends {
            return;
        }
        self.secrets = plan.cluster_id.clone();
        self.replicas = plan.stateful_set_replicas;
        let hash = super::super::template_hash(&super::super::View::of(observation));
        self.pods.retain(|&i, _| i < plan.stateful_set_replicas);
        self.release();
        for i in 0..plan.stateful_set_replicas {
            if !self.volumes.contains_key(&i) {
                let (claim_uid, pv) = (self.id("claim"), self.id("pv"));
                self.volumes.insert(i, Volume { claim_uid, pv, ..Volume::default() });
            }
            if !self.pods.contains_key(&i) {
                self.start_pod(i, &hash);
            }
        }
        for (i, role) in &plan.roles {
            if let Some(process) = self.pods.get_mut(i) {
                let tampered = self.volumes[i].original.is_some();
                assert!(role.is_none() || !tampered || process.role.as_deref() == *role, "I9: {i} serves");
                process.role = role.map(String::from);
            }
        }
    }

    fn start_pod(&mut self, ordinal: u32, hash: &str) {
        let uid = self.id("pod");
        let trouble = (self.spec.image == "bad:1").then(|| "ImagePullBackOff: bad:1".into());
        let mut process = Process {
            uid,
            hash: hash.into(),
            role: None,
            writable: false,
            channel: None,
            task: None,
            trouble,
            heard: true,
            at_start: self.volumes[&ordinal].gtids.clone(),
            started_at: self.now + SignedDuration::from_millis(123),
            held: true,
            passed: false,
        };
        resume(&self.volumes[&ordinal], &mut process);
        process.held &= process.channel.is_some();
        self.pods.insert(ordinal, process);
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Record { cluster_id, record, .. } => {
                self.status.cluster_id = Some(cluster_id);
                self.status.replication = Some(record);
            }
            Step::Order { ordinal, order, .. } => self.obey(ordinal, &order),
            Step::LabelClaim { uid, ordinal, cluster_id, .. } => {
                let volume = self.volumes.get_mut(&ordinal).unwrap();
                assert_eq!(volume.claim_uid, uid);
                volume.cluster_id = Some(cluster_id);
                volume.version += 1;
            }
            Step::ReplacePod { pod, uid, .. } => {
                let ordinal: u32 = pod.rsplit('-').next().unwrap().parse().unwrap();
                if self.pods.get(&ordinal).is_some_and(|pod| pod.uid == uid) {
                    self.pods.remove(&ordinal);
                }
            }
            Step::Storage { step, .. } => self.do_storage(step),
            other => self.carry_out_on_claims(other),
        }
    }

    /// As an agent would, without a crash in between.
    fn obey(&mut self, ordinal: u32, order: &Order) {
        let fence = Fence { epoch: order.epoch, revision: order.revision };
        let donated = self.donated(&order.action);
        let cluster_id = order.cluster_id.clone();
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
                server_uuid: uuid(ordinal),
                grant: None,
            },
        };
        match &order.action {
            Action::Initialize { operation } => {
                assert!(!matches!(volume.directory, Some(Directory::Complete { .. })), "I6");
                self.initialized += 1;
                volume.directory = Some(complete(operation));
            }
            Action::Clone { operation, .. } | Action::Receive { operation, .. } => {
                assert!(!matches!(volume.directory, Some(Directory::Complete { .. })), "I6");
                self.cloned += 1;
                volume.gtids = donated.expect("a donor of this cluster");
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
        match &order.action {
            Action::Lead { .. } => {
                process.channel = None;
                process.writable = true;
            }
            Action::StandDown => {
                process.writable = false;
                process.channel.iter_mut().for_each(|channel| channel.receiver_running = false);
            }
            _ => {}
        }
        let operation = operation_of(&order.action);
        let (kind, state) = (order.action.kind().into(), TaskState::Done);
        process.task = Some(Task { fence, kind, operation, state, progress: None });
        resume(volume, process);
    }

    /// What a donor has to give.
    fn donated(&self, action: &Action) -> Option<GtidSet> {
        let (Action::Clone { donor, .. } | Action::Receive { donor, .. }) = action else { return None };
        self.ordinal_of(&donor.host).map(|donor| self.volumes[&donor].gtids.clone())
    }

    fn ordinal_of(&self, host: &str) -> Option<u32> {
        self.pods.keys().copied().find(|&i| pod::host(NAMESPACE, NAME, i) == host)
    }

    /// A client's commit on whoever is writable.
    pub(super) fn write(&mut self) {
        self.check();
        let Some((&primary, _)) = self.pods.iter().find(|(_, p)| p.writable) else { return };
        let volume = self.volumes.get_mut(&primary).unwrap();
        if volume.original.is_some() {
            // It goes on by itself with what was changed behind everybody's back, until it is told to stop. What it
            // writes then could make good the numbers that it lost: no GTID set tells that.
            return;
        }
        volume.committed += 1;
        let own: GtidSet = format!("{}:1-{}", uuid(primary), volume.committed).parse().unwrap();
        volume.gtids = volume.gtids.union(&own);
        self.acknowledged = self.acknowledged.union(&own);
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

pub(super) fn uuid(ordinal: u32) -> String {
    format!("3e11fa47-71ca-11e1-9e33-c80aa942956{ordinal}")
}

pub(super) fn node(ordinal: u32) -> String {
    format!("node-{ordinal}")
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
        Some(GrantedRole::Primary { alone: true }) => process.writable = true,
        Some(GrantedRole::Primary { alone: false }) | None => {}
    }
}

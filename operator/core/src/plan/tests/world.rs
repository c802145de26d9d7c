//! A world of instances that carries out what the plan says, as agents and the StatefulSet would. What its agents do with an
//! order, and what they resume by themselves, the agent's own code decides.

mod agents;
mod events;
mod invariants;
mod kube;
mod nodes;
mod reports;
mod storage;
mod tampering;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use mainstay_crd::{MySQLClusterSpec, MySQLClusterStatus};
use mainstay_proto::{Channel, Directory, History, Report, Task, Term};
use serde_json::json;

use nodes::Machine;
pub(super) use tampering::Tampering;

use super::{design, played};
use crate::children::FixedFields;
use crate::{ClusterObject, GtidSet, Observation, Plan, Step, Upkeep, plan};

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
    /// From which count these are.
    pub(super) history: History,
    /// What it came up with in a pod by which nobody has confirmed it yet.
    pub(super) unjudged: Option<GtidSet>,
    pub(super) highest: Term,
    pub(super) annotations: BTreeMap<String, String>,
    /// The volume's name, its labels and annotations, and its reclaim policy.
    pub(super) pv: String,
    pub(super) labels: BTreeMap<String, String>,
    /// What was here before somebody changed it behind the operator's back.
    pub(super) original: Option<Box<Volume>>,
    pub(super) kept: bool,
    pub(super) marks: BTreeMap<String, String>,
    /// The claim that it is reserved for, once its own is gone.
    pub(super) reserved: Option<String>,
    /// The claim that it was bound to, once that is gone.
    pub(super) was: Option<String>,
    /// The claim is being deleted, but a pod still uses it.
    pub(super) deleting: bool,
    /// Rises with every change of the claim.
    pub(super) version: u64,
    /// Bytes that its claim asks for, and that it has.
    pub(super) requested: u64,
    pub(super) capacity: u64,
    /// Nothing more can be written to it.
    pub(super) full: bool,
    /// The only machine that can mount it.
    pub(super) host: Option<String>,
    /// The PersistentVolume is gone, with all that was on it.
    pub(super) lost: bool,
}

/// One pod: lost with all that is in it.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) uid: String,
    /// The cluster's id, as its template says.
    pub(super) cluster_id: String,
    pub(super) hash: String,
    pub(super) role: Option<String>,
    pub(super) writable: bool,
    pub(super) channel: Option<Channel>,
    pub(super) task: Option<Task>,
    pub(super) trouble: Option<String>,
    pub(super) heard: bool,
    /// Its pod is being deleted.
    pub(super) deleting: bool,
    /// Its container was told to end.
    pub(super) ending: bool,
    /// What the directory held when it started.
    pub(super) at_start: GtidSet,
    pub(super) started_at: Timestamp,
    /// It waits for an order before it takes up its role.
    pub(super) held: bool,
    /// The container that receives copies has made way for the next.
    pub(super) passed: bool,
    /// The machine that it was scheduled to.
    pub(super) node: Option<String>,
    /// Its containers run.
    pub(super) runs: bool,
    /// What was heard of it last, and since when nothing more is.
    pub(super) broken: Option<(Box<Report>, Timestamp)>,
    /// It goes as soon as its kubelet is there.
    pub(super) evicted: bool,
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
    /// The cluster's id in the template that the StatefulSet holds.
    pub(super) named: Option<String>,
    /// The hash of the template that the StatefulSet holds, and whether the API server refuses another.
    pub(super) template: Option<String>,
    /// What of the StatefulSet can't be changed, and whether the API server has said so.
    pub(super) fixed: Option<FixedFields>,
    pub(super) unchangeable: bool,
    pub(super) refused: bool,
    /// No pod can be made of a template that is not proven.
    pub(super) no_room: bool,
    /// Hashes of templates of which no pod can start.
    pub(super) bad: BTreeSet<String>,
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
    /// From which count that is.
    pub(super) history: History,
    /// Directories that were initialised, ever: I4 says one.
    pub(super) initialized: u32,
    /// Directories that were made, ever: each has a server UUID of its own.
    pub(super) directories: u32,
    /// Why no pod can be made.
    pub(super) pods_refused: Option<String>,
    /// Instances that no node takes, so that their claims are not bound.
    pub(super) unbound: BTreeSet<u32>,
    /// Passwords that no instance can take up.
    pub(super) unfit: Vec<crate::UnfitPassword>,
    /// Machines of which there is something to tell.
    pub(super) machines: BTreeMap<String, Machine>,
    /// The class of the claims, which lets them grow; without one, sizes are not told.
    pub(super) class: Option<String>,
    /// New volumes are on the disk of the machine that their pod is on.
    pub(super) local: bool,
    /// Instances whose next copy or initialisation is cut off in the middle.
    pub(super) interrupted: BTreeSet<u32>,
    /// An object that is gone is made again by somebody, under the same name.
    pub(super) reborn: bool,
    /// How often each step was carried out.
    pub(super) played: BTreeMap<String, u32>,
    /// When the operator saw first what the record says.
    pub(super) seen: BTreeMap<String, Timestamp>,
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
            named: None,
            template: None,
            fixed: None,
            unchangeable: false,
            refused: false,
            no_room: false,
            bad: BTreeSet::new(),
            blind: false,
            released: Vec::new(),
            aside: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            reclaim: None,
            cloned: 0,
            deleted: 0,
            acknowledged: GtidSet::default(),
            history: History::default(),
            initialized: 0,
            directories: 0,
            pods_refused: None,
            unbound: BTreeSet::new(),
            unfit: Vec::new(),
            machines: BTreeMap::new(),
            class: None,
            local: false,
            interrupted: BTreeSet::new(),
            reborn: false,
            played: BTreeMap::new(),
            seen: BTreeMap::new(),
            ids: 0,
        }
    }

    pub(super) fn id(&mut self, what: &str) -> String {
        self.ids += 1;
        format!("{what}-{}", self.ids)
    }

    pub(super) fn observe(&mut self) -> Observation {
        let fresh_id = self.id("fresh");
        let known = self.volumes.keys().chain(self.pods.keys()).copied();
        let ordinals: BTreeSet<u32> = known.chain(0..u32::try_from(self.spec.replicas).unwrap()).collect();
        let instances = ordinals.into_iter().map(|i| (i, self.instance(i))).collect();
        Observation {
            now: self.now,
            seen_for: self.first_sights(),
            cluster: ClusterObject {
                namespace: NAMESPACE.into(),
                name: NAME.into(),
                uid: "uid".into(),
                generation: 1,
                created: None,
                deleting: self.deleting,
                annotations: self.annotations.clone(),
                finalizers: self.finalizers.clone(),
                spec: self.spec.clone(),
                status: self.status.clone(),
            },
            fresh_id,
            secrets_cluster_id: self.secrets.clone(),
            instances,
            stateful_set: self.stateful_set(),
            pods_refused: self.pods_refused.clone().filter(|_| self.pods.len() < self.replicas as usize),
            aside: self.aside_claims(),
            rivals: Vec::new(),
            unfit: self.unfit.clone(),
            surroundings: self.surroundings(),
        }
    }

    /// As an operator that has worked all along would measure them.
    fn first_sights(&mut self) -> BTreeMap<String, SignedDuration> {
        let moments = crate::moments::of(&self.status);
        self.seen.retain(|moment, _| moments.contains(moment));
        for moment in moments {
            self.seen.entry(moment).or_insert(self.now);
        }
        self.seen.iter().map(|(moment, at)| (moment.clone(), self.now.duration_since(*at))).collect()
    }

    /// Plans once and carries out what comes of it.
    pub(super) fn turn(&mut self) -> Plan {
        let observation = self.observe();
        let plan = plan(&observation);
        design::tells_of(&observation, &plan);
        self.apply(&observation, &plan);
        if let Some(step) = plan.step.clone() {
            *self.played.entry(played::name(&step)).or_default() += 1;
            self.carry_out(step);
        }
        self.schedule();
        self.grow();
        // As the operator does: after a record was written, it first looks again; and as the API does, without the
        // finer parts of times.
        if !matches!(plan.step, Some(Step::Record { .. })) {
            let written = serde_json::to_value(&plan.instances).unwrap();
            self.status.instances = serde_json::from_value(written).unwrap();
            if !self.refused {
                self.status.template = plan.template.clone();
            }
        }
        self.replicate();
        self.now += SignedDuration::from_secs(1);
        self.check();
        self.let_go();
        plan
    }

    pub(super) fn recorded_primary(&self) -> Option<u32> {
        self.status.replication.as_ref()?.primary.map(i32::unsigned_abs)
    }

    /// Turns until nothing is left to do.
    pub(super) fn settle(&mut self) -> Plan {
        let mut idle = 0;
        for _ in 0..400 {
            let before = self.pods.len();
            let plan = self.turn();
            let changes = plan.cluster_id.is_some() && plan.upkeep == Upkeep::Full;
            let applied = !changes || plan.stateful_set_replicas == self.replicas;
            if plan.step.is_some() || before != self.pods.len() || !applied {
                idle = 0;
                continue;
            }
            idle += 1;
            // What replicas received in this turn may show in the next.
            let next = self.turn();
            match plan.look_again {
                // What is looked at again and again without end, as a silent agent is, brings nothing new.
                Some(wait) if idle < 80 => self.now += wait,
                _ if next.step.is_none() => return next,
                _ => {}
            }
        }
        panic!("it never settles: {:?}", self.turn());
    }
}

/// The server UUID of the directory that was made as the `n`th, from 0.
pub(super) fn uuid(n: u32) -> String {
    format!("3e11fa47-71ca-11e1-9e33-{n:012}")
}

pub(super) fn node(ordinal: u32) -> String {
    format!("node-{ordinal}")
}

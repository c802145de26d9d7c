//! What may happen in a random walk, between any two turns of the operator.

use jiff::SignedDuration;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::ANNOTATION_GIVE_BACK;
use mainstay_crd::{KeepOrDelete, ReclaimPolicy, Retention, RetentionPolicy};
use proptest::prelude::*;
use serde_json::json;

use super::table::blocked;
use super::world::World;
use crate::Plan;

#[derive(Clone, Debug)]
pub(super) enum Event {
    Turn,
    /// So many turns in which nothing else happens.
    Turns(u8),
    Write,
    KillPod(u32),
    Silence(u32),
    Hear,
    Resize(i32),
    Recreate,
    LoseSecrets,
    /// A person asks for a switchover: to this ordinal, or to any.
    Ask(Option<u32>),
    Drain(u32),
    Undrain,
    Stall(u32),
    Release,
    Roll,
    /// The binary logs of this ordinal are purged.
    Purge(u32),
    Retain(RetentionPolicy),
    /// Seconds in which nothing happens.
    Pass(i64),
    /// Agents that waited for the operator go on by themselves.
    TimePasses,
    /// The next copy or initialisation of this ordinal is cut off in the middle.
    Interrupt(u32),
    Machine(u32, Fate),
    /// A volume is full.
    Fill(u32),
    /// A person asks for larger volumes.
    Enlarge,
    /// All volumes are to be kept, or not.
    Keep(bool),
    /// What becomes of the claims of an object that is deleted.
    WhenDeleted(RetentionPolicy),
    Protect(bool),
    /// The object is deleted, and made again once it is gone.
    Delete,
    /// A volume of a replica is gone, with its data.
    LoseVolume(u32),
    /// A person deletes a claim whose volume is gone, with its pod.
    GiveUpVolume(u32),
    /// A person wants a volume back that was kept, and makes room for it.
    GiveBack,
}

/// What becomes of a machine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    PowerOff,
    CutOff,
    /// A person says that it is off.
    Vouch,
    /// Something outside of Kubernetes says that it is off.
    Prove,
    /// Its Node object is deleted.
    Forget,
    Return,
}

/// What happens to pods, agents, replicas and the record.
pub(super) fn usual() -> impl Strategy<Value = Event> {
    prop_oneof![
        24 => Just(Event::Turn),
        3 => Just(Event::Write),
        2 => (0..5u32).prop_map(Event::KillPod),
        1 => (0..5u32).prop_map(Event::Silence),
        2 => Just(Event::Hear),
        1 => (1..6i32).prop_map(Event::Resize),
        1 => Just(Event::Recreate),
        1 => Just(Event::LoseSecrets),
        1 => proptest::option::of(0..5u32).prop_map(Event::Ask),
        1 => (0..5u32).prop_map(Event::Drain),
        1 => Just(Event::Undrain),
        1 => (0..5u32).prop_map(Event::Stall),
        1 => Just(Event::Release),
        1 => Just(Event::Roll),
        1 => (0..5u32).prop_map(Event::Purge),
        1 => policy().prop_map(Event::Retain),
        1 => (1..400i64).prop_map(Event::Pass),
        1 => Just(Event::TimePasses),
        1 => (0..5u32).prop_map(Event::Interrupt),
    ]
}

/// What happens to machines, volumes and the object besides.
pub(super) fn any() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => usual(),
        10 => (4..24u8).prop_map(Event::Turns),
        2 => (60..900i64).prop_map(Event::Pass),
        6 => (0..4u32, fate()).prop_map(|(i, fate)| Event::Machine(i, fate)),
        1 => (0..4u32).prop_map(Event::Fill),
        1 => Just(Event::Enlarge),
        1 => any_bool().prop_map(Event::Keep),
        1 => policy().prop_map(Event::WhenDeleted),
        1 => any_bool().prop_map(Event::Protect),
        1 => Just(Event::Delete),
        1 => (0..4u32).prop_map(Event::LoseVolume),
        1 => (0..4u32).prop_map(Event::GiveUpVolume),
        1 => Just(Event::GiveBack),
    ]
}

fn any_bool() -> impl Strategy<Value = bool> {
    prop_oneof![Just(true), Just(false)]
}

fn policy() -> impl Strategy<Value = RetentionPolicy> {
    prop_oneof![
        Just(RetentionPolicy::Retain),
        Just(RetentionPolicy::Delete),
        Just(RetentionPolicy::DeleteAfter),
        Just(RetentionPolicy::Snapshot)
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::PowerOff),
        1 => Just(Fate::CutOff),
        2 => Just(Fate::Vouch),
        3 => Just(Fate::Prove),
        2 => Just(Fate::Forget),
        3 => Just(Fate::Return),
    ]
}

impl World {
    /// A cluster whose volumes grow, whose nodes' loss can be proven, and whose object is made again when it is gone.
    pub(super) fn exposed(local: bool) -> Self {
        let mut world = World::new(3);
        world.class = Some("fast".into());
        (world.local, world.reborn) = (local, true);
        world.reclaim = Some("Delete".into());
        let proof = json!({"whenProven": {"nodeAnnotation": "fencing.example.com/state=off", "after": "5m"}});
        world.spec.node_loss = serde_json::from_value(proof).unwrap();
        world.spec.storage.local = serde_json::from_value(json!({"replaceAfter": "10m"})).unwrap();
        world
    }

    pub(super) fn happens(&mut self, event: Event) {
        match event {
            Event::Turn => drop(self.turn()),
            Event::Turns(n) => (0..n).for_each(|_| drop(self.turn())),
            Event::Write => self.write(),
            Event::KillPod(i) => self.end_pod(i),
            Event::Silence(i) => {
                if let Some(process) = self.pods.get_mut(&i) {
                    process.heard = false;
                }
            }
            Event::Hear => self.hear(),
            Event::Resize(n) => self.spec.replicas = n,
            Event::Recreate if self.deleting => {}
            Event::Recreate => self.recreate(),
            Event::LoseSecrets => self.secrets = None,
            Event::Ask(to) => self.ask(to),
            Event::Drain(i) => drop(self.drained.insert(i)),
            Event::Undrain => self.drained.clear(),
            Event::Stall(i) => drop(self.stalled.insert(i)),
            Event::Release => self.stalled.clear(),
            Event::Roll => self.spec.image = format!("mysql:{}", self.now.as_second()),
            Event::Purge(i) => self.purge(i),
            Event::Retain(policy) => self.retain(policy),
            Event::Pass(seconds) => self.now += SignedDuration::from_secs(seconds),
            Event::TimePasses => self.time_passes(),
            Event::Interrupt(i) => drop(self.interrupted.insert(i)),
            Event::Machine(i, fate) => self.befalls(i, fate),
            Event::Fill(i) => {
                if let Some(volume) = self.volumes.get_mut(&i) {
                    volume.full = true;
                }
            }
            Event::Enlarge => self.enlarge(),
            Event::Keep(all) => {
                self.spec.storage.reclaim_policy = all.then_some(ReclaimPolicy::Retain);
            }
            Event::WhenDeleted(policy) => self.retain_when_deleted(policy),
            Event::Protect(protected) => self.spec.deletion_protection = protected,
            Event::Delete => self.deleting = true,
            Event::LoseVolume(i) => self.lose_volume(i),
            Event::GiveUpVolume(i) => self.give_up_volume(i),
            Event::GiveBack => self.give_back(),
        }
        assert!(self.any_tampered() || self.nothing_is_lost(), "I3: nobody holds all that was acknowledged");
    }

    fn befalls(&mut self, ordinal: u32, fate: Fate) {
        match fate {
            Fate::PowerOff => self.power_off(ordinal),
            Fate::CutOff => self.cut_off(ordinal),
            Fate::Vouch => self.vouch(ordinal),
            Fate::Prove => self.prove(ordinal),
            Fate::Forget => self.forget_node(ordinal),
            Fate::Return => self.bring_back(ordinal),
        }
    }

    fn retain_when_deleted(&mut self, policy: RetentionPolicy) {
        // It has no time to wait for.
        let policy = if policy == RetentionPolicy::DeleteAfter { RetentionPolicy::Delete } else { policy };
        let when_scaled = self.spec.storage.retention.take().and_then(|retention| retention.when_scaled);
        let when_deleted = Some(KeepOrDelete { policy, after: None });
        self.spec.storage.retention = Some(Retention { when_scaled, when_deleted });
    }

    /// People put everything right, and the operator does the rest.
    pub(super) fn put_right(&mut self) -> Plan {
        self.mend();
        let mut plan = self.settle();
        if self.annotations.remove(ANNOTATION_GIVE_BACK).is_some() {
            plan = self.settle();
        }
        if blocked(&plan) == Some(Reason::DataWithoutRecord) {
            self.disown_released();
            plan = self.settle();
        }
        plan
    }

    /// Machines are there, nothing is full or asked for any more, and what only a person may give up is given up.
    fn mend(&mut self) {
        self.bring_all_back();
        self.hear();
        self.drained.clear();
        self.stalled.clear();
        self.spec.deletion_protection = false;
        self.retain(RetentionPolicy::Retain);
        if self.volumes.values().chain(&self.released).any(|volume| volume.full) {
            self.enlarge();
        }
        for ordinal in self.volumes.keys().copied().collect::<Vec<_>>() {
            self.give_up_volume(ordinal);
            self.give_up_partial(ordinal);
            if self.volumes.get(&ordinal).is_some_and(|volume| volume.deleting) {
                self.end_pod(ordinal);
            }
        }
        self.spec.replicas = 5;
    }
}

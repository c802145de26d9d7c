//! Machines: what runs on them, and what the API server knows of them. Each ordinal has one of its own, and there is one
//! to spare.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use mainstay_proto::Report;

use super::{World, node};
use crate::Node;

/// A machine without an ordinal.
const SPARE: &str = "spare";
/// Pods on a node that is silent for this long are deleted, and stay until its kubelet says that they ended. Source:
/// Kubernetes, "Taints and Tolerations", "Taint based Evictions".
const EVICTION: SignedDuration = SignedDuration::from_mins(5);

/// A machine, and its Node object.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// It runs, and so does what is on it.
    on: bool,
    /// Since when the API server has not heard its kubelet.
    silent_since: Option<Timestamp>,
    /// Its Node object was deleted.
    deleted: bool,
    /// Its node has the taint that says that nothing runs on it.
    out_of_service: bool,
    /// Something outside of Kubernetes says that it is off.
    proven: bool,
}

impl Machine {
    const UP: Machine =
        Machine { on: true, silent_since: None, deleted: false, out_of_service: false, proven: false };

    fn answers(&self) -> bool {
        self.on && self.silent_since.is_none()
    }

    fn takes_pods(&self) -> bool {
        self.answers() && !self.out_of_service && !self.deleted
    }
}

impl World {
    fn machine(&self, name: &str) -> &Machine {
        self.machines.get(name).unwrap_or(&Machine::UP)
    }

    fn change(&mut self, ordinal: u32, change: impl FnOnce(&mut Machine, Timestamp)) {
        change(self.machines.entry(node(ordinal)).or_insert(Machine::UP), self.now);
    }

    fn on_machine(&self, ordinal: u32) -> Vec<u32> {
        let name = node(ordinal);
        let there = self.pods.iter().filter(|(_, process)| process.node.as_ref() == Some(&name));
        there.map(|(&i, _)| i).collect()
    }

    /// What the operator heard last, if it hears of the pods on it nothing more.
    fn fall_silent(&mut self, ordinal: u32) {
        for i in self.on_machine(ordinal) {
            let last: Report = self.report(i, &self.pods[&i]);
            let now = self.now;
            let Some(process) = self.pods.get_mut(&i) else { continue };
            process.broken.get_or_insert((Box::new(last), now));
        }
        self.change(ordinal, |machine, now| {
            machine.silent_since.get_or_insert(now);
        });
    }

    /// A machine is off, with all that ran on it.
    pub(crate) fn power_off(&mut self, ordinal: u32) {
        self.fall_silent(ordinal);
        self.change(ordinal, |machine, _| machine.on = false);
        for i in self.on_machine(ordinal) {
            let Some(process) = self.pods.get_mut(&i) else { continue };
            (process.runs, process.writable, process.channel) = (false, false, None);
        }
    }

    /// A machine runs, and serves clients; but neither the API server nor the operator reaches it.
    pub(crate) fn cut_off(&mut self, ordinal: u32) {
        self.fall_silent(ordinal);
    }

    /// A person says that a machine is off, if it is.
    pub(crate) fn vouch(&mut self, ordinal: u32) {
        self.change(ordinal, |machine, _| machine.out_of_service |= !machine.on && !machine.deleted);
    }

    /// Something outside of Kubernetes says that a machine is off, if it is.
    pub(crate) fn prove(&mut self, ordinal: u32) {
        self.change(ordinal, |machine, _| machine.proven |= !machine.on);
    }

    /// The Node object of a machine that is not heard is deleted. Whether it is off, nobody asks.
    pub(crate) fn forget_node(&mut self, ordinal: u32) {
        self.change(ordinal, |machine, _| machine.deleted |= machine.silent_since.is_some());
    }

    /// The machine is there again, with the pods that it still has.
    pub(crate) fn bring_back(&mut self, ordinal: u32) {
        self.change(ordinal, |machine, _| *machine = Machine::UP);
        for i in self.on_machine(ordinal) {
            let process = &self.pods[&i];
            if process.evicted {
                self.pods.remove(&i);
            } else if process.runs {
                self.pods.get_mut(&i).unwrap().broken = None;
            } else {
                let (uid, hash, on) = (process.uid.clone(), process.hash.clone(), process.node.clone());
                self.begin(i, uid, hash, on, false);
            }
        }
    }

    /// All machines are there.
    pub(crate) fn bring_all_back(&mut self) {
        (0..9).for_each(|ordinal| self.bring_back(ordinal));
    }

    /// The taint that says that nothing runs on it: never on one that runs.
    pub(super) fn taint(&mut self, name: &str) {
        let machine = self.machines.get_mut(name).unwrap();
        assert!(!machine.on && machine.proven, "I2: {name} runs");
        machine.out_of_service = true;
    }

    /// Asserts that what is deleted by force can't run any more.
    pub(super) fn assert_off(&self, ordinal: u32) {
        let name = self.pods[&ordinal].node.as_deref().unwrap();
        assert!(!self.machine(name).on, "I2: {ordinal} runs still on {name}");
    }

    /// A pod is deleted; it is gone once its kubelet says so.
    pub(crate) fn end_pod(&mut self, ordinal: u32) {
        let Some(process) = self.pods.get(&ordinal) else { return };
        let ended = process.node.as_deref().is_none_or(|name| self.machine(name).answers());
        if ended {
            self.pods.remove(&ordinal);
        } else {
            let process = self.pods.get_mut(&ordinal).unwrap();
            (process.evicted, process.deleting) = (true, true);
        }
    }

    /// What Kubernetes does with pods on nodes that are silent, and with pods that no node took.
    pub(super) fn schedule(&mut self) {
        let silent = |name: &str| {
            let since = self.machine(name).silent_since;
            since.is_some_and(|since| self.now.duration_since(since) >= EVICTION)
        };
        let of_silent = self.pods.iter().filter(|(_, process)| process.node.as_deref().is_some_and(silent));
        for i in of_silent.map(|(&i, _)| i).collect::<Vec<_>>() {
            self.end_pod(i);
        }
        for i in self.pods.keys().copied().collect::<Vec<_>>() {
            let process = &self.pods[&i];
            if process.node.is_some() || self.unbound.contains(&i) {
                continue;
            }
            if let Some(name) = self.place(i) {
                let (uid, hash) = (process.uid.clone(), process.hash.clone());
                self.begin(i, uid, hash, Some(name), true);
            }
        }
    }

    /// The node that takes an instance's pod.
    pub(super) fn place(&self, ordinal: u32) -> Option<String> {
        let any = [node(ordinal), SPARE.to_owned()];
        let candidates = match self.volumes.get(&ordinal).and_then(|volume| volume.host.clone()) {
            Some(host) => vec![host],
            None => any.to_vec(),
        };
        let takes = |name: &String| !self.unbound.contains(&ordinal) && self.machine(name).takes_pods();
        candidates.into_iter().find(takes)
    }

    /// The nodes that a volume is attached to. One that is off lets go of it once its Node object is gone.
    pub(super) fn attached_to(&self, ordinal: u32) -> Vec<String> {
        let on = self.pods.get(&ordinal).and_then(|process| process.node.clone());
        on.filter(|name| self.machine(name).on || !self.machine(name).deleted).into_iter().collect()
    }

    /// The Node objects that concern the cluster.
    pub(super) fn nodes(&self) -> BTreeMap<String, Node> {
        let homes = self.pods.iter().map(|(i, process)| process.node.clone().unwrap_or(node(*i)));
        let hosts = self.volumes.values().chain(&self.released).filter_map(|volume| volume.host.clone());
        let cordoned: BTreeSet<String> = self.drained.iter().map(|&i| node(i)).collect();
        let known = homes.chain(hosts).chain(self.machines.keys().cloned());
        let there = known.filter(|name| !self.machine(name).deleted);
        let of = |name: String| {
            let machine = self.machine(&name);
            let found = Node {
                uid: format!("uid-{name}"),
                ready: Some(if machine.silent_since.is_none() { "True" } else { "Unknown" }.into()),
                ready_since: machine.silent_since,
                out_of_service: machine.out_of_service,
                cordoned: cordoned.contains(&name),
                proof: machine.proven.then(|| "off".into()),
                ..Node::default()
            };
            (name, found)
        };
        there.map(of).collect()
    }
}

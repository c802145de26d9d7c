//! What the StatefulSet does in the world, and the steps of the plan.

use super::World;
use crate::plan::tests::well::with_facts;
use crate::{Hold, NodeStep, ObjectStep, Observation, Plan, PodStep, StatefulSetSeen, Step, Upkeep};

impl World {
    pub(super) fn apply(&mut self, observation: &Observation, plan: &Plan) {
        let ends = crate::Object::from(&observation.cluster).ends();
        if ends || (plan.cluster_id.is_none() && !self.spec.paused) {
            return;
        }
        if plan.cluster_id.is_some() {
            self.secrets = plan.cluster_id.clone();
            self.named = plan.cluster_id.clone();
        }
        if plan.cluster_id.is_some() && plan.upkeep == Upkeep::Full && self.takes_fixed_fields(observation) {
            self.replicas = plan.stateful_set_replicas;
            let wanted = with_facts(observation, |facts| facts.template_hash().to_owned());
            if self.spec.image == "bad:1" {
                self.bad.insert(wanted.clone());
            }
            let hash = match &plan.hold {
                Hold::Wanted => wanted,
                Hold::Proven(hash) => hash.clone(),
            };
            self.template = self.template.take().filter(|_| self.refused).or(Some(hash));
        }
        let replicas = self.replicas;
        let Some(hash) = self.template.clone() else { return };
        for i in self.pods.keys().copied().filter(|i| *i >= replicas).collect::<Vec<_>>() {
            self.end_pod(i);
        }
        self.release();
        for i in 0..replicas {
            if !self.volumes.contains_key(&i) {
                let volume = self.bound_to_new_claim(i);
                self.volumes.insert(i, volume);
            }
            let proven = self.status.template.as_ref().map(|template| &template.proven);
            let room = !self.no_room || proven == Some(&hash);
            if !self.pods.contains_key(&i) && room && self.pods_refused.is_none() {
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

    /// Whether the StatefulSet can be as it is wanted without that another is made in its place.
    fn takes_fixed_fields(&mut self, observation: &Observation) -> bool {
        let wanted = with_facts(observation, |facts| facts.fixed_fields());
        let held = self.fixed.take().filter(|_| self.replicas > 0);
        self.unchangeable = held.as_ref().is_some_and(|held| Some(held) != wanted.as_ref());
        self.fixed = held.or(wanted);
        !self.unchangeable
    }

    /// What is seen of the StatefulSet.
    pub(super) fn stateful_set(&self) -> Option<StatefulSetSeen> {
        let fixed = self.fixed.as_ref().filter(|_| self.replicas > 0)?;
        Some(StatefulSetSeen {
            template_hash: self.template.clone(),
            uid: "uid-set".into(),
            refused: Some(fixed.clone()).filter(|_| self.unchangeable),
        })
    }

    pub(super) fn carry_out(&mut self, step: Step) {
        match step {
            Step::Record { cluster_id, record, .. } => {
                self.status.cluster_id = Some(cluster_id);
                self.status.replication = Some(record.into());
            }
            Step::Order { ordinal, order, .. } => self.obey(ordinal, &order),
            // All of the world is seen at each turn.
            Step::AskReport { .. } => {}
            Step::Pod { pod, uid, step, .. } => {
                let ordinal: u32 = pod.rsplit('-').next().unwrap().parse().unwrap();
                match step {
                    // It may have gone meanwhile.
                    _ if self.pods.get(&ordinal).is_none_or(|pod| pod.uid != uid) => {}
                    PodStep::Replace => self.end_pod(ordinal),
                    PodStep::ForceDelete => {
                        self.assert_off(ordinal);
                        self.pods.remove(&ordinal);
                    }
                }
            }
            Step::Claim { uid, step, .. } => self.do_to_claim(&uid, step),
            Step::Volume { volume, step, .. } => self.do_to_volume(&volume, step),
            Step::Object(step) => self.do_to_object(step),
            Step::Node { node, step: NodeStep::TaintOutOfService, .. } => self.taint(&node),
        }
    }
    fn do_to_object(&mut self, step: ObjectStep) {
        match step {
            ObjectStep::SetFinalizers { finalizers } => self.finalizers = finalizers,
            ObjectStep::ReplaceStatefulSet { .. } => {
                assert!(self.unchangeable && (!self.deleting || self.spec.deletion_protection));
                (self.fixed, self.unchangeable) = (None, false);
            }
            ObjectStep::DeleteStatefulSet { .. } => {
                assert!(self.deleting && !self.spec.deletion_protection);
                self.replicas = 0;
                self.end_pods();
            }
        }
    }

    /// All pods are deleted.
    pub(super) fn end_pods(&mut self) {
        self.pods.keys().copied().collect::<Vec<_>>().into_iter().for_each(|i| self.end_pod(i));
    }

    /// An object that nothing keeps any more goes, with its StatefulSet. If no claim is left, its Secrets go too, and a person
    /// removes volumes that were kept: the whole cluster was to go. Then somebody makes another of its name.
    pub(super) fn let_go(&mut self) {
        if !self.reborn || !self.deleting || !self.finalizers.is_empty() {
            return;
        }
        self.recreate();
        self.deleting = false;
        self.annotations.clear();
        if self.volumes.is_empty() && self.aside.is_empty() {
            (self.secrets, self.template) = (None, None);
            self.released.clear();
        }
    }
}

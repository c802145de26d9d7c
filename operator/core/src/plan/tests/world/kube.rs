//! What the StatefulSet does in the world, and the steps of the plan.

use super::World;
use crate::plan::tests::well::with_facts;
use crate::{Hold, Observation, Plan, Step, Upkeep};

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
        if plan.cluster_id.is_some() && plan.upkeep == Upkeep::Full {
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
        self.pods.retain(|&i, _| i < replicas);
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

    pub(super) fn carry_out(&mut self, step: Step) {
        match step {
            Step::Record { cluster_id, record, .. } => {
                self.status.cluster_id = Some(cluster_id);
                self.status.replication = Some(record.into());
            }
            Step::Order { ordinal, order, .. } => self.obey(ordinal, &order),
            // All of the world is seen at each turn.
            Step::AskReport { .. } => {}
            Step::Pod { pod, uid, .. } => {
                let ordinal: u32 = pod.rsplit('-').next().unwrap().parse().unwrap();
                if self.pods.get(&ordinal).is_some_and(|pod| pod.uid == uid) {
                    self.pods.remove(&ordinal);
                }
            }
            Step::Claim { uid, step, .. } => self.do_to_claim(&uid, step),
            Step::Volume { volume, step, .. } => self.do_to_volume(&volume, step),
            Step::Object(step) => self.do_to_object(step),
            Step::Node { .. } => panic!("nobody asked for a taint"),
        }
    }
}

//! What is said and noted of what is lost, or is not as it is to be yet.

use mainstay_crd::ClusterPhase;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_proto::{Directory, Server};
use serde_json::json;

use super::nodes::{lost, silent_node, stranded};
use super::table::healthy;
use super::well::{recorded, storage_ready, storage_step, volume_of, well};
use super::world::Tampering;
use crate::{Agent, Node, Step, VolumeStep, plan};

#[test]
fn a_replaced_volume_says_the_most_that_was_heard() {
    let mut o = stranded();
    let status = &mut o.cluster.status.instances[2];
    let ledger = status.ledger.as_mut().unwrap();
    status.gtid_executed = Some(std::mem::take(&mut ledger.gtid_executed));
    let heard = status.gtid_executed.clone().unwrap();
    recorded(&mut o);
    let Some(Step::Volume { step: VolumeStep::Keep { annotations, .. }, .. }) = plan(&o).step else {
        panic!("{:?}", plan(&o).step)
    };
    assert_eq!(annotations["mysql.mainstay.dev/gtid-set"], heard);
    o.cluster.status.instances[2].gtid_executed = Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-11".into());
    assert_eq!(storage_step(&plan(&o)), None, "nobody else holds all that was heard");
}

#[test]
fn what_broke_off_was_not_seen_now() {
    let mut o = well();
    let since = "1969-12-31T00:00:00Z".parse().unwrap();
    let instance = o.instances.get_mut(&2).unwrap();
    let Agent::Live { report, .. } = instance.agent.clone() else { panic!() };
    instance.agent = Agent::Broken { report, since, error: "gone".into() };
    assert_eq!(plan(&o).instances[2].seen_at.as_ref().unwrap().0, since);
}

#[test]
fn a_claim_that_is_about_to_grow_is_said_to() {
    let mut o = well();
    o.cluster.spec.storage.size.0 = "2Gi".into();
    let told = storage_ready(&o);
    assert_eq!(told.reason, Reason::Growing);
    assert!(told.message.contains("data-shop-0 is to grow to 2Gi"), "{}", told.message);
}

/// What is tried again and again, as a class may refuse growth, hides nothing that is worse.
#[test]
fn a_lost_primary_is_said_to_be_lost_while_something_is_done() {
    let mut o = well();
    o.cluster.spec.storage.size.0 = "2Gi".into();
    let instance = o.instances.get_mut(&0).unwrap();
    let Agent::Live { report, .. } = &mut instance.agent else { panic!() };
    report.directory = Directory::Empty;
    report.server = Server::Stopped { last_exit: None };
    let told = plan(&o);
    assert_eq!(storage_step(&told), Some("GrowClaim"), "{:?}", told.step);
    assert_eq!(told.phase, ClusterPhase::Lost);
    for type_ in [ConditionType::Blocked, ConditionType::Available] {
        let condition = told.conditions.iter().find(|c| c.type_ == type_).unwrap();
        assert_eq!(condition.reason, Reason::PrimaryDataLost, "{condition:?}");
    }
}

#[test]
fn a_lost_primary_is_said_to_be_lost_while_paused_or_with_a_spec_that_is_wrong() {
    for (paused, first) in [(true, "First take spec.paused back"), (false, "First mend the spec")] {
        let mut o = well();
        let instance = o.instances.get_mut(&0).unwrap();
        let Agent::Live { report, .. } = &mut instance.agent else { panic!() };
        report.directory = Directory::Empty;
        report.server = Server::Stopped { last_exit: None };
        o.cluster.spec.paused = paused;
        if !paused {
            o.cluster.spec.replicas = 0;
        }
        let told = plan(&o);
        assert_eq!((told.phase, &told.step), (ClusterPhase::Lost, &None));
        let blocked = told.conditions.iter().find(|c| c.type_ == ConditionType::Blocked).unwrap();
        assert_eq!(blocked.reason, Reason::PrimaryDataLost);
        assert!(blocked.message.contains(first), "{}", blocked.message);
    }
}

#[test]
fn other_data_and_a_record_set_back_are_said_while_paused() {
    for reason in [Reason::ForeignVolume, Reason::RolledBack, Reason::RecordRolledBack] {
        let mut world = healthy(3);
        for _ in 0..6 {
            world.write();
            world.turn();
        }
        match reason {
            Reason::ForeignVolume => assert!(world.tamper(0, Tampering::Foreign)),
            Reason::RolledBack => assert!(world.tamper(0, Tampering::RolledBack)),
            _ => world.volumes.get_mut(&1).unwrap().highest.revision = 999,
        }
        world.settle();
        world.spec.paused = true;
        let told = world.turn();
        let blocked = told.conditions.iter().find(|c| c.type_ == ConditionType::Blocked).unwrap();
        assert_eq!(blocked.reason, reason, "{}", blocked.message);
        assert!(blocked.message.contains("First take spec.paused back"), "{}", blocked.message);
        let lost = told.phase == ClusterPhase::Lost;
        assert!(lost || reason == Reason::RecordRolledBack, "{reason:?}: {:?}", told.phase);
    }
}

/// The primary's claim was deleted, and the next one gets no volume, so that no agent can say that it has nothing.
#[test]
fn a_claim_in_the_place_of_the_primarys_that_gets_no_volume_has_no_data() {
    let pending = |uid: Option<&str>, comes: bool| {
        let mut o = well();
        if comes {
            volume_of(&mut o, 0).claim_uid = None;
        }
        recorded(&mut o);
        let instance = o.instances.get_mut(&0).unwrap();
        instance.agent = Agent::Unheard;
        let pod = instance.pod.as_mut().unwrap();
        (pod.node, pod.ready, pod.started) = (None, false, false);
        let claim = instance.claim.as_mut().unwrap();
        (claim.phase, claim.volume) = (Some("Pending".into()), None);
        if let Some(uid) = uid {
            claim.uid = uid.into();
        }
        plan(&o)
    };
    let told = pending(Some("made-anew"), false);
    let blocked = told.conditions.iter().find(|c| c.type_ == ConditionType::Blocked).unwrap();
    assert_eq!((told.phase, blocked.reason), (ClusterPhase::Lost, Reason::PrimaryDataLost));
    assert!(blocked.message.contains("lead-from=shop-"), "{}", blocked.message);
    assert_ne!(pending(None, false).phase, ClusterPhase::Lost, "it may still get the one that it had");
    assert_ne!(pending(Some("made-anew"), true).phase, ClusterPhase::Lost, "one is reserved for it");
}

#[test]
fn the_proof_that_is_awaited_is_named_and_taken_before_claims_grow() {
    let after = |proof: Option<&str>| {
        let mut o = lost(Some(Node { proof: proof.map(Into::into), ..silent_node() }));
        o.now = "1970-01-01T00:05:00Z".parse().unwrap();
        o.cluster.spec.storage.size.0 = "2Gi".into();
        o.cluster.spec.node_loss =
            serde_json::from_value(json!({"whenProven": {"nodeAnnotation": "f/state=off", "after": "5m"}}))
                .unwrap();
        plan(&o)
    };
    let says = |proof| after(proof).instances[2].message.clone().unwrap();
    assert!(says(None).contains("f/state=off would prove it, but is not there"), "{}", says(None));
    assert!(says(Some("on")).contains("f/state=off would prove it, but it says 'on'"));
    assert_eq!(storage_step(&after(Some("on"))), Some("GrowClaim"));
    assert_eq!(storage_step(&after(Some("off"))), Some("TaintNode"));
}

#[test]
fn a_stranded_primary_is_not_told_of_a_new_volume() {
    let mut o = stranded();
    assert!(storage_ready(&o).message.contains("a replica gets a new volume 30m"));
    o.cluster.status.replication.as_mut().unwrap().primary = Some(2);
    assert!(storage_ready(&o).message.contains("it leads, so it gets no other volume"));
    let volume = o.instances[&2].claim.as_ref().unwrap().volume.clone().unwrap();
    let keeps = format!("set the reclaim policy of the volume {volume} to Retain");
    assert!(storage_ready(&o).message.contains(&keeps), "{}", storage_ready(&o).message);
}

//! Pods that Kubernetes does not make.

use mainstay_crd::conditions::{ConditionType, DesiredCondition, Reason};

use super::table::healthy;
use super::world::World;
use crate::Plan;

const WORDS: &str = "FailedCreate: create Pod shop-0 failed: exceeded quota: small";

fn condition(plan: &Plan, type_: ConditionType) -> DesiredCondition {
    plan.conditions.iter().find(|c| c.type_ == type_).unwrap().clone()
}

#[test]
fn a_new_cluster_says_in_kubernetes_words_why_nothing_comes() {
    let mut world = World::new(3);
    world.pods_refused = Some(WORDS.into());
    let plan = world.settle();
    assert!(world.pods.is_empty());
    for type_ in [ConditionType::Ready, ConditionType::Available, ConditionType::Progressing] {
        let told = condition(&plan, type_);
        assert!(told.message.contains("exceeded quota"), "{told:?}");
        assert_eq!(told.reason, Reason::PodRefused, "{told:?}");
    }
    assert!(plan.instances.iter().all(|i| i.message.as_ref().unwrap().contains("exceeded quota")));
    world.pods_refused = None;
    assert_eq!(world.settle().ready, 3);
}

#[test]
fn a_pod_that_is_not_made_again_is_told_whether_it_leads_or_follows() {
    for lost in [0, 2] {
        let mut world = healthy(3);
        world.pods_refused = Some(WORDS.into());
        world.pods.remove(&lost);
        let plan = world.turn();
        let ready = condition(&plan, ConditionType::Ready);
        assert!(ready.message.contains("exceeded quota"), "{ready:?}");
        // What is said of one that is missing is not said of those that are there.
        assert!(plan.instances.iter().filter(|i| i.ready).all(|i| i.message.is_none()));
    }
}

#[test]
fn storage_is_not_called_ready_without_a_claim() {
    let mut world = healthy(3);
    let mut observation = world.observe();
    let claim = observation.instances.get_mut(&2).unwrap().claim.take();
    let told = condition(&crate::plan(&observation), ConditionType::StorageReady);
    assert_eq!((told.status, told.reason), (Some(false), Reason::ClaimMissing));
    assert!(told.message.contains("data-shop-2"), "{}", told.message);
    // One that the API server refuses, or that is paused from its birth, is made into nothing.
    observation.stateful_set = None;
    let told = condition(&crate::plan(&observation), ConditionType::StorageReady);
    assert_eq!((told.status, told.reason), (Some(false), Reason::ClaimMissing));
    observation.instances.get_mut(&2).unwrap().claim = claim;
    assert_eq!(condition(&crate::plan(&observation), ConditionType::StorageReady).status, Some(true));
}

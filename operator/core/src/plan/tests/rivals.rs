//! Clusters whose children would have one name.

use mainstay_crd::conditions::{ConditionType, Reason};

use super::world::World;
use crate::{Observation, Plan, Rival, plan};

fn at(second: i64) -> Option<jiff::Timestamp> {
    Some(jiff::Timestamp::from_second(second).unwrap())
}

/// `shop`, made at second 10, and a rival `shop-read`.
fn beside(created: i64, begun: bool) -> Observation {
    let mut o = World::new(1).observe();
    o.cluster.created = at(10);
    let object = "Service shop-read".to_owned();
    o.rivals = vec![Rival { name: "shop-read".into(), created: at(created), begun, object }];
    o
}

fn blocked(plan: &Plan) -> Option<&str> {
    let blocked = plan.conditions.iter().find(|c| c.type_ == ConditionType::Blocked)?;
    (blocked.reason == Reason::NameTaken).then_some(blocked.message.as_str())
}

#[test]
fn whoever_was_first_has_the_name_and_the_other_makes_nothing() {
    for (created, begun, waits) in
        [(9, false, true), (11, false, false), (10, false, false), (11, true, true), (9, true, true)]
    {
        let plan = plan(&beside(created, begun));
        assert_eq!(blocked(&plan).is_some(), waits, "made at {created}, begun: {begun}");
        assert_eq!((plan.step.is_none(), plan.cluster_id.is_none()), (waits, true));
    }
    let plan = plan(&beside(9, true));
    let message = blocked(&plan).unwrap();
    assert!(message.contains("Service shop-read") && message.contains("MySQLCluster shop-read"), "{message}");
}

#[test]
fn exactly_one_of_two_goes_on_whatever_their_order() {
    for (a, b) in [(9, 10), (10, 9), (10, 10)] {
        let mut shop = beside(b, false);
        shop.cluster.created = at(a);
        let mut read = beside(a, false);
        (read.cluster.name, read.cluster.created) = ("shop-read".into(), at(b));
        read.rivals[0].name = "shop".into();
        let waiting = [shop, read].iter().filter(|o| blocked(&plan(o)).is_some()).count();
        assert_eq!(waiting, 1, "{a} and {b}");
    }
}

#[test]
fn a_cluster_that_was_begun_is_never_stopped_by_a_name_and_one_that_waited_goes_on() {
    let mut world = World::new(1);
    world.settle();
    let mut running = world.observe();
    running.rivals = beside(9, true).rivals;
    assert_eq!(blocked(&plan(&running)), None);
    let mut free = beside(9, true);
    free.rivals.clear();
    assert!(plan(&free).step.is_some());
}

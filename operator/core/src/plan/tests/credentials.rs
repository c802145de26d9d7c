//! Passwords that no instance can take up.

use std::collections::BTreeMap;

use mainstay_crd::ClusterPhase;
use mainstay_crd::conditions::{ConditionType, Reason};

use super::table::{blocked, healthy};
use super::world::World;
use crate::{Plan, UnfitPassword, unfit_passwords};

/// What a person put there, beside passwords that are well.
fn found(key: &str, value: &[u8]) -> Vec<UnfitPassword> {
    let well = ["root", "operator", "replication", "clone"].map(|key| (key.to_owned(), b"well".to_vec()));
    let mut data = BTreeMap::from(well);
    data.insert(key.into(), value.into());
    unfit_passwords(&data)
}

fn said(plan: &Plan) -> String {
    plan.conditions.iter().find(|c| c.type_ == ConditionType::Blocked).unwrap().message.clone()
}

#[test]
fn which_password_is_wrong_and_why_is_said_and_never_the_password() {
    let mut world = healthy(3);
    let cases: [(&str, &[u8], &str); 3] = [
        ("replication", &[b'x'; 33], "replication has more than 32 characters"),
        ("root", b"hidden\nhidden", "root has a control character in it"),
        ("clone", b"hidden\xff", "clone is not UTF-8"),
    ];
    for (key, value, why) in cases {
        world.unfit = found(key, value);
        let plan = world.settle();
        assert_eq!((blocked(&plan), plan.phase), (Some(Reason::InvalidCredentials), ClusterPhase::Healthy));
        let said = said(&plan);
        assert!(said.contains(why) && said.contains("Secret shop-credentials"), "{said}");
        assert!(!said.contains("hidden") && !said.contains("xxx"), "{said}");
    }
    world.unfit = found("root", b"well");
    assert_eq!(blocked(&world.settle()), None);
    assert_eq!(found("root", b""), [], "the operator makes one");
}

#[test]
fn a_cluster_goes_on_with_the_passwords_that_it_has() {
    let mut world = healthy(3);
    world.unfit = found("root", b"a\0b");
    world.ask(Some(1));
    assert_eq!(world.settle().primary.as_deref(), Some("shop-1"));
    world.recreate();
    assert_eq!(world.settle().phase, ClusterPhase::Healthy, "its data is found");
}

#[test]
fn a_new_cluster_waits_for_passwords_that_can_be_taken_up() {
    let mut world = World::new(3);
    world.unfit = found("operator", b"a\nb");
    let plan = world.settle();
    assert_eq!((blocked(&plan), world.initialized), (Some(Reason::InvalidCredentials), 0));
    world.unfit.clear();
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

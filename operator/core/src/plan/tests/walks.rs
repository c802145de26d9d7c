//! Random walks: crashes of pods, silent agents, machines that are off or cut off, volumes that are full or gone, deleted
//! objects, lost status and changed specs between any two turns. The world itself asserts that nothing is initialised where
//! data is left, that no order is from the past, that never two are writable, that nothing is forced on a machine that runs,
//! and that no acknowledged write is lost; in the end everything converges.

use std::collections::BTreeMap;

use mainstay_crd::ClusterPhase;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::happenings::{Event, any, usual};
use super::played;
use super::world::{Tampering, World};
use crate::Plan;

/// Few enough for every run of the tests; PROPTEST_CASES asks for more.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 150 };
    ProptestConfig { cases, ..default }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn whatever_happens_one_initialisation_one_writer_and_convergence(
        events in proptest::collection::vec(usual(), 0..160)
    ) {
        let mut world = World::new(3);
        events.into_iter().for_each(|event| world.happens(event));
        let plan = world.put_right();
        prop_assert_eq!(plan.phase, ClusterPhase::Healthy, "{:?}", plan);
        prop_assert_eq!(world.initialized, 1);
        world.write();
        world.replicate();
        prop_assert!(world.volumes.values().all(|v| v.gtids.contains(&world.acknowledged)));
    }
}

/// Everything that is known to happen, until people have put it right.
fn walk(local: bool, events: Vec<Event>) -> (World, Plan) {
    let mut world = World::exposed(local);
    events.into_iter().for_each(|event| world.happens(event));
    let plan = world.put_right();
    (world, plan)
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn whatever_happens_to_machines_volumes_and_the_object_nothing_is_lost(
        local in proptest::bool::ANY,
        events in proptest::collection::vec(any(), 0..120)
    ) {
        let (mut world, plan) = walk(local, events);
        prop_assert_eq!(plan.phase, ClusterPhase::Healthy, "{:?}", plan);
        world.write();
        world.replicate();
        prop_assert!(world.volumes.values().all(|v| v.gtids.contains(&world.acknowledged)));
    }
}

/// Walks by which it is counted which steps are played: always the same.
const COUNTED: usize = 150;

#[test]
fn the_walks_play_every_step() {
    let mut runner = TestRunner::deterministic();
    let strategy = (proptest::bool::ANY, proptest::collection::vec(any(), 0..120));
    let mut played = BTreeMap::new();
    for _ in 0..COUNTED {
        let (local, events) = strategy.new_tree(&mut runner).unwrap().current();
        for (name, times) in walk(local, events).0.played {
            *played.entry(name).or_insert(0) += times;
        }
    }
    let never: Vec<String> = played::all().into_iter().filter(|name| !played.contains_key(name)).collect();
    assert!(never.is_empty(), "never played: {never:?}; {played:?}");
}

fn tampering() -> impl Strategy<Value = Tampering> {
    prop_oneof![
        Just(Tampering::Wiped),
        Just(Tampering::Empty),
        Just(Tampering::Foreign),
        Just(Tampering::RolledBack),
        Just(Tampering::Partial),
    ]
}

#[derive(Clone, Debug)]
enum Mischief {
    Turns(u8),
    Write,
    KillPod(u32),
    Tamper(u32, Tampering),
    TimePasses,
    PutBack,
    Silence(u32),
    Resize(i32),
}

fn mischief() -> impl Strategy<Value = Mischief> {
    prop_oneof![
        6 => (1..20u8).prop_map(Mischief::Turns),
        4 => Just(Mischief::Write),
        2 => (0..3u32).prop_map(Mischief::KillPod),
        3 => (0..3u32, tampering()).prop_map(|(i, how)| Mischief::Tamper(i, how)),
        2 => Just(Mischief::TimePasses),
        1 => Just(Mischief::PutBack),
        1 => (0..3u32).prop_map(Mischief::Silence),
        1 => (1..4i32).prop_map(Mischief::Resize),
    ]
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn i9_what_comes_back_differently_never_serves_nor_leads(
        replicas in 1..4i32,
        events in proptest::collection::vec(mischief(), 0..60)
    ) {
        let mut world = World::new(replicas);
        world.settle();
        for _ in 0..4 {
            world.write();
            world.turn();
        }
        let mut tampered = 0;
        for event in events {
            match event {
                Mischief::Turns(n) => for _ in 0..n { world.turn(); },
                Mischief::Write => world.write(),
                Mischief::KillPod(i) => { world.pods.remove(&i); }
                Mischief::Tamper(i, how) => tampered += u32::from(world.tamper(i, how)),
                Mischief::TimePasses => world.time_passes(),
                Mischief::PutBack => world.put_back(),
                Mischief::Silence(i) => if let Some(p) = world.pods.get_mut(&i) { p.heard = false; },
                Mischief::Resize(n) => world.spec.replicas = n,
            }
        }
        world.spec.replicas = 3;
        world.pods.values_mut().for_each(|p| p.heard = true);
        world.settle();
        world.assert_quarantine();
        world.time_passes();
        world.settle();
        world.assert_quarantine();
        prop_assert_eq!(world.initialized, 1);
        world.put_back();
        let plan = world.settle();
        prop_assert_eq!(plan.phase, ClusterPhase::Healthy, "after {} tamperings: {:?}", tampered, plan);
    }
}

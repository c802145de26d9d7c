//! Random walks: crashes of pods, silent agents, lost status and changed specs between any two turns. The world
//! itself asserts that one directory is initialised at most, that no order is from the past, and that never two
//! are writable; in the end everything converges.

use jiff::SignedDuration;
use mainstay_crd::{ClusterPhase, RetentionPolicy};
use proptest::prelude::*;

use super::world::{Tampering, World};

#[derive(Clone, Debug)]
enum Event {
    Turn,
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
}

fn event() -> impl Strategy<Value = Event> {
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
        1 => prop_oneof![
            Just(RetentionPolicy::Retain),
            Just(RetentionPolicy::Delete),
            Just(RetentionPolicy::DeleteAfter),
            Just(RetentionPolicy::Snapshot)
        ]
        .prop_map(Event::Retain),
        1 => (1..400i64).prop_map(Event::Pass),
        1 => Just(Event::TimePasses),
    ]
}

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
        events in proptest::collection::vec(event(), 0..160)
    ) {
        let mut world = World::new(3);
        for event in events {
            match event {
                Event::Turn => { world.turn(); }
                Event::Write => world.write(),
                Event::KillPod(i) => { world.pods.remove(&i); }
                Event::Silence(i) => { if let Some(p) = world.pods.get_mut(&i) { p.heard = false; } }
                Event::Hear => world.pods.values_mut().for_each(|p| p.heard = true),
                Event::Resize(n) => world.spec.replicas = n,
                Event::Recreate => world.recreate(),
                Event::LoseSecrets => world.secrets = None,
                Event::Ask(to) => world.ask(to),
                Event::Drain(i) => { world.drained.insert(i); }
                Event::Undrain => world.drained.clear(),
                Event::Stall(i) => { world.stalled.insert(i); }
                Event::Release => world.stalled.clear(),
                Event::Roll => world.spec.image = format!("mysql:{}", world.now.as_second()),
                Event::Purge(i) => world.purge(i),
                Event::Retain(policy) => world.retain(policy),
                Event::Pass(seconds) => world.now += SignedDuration::from_secs(seconds),
                Event::TimePasses => world.time_passes(),
            }
        }
        world.retain(RetentionPolicy::Retain);
        world.drained.clear();
        world.stalled.clear();
        world.pods.values_mut().for_each(|p| p.heard = true);
        world.spec.replicas = 5;
        let plan = world.settle();
        prop_assert_eq!(plan.phase, ClusterPhase::Healthy, "{:?}", plan);
        prop_assert_eq!(world.initialized, 1);
        world.write();
        world.replicate();
        prop_assert!(world.volumes.values().all(|v| v.gtids.contains(&world.acknowledged)));
    }
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

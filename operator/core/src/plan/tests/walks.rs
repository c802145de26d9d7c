//! Random walks: crashes of pods, silent agents, lost status and changed specs between any two turns. The world
//! itself asserts that one directory is initialised at most, that no order is from the past, and that never two
//! are writable; in the end everything converges.

use jiff::SignedDuration;
use mainstay_crd::ClusterPhase;
use proptest::prelude::*;

use super::world::World;

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
    /// Seconds in which nothing happens.
    Pass(i64),
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
        1 => (1..400i64).prop_map(Event::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
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
                Event::Pass(seconds) => world.now += SignedDuration::from_secs(seconds),
            }
        }
        world.drained.clear();
        world.stalled.clear();
        world.pods.values_mut().for_each(|p| p.heard = true);
        world.spec.replicas = 5;
        let plan = world.settle();
        let cut_off = World::cut_off(&plan);
        prop_assert!(plan.phase == ClusterPhase::Healthy || !cut_off.is_empty(), "{:?}", plan);
        prop_assert_eq!(world.initialized, 1);
        world.write();
        world.replicate();
        let left = world.volumes.iter().filter(|(i, _)| !cut_off.contains(i));
        prop_assert!(left.map(|(_, v)| v).all(|v| v.gtids.contains(&world.acknowledged)));
    }
}

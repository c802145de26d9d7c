//! What one plan costs: figures, nothing is asserted about time.

use std::hint::black_box;
use std::time::Instant;

use super::world::World;
use crate::plan;

/// Plans a figure is made of.
const ROUNDS: u32 = 2_000;

/// `make bench-plan` runs it: a settled cluster, planned again and again.
#[test]
#[ignore = "prints figures"]
#[allow(clippy::print_stdout, reason = "figures are printed")]
fn bench_of_a_plan() {
    for replicas in [3, 9] {
        let mut world = World::new(replicas);
        world.settle();
        let observation = world.observe();
        assert_eq!(plan(&observation).step, None);
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let begun = Instant::now();
            for _ in 0..ROUNDS {
                black_box(plan(black_box(&observation)));
            }
            best = best.min(begun.elapsed().as_secs_f64() / f64::from(ROUNDS));
        }
        println!("one plan for a cluster of {replicas}: {:.1} µs (best of 5 rounds of {ROUNDS})", best * 1e6);
    }
}

//! MySQL's memory from the container's memory limit.

use k8s_openapi::api::core::v1::ResourceRequirements;
use mainstay_crd::quantity;

const MIB: u128 = 1 << 20;
const GIB: u128 = 1 << 30;
/// Default of `innodb_buffer_pool_chunk_size`.
const CHUNK: u128 = 128 * MIB;
/// Most instances of the buffer pool: more would make the steps of its size coarser than a GiB.
const MAX_INSTANCES: u128 = 8;

/// Options that size the buffer pool together.
pub(super) const POOL_OPTIONS: [&str; 2] = ["innodb_buffer_pool_instances", "innodb_buffer_pool_size"];

/// What a server with less than 2 GiB does without: measured on 9.7.4, these bring an idle one with a buffer pool
/// of 128 MiB from 543 to 385 MB, most of it from the statement digests of the Performance Schema, which stays on.
/// Without them one with a limit of 1 GiB, and half of that for the buffer pool, was killed under a modest load.
const SMALL: [(&str, &str); 5] = [
    ("innodb_log_buffer_size", "16777216"),
    ("performance_schema_digests_size", "1000"),
    ("performance_schema_events_statements_history_long_size", "100"),
    ("table_definition_cache", "400"),
    ("table_open_cache", "400"),
];

/// Default of `replica_pending_jobs_size_max`.
const QUEUES: u128 = 128 * MIB;

/// The memory limit in bytes, if there is one and it can be read.
pub(super) fn limit(resources: &ResourceRequirements) -> Option<u128> {
    quantity::whole(resources.limits.as_ref()?.get("memory")?).map(u128::from)
}

/// Options that follow from a memory limit in bytes; none without one.
pub(super) fn options(limit: Option<u128>) -> Vec<(&'static str, String)> {
    let Some(limit) = limit else { return Vec::new() };
    let (size, instances) = buffer_pool(limit);
    let mut options = vec![
        ("innodb_buffer_pool_instances", instances.to_string()),
        ("innodb_buffer_pool_size", size.to_string()),
    ];
    if let Some(queues) = queues(limit) {
        options.push(("replica_pending_jobs_size_max", queues.to_string()));
    }
    if limit < 2 * GIB {
        options.extend(SMALL.map(|(name, value)| (name, value.to_owned())));
    }
    options
}

/// What events may take that a replica has read from its relay log and not applied yet, in bytes: a 32nd of the limit;
/// `None` where that is no less than MySQL's default. Behind on large transactions, a server of 512 MiB with the default
/// fills the queues of its workers until it is killed, and again after each restart.
///
/// The limit is a soft one (manual, "replica_pending_jobs_size_max"): a larger event waits until all queues are empty
/// and is applied then, so that a small limit costs parallelism and stops nothing.
fn queues(limit: u128) -> Option<u128> {
    let size = (limit / 32 / MIB).max(1) * MIB;
    (size < QUEUES).then_some(size)
}

/// Size in bytes and number of instances of the buffer pool: 70 % of a limit above 2 GiB, half of one from 1 GiB,
/// below that 128 MiB, or a quarter if that is less.
///
/// MySQL rounds the size *up* to a multiple of chunk size times instances (manual, "Configuring InnoDB Buffer Pool
/// Size"), and chooses the instances by the node's processors, not the container's: 1433 MiB became 1920 MiB with
/// five. So the instances are given, one a GiB, and the size is such a multiple, rounded down.
fn buffer_pool(limit: u128) -> (u128, u128) {
    let target = match limit {
        _ if limit > 2 * GIB => limit / 10 * 7,
        _ if limit >= GIB => limit / 2,
        _ => CHUNK.min(limit / 4),
    };
    let instances = (target / GIB).clamp(1, MAX_INSTANCES);
    let unit = if target < CHUNK { MIB } else { CHUNK * instances };
    // MySQL's least is 5 MiB; a limit that asks for less can't hold a server anyway.
    ((target / unit * unit).max(5 * MIB), instances)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_pool_fits_the_limit() {
        for (limit_mib, pool_mib, instances) in [
            (10, 5, 1),
            (256, 64, 1),
            (300, 75, 1),
            (512, 128, 1),
            (1023, 128, 1),
            (1024, 512, 1),
            (1536, 768, 1),
            (2048, 1024, 1),
            (2049, 1408, 1),
            (3072, 2048, 2),
            (4096, 2816, 2),
            (8192, 5120, 5),
            (65536, 45056, 8),
            (1048576, 733184, 8),
        ] {
            assert_eq!(buffer_pool(limit_mib * MIB), (pool_mib * MIB, instances), "{limit_mib} MiB");
        }
    }

    #[test]
    fn mysql_finds_nothing_to_round_up_and_something_is_left_for_the_rest() {
        for limit_mib in (512..40_000).step_by(37) {
            let (size, instances) = buffer_pool(limit_mib * MIB);
            assert_eq!(size % (CHUNK * instances), 0, "{limit_mib} MiB");
            assert!(size * 10 <= limit_mib * MIB * 7, "{limit_mib} MiB");
        }
    }

    #[test]
    fn a_small_server_does_without_what_it_can() {
        let small = |limit: u128| options(Some(limit)).iter().any(|(name, _)| *name == SMALL[0].0);
        assert!(small(512 * MIB) && small(GIB) && small(2 * GIB - 1));
        assert!(!small(2 * GIB));
    }

    #[test]
    fn a_replica_that_is_behind_holds_no_more_than_its_share_of_events() {
        let queues = |limit: u128| {
            let options = options(Some(limit));
            let option = options.iter().find(|(name, _)| *name == "replica_pending_jobs_size_max");
            option.map(|(_, size)| size.parse::<u128>().unwrap() / MIB)
        };
        assert_eq!(queues(10 * MIB), Some(1));
        assert_eq!(queues(512 * MIB), Some(16));
        assert_eq!(queues(2 * GIB), Some(64));
        assert_eq!(queues(4 * GIB), None, "MySQL's default");
    }

    #[test]
    fn without_a_limit_mysql_decides() {
        assert!(options(None).is_empty());
    }
}

//! How much memory the copy tool may take to apply a redo log.

use std::fs;

/// Where the kernel tells a container's limit: control groups of version 2, then of version 1.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// Least and most, in bytes. The tool's own default is 100 MB; InnoDB's buffer pool does not start with much less.
const BOUNDS: (u64, u64) = (64 << 20, 16 << 30);

/// Bytes for `--use-memory`: half of the container's limit, or of what the machine has free if there is none. The
/// tool takes more than it is given: its buffer pool is this large, and the parsed redo log comes on top.
pub(super) fn for_tool() -> u64 {
    let limit = LIMITS.iter().find_map(|path| parse_limit(&fs::read_to_string(path).ok()?));
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| parse_available(&text));
    share(limit, available)
}

fn share(limit: Option<u64>, available: Option<u64>) -> u64 {
    let whole = limit.into_iter().chain(available).min().unwrap_or_default();
    (whole / 2).clamp(BOUNDS.0, BOUNDS.1)
}

/// Version 2 says `max` where there is no limit, version 1 a number beyond every machine's memory.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn parse_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_limit_within_bounds() {
        const GIB: u64 = 1 << 30;
        let available = parse_available("MemTotal:       24555 kB\nMemAvailable:    8388608 kB\n");
        assert_eq!(available, Some(8 * GIB));
        let table = [
            (parse_limit("2147483648\n"), available, GIB),
            (parse_limit("max\n"), available, 4 * GIB),
            (parse_limit("9223372036854771712\n"), available, 4 * GIB),
            (Some(1 << 20), None, BOUNDS.0),
            (Some(1 << 40), Some(1 << 40), BOUNDS.1),
            (None, None, BOUNDS.0),
        ];
        for (limit, available, expected) in table {
            assert_eq!(share(limit, available), expected, "{limit:?} {available:?}");
        }
    }
}

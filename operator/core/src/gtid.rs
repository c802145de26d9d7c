//! Sets of global transaction identifiers.
//!
//! The text form is MySQL's (manual, "GTID Format and Storage"): `UUID[:TAG]:INTERVAL[:INTERVAL]…[,…]`, with the
//! tags of MySQL 8.3 and later. No decision asks a server for this arithmetic.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Whose transactions: a server's UUID, read as a number, and, since 8.3, an optional tag in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    uuid: u128,
    tag: String,
}

/// Half-open intervals `[from, to)`, sorted, disjoint and not touching.
type Intervals = Vec<(u64, u64)>;

/// A set of GTIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    origins: BTreeMap<Origin, Intervals>,
}

/// A text that is no GTID set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a GTID set: {what} in `{part}`")]
pub struct GtidError {
    what: &'static str,
    part: String,
}

impl GtidSet {
    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// How many transactions are in it.
    pub fn count(&self) -> u64 {
        self.origins.values().flatten().map(|(from, to)| to - from).fold(0, u64::saturating_add)
    }

    /// All of `other` is in it.
    pub fn contains(&self, other: &GtidSet) -> bool {
        let covered = |intervals: &Intervals, own: &Intervals| {
            intervals.iter().all(|(from, to)| own.iter().any(|(start, end)| start <= from && to <= end))
        };
        let has = |(origin, intervals)| self.origins.get(origin).is_some_and(|own| covered(intervals, own));
        other.origins.iter().all(has)
    }

    /// What is in it but was not first committed by the server with this UUID.
    #[must_use]
    pub fn foreign_to(&self, server_uuid: &str) -> GtidSet {
        let uuid = parse_uuid(server_uuid);
        let others = self.origins.iter().filter(|(origin, _)| Some(origin.uuid) != uuid);
        GtidSet { origins: others.map(|(origin, intervals)| (origin.clone(), intervals.clone())).collect() }
    }

    /// What of it was first committed by the server with this UUID.
    #[must_use]
    pub fn of(&self, server_uuid: &str) -> GtidSet {
        self.subtract(&self.foreign_to(server_uuid))
    }

    /// What is in both.
    #[must_use]
    pub fn common(&self, other: &GtidSet) -> GtidSet {
        self.subtract(&self.subtract(other))
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &GtidSet) -> GtidSet {
        let mut union = self.clone();
        for (origin, intervals) in &other.origins {
            let all = union.origins.entry(origin.clone()).or_default();
            all.extend_from_slice(intervals);
            normalize(all);
        }
        union
    }

    /// What is in `self` but not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &GtidSet) -> GtidSet {
        let mut rest = GtidSet::default();
        for (origin, intervals) in &self.origins {
            let left = match other.origins.get(origin) {
                None => intervals.clone(),
                Some(taken) => intervals.iter().flat_map(|&whole| without(whole, taken)).collect(),
            };
            if !left.is_empty() {
                rest.origins.insert(origin.clone(), left);
            }
        }
        rest
    }
}

/// What is left of one interval when sorted, disjoint ones are taken out.
fn without((mut from, to): (u64, u64), taken: &[(u64, u64)]) -> Intervals {
    let mut left = Intervals::new();
    for &(start, end) in taken {
        if end <= from {
            continue;
        }
        if start >= to {
            break;
        }
        if start > from {
            left.push((from, start));
        }
        from = end;
    }
    if from < to {
        left.push((from, to));
    }
    left
}

fn normalize(intervals: &mut Intervals) {
    intervals.sort_unstable();
    let mut merged = Intervals::with_capacity(intervals.len());
    for &(from, to) in intervals.iter() {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    *intervals = merged;
}

impl FromStr for GtidSet {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let mut set = GtidSet::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let error = |what| GtidError { what, part: part.chars().take(80).collect() };
            let mut fields = part.split(':').map(str::trim);
            let uuid = fields.next().and_then(parse_uuid).ok_or_else(|| error("no UUID"))?;
            let mut tag = String::new();
            let mut intervals = 0;
            for field in fields {
                if field.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    tag = parse_tag(field).ok_or_else(|| error("a malformed tag"))?;
                    continue;
                }
                let interval = parse_interval(field).ok_or_else(|| error("a malformed interval"))?;
                let origin = Origin { uuid, tag: tag.clone() };
                set.origins.entry(origin).or_default().push(interval);
                intervals += 1;
            }
            if intervals == 0 {
                return Err(error("no interval"));
            }
        }
        set.origins.values_mut().for_each(normalize);
        Ok(set)
    }
}

/// In the usual form: 8, 4, 4, 4 and 12 hexadecimal digits.
fn parse_uuid(text: &str) -> Option<u128> {
    let bytes = <&[u8; 36]>::try_from(text.as_bytes()).ok()?;
    bytes.iter().enumerate().try_fold(0, |number: u128, (at, &byte)| match at {
        8 | 13 | 18 | 23 => (byte == b'-').then_some(number),
        _ => Some(number << 4 | u128::from(char::from(byte).to_digit(16)?)),
    })
}

struct Uuid(u128);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |low: u32, bits: u32| self.0 >> low & ((1 << bits) - 1);
        let (a, b, c, d, e) = (digits(96, 32), digits(80, 16), digits(64, 16), digits(48, 16), digits(0, 48));
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

/// At most 32 characters: a letter or underscore, then letters, digits and underscores.
fn parse_tag(text: &str) -> Option<String> {
    let well_formed = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    well_formed.then(|| text.to_ascii_lowercase())
}

fn parse_interval(text: &str) -> Option<(u64, u64)> {
    let (from, to) = match text.split_once('-') {
        Some((from, to)) => (parse_number(from.trim())?, parse_number(to.trim())?),
        None => {
            let only = parse_number(text)?;
            (only, only)
        }
    };
    (from <= to).then_some((from, to + 1))
}

/// 1 to 2^63 − 2, digits only.
fn parse_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.then(|| text.parse().ok()).flatten()?;
    (1..=i64::MAX as u64 - 1).contains(&number).then_some(number)
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut uuid = None;
        for (origin, intervals) in &self.origins {
            if uuid != Some(origin.uuid) {
                if uuid.is_some() {
                    write!(f, ",")?;
                }
                write!(f, "{}", Uuid(origin.uuid))?;
                uuid = Some(origin.uuid);
            }
            if !origin.tag.is_empty() {
                write!(f, ":{}", origin.tag)?;
            }
            for &(from, to) in intervals {
                if to - from == 1 {
                    write!(f, ":{from}")?;
                } else {
                    write!(f, ":{from}-{}", to - 1)?;
                }
            }
        }
        Ok(())
    }
}

/// A set that an agent reported; one that can't be read counts as unknown.
pub(crate) fn gtids(text: &str) -> Option<GtidSet> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4f22fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        text.replace('A', A).replace('B', B).parse().unwrap()
    }

    #[test]
    fn texts_that_servers_print_are_read_and_printed_alike() {
        let forms = ["", "A:1", "A:1-5", "A:1-3:11:47-49", "A:1-5,B:7", "A:1-5:blue:1-3:red:9", "A:blue:1"];
        for text in forms {
            let full = text.replace('A', A).replace('B', B);
            assert_eq!(set(text).to_string(), full, "{text}");
        }
        assert_eq!(set("B:1,\n A:5-9:1-4").to_string(), set("A:1-9,B:1").to_string());
    }

    #[test]
    fn what_is_no_gtid_set_is_refused() {
        for text in [
            "x",
            "A",
            "A:",
            "A:0",
            "A:5-3",
            "A:-3",
            "A:1-",
            "A:+1",
            "A:1;2",
            "A:9223372036854775807",
            "A:b-d:1",
        ] {
            assert!(text.replace('A', A).parse::<GtidSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn tags_set_transactions_apart() {
        assert!(!set("A:1-9").contains(&set("A:blue:1")));
        assert_eq!(set("A:1-3:blue:1-9").subtract(&set("A:blue:2-8")), set("A:1-3:blue:1:9"));
    }

    /// Small numbers, so that overlaps are common.
    fn any_set() -> impl Strategy<Value = GtidSet> {
        let origin = (0..2usize, prop_oneof![Just(""), Just(":blue")]);
        proptest::collection::vec((origin, 1u64..30, 0u64..6), 0..8).prop_map(|parts| {
            let parts = parts
                .into_iter()
                .map(|((uuid, tag), from, more)| format!("{}{tag}:{from}-{}", [A, B][uuid], from + more));
            parts.collect::<Vec<_>>().join(",").parse().unwrap()
        })
    }

    proptest! {
        #[test]
        fn printing_and_reading_gives_the_same_set(a in any_set()) {
            prop_assert_eq!(a.to_string().parse::<GtidSet>().unwrap(), a);
        }

        #[test]
        fn the_arithmetic_is_that_of_sets(a in any_set(), b in any_set()) {
            let both = a.union(&b);
            prop_assert!(both.contains(&a) && both.contains(&b));
            let only_a = a.subtract(&b);
            prop_assert_eq!(only_a.union(&b), both.clone());
            prop_assert!(only_a.is_empty() || !b.contains(&a));
            prop_assert_eq!(only_a.count() + b.count(), both.count());
            prop_assert!(a.contains(&only_a));
            prop_assert!(a.subtract(&a).is_empty());
            prop_assert_eq!(a.common(&b).union(&only_a), a.clone());
            prop_assert!(b.contains(&a.common(&b)));
            prop_assert_eq!(a.of(A).union(&a.foreign_to(A)), a.clone());
        }
    }
}

//! What was applied last, so that nothing is applied again before something differs.
//!
//! The API server counts an object's changes: `generation` those of what was asked for, `resourceVersion` all. After
//! an object was applied, its number is kept. As long as the live object has that number and the same is wanted,
//! there is nothing to do; once somebody else has changed it, the number differs, and it is applied once more.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// How long the watch is given to bring what was just applied.
const WATCH_LAG: Duration = Duration::from_secs(10);

/// What was applied last, by kind and name.
#[derive(Debug, Default)]
pub(crate) struct Applied(HashMap<(&'static str, String), Mark>);

#[derive(Debug)]
struct Mark {
    wanted: u64,
    version: Version,
    at: Instant,
    /// The watch has brought it.
    seen: bool,
}

/// By which number changes of an object are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Those of what was asked for: for objects that others report on.
    Generation,
    /// All.
    ResourceVersion,
}

/// A state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    uid: String,
    number: String,
}

impl Version {
    /// The state of the object with this metadata.
    pub(crate) fn of(meta: &ObjectMeta, by: By) -> Self {
        let number = match by {
            By::Generation => meta.generation.map(|generation| generation.to_string()),
            By::ResourceVersion => meta.resource_version.clone(),
        };
        Version { uid: meta.uid.clone().unwrap_or_default(), number: number.unwrap_or_default() }
    }

    fn is_before(&self, other: &Version) -> bool {
        match (self.number.parse::<u128>(), other.number.parse::<u128>()) {
            (Ok(a), Ok(b)) => self.uid == other.uid && a < b,
            _ => false,
        }
    }
}

impl Applied {
    /// Whether there is nothing to do for this object.
    pub(crate) fn is_current(
        &mut self,
        kind: &'static str,
        name: &str,
        wanted: u64,
        live: Option<Version>,
        now: Instant,
    ) -> bool {
        let Some(mark) = self.0.get_mut(&(kind, name.to_owned())) else { return false };
        if mark.wanted != wanted {
            return false;
        }
        if live.as_ref() == Some(&mark.version) {
            mark.seen = true;
            return true;
        }
        // What the watch shows is from before we applied, if it has never shown what we applied.
        let before = live.is_none_or(|live| live.is_before(&mark.version) || live.uid != mark.version.uid);
        !mark.seen && before && now.duration_since(mark.at) < WATCH_LAG
    }

    /// Notes what was applied, and what came of it.
    pub(crate) fn note(
        &mut self,
        kind: &'static str,
        name: &str,
        wanted: u64,
        version: Version,
        now: Instant,
    ) {
        self.0.insert((kind, name.to_owned()), Mark { wanted, version, at: now, seen: false });
    }

    /// Notes that the live object was found to be as wanted.
    pub(crate) fn found(
        &mut self,
        kind: &'static str,
        name: &str,
        wanted: u64,
        version: Version,
        now: Instant,
    ) {
        self.0.insert((kind, name.to_owned()), Mark { wanted, version, at: now, seen: true });
    }

    /// UID of an object when it was noted last.
    pub(crate) fn uid(&self, kind: &'static str, name: &str) -> Option<String> {
        Some(self.0.get(&(kind, name.to_owned()))?.version.uid.clone())
    }

    /// State of an object when it was noted last.
    pub(crate) fn version(&self, kind: &'static str, name: &str) -> Option<Version> {
        Some(self.0.get(&(kind, name.to_owned()))?.version.clone())
    }

    /// What was wanted of an object when it was noted last, and its state then, as text.
    pub(crate) fn told(&self, kind: &'static str, name: &str) -> Option<String> {
        let Mark { wanted, version, .. } = self.0.get(&(kind, name.to_owned()))?;
        Some(format!("{wanted:016x}/{}/{}", version.uid, version.number))
    }

    /// Takes over what another process told.
    pub(crate) fn learn(&mut self, kind: &'static str, name: &str, told: &str, now: Instant) {
        let mut parts = told.splitn(3, '/');
        let wanted = parts.next().and_then(|wanted| u64::from_str_radix(wanted, 16).ok());
        let (Some(wanted), Some(uid), Some(number)) = (wanted, parts.next(), parts.next()) else { return };
        self.found(kind, name, wanted, Version { uid: uid.into(), number: number.into() }, now);
    }

    /// Forgets an object, so that it is looked at again.
    pub(crate) fn forget(&mut self, kind: &'static str, name: &str) {
        self.0.remove(&(kind, name.to_owned()));
    }
}

/// A number for what is wanted, the same in every process.
pub(crate) fn digest(wanted: &impl Serialize) -> Result<u64, serde_json::Error> {
    let hash = Sha256::digest(serde_json::to_string(wanted)?.as_bytes());
    Ok(hash[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(uid: &str, number: u32) -> Version {
        Version { uid: uid.into(), number: number.to_string() }
    }

    struct World {
        applied: Applied,
        start: Instant,
    }

    impl World {
        fn applied_at_7() -> Self {
            let mut world = World { applied: Applied::default(), start: Instant::now() };
            world.applied.note("Service", "shop", 1, version("u", 7), world.start);
            world
        }
        fn current(&mut self, wanted: u64, live: Option<Version>, after: u64) -> bool {
            let now = self.start + Duration::from_secs(after);
            self.applied.is_current("Service", "shop", wanted, live, now)
        }
    }

    #[test]
    fn nothing_is_applied_twice_while_nothing_differs() {
        let mut world = World::applied_at_7();
        assert!(world.current(1, None, 0), "the watch has not brought it yet");
        assert!(world.current(1, Some(version("u", 6)), 0), "the watch shows what was before");
        assert!(world.current(1, Some(version("u", 7)), 1));
        assert!(world.current(1, Some(version("u", 7)), 3600));
    }

    #[test]
    fn another_wish_is_applied() {
        assert!(!World::applied_at_7().current(2, Some(version("u", 7)), 0));
    }

    #[test]
    fn what_others_changed_is_applied_again() {
        let mut world = World::applied_at_7();
        assert!(!world.current(1, Some(version("u", 8)), 0));
        assert!(world.current(1, Some(version("u", 7)), 1));
        assert!(!world.current(1, Some(version("u", 8)), 1));
    }

    #[test]
    fn what_others_removed_is_made_again() {
        let mut world = World::applied_at_7();
        assert!(world.current(1, Some(version("u", 7)), 1));
        assert!(!world.current(1, None, 2));
        assert!(!world.current(1, Some(version("other", 9)), 2));
        // Even if the watch never showed it.
        assert!(!World::applied_at_7().current(1, None, 11));
    }

    #[test]
    fn what_another_process_told_counts_until_the_object_changes() {
        let mut world = World::applied_at_7();
        let told = world.applied.told("Service", "shop").unwrap();
        world.applied = Applied::default();
        world.applied.learn("Service", "shop", &told, world.start);
        assert!(world.current(1, Some(version("u", 7)), 0));
        assert!(!world.current(2, Some(version("u", 7)), 0), "something else is wanted");
        assert!(!world.current(1, Some(version("u", 8)), 0), "somebody has changed it");
        for garbled in ["", "x/u/7", "0000000000000001", "1/u"] {
            let mut applied = Applied::default();
            applied.learn("Service", "shop", garbled, world.start);
            assert!(
                !applied.is_current("Service", "shop", 1, Some(version("u", 7)), world.start),
                "{garbled}"
            );
        }
    }

    #[test]
    fn what_was_never_applied_by_this_process_is_applied_once() {
        let mut world = World { applied: Applied::default(), start: Instant::now() };
        assert!(!world.current(1, Some(version("u", 7)), 0));
    }
}

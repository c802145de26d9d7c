//! From which count an instance's transactions are. `RESET BINARY LOGS AND GTIDS` makes a server give the same numbers to
//! other transactions, so GTID sets of two histories can't be compared, and nothing that is decided by such a comparison
//! may count an instance of another history as a copy.

use mainstay_proto::History;

use super::Facts;

impl Facts<'_> {
    /// The history of what an instance holds: as its server says, else as was last known. Agents that do not tell have never
    /// seen a reset.
    pub(crate) fn history(&self, ordinal: u32) -> History {
        match self.serving(ordinal) {
            Some(state) => state.history.unwrap_or_default(),
            None => self.history_left(ordinal),
        }
    }

    /// As was last known when all was well.
    pub(crate) fn history_left(&self, ordinal: u32) -> History {
        let told = self.left(ordinal).and_then(|entry| entry.history.as_deref());
        told.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// The GTID sets of two instances can be compared.
    pub(crate) fn same_history(&self, one: u32, other: u32) -> bool {
        self.history(one) == self.history(other)
    }

    /// It serves, and what it holds is of another history than the primary's.
    pub(crate) fn other_history(&self, ordinal: u32) -> bool {
        let others = self.primary().filter(|&primary| primary != ordinal);
        self.serving(ordinal).is_some() && others.is_some_and(|primary| !self.same_history(ordinal, primary))
    }

    /// It was reset itself, and the primary was not since: what it was copied from still is what it was.
    pub(crate) fn began_anew(&self, ordinal: u32) -> bool {
        let (own, primary) = (self.history(ordinal), self.primary().map(|primary| self.history(primary)));
        own.by == ordinal && primary.is_some_and(|primary| own.resets > primary.resets)
    }
}

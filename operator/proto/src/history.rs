//! From which count a server's transactions are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// From which count a server's transactions are: a new one begins with each `RESET BINARY LOGS AND GTIDS`, after which the
/// server gives the same numbers to other transactions (MySQL manual, "RESET BINARY LOGS AND GTIDS"). GTID sets of two
/// servers can be compared only within one history. A copy has its donor's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// How often it was begun anew.
    pub resets: u32,
    /// Ordinal of the instance on which that was done last.
    pub by: u32,
    /// When that was noticed, in milliseconds since 1970 by that instance's clock: it tells one reset from another.
    pub at: i64,
}

impl History {
    /// What follows when the server of the instance `by` counts anew.
    #[must_use]
    pub fn reset(self, by: u32, at: i64) -> Self {
        History { resets: self.resets.saturating_add(1), by, at }
    }

    /// It was never begun anew.
    pub fn is_first(&self) -> bool {
        *self == History::default()
    }
}

/// `RESETS.ORDINAL.MILLISECONDS`.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.resets, self.by, self.at)
    }
}

/// It is not `RESETS.ORDINAL.MILLISECONDS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHistory;

impl FromStr for History {
    type Err = NoHistory;

    fn from_str(text: &str) -> Result<Self, NoHistory> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().ok_or(NoHistory);
        let (resets, by, at) = (next()?, next()?, next()?);
        Ok(History {
            resets: resets.parse().map_err(|_| NoHistory)?,
            by: by.parse().map_err(|_| NoHistory)?,
            at: at.parse().map_err(|_| NoHistory)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_each_reset_begins_another() {
        let first = History::default();
        let (here, there) = (first.reset(1, 7), first.reset(2, 7));
        assert!(first.is_first() && !here.is_first());
        assert_ne!(here, there, "as often, but elsewhere");
        for history in [first, here, there, here.reset(0, -3)] {
            assert_eq!(history.to_string().parse(), Ok(history));
        }
        for text in ["", "1", "1.2", "1.2.3.4", "x.0.0"] {
            assert_eq!(text.parse::<History>(), Err(NoHistory), "{text}");
        }
    }
}

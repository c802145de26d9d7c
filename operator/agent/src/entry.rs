//! Whether the agent is let into its server.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sql::SqlError;

/// Looks in a row that must fail before it is said that the options can't be read.
const LOOKS: u32 = 3;
/// Time until the account is made anew once more, where that was of no use.
const PAUSE: Duration = Duration::from_secs(10);

/// Whether the agent can do its work on one run of the server.
#[derive(Debug, Default)]
pub(crate) struct Entry(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The server's word when it did not let the agent in.
    denied: Option<String>,
    /// When it was last seen to in vain.
    in_vain: Option<Instant>,
    /// Looks in a row at the options that safety rests on that failed, and why the last one did.
    unread: (u32, String),
}

impl Entry {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent asked for a new session.
    pub(crate) fn asked<T>(&self, outcome: &Result<T, SqlError>) {
        let mut known = self.known();
        match outcome {
            Ok(_) => (known.denied, known.in_vain) = (None, None),
            Err(error) if error.is_denied() => {
                known.denied = Some(error.to_string());
            }
            // It says nothing of the account.
            Err(_) => {}
        }
    }

    /// The agent tried to read the options that safety rests on.
    pub(crate) fn looked<T>(&self, outcome: &Result<T, SqlError>) {
        let mut known = self.known();
        known.unread = match outcome {
            Ok(_) => (0, String::new()),
            Err(error) => (known.unread.0.saturating_add(1), error.to_string()),
        };
    }

    /// It was not let in, and nothing was tried against that, or not for a while.
    pub(crate) fn is_shut(&self) -> bool {
        let known = self.known();
        known.denied.is_some() && known.in_vain.is_none_or(|last| last.elapsed() >= PAUSE)
    }

    /// What was tried against that was of no use.
    pub(crate) fn failed(&self) {
        self.known().in_vain = Some(Instant::now());
    }

    /// What is to be told: not what is over in a moment.
    pub(crate) fn trouble(&self) -> Option<String> {
        let known = self.known();
        match (&known.denied, known.in_vain) {
            (Some(denied), Some(_)) => Some(denied.clone()),
            _ if known.unread.0 >= LOOKS => {
                Some(format!("the options that safety rests on can't be read: {}", known.unread.1))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16) -> Result<(), SqlError> {
        Err(SqlError::Server { what: "connect", code, state: "28000".into(), message: "no".into() })
    }

    #[test]
    fn a_denial_is_told_once_nothing_helps_and_until_it_is_over() {
        let entry = Entry::default();
        entry.asked(&error(1040));
        assert!(!entry.is_shut(), "too many connections");
        entry.asked(&error(1045));
        assert!(entry.is_shut());
        assert_eq!(entry.trouble(), None);
        entry.failed();
        assert!(!entry.is_shut());
        assert!(entry.trouble().is_some_and(|why| why.contains("1045")));
        entry.asked(&Ok(()));
        assert_eq!(entry.trouble(), None);
    }

    #[test]
    fn options_that_can_not_be_read_several_times_are_told() {
        let entry = Entry::default();
        for told in [false, false, true, true] {
            entry.looked(&error(1142));
            assert_eq!(entry.trouble().is_some_and(|why| why.contains("1142")), told);
        }
        entry.looked(&Ok(()));
        assert_eq!(entry.trouble(), None);
    }
}

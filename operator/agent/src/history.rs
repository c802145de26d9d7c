//! Notices that the server began to count its transactions anew (`RESET BINARY LOGS AND GTIDS`, by a person): nothing that
//! compares GTID sets can see that, because new transactions get the numbers of old ones.
//!
//! Within one run of a server `gtid_executed` and `gtid_purged` only grow. What lacks anything of what the last look saw
//! was reset. From one run to the next that is not so: a volume may have been set back meanwhile, which is for the operator
//! to judge. The agent's own resets are made while a directory is made, and never looked at here.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use mainstay_proto::{History, ServerState};

use crate::sql::{Client, SqlError, state};
use crate::volume::Store;

/// What one run of the server tells of its history.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    history: History,
    /// The marker does not have it yet.
    unwritten: bool,
    /// Executed and purged, at the last look.
    sets: Option<(String, String)>,
}

impl Watched {
    /// A server that came up on a directory of this history.
    pub(crate) fn new(history: History) -> Self {
        Watched(Mutex::new(Seen { history, ..Seen::default() }))
    }

    fn seen<T>(&self, of: impl FnOnce(&mut Seen) -> T) -> T {
        of(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// From which count the sets are that were just read. A new history is on the volume before it is told, if the volume takes
/// it; else that is tried again at each look.
pub(crate) async fn of(
    watched: &Watched,
    store: &Store,
    ordinal: u32,
    client: &mut Client,
    now: &ServerState,
) -> Result<History, SqlError> {
    let sets = (now.gtid_executed.clone(), now.gtid_purged.clone());
    let before = watched.seen(|seen| seen.sets.clone()).filter(|before| *before != sets);
    let reset = match &before {
        Some((executed, purged)) => !state::grew(client, (executed, &sets.0), (purged, &sets.1)).await?,
        None => false,
    };
    let (history, unwritten) = watched.seen(|seen| {
        seen.sets = Some(sets);
        if reset {
            seen.history = seen.history.reset(ordinal, Timestamp::now().as_millisecond());
            seen.unwritten = true;
        }
        (seen.history, seen.unwritten)
    });
    if reset {
        let had = before.map(|(executed, _)| executed).unwrap_or_default();
        tracing::warn!(had, has = now.gtid_executed, %history, "the server counts its transactions anew");
    }
    if unwritten {
        match store.with(move |volume| volume.begins(history)).await {
            Ok(()) => watched.seen(|seen| seen.unwritten = false),
            Err(error) => tracing::warn!(%error, "that the server counts anew can't be written down yet"),
        }
    }
    Ok(history)
}

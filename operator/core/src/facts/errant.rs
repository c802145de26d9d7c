//! Whether what a replica holds beyond the primary's last report is errant: one test, for who is Ready, who may take over,
//! and who follows.
//!
//! Two sets that were read at different times must not be compared as if they were of one moment: a replica is ahead
//! of the primary's last report whenever that is older than its own. What proves that a transaction is errant:
//!
//! - It carries the replica's own UUID, so the replica was the first to commit it. The primary could have it only from
//!   before it led, and every report of it since then would show it.
//! - It carries any other UUID, and the primary's report was read after the replica was seen to hold it: the replica's
//!   set is [`EARLIER`] old, the primary's is not. A client of the primary can give transactions any UUID.
//! - It carries the primary's UUID, likewise, and the replica does not receive: what it receives from the primary, the
//!   primary's log has, however late its set shows it.
//! - It was found to be errant before, by status, and the primary still lacks it: a quarantine lasts over restarts of
//!   pod and operator until the sets agree.

use jiff::SignedDuration;
use mainstay_crd::InstanceState;

use super::{Facts, gtids};
use crate::{GtidSet, Heard};

/// Age of a replica's set ([`crate::Instance::earlier`]) with which the primary's last word is compared. A stream that
/// says nothing for three heartbeats is broken, and what an agent says is [`FRESH`]: together less than this.
pub const EARLIER: SignedDuration = SignedDuration::from_secs(10);
/// Oldest state of a server, as its agent read it, by which anything is proven.
pub(super) const FRESH: SignedDuration = SignedDuration::from_secs(3);

fn held_then(heard: &Heard) -> Option<GtidSet> {
    Some(gtids(&heard.gtid_executed)?.union(&gtids(&heard.gtid_received)?))
}

/// See [`Facts::suspected`].
pub(super) fn suspected(facts: &Facts<'_>, ordinal: u32) -> Option<GtidSet> {
    if facts.other_history(ordinal) {
        return None;
    }
    let leader = facts.leader(ordinal)?;
    let (held, executed) = (facts.received_or_executed(ordinal)?, leader.executed()?);
    if executed.contains(held) {
        return None;
    }
    let lacking = held.subtract(executed);
    let channel = facts.serving(ordinal)?.channel.as_ref();
    let receives = channel.is_some_and(|c| c.receiver_running || c.receiver_connecting);
    let counted = if receives { lacking.foreign_to(&leader.serving?.server_uuid) } else { lacking };
    (!counted.is_empty()).then_some(counted)
}

/// What of it is certain: see [`Facts::errant`].
pub(super) fn proven(facts: &Facts<'_>, ordinal: u32) -> Option<GtidSet> {
    let suspected = facts.suspected(ordinal)?;
    let leader = facts.leader(ordinal)?;
    let (leads, state) = (leader.serving?, facts.serving(ordinal)?);
    let own = match state.server_uuid == leads.server_uuid {
        true => GtidSet::default(),
        false => suspected.of(&state.server_uuid),
    };
    let at = leader.report?.at;
    let fresh = leads.read_at.is_none_or(|read| at.duration_since(read) <= FRESH);
    let earlier = facts.instance(ordinal)?.earlier.as_ref();
    let earlier = earlier.filter(|heard| fresh && facts.observation.now.duration_since(heard.at) >= EARLIER);
    let settled = earlier.and_then(held_then).map(|then| suspected.common(&then)).unwrap_or_default();
    let errant = own.union(&settled);
    if facts.before(ordinal).is_none_or(|before| before.state != InstanceState::Quarantined) {
        return (!errant.is_empty()).then_some(errant);
    }
    // What it received from the primary right before it was kept out may only be newer than the primary's report.
    let errant = errant.union(&suspected.foreign_to(&leads.server_uuid));
    Some(if errant.is_empty() { suspected.clone() } else { errant })
}

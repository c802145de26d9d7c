//! Whether a replica's data goes with the primary's, as far as that is certain.
//!
//! What the primary has purged and a replica lacks, the replica can never receive. While it receives, the two sets must not
//! be compared as if they were of one moment: what the primary has sent may be on its way. MySQL keeps each log that a
//! connected receiver still needs (manual, "PURGE BINARY LOGS Statement"). So a gap is certain only if the primary said
//! [`super::EARLIER`] ago that it has purged it, and the replica has received since whatever else the primary had then:
//! what is read into a server with `SET @@GLOBAL.gtid_purged` was never in its logs.

use mainstay_crd::InstanceState;

use super::errant::FRESH;
use super::{EARLIER, Facts, gtids};
use crate::GtidSet;

/// Why a replica can't follow with its data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Divergence {
    /// The primary's transactions are of another count, or its own are: its GTID set proves nothing.
    History,
    /// It holds these transactions, which the primary does not have.
    Errant(GtidSet),
    /// It lacks these, of which the primary no longer has the binary logs.
    Purged(GtidSet),
}

impl Facts<'_> {
    /// Why its data does not go with the primary's. What a receiver that stands still lacks is not asked.
    pub(crate) fn diverged(&self, ordinal: u32) -> Option<&Divergence> {
        self.member(ordinal)?.diverged.as_ref()
    }

    /// What the leading primary no longer has the binary logs of, and a replica lacks that receives: by their last reports,
    /// which are not of one moment.
    pub(crate) fn gap(&self, ordinal: u32) -> Option<GtidSet> {
        let leader = self.leader(ordinal).filter(|_| !self.other_history(ordinal))?;
        let receives = self.serving(ordinal)?.channel.as_ref().is_some_and(|c| c.receiver_running);
        let gap = leader.purged()?.subtract(self.received_or_executed(ordinal)?);
        (receives && !gap.is_empty()).then_some(gap)
    }
}

pub(super) fn proven(facts: &Facts<'_>, ordinal: u32) -> Option<Divergence> {
    if facts.other_history(ordinal) {
        return Some(Divergence::History);
    }
    if let Some(errant) = facts.errant(ordinal) {
        return Some(Divergence::Errant(errant.clone()));
    }
    let gap = facts.gap(ordinal)?;
    let held = facts.received_or_executed(ordinal)?;
    let lasts = facts.before(ordinal).is_some_and(|before| before.state == InstanceState::Quarantined);
    (lasts || settled(facts, ordinal, &gap, held).is_some()).then_some(Divergence::Purged(gap))
}

/// Some of the gap was purged a while ago, and nothing of what the primary had then is still on its way.
fn settled(facts: &Facts<'_>, ordinal: u32, gap: &GtidSet, held: &GtidSet) -> Option<()> {
    let (state, report) = (facts.serving(ordinal)?, facts.live(ordinal)?);
    let fresh = state.read_at.is_none_or(|read| report.at.duration_since(read) <= FRESH);
    let earlier = facts.instance(facts.primary()?)?.earlier.as_ref();
    let earlier =
        earlier.filter(|heard| fresh && facts.observation.now.duration_since(heard.at) >= EARLIER)?;
    let (executed, purged) = (gtids(&earlier.gtid_executed)?, gtids(&earlier.gtid_purged)?);
    let arrived = executed.subtract(&purged).subtract(held).is_empty();
    (arrived && !purged.common(gap).is_empty()).then_some(())
}

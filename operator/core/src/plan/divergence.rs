//! Whether a replica's data goes with the primary's: one test, for who is Ready, who may take over, and who follows.
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
use mainstay_crd::conditions::Reason;
use mainstay_proto::ServerState;

use super::view::{Seen, View, gtids};
use super::{Decision, advice, aside};
use crate::{GtidSet, Heard};

/// Age of a replica's set ([`crate::Instance::earlier`]) with which the primary's last word is compared. A stream that
/// says nothing for three heartbeats is broken, and what an agent says is [`FRESH`]: together less than this.
pub const EARLIER: SignedDuration = SignedDuration::from_secs(10);
/// Oldest state of a server, as its agent read it, by which anything is proven.
const FRESH: SignedDuration = SignedDuration::from_secs(3);

/// Why a replica can't follow with its data.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Divergence {
    /// It holds these transactions, which the primary does not have.
    Errant(GtidSet),
    /// It lacks these, of which the primary no longer has the binary logs.
    Purged(GtidSet),
}

/// All that a server has: what it received it will execute.
pub(super) fn held(state: &ServerState) -> Option<GtidSet> {
    let received = state.channel.as_ref().map_or(Some(GtidSet::default()), |c| gtids(&c.gtid_received));
    Some(gtids(&state.gtid_executed)?.union(&received?))
}

fn held_then(heard: &Heard) -> Option<GtidSet> {
    Some(gtids(&heard.gtid_executed)?.union(&gtids(&heard.gtid_received)?))
}

/// What a replica holds and the leading primary's last report lacks, but for what it may just have received. It may
/// only be newer than that report.
pub(super) fn suspected(view: &View<'_>, ordinal: u32) -> Option<GtidSet> {
    let leader = leader(view, ordinal)?;
    let state = view.live(ordinal)?.serving()?;
    let lacking = held(state)?.subtract(&gtids(&leader.gtid_executed)?);
    let receives = state.channel.as_ref().is_some_and(|c| c.receiver_running || c.receiver_connecting);
    let counted = if receives { lacking.foreign_to(&leader.server_uuid) } else { lacking };
    (!counted.is_empty()).then_some(counted)
}

fn leader<'a>(view: &View<'a>, ordinal: u32) -> Option<&'a ServerState> {
    let primary = view.primary().filter(|&p| p != ordinal && view.leads(p))?;
    view.live(primary)?.serving()
}

/// What of it is certain. [`View::errant`] keeps it.
pub(super) fn proven(view: &View<'_>, ordinal: u32) -> Option<GtidSet> {
    let suspected = suspected(view, ordinal)?;
    let leader = leader(view, ordinal)?;
    let state = view.live(ordinal)?.serving()?;
    let own = match state.server_uuid == leader.server_uuid {
        true => GtidSet::default(),
        false => suspected.of(&state.server_uuid),
    };
    let fresh = view
        .primary()
        .and_then(|p| view.live(p))
        .is_some_and(|report| leader.read_at.is_none_or(|read| report.at.duration_since(read) <= FRESH));
    let earlier = view.instance(ordinal)?.earlier.as_ref();
    let earlier = earlier.filter(|heard| fresh && view.o.now.duration_since(heard.at) >= EARLIER);
    let settled = earlier.and_then(held_then).map(|then| suspected.common(&then)).unwrap_or_default();
    let errant = own.union(&settled);
    if !was_quarantined(view, ordinal) {
        return (!errant.is_empty()).then_some(errant);
    }
    // What it received from the primary right before it was kept out may only be newer than the primary's report.
    let errant = errant.union(&suspected.foreign_to(&leader.server_uuid));
    Some(if errant.is_empty() { suspected } else { errant })
}

fn was_quarantined(view: &View<'_>, ordinal: u32) -> bool {
    let name = view.names.pod(ordinal);
    let before = view.o.cluster.status.instances.iter().find(|i| i.name == name);
    before.is_some_and(|before| before.state == InstanceState::Quarantined)
}

/// It was quarantined, and there is no primary by which that could be judged anew: what was said of it stands.
pub(super) fn undecided(view: &View<'_>, ordinal: u32) -> Option<Option<String>> {
    let leads = view.primary().is_none_or(|p| p == ordinal || view.leads(p));
    let name = view.names.pod(ordinal);
    let before = view.o.cluster.status.instances.iter().find(|i| i.name == name)?;
    (!leads && before.state == InstanceState::Quarantined).then(|| before.message.clone())
}

/// When to look again, because what is suspected is proven or gone by then.
pub(super) fn look_again(view: &View<'_>) -> Option<SignedDuration> {
    let open = |&i: &u32| view.errant(i).is_none() && suspected(view, i).is_some();
    view.o.instances.keys().any(open).then_some(SignedDuration::from_secs(2))
}

/// Why a replica's data can't be followed with. What lacks purged transactions is asked only when its set stands still.
pub(super) fn find(view: &View<'_>, ordinal: u32) -> Option<Divergence> {
    if let Some(errant) = view.errant(ordinal) {
        return Some(Divergence::Errant(errant.clone()));
    }
    let primary = view.primary().filter(|&p| p != ordinal)?;
    let leader = view.live(primary)?.serving()?;
    let state = view.live(ordinal)?.serving()?;
    if state.channel.as_ref().is_some_and(|c| c.receiver_running) {
        return None;
    }
    let gap = gtids(&leader.gtid_purged)?.subtract(&held(state)?);
    (!gap.is_empty()).then_some(Divergence::Purged(gap))
}

/// While it is not certain yet whether a replica's data goes with the primary's, it is not told to follow.
pub(super) fn open(view: &View<'_>, ordinal: u32) -> Option<Decision> {
    suspected(view, ordinal)?;
    let message = format!(
        "{} holds transactions that the primary's last report does not have: the next ones tell",
        view.names.pod(ordinal)
    );
    Some(Decision::Wait(Reason::CatchingUp, message))
}

impl Divergence {
    /// For people, with what is or can be done.
    pub(super) fn says(&self, view: &View<'_>, ordinal: u32) -> String {
        let what = match self {
            Divergence::Errant(set) => {
                format!("it holds transactions that the primary does not have ({set})")
            }
            Divergence::Purged(set) => {
                format!("the primary no longer keeps the binary logs of {set}, which it lacks")
            }
        };
        let lost_by = match self {
            Divergence::Errant(set) => lost_by_primary(view, set),
            Divergence::Purged(_) => None,
        };
        match aside::allowed(view, ordinal, self) {
            Ok(_) => format!("{what}; its volume is set aside and it is cloned anew"),
            Err(why) => format!("{what}{}", advice::divergence(view, ordinal, self, why, lost_by.as_deref())),
        }
    }
}

/// The primary, if it was the first to commit some of this, which it lacks.
fn lost_by_primary(view: &View<'_>, lacks: &GtidSet) -> Option<String> {
    let primary = view.primary()?;
    let uuid = &view.live(primary)?.serving()?.server_uuid;
    (!lacks.of(uuid).is_empty()).then(|| view.names.pod(primary))
}

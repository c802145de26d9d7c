//! What follows from a replica's data not going with the primary's.

use jiff::SignedDuration;
use mainstay_crd::InstanceState;
use mainstay_crd::conditions::Reason;

use crate::GtidSet;
use crate::facts::{Divergence, Facts};
use crate::plan::advice::{self, RESET};
use crate::plan::{Decision, aside};

/// It was quarantined, and there is no primary by which that could be judged anew: what was said of it stands.
pub(in crate::plan) fn undecided(facts: &Facts<'_>, ordinal: u32) -> Option<Option<String>> {
    let leads = facts.primary().is_none_or(|p| p == ordinal || facts.leads(p));
    let before = facts.before(ordinal)?;
    (!leads && before.state == InstanceState::Quarantined).then(|| before.message.clone())
}

/// When to look again, because what is suspected is proven or gone by then.
pub(in crate::plan) fn look_again(facts: &Facts<'_>) -> Option<SignedDuration> {
    let suspected = |i: u32| facts.suspected(i).is_some() || facts.gap(i).is_some();
    let open = |&i: &u32| facts.diverged(i).is_none() && suspected(i);
    facts.observation.instances.keys().any(open).then_some(SignedDuration::from_secs(2))
}

/// Why a replica's data can't be followed with: what is certain, and what it lacks whose set stands still.
pub(in crate::plan) fn find(facts: &Facts<'_>, ordinal: u32) -> Option<Divergence> {
    if let Some(diverged) = facts.diverged(ordinal) {
        return Some(diverged.clone());
    }
    let primary = facts.primary().filter(|&p| p != ordinal)?;
    let state = facts.serving(ordinal)?;
    if state.channel.as_ref().is_some_and(|c| c.receiver_running) {
        return None;
    }
    let gap = facts.purged(primary)?.subtract(facts.received_or_executed(ordinal)?);
    (!gap.is_empty()).then_some(Divergence::Purged(gap))
}

/// While it is not certain yet whether a replica's data goes with the primary's, it is not told to follow.
pub(in crate::plan) fn open(facts: &Facts<'_>, ordinal: u32) -> Option<Decision> {
    facts.suspected(ordinal)?;
    let message = format!(
        "{} holds transactions that the primary's last report does not have: the next ones tell",
        facts.names.pod(ordinal)
    );
    Some(Decision::Wait(Reason::CatchingUp, message))
}

impl Divergence {
    /// What it is, for people.
    pub(in crate::plan) fn what(&self, facts: &Facts<'_>, ordinal: u32) -> String {
        match self {
            Divergence::History => {
                let begun = match facts.began_anew(ordinal) {
                    true => "this server counts its transactions anew".to_owned(),
                    false => {
                        let primary = facts.primary().map(|p| facts.names.pod(p)).unwrap_or_default();
                        format!("{primary} counts its transactions anew since this copy was made")
                    }
                };
                format!("{begun} ({RESET}): GTIDs do not tell which rows it lacks")
            }
            Divergence::Errant(set) => {
                format!("it holds transactions that the primary does not have ({set})")
            }
            Divergence::Purged(set) => {
                format!("the primary no longer keeps the binary logs of {set}, which it lacks")
            }
        }
    }

    /// For people, with what is or can be done.
    pub(in crate::plan) fn says(&self, facts: &Facts<'_>, ordinal: u32) -> String {
        let what = self.what(facts, ordinal);
        let lost_by = match self {
            Divergence::Errant(set) => lost_by_primary(facts, set),
            Divergence::Purged(_) | Divergence::History => None,
        };
        match aside::allowed(facts, ordinal, self) {
            Ok(_) => format!("{what}; its volume is set aside and it is cloned anew"),
            Err(why) => {
                format!("{what}{}", advice::divergence(facts, ordinal, self, why, lost_by.as_deref()))
            }
        }
    }
}

/// The primary, if it was the first to commit some of this, which it lacks.
fn lost_by_primary(facts: &Facts<'_>, lacks: &GtidSet) -> Option<String> {
    let primary = facts.primary()?;
    let uuid = &facts.serving(primary)?.server_uuid;
    (!lacks.of(uuid).is_empty()).then(|| facts.names.pod(primary))
}

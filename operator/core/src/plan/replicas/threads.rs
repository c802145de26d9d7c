//! A replica that was told to follow, and does not keep up: what is said of it, and its threads started again.

use jiff::SignedDuration;
use mainstay_crd::conditions::Reason;
use mainstay_proto::{Action, Channel, Report, ServerState};

use crate::facts::{Facts, Seen};
use crate::plan::{Decision, advice, send};

/// Pause before stopped threads are started again, and the longest, to which it doubles.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// What the record says is brought about again: threads that a person or an error has stopped are started, with a
/// pause that grows while that does not help.
pub(in crate::plan) fn mend(
    facts: &Facts<'_>,
    ordinal: u32,
    report: &Report,
    state: &ServerState,
    follow: Action,
) -> Option<Decision> {
    if facts.in_time(ordinal) {
        return None;
    }
    let (reason, message) = telling(facts, ordinal);
    let stopped = state.channel.as_ref().is_some_and(is_stopped);
    if !stopped || report.busy() || rests(state).is_some() {
        return Some(Decision::Wait(reason, message));
    }
    Some(send(facts, report, follow, message))
}

/// Why a replica does not keep up.
pub(in crate::plan) fn telling(facts: &Facts<'_>, ordinal: u32) -> (Reason, String) {
    let name = facts.names.pod(ordinal);
    let state = facts.serving(ordinal);
    let told = state.and_then(|state| trouble(facts, ordinal, state.channel.as_ref()?));
    told.map_or_else(
        || (Reason::CatchingUp, format!("{name} is catching up")),
        |(reason, why)| (reason, format!("{name}: {why}")),
    )
}

/// What keeps a channel from replicating.
pub(in crate::plan) fn trouble(
    facts: &Facts<'_>,
    ordinal: u32,
    channel: &Channel,
) -> Option<(Reason, String)> {
    if !channel.applier_running {
        return Some(match &channel.applier_error {
            Some(error) => (
                Reason::ApplierFailed,
                format!(
                    "its applier has stopped ({error}). It is started again from time to time; if that does not help, {}",
                    advice::clone_anew(facts, ordinal)
                ),
            ),
            None => (Reason::CatchingUp, "its applier was stopped, and is started again".into()),
        });
    }
    if channel.receiver_running {
        return None;
    }
    match (&channel.receiver_error, channel.receiver_connecting) {
        (Some(error), _) => Some((Reason::ReceiverFailed, format!("its receiver has no source ({error})"))),
        (None, true) => None,
        (None, false) => Some((Reason::CatchingUp, "its receiver was stopped, and is started again".into())),
    }
}

fn is_stopped(channel: &Channel) -> bool {
    !channel.applier_running || !(channel.receiver_running || channel.receiver_connecting)
}

/// How long not to start the threads again, by what the agent says of the last time: by its own clock only. One that
/// says nothing of it is an older one; what it is told anew is paced by who sends orders.
fn rests(state: &ServerState) -> Option<SignedDuration> {
    let (started, read_at) = (state.channel_started.as_ref()?, state.read_at?);
    let pause = FIRST_PAUSE.saturating_mul(1 << started.in_a_row.min(10)).min(LONGEST_PAUSE);
    Some(pause - read_at.duration_since(started.at)).filter(|left| left.is_positive())
}

/// When the first replica's threads may be started again.
pub(in crate::plan) fn look_again(facts: &Facts<'_>) -> Option<SignedDuration> {
    let states = facts.observation.instances.keys().filter_map(|&i| facts.serving(i));
    let stopped = states.filter(|state| state.channel.as_ref().is_some_and(is_stopped));
    stopped.filter_map(rests).min()
}

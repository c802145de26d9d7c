//! Options that safety rests on: a server that has one otherwise, and whose agent could not set it back, does not serve.
//! One whose agent can't look serves on, but is not called well.

use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{ANNOTATION_SWITCHOVER_TO, SWITCHOVER_TO_ANY};
use mainstay_proto::{Report, Server};

use crate::facts::{Facts, Seen};
use crate::plan::{Decision, advice, eligible};

/// What is wrong with a server's options, and what to do.
pub(in crate::plan) fn unsafe_ones(report: &Report) -> Option<String> {
    let options = &report.serving()?.unsafe_options;
    let each = options.iter().map(|o| format!("{} is {} and must be {}", o.name, o.value, o.wanted));
    let all = each.collect::<Vec<_>>().join(", ");
    (!options.is_empty()).then(|| {
        format!(
            "its server runs with options that would lose data, and they can't be set while it runs: {all}. Delete the \
             pod {}: what was persisted is left out at its next start",
            report.identity.pod_name
        )
    })
}

/// The primary has one: it does not serve until it was started anew.
pub(in crate::plan) fn of_primary(facts: &Facts<'_>) -> Option<Decision> {
    let primary = facts.primary()?;
    let message = unsafe_ones(facts.live(primary)?)?;
    Some(Decision::Blocked(Reason::UnsafeOptions, format!("{}: {message}", facts.names.pod(primary))))
}

/// The first instance whose agent can't see to its server, though that serves.
pub(in crate::plan) fn unseen(facts: &Facts<'_>) -> Option<(Reason, String)> {
    let told = |i| Some((Reason::AgentDenied, format!("{}: {}", facts.names.pod(i), denied(facts, i)?)));
    (0..facts.wanted()).find_map(told)
}

/// Why the agent can't see to its server, and what to do. To stand down, a server whose agent is not let in is killed and
/// started again; and each start makes the agent's accounts anew.
pub(in crate::plan) fn denied(facts: &Facts<'_>, ordinal: u32) -> Option<String> {
    let why = facts.serving(ordinal)?.agent_denied.as_ref()?;
    let pod = facts.names.pod(ordinal);
    let leads = facts.leads(ordinal);
    let first = match eligible::best(facts).filter(|_| leads) {
        Some(_) => format!(
            "Hand over first ({}), which starts its server again, and makes its accounts anew; else delete the pod {pod}",
            advice::annotate(facts, ANNOTATION_SWITCHOVER_TO, SWITCHOVER_TO_ANY)
        ),
        None if leads => format!(
            "Delete the pod {pod}, which makes the accounts anew as it starts: nobody can take over, so nobody can write \
             until it is back"
        ),
        None => format!("Delete the pod {pod}, which makes the accounts anew as it starts"),
    };
    Some(format!(
        "its agent can't do its work on the server, so that nothing it says of safety holds ({why}). The account \
         mainstay_agent was probably changed. {first}"
    ))
}

/// Why a server does not serve, if that is known.
pub(in crate::plan) fn not_up(report: &Report) -> String {
    let why = match &report.server {
        Server::Silent { error } => Some(format!("its server does not answer: {error}")),
        Server::Stopped { last_exit: Some(exit) } => Some(format!("its server has ended: {exit}")),
        _ => None,
    };
    why.unwrap_or_else(|| "its server is not up yet".into())
}

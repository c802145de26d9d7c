//! Options that safety rests on: a server that has one otherwise, and whose agent could not set it back, does not serve.

use mainstay_crd::conditions::Reason;
use mainstay_proto::Report;

use super::Decision;
use crate::facts::{Facts, Seen};

/// What is wrong with a server's options, and what to do.
pub(super) fn unsafe_ones(report: &Report) -> Option<String> {
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
pub(super) fn of_primary(view: &Facts<'_>) -> Option<Decision> {
    let primary = view.primary()?;
    let message = unsafe_ones(view.live(primary)?)?;
    Some(Decision::Blocked(Reason::UnsafeOptions, format!("{}: {message}", view.names.pod(primary))))
}

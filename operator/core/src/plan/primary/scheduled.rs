//! Which scheduled events are to stay disabled where the lead goes.

use std::collections::BTreeSet;

use mainstay_proto::{Action, Directory, EventName, GrantedRole, Report, Server};

use crate::Agent;
use crate::facts::Facts;

/// What an order for `ordinal` says of disabled events. Only who led last knows; on replicas they are all alike.
pub(in crate::plan) fn disabled(facts: &Facts<'_>, ordinal: u32, action: &Action) -> Option<Vec<EventName>> {
    if !matches!(action, Action::Lead { .. }) {
        return None;
    }
    let others = facts.observation.instances.iter().filter(|(other, _)| **other != ordinal);
    let reports = others.filter_map(|(_, instance)| match &instance.agent {
        Agent::Live { report, .. } | Agent::Broken { report, .. } => Some(&**report),
        Agent::Unheard => None,
    });
    let known: Vec<&Vec<EventName>> = reports.filter_map(told).collect();
    let all: BTreeSet<&EventName> = known.iter().copied().flatten().collect();
    (!known.is_empty()).then(|| all.into_iter().cloned().collect())
}

/// What an instance says that led and has not followed since.
fn told(report: &Report) -> Option<&Vec<EventName>> {
    let Directory::Complete { marker } = &report.directory else { return None };
    let role = marker.grant.as_ref().map(|grant| &grant.role);
    match &report.server {
        Server::Running { state } if !matches!(role, Some(GrantedRole::Replica { .. })) => {
            state.disabled_events.as_ref()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mainstay_proto::{Endpoint, Grant, Identity, Marker, ServerState, Stage, Term};

    use super::*;

    fn report(role: Option<GrantedRole>, events: Option<&[&str]>) -> Report {
        let name = |name: &&str| EventName { schema: "d".into(), name: (*name).into() };
        let disabled_events = events.map(|events| events.iter().map(name).collect());
        let grant = role.map(|role| Grant { term: Term::default(), role });
        Report {
            proto: 1,
            agent_version: String::new(),
            identity: Identity::default(),
            stage: Stage::Serve,
            at: jiff::Timestamp::UNIX_EPOCH,
            highest: Term::default(),
            directory: Directory::Complete { marker: Marker { grant, ..Marker::default() } },
            task: None,
            server: Server::Running {
                state: Box::new(ServerState { disabled_events, ..ServerState::default() }),
            },
            space: None,
            volume_silent_since: None,
            ending: false,
        }
    }

    #[test]
    fn only_who_led_last_knows_which_events_are_disabled() {
        let source = Endpoint { host: "h".into(), port: 1 };
        let replica = || Some(GrantedRole::Replica { source: source.clone() });
        let primary = || Some(GrantedRole::Primary { alone: false });
        assert!(told(&report(primary(), Some(&["z"]))).is_some());
        assert!(told(&report(None, Some(&[]))).is_some(), "it stood down");
        assert!(told(&report(replica(), Some(&[]))).is_none());
        assert!(told(&report(primary(), None)).is_none(), "an older agent");
    }
}

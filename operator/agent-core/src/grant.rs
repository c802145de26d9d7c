//! The role that is granted on the volume: which order grants it, and what a restart may resume by it.

use mainstay_proto::{Action, Grant, GrantedRole, Term};

/// What is written on the volume when an order gives a role. Nothing if it takes the role back, or is about none.
pub fn of(action: &Action, term: Term) -> Option<Grant> {
    let role = match action {
        Action::Lead { alone } => GrantedRole::Primary { alone: *alone },
        Action::Follow { source } => GrantedRole::Replica { source: source.clone() },
        Action::StandDown | Action::Initialize { .. } | Action::Clone { .. } | Action::Receive { .. } => {
            return None;
        }
    };
    Some(Grant { term, role })
}

/// What an agent orders itself after a start of its server, by the order that granted it (invariant I8). Nothing where others may have been promoted
/// meanwhile: only the operator knows.
pub fn resumed(grant: Option<&Grant>) -> Option<(Term, Action)> {
    let Grant { term, role } = grant?;
    let action = match role {
        GrantedRole::Replica { source } => Action::Follow { source: source.clone() },
        GrantedRole::Primary { alone: true } => Action::Lead { alone: true },
        GrantedRole::Primary { alone: false } => return None,
    };
    Some((*term, action))
}

/// Whether it waits before that for the operator to look at the volume, which another pod had mounted: it may have been
/// set back.
pub fn waits(grant: Option<&Grant>, moved: bool) -> bool {
    moved && resumed(grant).is_some()
}

/// What is to be judged of a server that came up with what was `found`: what it came up with first since another pod had
/// its volume and no operator has judged it. It may have written or received since then what it had lost.
pub fn unjudged<T>(before: Option<T>, found: T, moved: bool) -> Option<T> {
    before.or_else(|| moved.then_some(found))
}

#[cfg(test)]
mod tests {
    use mainstay_proto::Endpoint;

    use super::*;

    fn follow() -> Action {
        Action::Follow { source: Endpoint { host: "h".into(), port: 1 } }
    }

    #[test]
    fn who_may_have_been_replaced_resumes_nothing_and_who_moved_waits() {
        let cases = [
            (Action::StandDown, None),
            (Action::Lead { alone: false }, None),
            (Action::Lead { alone: true }, Some(Action::Lead { alone: true })),
            (follow(), Some(follow())),
        ];
        let term = Term { epoch: 1, revision: 2 };
        for (ordered, expected) in cases {
            let grant = of(&ordered, term);
            assert_eq!(resumed(grant.as_ref()), expected.clone().map(|action| (term, action)));
            assert!(!waits(grant.as_ref(), false));
            assert_eq!(waits(grant.as_ref(), true), expected.is_some());
        }
    }

    #[test]
    fn what_was_found_first_is_judged_and_nothing_where_no_other_pod_had_the_volume() {
        assert_eq!(unjudged(None, "1-3", false), None);
        assert_eq!(unjudged(None, "1-3", true), Some("1-3"));
        for moved in [false, true] {
            assert_eq!(unjudged(Some("1-3"), "1-9", moved), Some("1-3"));
        }
    }
}

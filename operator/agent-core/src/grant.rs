//! What a restart may resume, by the grant on the volume.

use mainstay_proto::{Action, Grant, GrantedRole};

/// What an agent orders itself after a start of its server (invariant I8). Nothing, if others may have been promoted
/// meanwhile: only the operator knows.
pub fn resumed(grant: Option<&Grant>) -> Option<Action> {
    match &grant?.role {
        GrantedRole::Replica { source } => Some(Action::Follow { source: source.clone() }),
        GrantedRole::Primary { alone: true } => Some(Action::Lead { alone: true }),
        GrantedRole::Primary { alone: false } => None,
    }
}

/// Whether it waits before that for the operator to look at the volume, which another pod had mounted: it may have been
/// set back.
pub fn waits(grant: Option<&Grant>, moved: bool) -> bool {
    moved && resumed(grant).is_some()
}

#[cfg(test)]
mod tests {
    use mainstay_proto::{Endpoint, Fence};

    use super::*;

    #[test]
    fn who_may_have_been_replaced_resumes_nothing_and_who_moved_waits() {
        let source = Endpoint { host: "h".into(), port: 1 };
        let cases = [
            (None, None),
            (Some(GrantedRole::Primary { alone: false }), None),
            (Some(GrantedRole::Primary { alone: true }), Some(Action::Lead { alone: true })),
            (Some(GrantedRole::Replica { source: source.clone() }), Some(Action::Follow { source })),
        ];
        for (role, expected) in cases {
            let grant = role.map(|role| Grant { fence: Fence::default(), role });
            assert_eq!(resumed(grant.as_ref()), expected);
            assert!(!waits(grant.as_ref(), false));
            assert_eq!(waits(grant.as_ref(), true), expected.is_some());
        }
    }
}

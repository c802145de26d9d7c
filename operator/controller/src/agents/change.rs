//! Which changes of a report could matter to a decision.

use mainstay_proto::Report;

/// Whether `new` says something that could matter, and not only what moves all the time: see [`Report::still`].
pub(crate) fn matters(old: &Report, new: &Report) -> bool {
    old.still() != new.still()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use mainstay_proto::{
        Channel, Directory, Identity, Marker, Progress, Server, ServerState, Stage, Task, TaskState, Term,
    };

    pub(crate) fn report() -> Report {
        Report {
            proto: mainstay_proto::VERSION,
            agent_version: "0.1.0".into(),
            identity: Identity {
                pod_uid: "uid-1".into(),
                ordinal: 1,
                namespace: "db".into(),
                cluster: "shop".into(),
                ..Identity::default()
            },
            stage: Stage::Serve,
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            highest: Term { epoch: 1, revision: 2 },
            directory: Directory::Complete { marker: Marker::default() },
            task: None,
            space: None,
            volume_silent_since: None,
            ending: false,
            server: Server::Running {
                state: Box::new(ServerState {
                    gtid_executed: "u:1-9".into(),
                    channel: Some(Channel {
                        receiver_running: true,
                        lag_seconds: Some(0),
                        ..Channel::default()
                    }),
                    ..ServerState::default()
                }),
            },
        }
    }

    fn changed(change: impl FnOnce(&mut ServerState)) -> Report {
        let mut report = report();
        if let Server::Running { state } = &mut report.server {
            change(state);
        }
        report
    }

    #[test]
    fn transactions_time_and_small_lag_are_silent() {
        let mut later = changed(|state| {
            state.gtid_executed = "u:1-10".into();
            state.channel.as_mut().unwrap().lag_seconds = Some(1);
            state.channel.as_mut().unwrap().gtid_received = String::new();
        });
        later.at = "2026-01-01T00:00:02Z".parse().unwrap();
        assert!(!matters(&report(), &later));
    }

    #[test]
    fn what_a_replica_commits_itself_is_not() {
        let mine = |last: u32| {
            changed(|state| {
                state.server_uuid = "4f22".into();
                state.gtid_executed = format!("3e11:1-9,4f22:1-{last}");
            })
        };
        assert!(matters(&mine(1), &mine(2)));
    }

    #[test]
    fn progress_is_silent_but_its_end_is_not() {
        let task = |state, bytes| {
            let progress = Some(Progress { bytes, ..Progress::default() });
            let mut report = report();
            let term = Term::default();
            report.task = Some(Task {
                id: String::new(),
                term,
                kind: "Clone".into(),
                operation: None,
                state,
                progress,
            });
            report
        };
        assert!(!matters(&task(TaskState::Running, 1), &task(TaskState::Running, 2)));
        assert!(matters(&task(TaskState::Running, 1), &task(TaskState::Done, 1)));
    }

    #[test]
    fn what_a_decision_may_hang_on_is_told() {
        let matter: [(&str, Report); 7] = [
            ("read-only", changed(|s| s.super_read_only = true)),
            ("no transactions any more", changed(|s| s.gtid_executed = String::new())),
            ("receiver", changed(|s| s.channel.as_mut().unwrap().receiver_running = false)),
            ("far behind", changed(|s| s.channel.as_mut().unwrap().lag_seconds = Some(31))),
            ("lag unknown", changed(|s| s.channel.as_mut().unwrap().lag_seconds = None)),
            ("stopped", Report { server: Server::Stopped { last_exit: None }, ..report() }),
            ("directory", Report { directory: Directory::Empty, ..report() }),
        ];
        for (what, new) in matter {
            assert!(matters(&report(), &new), "{what}");
        }
    }
}

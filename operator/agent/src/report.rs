//! Everything that the agent knows, for whoever asks.

use std::sync::Arc;

use jiff::Timestamp;
use mainstay_proto::{
    Directory, GrantedRole, Identity, Progress, Report, Server, Space, Stage, Task, Term, VERSION,
};
use tokio::sync::watch;

/// Holds the current report and tells its watchers about changes that matter at once. GTID sets, lag and progress
/// move all the time: they are in every report, but wait for the next heartbeat.
#[derive(Clone, Debug)]
pub(crate) struct ReportPublisher {
    report: Arc<watch::Sender<Report>>,
}

impl ReportPublisher {
    /// One that knows only who it is.
    pub(crate) fn new(identity: Identity, stage: Stage) -> Self {
        let report = Report {
            proto: VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            identity,
            stage,
            at: Timestamp::now(),
            highest: Term::default(),
            directory: Directory::Unusable { message: "not looked at yet".to_owned() },
            task: None,
            server: Server::Stopped { last_exit: None },
            space: None,
            volume_silent_since: None,
            ending: false,
        };
        ReportPublisher { report: Arc::new(watch::Sender::new(report)) }
    }

    /// Whether the instance was told to follow another.
    pub(crate) fn follows(&self) -> bool {
        let Directory::Complete { marker } = self.report().directory else { return false };
        marker.grant.is_some_and(|grant| matches!(grant.role, GrantedRole::Replica { .. }))
    }

    /// The current report, dated now.
    pub(crate) fn report(&self) -> Report {
        dated(&self.report.borrow())
    }

    /// Ordinal of the instance.
    pub(crate) fn ordinal(&self) -> u32 {
        self.report.borrow().identity.ordinal
    }

    /// Wakes on changes that matter.
    pub(crate) fn watch(&self) -> watch::Receiver<Report> {
        self.report.subscribe()
    }

    /// What is on the volume.
    pub(crate) fn volume(&self, directory: Directory, highest: Term) {
        self.change(|report| {
            report.directory = directory;
            report.highest = highest;
        });
    }

    /// The order that is being carried out, or was.
    pub(crate) fn task(&self, task: Task) {
        self.change(|report| report.task = Some(task));
    }

    /// How far the running clone is.
    pub(crate) fn progress(&self, progress: Progress) {
        self.change(|report| {
            if let Some(task) = &mut report.task {
                task.progress = Some(progress);
            }
        });
    }

    /// Room on the volume.
    pub(crate) fn space(&self, space: Space) {
        self.change(|report| report.space = Some(space));
    }

    /// Since when the volume has not answered; `None` if it does. Returns whether that is news.
    pub(crate) fn volume_silent(&self, since: Option<Timestamp>) -> bool {
        let news = self.report.borrow().volume_silent_since != since;
        if news {
            self.change(|report| report.volume_silent_since = since);
        }
        news
    }

    /// The container was told to end.
    pub(crate) fn ending(&self) {
        self.change(|report| report.ending = true);
    }

    /// Whether anybody listens: an operator, for as long as its stream is open.
    pub(crate) fn is_heard(&self) -> bool {
        self.report.receiver_count() > 0
    }

    /// The server.
    pub(crate) fn server(&self, server: Server) {
        self.change(|report| report.server = server);
    }

    fn change(&self, change: impl FnOnce(&mut Report)) {
        self.report.send_if_modified(|report| {
            let before = report.still();
            change(report);
            report.still() != before
        });
    }
}

/// A copy of the report with the present time.
pub(crate) fn dated(report: &Report) -> Report {
    Report { at: Timestamp::now(), ..report.clone() }
}

#[cfg(test)]
mod tests {
    use mainstay_proto::{Channel, ServerState};

    use super::*;

    fn running(change: impl FnOnce(&mut ServerState)) -> Server {
        let mut state = ServerState { channel: Some(Channel::default()), ..ServerState::default() };
        change(&mut state);
        Server::Running { state: Box::new(state) }
    }

    #[test]
    fn movement_is_in_the_report_but_wakes_nobody_and_a_change_does() {
        let publisher = ReportPublisher::new(Identity::default(), Stage::Serve);
        publisher.server(running(|state| {
            state.gtid_executed = "u:1-8".into();
            state.channel.as_mut().unwrap().lag_seconds = Some(1);
        }));
        let mut watch = publisher.watch();
        publisher.server(running(|state| {
            state.gtid_executed = "u:1-9".into();
            state.channel.as_mut().unwrap().lag_seconds = Some(4);
        }));
        assert!(!watch.has_changed().unwrap());
        let Server::Running { state } = publisher.report().server else { unreachable!() };
        assert_eq!(state.gtid_executed, "u:1-9");
        assert_eq!(state.channel.unwrap().lag_seconds, Some(4));
        publisher.server(running(|state| state.channel.as_mut().unwrap().receiver_running = true));
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        publisher.server(Server::Starting);
        assert!(watch.has_changed().unwrap());
    }
}

//! A primary that is told to end hands over first.
//!
//! The kubelet sends SIGTERM when a pod is deleted, evicted, or its node is shut down. Were mysqld stopped at once, nobody
//! could write until a pod had come up again. So a primary with replicas serves on for a moment and says that it is ending:
//! the operator then has a replica take over, by the same orders as ever. If none comes, it ends as any other does.

use std::time::Duration;

use mainstay_proto::{Action, Directory, GrantedRole, Report};
use tokio::time::timeout;

use crate::report::ReportPublisher;

/// Longest time until the operator has begun. Clients are served meanwhile.
const BEGIN: Duration = Duration::from_secs(3);
/// Longest time from then until another leads. Nobody can write meanwhile, and the one that takes over fetches from here
/// what it lacks.
const END: Duration = Duration::from_secs(10);

/// Most of the time that a pod is given to end which this may take.
pub(crate) const BOUND: Duration = BEGIN.saturating_add(END);

/// Where the report says that the instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It is to lead, and has replicas.
    Leads,
    /// It stood down, and nobody has said yet what comes of it.
    StoodDown,
    /// Nobody waits for it: it follows, or has no role that another could take.
    Settled,
}

fn stand(report: &Report) -> Stand {
    let Directory::Complete { marker } = &report.directory else { return Stand::Settled };
    match marker.grant.as_ref().map(|grant| &grant.role) {
        Some(GrantedRole::Primary { alone: false }) => Stand::Leads,
        None => Stand::StoodDown,
        Some(GrantedRole::Primary { alone: true } | GrantedRole::Replica { .. }) => Stand::Settled,
    }
}

/// It leads, or was just told to stand down. One that never led has nobody to wait for.
fn waits(report: &Report) -> bool {
    let stood = report.task.as_ref().is_some_and(|task| task.kind == Action::StandDown.kind());
    match stand(report) {
        Stand::Leads => true,
        Stand::StoodDown => stood,
        Stand::Settled => false,
    }
}

/// Says that this instance ends, and comes back once another leads, or there is nobody to wait for.
pub(crate) async fn over(publisher: &ReportPublisher) {
    let heard = publisher.is_heard();
    publisher.ending();
    let mut reports = publisher.watch();
    if !heard || !waits(&publisher.report()) {
        return;
    }
    tracing::info!("it leads and is told to end: it serves on until a replica takes over, or nobody can");
    // Fails only if the publisher is gone.
    let begun = timeout(BEGIN, reports.wait_for(|report| stand(report) != Stand::Leads)).await.is_ok();
    if !begun {
        tracing::info!("nobody takes over: it ends");
        return;
    }
    let ended = timeout(END, reports.wait_for(|report| stand(report) != Stand::StoodDown)).await.is_ok();
    tracing::info!(ended, "it has handed over, or the lead came back to it: it ends");
}

#[cfg(test)]
mod tests {
    use mainstay_proto::{Endpoint, Grant, Identity, Marker, Stage, Term};

    use super::*;

    fn holds(publisher: &ReportPublisher, role: Option<GrantedRole>) {
        let grant = role.map(|role| Grant { term: Term::default(), role });
        let marker = Marker { grant, ..Marker::default() };
        publisher.volume(Directory::Complete { marker }, Term::default());
    }

    fn replica() -> GrantedRole {
        GrantedRole::Replica { source: Endpoint { host: "shop-1".into(), port: 3306 } }
    }

    fn publisher(role: Option<GrantedRole>) -> ReportPublisher {
        let publisher = ReportPublisher::new(Identity::default(), Stage::Serve);
        holds(&publisher, role);
        publisher
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nobody_to_hand_over_to_ends_at_once() {
        for role in [Some(GrantedRole::Primary { alone: true }), Some(replica()), None] {
            let publisher = publisher(role);
            let _operator = publisher.watch();
            timeout(Duration::ZERO, over(&publisher)).await.unwrap();
            assert!(publisher.report().ending);
        }
        let unheard = publisher(Some(GrantedRole::Primary { alone: false }));
        timeout(Duration::ZERO, over(&unheard)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_primary_waits_until_it_follows_another_and_not_for_ever() {
        let publisher = publisher(Some(GrantedRole::Primary { alone: false }));
        let _operator = publisher.watch();
        let waits = async |publisher: &ReportPublisher| {
            timeout(Duration::from_secs(2), over(publisher)).await.is_err()
        };
        assert!(waits(&publisher).await, "the operator is to be given time");
        let over = tokio::spawn({
            let publisher = publisher.clone();
            async move { over(&publisher).await }
        });
        tokio::task::yield_now().await;
        holds(&publisher, None);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!over.is_finished(), "the next primary fetches what it lacks");
        holds(&publisher, Some(replica()));
        timeout(Duration::from_millis(1), over).await.unwrap().unwrap();

        for role in [Some(GrantedRole::Primary { alone: false }), None] {
            holds(&publisher, Some(GrantedRole::Primary { alone: false }));
            let over = tokio::spawn({
                let publisher = publisher.clone();
                async move { super::over(&publisher).await }
            });
            tokio::task::yield_now().await;
            holds(&publisher, role);
            timeout(BOUND, over).await.expect("it ends though nobody says more").unwrap();
        }
    }
}

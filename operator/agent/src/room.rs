//! Looks at the room on the volume.
//!
//! Of a server whose disk is full nobody hears an error: it just waits. And on a volume that does not answer a look never
//! comes back, and nothing can end it. So looks have a thread of their own and are made one at a time; what is told
//! meanwhile is since when there is no answer.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_proto::Space;
use tokio::sync::mpsc as answers;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::report::ReportPublisher;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// A volume that takes longer is told to be silent. On a network's file system a look may take its time.
pub(crate) const SILENT: Duration = Duration::from_secs(5);

/// The room on the file system of `volume`.
pub(crate) fn of(volume: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(volume)?;
    Ok(Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
}

/// Publishes what `look` finds, and since when it has not come back if that is longer than `silent`. Comes back
/// only if there can be no thread.
pub(crate) async fn follow(
    publisher: ReportPublisher,
    silent: Duration,
    look: impl Fn() -> io::Result<Space> + Send + 'static,
) {
    let (ask, asked) = mpsc::channel();
    let (answer, mut answers) = answers::unbounded_channel();
    // Not one of the runtime's: those are waited for when the agent ends.
    let thread = thread::Builder::new().name("room".to_owned()).spawn(move || {
        for () in asked {
            if answer.send(look()).is_err() {
                return;
            }
        }
    });
    if let Err(error) = thread {
        tracing::error!(%error, "there is no thread for looks at the volume");
        return;
    }
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let since = Timestamp::now();
        if ask.send(()).is_err() {
            return;
        }
        let mut found = timeout(silent, answers.recv()).await;
        if found.is_err() {
            tracing::warn!("the volume does not answer");
            publisher.volume_silent(Some(since));
            found = Ok(answers.recv().await);
        }
        if let Ok(Some(Ok(space))) = found {
            publisher.space(space);
        }
        if publisher.volume_silent(None) {
            tracing::info!(%since, "the volume answers again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use mainstay_proto::{Identity, Server, Stage};

    use super::*;

    #[tokio::test]
    async fn a_volume_that_does_not_answer_is_told_and_holds_up_no_report() {
        let publisher = ReportPublisher::new(Identity::default(), Stage::Serve);
        let (volume_answers, volume) = mpsc::channel::<Space>();
        let looks = Arc::new(AtomicU32::new(0));
        let counted = looks.clone();
        let look = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            volume.recv().map_err(io::Error::other)
        };
        tokio::spawn(follow(publisher.clone(), Duration::from_millis(20), look));
        let mut reports = publisher.watch();
        let told = reports.wait_for(|report| report.volume_silent_since.is_some()).await.unwrap().clone();
        // What else there is to say is said, to who watches and to who asks.
        publisher.server(Server::Starting);
        let report = reports.wait_for(|report| report.server == Server::Starting).await.unwrap().clone();
        assert_eq!(report.volume_silent_since, told.volume_silent_since);
        assert!(publisher.report().at > told.at);
        assert_eq!(looks.load(Ordering::SeqCst), 1, "no second look is begun");
        let space = Space { free: 1 << 40, total: 1 << 41 };
        volume_answers.send(space).unwrap();
        let report = reports.wait_for(|report| report.volume_silent_since.is_none()).await.unwrap().clone();
        assert_eq!(report.space, Some(space));
        // It looks on.
        volume_answers.send(Space::default()).unwrap();
        reports.wait_for(|report| report.space == Some(Space::default())).await.unwrap();
    }

    #[test]
    fn a_directory_has_room() {
        let space = of(&crate::testing::directory()).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
    }
}

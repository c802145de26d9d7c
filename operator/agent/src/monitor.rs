//! Keeps the board's view of the server current while it runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mainstay_proto::{Server, Space};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::context::Session;
use crate::report::Board;
use crate::sql::{Client, SqlError, state};

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// Looks in a row that must fail before the server is called silent.
const PATIENCE: u32 = 3;

/// Looks at the server until it is cancelled.
pub(crate) async fn run(board: Board, session: Session, volume: PathBuf) {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = None;
    let mut failures = 0;
    loop {
        tick.tick().await;
        look_for_room(&board, &volume).await;
        match observe(&board, &session, &mut client).await {
            Ok(()) => failures = 0,
            Err(error) => {
                client = None;
                failures += 1;
                if failures == PATIENCE {
                    tracing::warn!(%error, "the server does not answer");
                }
                if failures >= PATIENCE {
                    board.server(Server::Silent { error: error.to_string() });
                }
            }
        }
    }
}

/// A server whose disk is full often just waits, without an error that anybody could read.
async fn look_for_room(board: &Board, volume: &Path) {
    let volume = volume.to_owned();
    // On a network's file system this may take its time.
    let looked = spawn_blocking(move || rustix::fs::statvfs(&volume)).await;
    if let Ok(Ok(stat)) = looked {
        board.space(Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize });
    }
}

/// Reads the server's state and puts it on the board.
pub(crate) async fn observe(
    board: &Board,
    session: &Session,
    client: &mut Option<Client>,
) -> Result<(), SqlError> {
    let _turn = session.live.observing.lock().await;
    let connected = match client {
        Some(connected) => connected,
        None => client.insert(Client::connect(&session.access).await?),
    };
    let mut now = state::read(connected).await?;
    // A thread of the channel that takes long to stop holds this up; the server is not silent for that.
    match state::channel(connected).await {
        Ok(channel) => now.channel = channel.map(|channel| session.live.lag.since(channel, Instant::now())),
        Err(SqlError::Timeout { .. }) => {
            *client = None;
            if let Server::Running { state } = board.report().server {
                now.channel = state.channel;
            }
        }
        Err(error) => return Err(error),
    }
    now.setting_errors = session.live.setting_errors();
    now.gtid_at_start.clone_from(&session.live.start().gtids);
    now.started_at = session.live.start().at;
    now.held = session.live.held();
    now.unconfirmed = session.live.unconfirmed();
    board.server(Server::Running { state: Box::new(now) });
    Ok(())
}

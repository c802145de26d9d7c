//! Keeps the board's view of the server current while it runs.

use std::time::{Duration, Instant};

use mainstay_proto::Server;
use tokio::time::{MissedTickBehavior, interval};

use crate::context::Session;
use crate::report::Board;
use crate::sql::{Client, SqlError, state};

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// Looks in a row that must fail before the server is called silent.
const PATIENCE: u32 = 3;

/// Looks at the server until it is cancelled.
pub(crate) async fn run(board: Board, session: Session) {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = None;
    let mut failures = 0;
    loop {
        tick.tick().await;
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
    board.server(Server::Running { state: Box::new(now) });
    Ok(())
}

//! Keeps what is told of the server current while it runs.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mainstay_proto::{Channel, Server};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::context::{Command, Session};
use crate::history;
use crate::report::ReportPublisher;
use crate::shut_out;
use crate::sql::{Client, SqlError, required, state};
use crate::volume::Store;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// Time between two looks at the options that safety rests on.
const OPTIONS: Duration = Duration::from_secs(60);
/// Time until the next look after one that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// Longest time for what is said to a server that is about to end the agent's session.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Looks in a row that must fail before the server is called silent.
const PATIENCE: u32 = 3;

/// Looks at the server until it is cancelled, or the server says that it stops, because somebody told it to.
pub(crate) async fn run(
    publisher: ReportPublisher,
    store: Store,
    session: Session,
    commands: mpsc::Sender<Command>,
    stopping: CancellationToken,
) {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = None;
    let mut failures = 0;
    let mut options = Instant::now() + OPTIONS;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopping.cancelled() => {
                tracing::info!("the server says that it was told to stop");
                publisher.server(Server::Stopping);
                return make_way(&session, client).await;
            }
        }
        if Instant::now() >= options {
            options = Instant::now() + look_at_options(&session, client.as_mut()).await;
        }
        match observe(&publisher, &store, &session, &mut client).await {
            Ok(()) => {
                failures = 0;
                if let Some(client) = &mut client {
                    shut_out::see_to_it(&publisher, &session, client, &commands).await;
                }
            }
            Err(error) => {
                client = None;
                failures += 1;
                if failures == PATIENCE {
                    tracing::warn!(%error, "the server does not answer");
                    if error.is_denied() {
                        shut_out::start_again(&commands, &error.to_string());
                    }
                }
                if failures >= PATIENCE {
                    publisher.server(Server::Silent { error: error.to_string() });
                }
            }
        }
    }
}

/// What keeps a server that was told to stop from doing so at once: it waits 2 s if any session is open at this moment,
/// and while it has a replica up to 10 s for all else that is no replica's, its event scheduler too (seen on 9.7.4).
/// It has not ended the agent's session yet; if it has, nothing is worse than without.
async fn make_way(session: &Session, client: Option<Client>) {
    let Some(mut client) = client else { return };
    if session.run.writable() {
        let stop = client.run("stop the event scheduler", "SET GLOBAL event_scheduler = OFF");
        if let Ok(Err(error)) = timeout(LAST_WORD, stop).await {
            tracing::debug!(%error, "the server stops with its event scheduler");
        }
    }
    // What is left unsaid, the server does by itself.
    let _ = timeout(LAST_WORD, client.close()).await;
}

/// Reads the options back that safety rests on, and sets back what can be. `client` is a session that is open: for when
/// there is no new one. Returns when to look again.
pub(crate) async fn look_at_options(session: &Session, client: Option<&mut Client>) -> Duration {
    let connected = Client::connect(&session.access).await;
    session.run.entry.asked(&connected);
    let outcome = match (connected, client) {
        (Ok(mut new), _) => required::enforce(&mut new).await,
        (Err(_), Some(open)) => required::enforce(open).await,
        (Err(error), None) => Err(error),
    };
    session.run.entry.looked(&outcome);
    match outcome {
        Ok(outcome) => {
            session.run.looked_at_options(outcome);
            OPTIONS
        }
        Err(error) => {
            tracing::warn!(%error, "the options that safety rests on could not be read");
            AGAIN
        }
    }
}

/// Reads the server's state and publishes it.
pub(crate) async fn observe(
    publisher: &ReportPublisher,
    store: &Store,
    session: &Session,
    client: &mut Option<Client>,
) -> Result<(), SqlError> {
    let _turn = session.run.observing.lock().await;
    let connected = match client {
        Some(connected) => connected,
        None => {
            // An order was carried out, or the server was silent.
            session.run.forget_events();
            client.insert(Client::connect(&session.access).await?)
        }
    };
    // Before the sets are read: what is told of their time is never too late.
    let read_at = Timestamp::now();
    let mut now = state::read(connected).await?;
    now.read_at = Some(read_at);
    // Before the sets are told: who reads them knows from which count they are.
    now.history = Some(history::of(&session.run.history, store, publisher.ordinal(), connected, &now).await?);
    now.disabled_events = session.run.events(connected).await?;
    // A thread of the channel that takes long to stop holds this up; the server is not silent for that.
    let read_at = Some(Timestamp::now());
    match state::channel(connected).await {
        Ok(channel) => {
            let since = |channel| Channel { read_at, ..session.run.lag.since(channel, Instant::now()) };
            now.channel = channel.map(since);
        }
        Err(SqlError::Timeout { .. }) => {
            *client = None;
            if let Server::Running { state } = publisher.report().server {
                now.channel = state.channel;
            }
        }
        Err(error) => return Err(error),
    }
    now.setting_errors = session.run.setting_errors();
    now.unsafe_options = session.run.unsafe_options();
    now.agent_denied = session.run.entry.trouble();
    now.channel_started = session.run.channel_started();
    now.setting_errors.extend(session.run.account_errors());
    now.gtid_at_start.clone_from(&session.run.start().gtids);
    now.started_at = session.run.start().at;
    now.awaits_operator = session.run.awaits_operator();
    now.unconfirmed = session.run.unconfirmed();
    publisher.server(Server::Running { state: Box::new(now) });
    Ok(())
}

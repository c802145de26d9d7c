//! Runs mysqld for as long as the container lives.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_agent_core::grant;
use mainstay_proto::{Directory, History, Server};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::accounts::Unproven;
use crate::context::{Command, Context, Mounted, Session, Start};
use crate::digest::digest;
use crate::executor::Executor;
use crate::first_look::{came_with, look_at_start};
use crate::mysqld::options::{Purpose, Role};
use crate::mysqld::{Exit, Files, Mysqld, ProcessError, persisted};
use crate::task::TaskError;
use crate::tasks;
use crate::{accounts, hand_over, monitor, shutdown};

/// Time between two looks at a directory that must not be served.
const LOOK: Duration = Duration::from_secs(2);
/// First and longest pause before a server that ended by itself is started again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Longest time that a role waits for the operator on a volume that a new pod has mounted.
const HOLD: Duration = Duration::from_secs(10);
/// A server that answered for this long has overcome what ended it before.
const STEADY: Duration = Duration::from_secs(60);

/// How one run of the server ended.
enum Ended {
    /// The agent was told to stop.
    Stopped,
    /// It is to be started again at once.
    Again,
    /// Its accounts are to be seen to first, since this was found; and what of it is to be told when that is done.
    Heal(String, Vec<String>),
    /// It ended by itself, after it answered for this long.
    ByItself(String, Duration),
}

/// Starts mysqld whenever the directory is complete, and again whenever it ends, until `stop`.
pub(crate) async fn run(
    context: Arc<Context>,
    executor: Executor,
    mut commands: mpsc::Receiver<Command>,
    stop: CancellationToken,
) {
    let mut pause = PAUSES.0;
    let mut healed = false;
    let mut told = Vec::new();
    while !stop.is_cancelled() {
        let wait = if complete(&context).await {
            match one_run(&context, &executor, &mut commands, &stop, healed, &mut told).await {
                Ended::Stopped => return,
                Ended::Again => {
                    healed = false;
                    continue;
                }
                Ended::Heal(why, tell) => {
                    told = tell;
                    tracing::info!(why, "the server's accounts are seen to before it is reached");
                    let Err(error) = tasks::heal(&context, &stop).await else {
                        healed = true;
                        continue;
                    };
                    let why = format!("the server's accounts could not be set: {error} ({why})");
                    tracing::error!(why);
                    context.publisher.server(Server::Stopped { last_exit: Some(why) });
                    pause = (pause * 2).min(PAUSES.1);
                    pause
                }
                Ended::ByItself(why, answered) => {
                    tracing::error!(why, "the server ended by itself");
                    healed = false;
                    context.publisher.server(Server::Stopped { last_exit: Some(why) });
                    let now = if answered >= STEADY { PAUSES.0 } else { pause };
                    pause = (now * 2).min(PAUSES.1);
                    now
                }
            }
        } else {
            LOOK
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Looks at the volume anew: mysqld is never started on anything that is not complete.
async fn complete(context: &Context) -> bool {
    let looked = context
        .store
        .with(|volume| {
            volume.examine();
            Ok(matches!(volume.directory(), Directory::Complete { .. }))
        })
        .await;
    looked.unwrap_or(false)
}

/// From a start of mysqld to its end.
async fn one_run(
    context: &Context,
    executor: &Executor,
    commands: &mut mpsc::Receiver<Command>,
    stop: &CancellationToken,
    healed: bool,
    told: &mut Vec<String>,
) -> Ended {
    context.publisher.server(Server::Starting);
    // Before the start: what is mounted meanwhile is then taken for new.
    let tls = digest(&context.settings.tls);
    let Started { mut mysqld, files, role, awaits_operator, moved, history, mut left_out } =
        match start(context).await {
            Ok(started) => started,
            Err(error) => return Ended::ByItself(error.to_string(), Duration::ZERO),
        };
    let client = tokio::select! {
        answer = mysqld.answers(&files.access) => answer,
        () = stop.cancelled() => {
            context.publisher.server(Server::Stopping);
            report_stop(shutdown::stop(&mut mysqld, None, context.settings.stop_bound()).await);
            return Ended::Stopped;
        }
    };
    files.remove_init_file();
    let client = match client {
        Ok(client) => client,
        Err(ProcessError::Ended(exit)) if exit.wants_restart() => return Ended::Again,
        Err(error @ ProcessError::Denied(_)) if !healed => {
            mysqld.kill();
            report_stop(mysqld.wait().await);
            return Ended::Heal(error.to_string(), Vec::new());
        }
        Err(error) => {
            mysqld.kill();
            report_stop(mysqld.wait().await);
            let persisted = persisted::after_failed_start(&context.settings);
            let why = persisted.map_or_else(|| error.to_string(), |said| format!("{error}. {said}"));
            return Ended::ByItself(why, Duration::ZERO);
        }
    };
    let (client, lacking) = match accounts::prove(client, &files, healed).await {
        Ok(proven) => proven,
        Err(Unproven { why, tell }) => {
            // Nobody was told of it, and it has never been writable.
            report_stop(shutdown::stop(&mut mysqld, None, context.settings.stop_bound()).await);
            return if healed { Ended::ByItself(why, Duration::ZERO) } else { Ended::Heal(why, tell) };
        }
    };
    left_out.extend(persisted::came_up(&context.settings));
    left_out.append(told);
    let (gtids, unconfirmed) = came_with(context, look_at_start(client).await, moved).await;
    let accounts = Arc::new(files.accounts);
    let (credentials, own) = (files.credentials.clone(), files.own.clone());
    let mounted = Mounted { credentials, accounts, own, tls };
    let begun = Start { at: Some(Timestamp::now()), gtids, awaits_operator, unconfirmed, history, left_out };
    let session = Session::new(files.access.clone(), role, mounted, begun);
    session.run.give_up(lacking.0, lacking.1);
    attend(context, executor, commands, stop, &mut mysqld, session).await
}

/// While the server answers: publishes it, resumes its role, and waits for its end or a command.
async fn attend(
    context: &Context,
    executor: &Executor,
    commands: &mut mpsc::Receiver<Command>,
    stop: &CancellationToken,
    mysqld: &mut Mysqld,
    session: Session,
) -> Ended {
    let since = Instant::now();
    // A command for an earlier run is not one for this.
    while commands.try_recv().is_ok() {}
    // Before it can take up a role, which asks again.
    monitor::look_at_options(&session, None).await;
    // Nothing comes between this and the session: who reads that the server runs may order it something at once.
    if let Err(error) = monitor::observe(&context.publisher, &context.store, &session, &mut None).await {
        tracing::warn!(%error, "the server's state can't be read yet");
    }
    context.session.send_replace(Some(session.clone()));
    let (publisher, store, kill) =
        (context.publisher.clone(), context.store.clone(), context.commands.clone());
    let watcher = tokio::spawn(monitor::run(publisher, store, session.clone(), kill, mysqld.stopping()));
    let resumer = tokio::spawn(resume(executor.clone(), session.clone()));
    let (ended, told) = first(context, commands, stop, mysqld).await;
    let end = told + context.settings.stop_bound();
    if !matches!(ended, End::Exit(_)) {
        context.publisher.server(Server::Stopping);
    }
    if matches!(ended, End::Stop) {
        executor.close().await;
    }
    context.session.send_replace(None);
    resumer.abort();
    watcher.abort();
    // Only when it has ended for good it can't overwrite what is reported from here on.
    let _ = watcher.await;
    let bound = end.saturating_duration_since(Instant::now());
    match ended {
        End::Exit(Ok(exit)) if exit.wants_restart() => Ended::Again,
        End::Exit(Ok(exit)) => Ended::ByItself(exit.to_string(), since.elapsed()),
        End::Exit(Err(error)) => Ended::ByItself(error.to_string(), since.elapsed()),
        End::Command(Some(Command::Kill)) => {
            mysqld.kill();
            report_stop(mysqld.wait().await);
            Ended::Again
        }
        // Nobody is left to give a command: the agent ends.
        End::Command(None) | End::Stop => {
            context.publisher.server(Server::Stopping);
            report_stop(shutdown::stop(mysqld, Some(&session), bound).await);
            Ended::Stopped
        }
    }
}

/// Takes the granted role up again. On a volume that a new pod has mounted it first lets the operator judge what is
/// there; but it never waits longer than [`HOLD`], since there may be no operator (invariant I8).
async fn resume(executor: Executor, session: Session) {
    if session.run.awaits_operator() {
        tracing::info!(
            "replication waits for the operator, or leading alone does: it looks at the volume first"
        );
        if timeout(HOLD, session.run.released()).await.is_ok() {
            // By an order, which has said what is to be done.
            return;
        }
        tracing::info!("the operator has not spoken: it goes on by itself");
        session.run.release();
    }
    executor.resume().await;
}

/// What comes first, and when the stop began that it may be: a primary that is told to end may hand over first.
async fn first(
    context: &Context,
    commands: &mut mpsc::Receiver<Command>,
    stop: &CancellationToken,
    mysqld: &mut Mysqld,
) -> (End, Instant) {
    let ended = tokio::select! {
        exit = mysqld.wait() => End::Exit(exit),
        command = commands.recv() => End::Command(command),
        () = stop.cancelled() => End::Stop,
    };
    let told = Instant::now();
    let has_time = context.settings.stop_bound() > hand_over::BOUND * 2;
    if !matches!(ended, End::Stop) || !has_time {
        return (ended, told);
    }
    let ended = tokio::select! {
        exit = mysqld.wait() => End::Exit(exit),
        // It could not be made read-only.
        command = commands.recv() => End::Command(command),
        () = hand_over::over(&context.publisher) => End::Stop,
    };
    (ended, told)
}

/// What came first.
enum End {
    /// mysqld ended.
    Exit(Result<Exit, ProcessError>),
    /// A command; `None` if nobody is left to give one.
    Command(Option<Command>),
    /// The agent is to stop.
    Stop,
}

/// A server that was started.
struct Started {
    mysqld: Mysqld,
    files: Files,
    role: Option<Role>,
    /// It has a role to take up by itself, but the volume was mounted by another pod before.
    awaits_operator: bool,
    /// The volume was mounted by another pod before: what it holds is to be judged.
    moved: bool,
    /// From which count its transactions are.
    history: History,
    /// What was persisted, and left out.
    left_out: Vec<String>,
}

/// Writes down who starts, and starts mysqld with the settings of the role that was granted last.
async fn start(context: &Context) -> Result<Started, TaskError> {
    let (lock, role, awaits_operator, moved, history) = context
        .store
        .with(|volume| {
            // Before it is overwritten by this start.
            let moved = volume.moved_here();
            let granted = volume.ours().and_then(|marker| marker.grant.as_ref());
            let (role, awaits_operator) = (Role::of(granted), grant::waits(granted, moved));
            volume.started()?;
            volume.make_temporary()?;
            let history = volume.ours().map(|marker| marker.history).unwrap_or_default();
            Ok((volume.lock_for_server()?, role, awaits_operator, moved, history))
        })
        .await?;
    let left_out = persisted::leave_out_owned(&context.settings);
    let files = Files::write(&context.settings, context.ordinal, Purpose::Serve(role))?;
    let mysqld = Mysqld::spawn(
        context.binary.as_ref().ok_or(TaskError::NoServer)?,
        &files.arguments,
        lock,
        files.secrets(),
        &context.children,
    )?;
    Ok(Started { mysqld, files, role, awaits_operator, moved, history, left_out })
}

fn report_stop(outcome: Result<Exit, ProcessError>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "the server's end could not be waited for");
    }
}

//! What the agent's parts share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mainstay_proto::password::REPLICATION_LONGEST;
use mainstay_proto::{ChannelStart, EventName, History, UnsafeOption};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::credentials::{Credentials, Own};
use crate::digest::Digest;
use crate::entry::Entry;
use crate::history::Watched;
use crate::lag::Lag;

use crate::mysqld::ServerBinary;
use crate::mysqld::accounts::{Account, Statement};
use crate::mysqld::options::Role;
use crate::reaper::Children;
use crate::report::ReportPublisher;
use crate::settings::Settings;
use crate::sql::required::Outcome;
use crate::sql::{Access, Client, SqlError, state};
use crate::volume::Store;

/// Time for which a list of disabled events is good.
const EVENTS: Duration = Duration::from_secs(10);

/// What the agent's parts share.
#[derive(Debug)]
pub(crate) struct Context {
    /// What the pod's template says.
    pub(crate) settings: Settings,
    /// The instance's ordinal.
    pub(crate) ordinal: u32,
    /// Everything that is known.
    pub(crate) publisher: ReportPublisher,
    /// The volume.
    pub(crate) store: Store,
    /// mysqld's binary, where the image has one.
    pub(crate) binary: Option<ServerBinary>,
    /// Our children.
    pub(crate) children: Children,
    /// The server, while it answers.
    pub(crate) session: watch::Sender<Option<Session>>,
    /// To who runs the server.
    pub(crate) commands: mpsc::Sender<Command>,
    /// Cancelled when an order came that the pod's next container has to carry out.
    pub(crate) pass: CancellationToken,
}

impl Context {
    /// The server, if it answers.
    pub(crate) fn session(&self) -> Option<Session> {
        self.session.borrow().clone()
    }
}

/// What can be asked of who runs the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// End it at once and start it again: it could not be made read-only.
    Kill,
}

/// One run of the server, from its first answer to its end.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// How it is reached.
    pub(crate) access: Access,
    /// What is known of it.
    pub(crate) run: Arc<ServerRun>,
}

/// What is known of one run of the server.
#[derive(Debug)]
pub(crate) struct ServerRun {
    writable: AtomicBool,
    role: Mutex<Option<Role>>,
    setting_errors: Mutex<Vec<String>>,
    mounted: Mutex<Mounted>,
    options: Mutex<Options>,
    channel_started: Mutex<Option<ChannelStart>>,
    /// What the accounts lack though it was tried, and what the server said.
    lacking: Mutex<(Vec<Statement>, Vec<String>)>,
    /// Whether the agent can do its work on the server.
    pub(crate) entry: Entry,
    /// The mounted Secret has changed, and people's accounts do not have its passwords yet.
    secret_changed: AtomicBool,
    /// The disabled events, and when they were listed.
    events: Mutex<Option<(Vec<EventName>, Instant)>>,
    /// Held while the server is made writable, for good or for its accounts' sake.
    pub(crate) window: tokio::sync::Mutex<()>,
    /// How far it is behind while its source is away.
    pub(crate) lag: Lag,
    /// From which count its transactions are.
    pub(crate) history: Watched,
    start: Start,
    awaits_operator: watch::Sender<bool>,
    unconfirmed: AtomicBool,
    /// Held while its state is read and published: an older state must not overwrite a newer one.
    pub(crate) observing: tokio::sync::Mutex<()>,
}

/// What was found of the options that safety rests on.
#[derive(Debug, Default)]
struct Options {
    mended: Vec<String>,
    left: Vec<UnsafeOption>,
}

/// Most that is told of what was set back in one run.
const TOLD: usize = 8;
/// A start of the channel's threads this long after the one before has nothing to do with it.
const APART: SignedDuration = SignedDuration::from_mins(10);

/// How a run of the server began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    /// When it answered first.
    pub(crate) at: Option<Timestamp>,
    /// Executed and received GTIDs before anything was replicated.
    pub(crate) gtids: Option<String>,
    /// It is to take up its role only once the operator says so, or after a while.
    pub(crate) awaits_operator: bool,
    /// What it came up with is not judged yet, and it does not wait for that for ever.
    pub(crate) unconfirmed: bool,
    /// From which count its transactions are, as its directory says.
    pub(crate) history: History,
    /// What was persisted and left out of this start.
    pub(crate) left_out: Vec<String>,
}

/// What the server was given of the mounted Secrets.
#[derive(Clone, Debug)]
pub(crate) struct Mounted {
    /// The passwords of its accounts.
    pub(crate) credentials: Credentials,
    /// The accounts that it is to have by these.
    pub(crate) accounts: Arc<Vec<Account>>,
    /// The passwords of accounts that are reached from within the pod: they stay while the server runs, since what is
    /// open and what is written down uses them.
    pub(crate) own: Own,
    /// Its certificates.
    pub(crate) tls: Digest,
}

impl Session {
    /// A server that came up with the settings of `role` and with what was mounted then.
    pub(crate) fn new(access: Access, role: Option<Role>, mounted: Mounted, start: Start) -> Self {
        let run = ServerRun {
            awaits_operator: watch::Sender::new(start.awaits_operator),
            unconfirmed: AtomicBool::new(start.unconfirmed),
            options: Mutex::new(Options { mended: start.left_out.clone(), left: Vec::new() }),
            channel_started: Mutex::default(),
            history: Watched::new(start.history),
            start,
            writable: AtomicBool::new(false),
            role: Mutex::new(role),
            setting_errors: Mutex::new(Vec::new()),
            mounted: Mutex::new(mounted),
            lacking: Mutex::default(),
            entry: Entry::default(),
            secret_changed: AtomicBool::new(false),
            events: Mutex::default(),
            window: tokio::sync::Mutex::default(),
            lag: Lag::default(),
            observing: tokio::sync::Mutex::new(()),
        };
        Session { access, run: Arc::new(run) }
    }
}

impl ServerRun {
    /// Whether the agent has made it writable, or is about to: then commits may be waiting.
    pub(crate) fn writable(&self) -> bool {
        self.writable.load(Ordering::SeqCst)
    }

    /// Set before it becomes writable, and taken back after it is read-only.
    pub(crate) fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::SeqCst);
    }

    /// The role whose settings it has.
    pub(crate) fn role(&self) -> Option<Role> {
        *self.role.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has the settings of `role`, but for these.
    pub(crate) fn set_role(&self, role: Role, errors: Vec<String>) {
        *self.role.lock().unwrap_or_else(PoisonError::into_inner) = Some(role);
        *self.setting_errors.lock().unwrap_or_else(PoisonError::into_inner) = errors;
    }

    /// What the server was given of the mounted Secrets.
    pub(crate) fn mounted(&self) -> Mounted {
        self.mounted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server was given these.
    pub(crate) fn set_mounted(&self, mounted: Mounted) {
        *self.mounted.lock().unwrap_or_else(PoisonError::into_inner) = mounted;
    }

    /// The disabled events, listed anew from time to time: there may be many, and they hardly change.
    pub(crate) async fn events(&self, client: &mut Client) -> Result<Option<Vec<EventName>>, SqlError> {
        let listed = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((events, at)) = listed
            && at.elapsed() < EVENTS
        {
            return Ok(Some(events));
        }
        let events = state::disabled_events(client).await?;
        let listed = Some((events.clone(), Instant::now()));
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) = listed;
        Ok(Some(events))
    }

    /// They are to be listed at the next look.
    pub(crate) fn forget_events(&self) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Other passwords were mounted: they are for the accounts to have, and what was of no use is tried again.
    pub(crate) fn change_secret(&self, mounted: Mounted) {
        self.set_mounted(mounted);
        self.secret_changed.store(true, Ordering::SeqCst);
        *self.lacking.lock().unwrap_or_else(PoisonError::into_inner) = Default::default();
    }

    /// Whether people's accounts do not have the mounted passwords yet.
    pub(crate) fn secret_changed(&self) -> bool {
        self.secret_changed.load(Ordering::SeqCst)
    }

    /// They have.
    pub(crate) fn secret_adopted(&self) {
        self.secret_changed.store(false, Ordering::SeqCst);
    }

    /// Whether just this was tried and was of no use.
    pub(crate) fn given_up(&self, statements: &[Statement]) -> bool {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner).0 == statements
    }

    /// This the accounts still lack, and the server refused it with these words.
    pub(crate) fn give_up(&self, statements: Vec<Statement>, refused: Vec<String>) {
        *self.lacking.lock().unwrap_or_else(PoisonError::into_inner) = (statements, refused);
    }

    /// What of the accounts is not as it should be.
    pub(crate) fn account_errors(&self) -> Vec<String> {
        let refused = self.lacking.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
        let unfit = (!self.mounted().credentials.replication_fits()).then(|| {
            format!(
                "the replication password of the mounted Secret is longer than {REPLICATION_LONGEST} characters, \
                 which MySQL does not take (error 3056): the old one stays"
            )
        });
        refused.into_iter().chain(unfit).collect()
    }

    /// How this run began.
    pub(crate) fn start(&self) -> &Start {
        &self.start
    }

    /// Whether nobody has judged yet what it came up with.
    pub(crate) fn unconfirmed(&self) -> bool {
        self.unconfirmed.load(Ordering::SeqCst)
    }

    /// The operator has judged what it came up with.
    pub(crate) fn confirm(&self) {
        self.unconfirmed.store(false, Ordering::SeqCst);
    }

    /// Whether its role still waits to be told so.
    pub(crate) fn awaits_operator(&self) -> bool {
        *self.awaits_operator.borrow()
    }

    /// Its role waits no longer: an order came, or the time is over.
    pub(crate) fn release(&self) {
        self.awaits_operator.send_replace(false);
    }

    /// Comes back once its role waits no longer.
    pub(crate) async fn released(&self) {
        // Fails only if the sender is gone, and that is `self`.
        let _ = self.awaits_operator.subscribe().wait_for(|awaits| !awaits).await;
    }

    /// What could not be set for the role, and what was set back.
    pub(crate) fn setting_errors(&self) -> Vec<String> {
        let mut all = self.setting_errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend(self.options.lock().unwrap_or_else(PoisonError::into_inner).mended.iter().cloned());
        all
    }

    /// The options that safety rests on were looked at.
    pub(crate) fn looked_at_options(&self, outcome: Outcome) {
        let mut options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        for mended in outcome.mended {
            if options.mended.len() < TOLD && !options.mended.contains(&mended) {
                options.mended.push(mended);
            }
        }
        options.left = outcome.left;
    }

    /// Options that are not what safety asks for.
    pub(crate) fn unsafe_options(&self) -> Vec<UnsafeOption> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner).left.clone()
    }

    /// The channel's threads are started at this time.
    pub(crate) fn start_channel(&self, at: Timestamp) {
        let mut last = self.channel_started.lock().unwrap_or_else(PoisonError::into_inner);
        let near = last.as_ref().filter(|last| at.duration_since(last.at) < APART);
        let in_a_row = near.map_or(0, |last| last.in_a_row.saturating_add(1));
        *last = Some(ChannelStart { at, in_a_row });
    }

    /// When they were last started.
    pub(crate) fn channel_started(&self) -> Option<ChannelStart> {
        self.channel_started.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

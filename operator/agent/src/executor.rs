//! Takes orders, decides, and has them carried out one after the other.

use std::sync::Arc;
use std::time::Duration;

use mainstay_agent_core::admission::{self, Decision, View};
use mainstay_agent_core::grant;
use mainstay_proto::{Action, Answer, Directory, Order, Refusal, Report, Task, TaskState, Term, VERSION};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::monitor;
use crate::task::{Guard, TaskError};
use crate::tasks;
use crate::volume::VolumeError;

/// Time between two attempts to resume a role after a start.
const RESUME: Duration = Duration::from_secs(5);
/// Longest time that a look at the server may take, for who asks for a report.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time to wait for the end of what is being carried out when the agent ends.
const END: Duration = Duration::from_secs(5);

/// Takes orders.
#[derive(Clone, Debug)]
pub(crate) struct Executor {
    context: Arc<Context>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    ending: bool,
}

#[derive(Debug)]
struct Running {
    action: Action,
    token: CancellationToken,
    handle: JoinHandle<()>,
}

/// Whether a task is tried again until it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    /// What the operator ordered: it decides what a failure means.
    Once,
    /// What the agent resumes by itself: there may be no operator.
    UntilDone,
}

impl Executor {
    /// An executor without work.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Executor { context, state: Arc::default() }
    }

    /// What is known.
    pub(crate) fn report(&self) -> Report {
        self.context.publisher.report()
    }

    /// What is so now: MySQL is looked at before. If that fails, or takes long, it is what was read last, and says so.
    pub(crate) async fn look(&self) -> Report {
        let Context { publisher, store, .. } = &*self.context;
        if let Some(session) = self.context.session() {
            match timeout(LOOK, monitor::observe(publisher, store, &session, &mut None)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the server's state could not be read for a report")
                }
                Err(_) => tracing::debug!("the server's state was not read in time for a report"),
            }
        }
        self.report()
    }

    /// Answers an order, and has it carried out if it is to be.
    pub(crate) async fn order(&self, order: Order) -> Answer {
        let mut state = self.state.lock().await;
        let decision = match self.decide(&order, &mut state).await {
            Ok(decision) => decision,
            Err(error) => Decision::Refuse(Refusal::WrongDirectory, error.to_string()),
        };
        tracing::info!(
            kind = order.action.kind(),
            epoch = order.epoch,
            revision = order.revision,
            ?decision,
            "order"
        );
        if decision.accepts() {
            self.judged(&order.action).await;
        }
        match decision {
            Decision::Begin => self.begin(&mut state, order, Tries::Once),
            Decision::Continue => {}
            Decision::Done => self.confirm(&order).await,
            Decision::Pass(message) => {
                self.context.pass.cancel();
                return Answer::Refused { reason: Refusal::NoServer, message };
            }
            Decision::Refuse(reason, message) => return Answer::Refused { reason, message },
        }
        // Whatever it was, the operator has spoken.
        if let Some(session) = self.context.session() {
            session.run.release();
        }
        Answer::Accepted
    }

    /// The operator gives a role only to what it has judged.
    async fn judged(&self, action: &Action) {
        let session = self.context.session().filter(|session| session.run.unconfirmed());
        let Some(session) = session.filter(|_| admission::is_judgement(action)) else { return };
        match self.context.store.with(|volume| volume.judged()).await {
            Ok(()) => session.run.confirm(),
            // It says so again, and is told again.
            Err(error) => tracing::warn!(%error, "that the volume was judged could not be written down"),
        }
    }

    /// Looks at the volume, decides, and writes down that the order was seen before anything comes of it.
    async fn decide(&self, order: &Order, state: &mut State) -> Result<Decision, VolumeError> {
        let Context { store, publisher, .. } = &*self.context;
        state.running.take_if(|running| running.handle.is_finished());
        let idle = state.running.is_none();
        let (highest, received) = store
            .with(move |volume| {
                if idle {
                    volume.examine();
                }
                let received = volume.ours().is_some_and(|marker| marker.received.is_some());
                Ok((volume.highest(), received))
            })
            .await?;
        let report = publisher.report();
        let admission = admission::admit(
            order,
            &View {
                identity: &report.identity,
                stage: report.stage,
                highest,
                directory: &report.directory,
                received,
                server: &report.server,
                running: state.running.as_ref().map(|running| &running.action),
                writable: self.context.session().is_some_and(|session| session.run.writable()),
                ending: state.ending,
            },
        );
        if let Some(term) = admission.seen {
            store.with(move |volume| volume.raise(term)).await?;
        }
        if let Some(grant) = admission.renewed {
            store.with(move |volume| volume.grant(Some(grant))).await?;
        }
        Ok(admission.decision)
    }

    /// A role that is held already was ordered again: the report that says so says how the server is now. Who
    /// hands over the lead asks for it.
    async fn confirm(&self, order: &Order) {
        let Some(session) = self.context.session() else { return };
        match monitor::observe(&self.context.publisher, &self.context.store, &session, &mut None).await {
            Ok(()) => show(&self.context, order, TaskState::Done),
            Err(error) => tracing::debug!(%error, "the server's state could not be read for an order"),
        }
    }

    /// Takes up the role that the marker grants, after a start of the server, unless an order came first.
    pub(crate) async fn resume(&self) {
        let mut state = self.state.lock().await;
        state.running.take_if(|running| running.handle.is_finished());
        if state.running.is_some() || state.ending {
            return;
        }
        let report = self.context.publisher.report();
        let Directory::Complete { marker } = report.directory else { return };
        let Some((term, action)) = grant::resumed(marker.grant.as_ref()) else { return };
        let order = self.own_order(term, action);
        self.begin(&mut state, order, Tries::UntilDone);
    }

    /// Goes on with a copy that an earlier container of this or another pod has received.
    pub(crate) async fn take_up(&self) -> Result<(), VolumeError> {
        let mut state = self.state.lock().await;
        let (received, term) = self
            .context
            .store
            .with(|volume| Ok((volume.ours().and_then(|m| m.received.clone()), volume.highest())))
            .await?;
        let Some(received) = received.filter(|_| state.running.is_none() && !state.ending) else {
            return Ok(());
        };
        let order = self.own_order(term, received.order);
        self.begin(&mut state, order, Tries::Once);
        Ok(())
    }

    /// An order that the agent gives itself.
    fn own_order(&self, term: Term, action: Action) -> Order {
        let identity = self.context.publisher.report().identity;
        Order {
            proto: VERSION,
            id: String::new(),
            cluster_id: identity.cluster_id,
            pod_uid: identity.pod_uid,
            ordinal: identity.ordinal,
            epoch: term.epoch,
            revision: term.revision,
            action,
            disabled_events: None,
        }
    }

    /// Whether nothing is being carried out.
    pub(crate) async fn idle(&self) -> bool {
        self.state.lock().await.running.as_ref().is_none_or(|running| running.handle.is_finished())
    }

    /// Ends what is being carried out, and takes no more orders.
    pub(crate) async fn close(&self) {
        let mut state = self.state.lock().await;
        state.ending = true;
        if let Some(running) = state.running.take() {
            running.token.cancel();
            // What hangs in a statement does not get to its next one.
            if timeout(END, running.handle).await.is_err() {
                tracing::warn!("what was being carried out does not end");
            }
        }
    }

    fn begin(&self, state: &mut State, order: Order, tries: Tries) {
        let previous = state.running.take();
        if let Some(previous) = &previous {
            previous.token.cancel();
        }
        let token = CancellationToken::new();
        let guard = Guard::new(token.clone(), admission::term(&order));
        let (context, action) = (self.context.clone(), order.action.clone());
        show(&context, &order, TaskState::Running);
        let handle = tokio::spawn(async move {
            // What is superseded must have ended before the newer one says its first word.
            if let Some(previous) = previous
                && previous.handle.await.is_err()
            {
                tracing::warn!("what was being carried out ended badly");
            }
            carry_out(&context, &order, &guard, tries).await;
        });
        state.running = Some(Running { action, token, handle });
    }
}

async fn carry_out(context: &Context, order: &Order, guard: &Guard, tries: Tries) {
    loop {
        show(context, order, TaskState::Running);
        let mut outcome = tasks::carry_out(context, order, guard).await;
        if let Some(session) = context.session() {
            // The report that says that it is done also says what has come of it: a set that was read before the
            // server was read-only would not be all that it holds.
            let observed = monitor::observe(&context.publisher, &context.store, &session, &mut None).await;
            outcome = outcome.and(observed.map_err(TaskError::from));
        }
        let kind = order.action.kind();
        let error = match outcome {
            Ok(()) => {
                tracing::info!(kind, "order carried out");
                return show(context, order, TaskState::Done);
            }
            Err(error) => error,
        };
        tracing::warn!(kind, %error, "order failed");
        show(context, order, TaskState::Failed { error: error.to_string() });
        let final_error = matches!(error, TaskError::Superseded | TaskError::NoServer);
        if tries == Tries::Once || final_error {
            return;
        }
        tokio::select! {
            () = sleep(RESUME) => {}
            () = guard.superseded() => return,
        }
    }
}

fn show(context: &Context, order: &Order, state: TaskState) {
    let operation = order.action.operation().map(String::from);
    let progress = context.publisher.report().task.and_then(|task| task.progress);
    let progress = progress.filter(|_| state != TaskState::Running);
    let term = admission::term(order);
    let (id, kind) = (order.id.clone(), order.action.kind().to_owned());
    context.publisher.task(Task { id, term, kind, operation, state, progress });
}

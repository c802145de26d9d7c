//! What orders make the agent do.

mod clone;
mod demote;
mod events;
mod finish;
mod follow;
mod heal;
mod initialize;
mod lead;
pub(crate) mod progress;
mod roles;
pub(crate) mod scratch;

use mainstay_agent_core::grant;
use mainstay_proto::{Action, Order, Stage};

use crate::context::{Context, Session};
use crate::stream;
use crate::task::{Guard, TaskError};

pub(crate) use demote::make_read_only;
pub(crate) use heal::heal;

/// Carries out an order.
pub(crate) async fn carry_out(context: &Context, order: &Order, guard: &Guard) -> Result<(), TaskError> {
    guard.check()?;
    match &order.action {
        Action::Initialize { operation } => initialize::initialize(context, guard, operation).await,
        Action::Clone { operation, donor, max_mib_per_second, history } => {
            clone::clone(context, guard, operation, donor, *max_mib_per_second, *history).await
        }
        Action::Receive { .. } if context.publisher.report().stage == Stage::Receive => {
            stream::take(context, guard, order).await
        }
        Action::Receive { operation, .. } => finish::finish(context, guard, operation).await,
        Action::Lead { .. } => {
            let (grant, known) = (grant::of(&order.action, guard.term()), order.disabled_events.as_deref());
            lead::lead(context, &session(context)?, guard, grant, known).await
        }
        Action::Follow { source } => {
            let grant = grant::of(&order.action, guard.term());
            follow::follow(context, &session(context)?, guard, source, grant).await
        }
        Action::StandDown => follow::stand_down(context, &session(context)?, guard).await,
    }
}

fn session(context: &Context) -> Result<Session, TaskError> {
    context.session().ok_or(TaskError::NoServer)
}

//! Orders on their way to agents, as far as the next decision depends on it.

use jiff::SignedDuration;
use mainstay_proto::{Action, Order, Refusal};
use serde::{Deserialize, Serialize};

/// The order that was handed over last for a pod, and what has come of it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dispatched {
    /// The order.
    pub order: Order,
    /// How it stands.
    pub state: Dispatch,
    /// How long the same is not to be given again: its agent is given time to report, and what helps nothing is repeated
    /// ever more slowly.
    #[serde(default)]
    pub rests: SignedDuration,
    /// Why the same failed when it was given before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_before: Option<String>,
}

/// How an order stands.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Dispatch {
    /// It waits for a connection, or for the answer to the one before.
    Queued,
    /// It was sent, and is not answered yet.
    Sent,
    /// The agent has taken it. Reports tell the rest.
    Accepted,
    /// The agent has not taken it.
    Refused {
        /// As one of a closed list.
        reason: Refusal,
        /// For people.
        why: String,
    },
    /// It was not answered: whether the agent has it is not known.
    Failed {
        /// For people.
        why: String,
    },
    /// The agent says that it was carried out.
    Done,
}

impl Dispatched {
    /// Whether `order` is this one, and not to be given (again) now. Nobody waits for its agent meanwhile.
    pub fn holds_back(&self, order: &Order) -> bool {
        match self.state {
            Dispatch::Queued | Dispatch::Sent => self.order == *order,
            _ => self.rests.is_positive() && self.is_like(order),
        }
    }

    /// Whether `order` is the same again. A copy that failed is announced under another id.
    pub fn is_like(&self, order: &Order) -> bool {
        let copies = |order: &Order| matches!(order.action, Action::Clone { .. } | Action::Receive { .. });
        self.order == *order || (copies(&self.order) && copies(order))
    }

    /// What is wrong with it, for people: what passes by itself is not.
    pub fn trouble(&self) -> Option<&str> {
        match &self.state {
            Dispatch::Failed { why } => Some(why),
            Dispatch::Refused { reason: Refusal::WrongDirectory | Refusal::Unknown, why } => Some(why),
            Dispatch::Queued | Dispatch::Sent => self.failed_before.as_deref(),
            Dispatch::Refused { .. } | Dispatch::Accepted | Dispatch::Done => None,
        }
    }
}

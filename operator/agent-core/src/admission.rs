//! Whether an order is carried out.

use mainstay_proto::{
    Action, Channel, Directory, Endpoint, Grant, GrantedRole, Identity, Marker, Order, Refusal, Server,
    ServerState, Stage, Term,
};

/// What the decision rests on.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// Who the agent is.
    pub identity: &'a Identity,
    /// Which container it is in.
    pub stage: Stage,
    /// Highest term seen.
    pub highest: Term,
    /// What is on the volume.
    pub directory: &'a Directory,
    /// A partial directory of this instance holds a copy that waits for its first start.
    pub received: bool,
    /// The server.
    pub server: &'a Server,
    /// What is being carried out.
    pub running: Option<&'a Action>,
    /// The server was made writable in this run, and has not been seen to become read-only since. While the
    /// statement that makes it so waits for writes, the variable says that it is done.
    pub writable: bool,
    /// The agent is ending.
    pub ending: bool,
}

/// What becomes of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is begun, in place of what is being carried out.
    Begin,
    /// It is what is being carried out.
    Continue,
    /// It was carried out before.
    Done,
    /// It is refused here: the pod's next container carries it out, and this one makes way.
    Pass(String),
    /// It is refused.
    Refuse(Refusal, String),
}

impl Decision {
    /// Whether it is carried out, or was.
    pub fn accepts(&self) -> bool {
        match self {
            Decision::Begin | Decision::Continue | Decision::Done => true,
            Decision::Pass(_) | Decision::Refuse(..) => false,
        }
    }
}

/// What becomes of an order, and what is written on the volume before anything comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What becomes of it.
    pub decision: Decision,
    /// The order was seen, whatever becomes of it: nothing older is carried out from now on.
    pub seen: Option<Term>,
    /// The role that is held already is held by this order from now on.
    pub renewed: Option<Grant>,
}

/// Whether an order that is accepted says that what the server came up with was judged: the operator gives a role to
/// nothing else.
pub fn is_judgement(action: &Action) -> bool {
    matches!(action, Action::Lead { .. } | Action::Follow { .. })
}

fn refuse(reason: Refusal, message: impl Into<String>) -> Decision {
    Decision::Refuse(reason, message.into())
}

/// Whether the order is for this agent, and not from a leader that has been replaced.
fn authentic(order: &Order, identity: &Identity, highest: Term) -> Result<(), Decision> {
    let Identity { cluster_id, pod_uid, ordinal, .. } = identity;
    if order.cluster_id != *cluster_id || order.pod_uid != *pod_uid || order.ordinal != *ordinal {
        return Err(refuse(
            Refusal::NotMe,
            format!("this is instance {ordinal} of the cluster with the id {cluster_id}, pod UID {pod_uid}"),
        ));
    }
    let term = term(order);
    if term < highest {
        return Err(refuse(
            Refusal::Outdated,
            format!(
                "epoch {} revision {} was seen; this order is of epoch {} revision {}",
                highest.epoch, highest.revision, term.epoch, term.revision
            ),
        ));
    }
    Ok(())
}

/// The order's place in the record's history.
pub fn term(order: &Order) -> Term {
    Term { epoch: order.epoch, revision: order.revision }
}

/// Decides what becomes of an order.
pub fn admit(order: &Order, view: &View<'_>) -> Admission {
    if let Err(decision) = authentic(order, view.identity, view.highest) {
        return Admission { decision, seen: None, renewed: None };
    }
    let decision = decide(order, view);
    let held = match view.directory {
        Directory::Complete { marker } if view.stage == Stage::Serve => marker.grant.as_ref(),
        _ => None,
    };
    let held = held.filter(|grant| decision == Decision::Done && grant.term < term(order));
    let renewed = held.map(|grant| Grant { term: term(order), ..grant.clone() });
    Admission { decision, seen: Some(term(order)), renewed }
}

fn decide(order: &Order, view: &View<'_>) -> Decision {
    if view.ending {
        return refuse(Refusal::NoServer, "the agent is ending");
    }
    match &order.action {
        Action::Initialize { operation }
        | Action::Clone { operation, .. }
        | Action::Receive { operation, .. } => prepare(view, &order.action, operation),
        Action::Lead { .. } | Action::Follow { .. } | Action::StandDown => role(view, &order.action),
    }
}

/// In the copy tool's image nothing but a copy is made; and after it no copy is received, only finished.
fn elsewhere(view: &View<'_>, action: &Action) -> Option<Decision> {
    let receives = matches!(action, Action::Receive { .. });
    if let (Directory::Partial { operation: begun, .. }, Action::Receive { operation, .. }) =
        (view.directory, action)
        && view.received
        && begun == operation
    {
        // The order may come once more before this container has ended: what it asked for is there.
        return Some(Decision::Done);
    }
    match view.stage {
        Stage::Receive if receives => None,
        Stage::Receive => Some(Decision::Pass("the next container carries it out".to_owned())),
        Stage::Prepare if receives => Some(refuse(
            Refusal::WrongDirectory,
            "a copy is received by an earlier container: delete the pod",
        )),
        Stage::Prepare | Stage::Serve => None,
    }
}

fn prepare(view: &View<'_>, action: &Action, operation: &str) -> Decision {
    if let Some(running) = view.running {
        return if same_operation(running, action) {
            Decision::Continue
        } else {
            refuse(Refusal::Busy, format!("{} is being carried out", running.kind()))
        };
    }
    match view.directory {
        Directory::Complete { marker } if marker.operation == operation => Decision::Done,
        Directory::Complete { marker } => refuse(
            Refusal::WrongDirectory,
            format!("the data directory is complete, by the operation {}", marker.operation),
        ),
        _ if let Some(decision) = elsewhere(view, action) => decision,
        _ if view.stage == Stage::Serve => refuse(
            Refusal::WrongDirectory,
            "the data directory is not complete, and only the init container prepares it: delete the pod",
        ),
        Directory::Empty => Decision::Begin,
        Directory::Partial { cluster_id, .. } if *cluster_id != view.identity.cluster_id => {
            refuse(Refusal::WrongDirectory, "the partial data directory is another cluster's")
        }
        Directory::Partial { operation: begun, copied, .. } => match action {
            Action::Initialize { .. } if *copied || begun != operation => refuse(
                Refusal::WrongDirectory,
                format!(
                    "the data directory is partial by the operation {begun}; only a clone may replace it"
                ),
            ),
            _ => Decision::Begin,
        },
        Directory::Foreign { message, .. } | Directory::Unusable { message } => {
            refuse(Refusal::WrongDirectory, message.clone())
        }
        Directory::Locked { holder } => {
            refuse(Refusal::WrongDirectory, format!("the data directory is locked by {holder}"))
        }
    }
}

/// Two orders of one operation are the same work, even if the second names another donor.
fn same_operation(running: &Action, action: &Action) -> bool {
    match (running, action) {
        (Action::Initialize { operation: a }, Action::Initialize { operation: b })
        | (Action::Clone { operation: a, .. }, Action::Clone { operation: b, .. })
        | (Action::Receive { operation: a, .. }, Action::Receive { operation: b, .. }) => a == b,
        _ => false,
    }
}

fn role(view: &View<'_>, action: &Action) -> Decision {
    let Directory::Complete { marker } = view.directory else {
        return refuse(Refusal::WrongDirectory, "the data directory is not complete");
    };
    if view.stage != Stage::Serve {
        return refuse(Refusal::NoServer, "the server has not been started yet");
    }
    if view.running == Some(action) {
        return Decision::Continue;
    }
    let Server::Running { state } = view.server else {
        return refuse(Refusal::NoServer, "the server does not answer");
    };
    let settled = settled(action, marker, state) && (!view.writable || matches!(action, Action::Lead { .. }));
    if view.running.is_none() && settled { Decision::Done } else { Decision::Begin }
}

/// Whether the server already is as the order wants it.
fn settled(action: &Action, marker: &Marker, state: &ServerState) -> bool {
    let granted = marker.grant.as_ref().map(|grant| &grant.role);
    let channel = state.channel.as_ref();
    match action {
        Action::Lead { alone } => {
            granted == Some(&GrantedRole::Primary { alone: *alone })
                && !state.super_read_only
                && channel.is_none()
        }
        Action::Follow { source } => {
            granted == Some(&GrantedRole::Replica { source: source.clone() })
                && state.super_read_only
                && channel.is_some_and(|channel| replicates_from(channel, source))
        }
        Action::StandDown => {
            granted.is_none()
                && state.super_read_only
                && channel.is_none_or(|channel| !channel.receiver_running)
        }
        Action::Initialize { .. } | Action::Clone { .. } | Action::Receive { .. } => false,
    }
}

fn replicates_from(channel: &Channel, source: &Endpoint) -> bool {
    channel.source_host == source.host
        && channel.source_port == source.port
        && channel.receiver_running
        && channel.applier_running
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;

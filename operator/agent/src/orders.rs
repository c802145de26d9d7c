//! Whether an order is taken: decided before anything is touched.

use mainstay_proto::{Action, Answer, Directory, Fence, Identity, Order, Refusal, Stage, Task, TaskState};

/// What an order is judged by.
pub(crate) struct Situation<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) stage: Stage,
    pub(crate) highest: Fence,
    pub(crate) directory: &'a Directory,
    pub(crate) task: Option<&'a Task>,
}

/// What is to come of an order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Begin it.
    Begin,
    /// It runs or is done.
    Known,
    /// Not this one.
    Refuse(Refusal, String),
}

impl Verdict {
    pub(crate) fn answer(self) -> Answer {
        match self {
            Verdict::Begin | Verdict::Known => Answer::Accepted,
            Verdict::Refuse(reason, message) => Answer::Refused { reason, message },
        }
    }
}

/// The order's place in the record's history.
pub(crate) fn fence(order: &Order) -> Fence {
    Fence { epoch: order.epoch, revision: order.revision }
}

/// The operation that an order names.
pub(crate) fn operation(action: &Action) -> Option<&str> {
    match action {
        Action::Initialize { operation } | Action::Clone { operation, .. } => Some(operation),
        Action::Lead { .. } | Action::Follow { .. } | Action::StandDown => None,
    }
}

/// Judges an order.
pub(crate) fn judge(order: &Order, now: &Situation<'_>) -> Verdict {
    let me = now.identity;
    if order.cluster_id != me.cluster_id || order.pod_uid != me.pod_uid || order.ordinal != me.ordinal {
        return Verdict::Refuse(Refusal::NotMe, format!("this is {} ({})", me.pod_name, me.pod_uid));
    }
    if fence(order) < now.highest {
        let Fence { epoch, revision } = now.highest;
        return Verdict::Refuse(Refusal::Outdated, format!("epoch {epoch} revision {revision} was seen"));
    }
    match &order.action {
        Action::Initialize { operation } | Action::Clone { operation, .. } => data(order, operation, now),
        Action::Lead { .. } | Action::Follow { .. } | Action::StandDown => role(now),
    }
}

fn data(order: &Order, operation: &str, now: &Situation<'_>) -> Verdict {
    let wrong = |message: &str| Verdict::Refuse(Refusal::WrongDirectory, message.into());
    if let Directory::Complete { marker } = now.directory {
        return if marker.operation == operation {
            Verdict::Known
        } else {
            wrong("it holds a complete directory")
        };
    }
    if now.stage != Stage::Prepare {
        return wrong("the pod is past preparing its directory: delete the pod");
    }
    if let Some(task) = now.task.filter(|task| task.state == TaskState::Running) {
        return if task.operation.as_deref() == Some(operation) {
            Verdict::Known
        } else {
            Verdict::Refuse(Refusal::Busy, format!("{} is being carried out", task.kind))
        };
    }
    match (now.directory, &order.action) {
        (Directory::Empty, _) | (Directory::Partial { .. }, Action::Clone { .. }) => Verdict::Begin,
        (Directory::Partial { operation: left, .. }, _) if left == operation => Verdict::Begin,
        (Directory::Partial { .. }, _) => wrong("another operation has begun on it"),
        (Directory::Foreign { message, .. } | Directory::Unusable { message }, _) => wrong(message),
        (Directory::Locked { holder }, _) => wrong(&format!("it is locked by {holder}")),
        (Directory::Complete { .. }, _) => wrong("it holds a complete directory"),
    }
}

/// A newer role replaces one that is being taken on, so that nothing ever waits behind a step that hangs.
fn role(now: &Situation<'_>) -> Verdict {
    match now.directory {
        Directory::Complete { .. } if now.stage == Stage::Serve => Verdict::Begin,
        Directory::Complete { .. } => Verdict::Refuse(Refusal::NoServer, "the server is not up yet".into()),
        _ => Verdict::Refuse(Refusal::WrongDirectory, "it holds no complete directory".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_proto::{Endpoint, Marker};

    fn identity() -> Identity {
        Identity { cluster_id: "c".into(), pod_uid: "u".into(), ordinal: 1, ..Identity::default() }
    }

    fn order(action: Action) -> Order {
        Order {
            proto: 1,
            cluster_id: "c".into(),
            pod_uid: "u".into(),
            ordinal: 1,
            epoch: 3,
            revision: 7,
            action,
        }
    }

    fn initialize(operation: &str) -> Action {
        Action::Initialize { operation: operation.into() }
    }

    fn clone(operation: &str) -> Action {
        let donor = Endpoint { host: "h".into(), port: 1 };
        Action::Clone { operation: operation.into(), donor, max_mib_per_second: None }
    }

    fn complete(operation: &str) -> Directory {
        Directory::Complete { marker: Marker { operation: operation.into(), ..Marker::default() } }
    }

    fn partial(operation: &str) -> Directory {
        Directory::Partial { operation: operation.into(), cluster_id: "c".into() }
    }

    fn judged(order: &Order, directory: &Directory, stage: Stage, task: Option<&Task>) -> Verdict {
        let highest = Fence { epoch: 3, revision: 7 };
        judge(order, &Situation { identity: &identity(), stage, highest, directory, task })
    }

    #[test]
    fn orders_of_others_and_of_the_past_are_refused() {
        let refused = |change: &dyn Fn(&mut Order)| {
            let mut order = order(Action::Lead { alone: false });
            change(&mut order);
            match judged(&order, &complete("x"), Stage::Serve, None) {
                Verdict::Refuse(reason, _) => Some(reason),
                _ => None,
            }
        };
        assert_eq!(refused(&|_| {}), None);
        assert_eq!(refused(&|o| o.cluster_id = "d".into()), Some(Refusal::NotMe));
        assert_eq!(refused(&|o| o.pod_uid = "v".into()), Some(Refusal::NotMe));
        assert_eq!(refused(&|o| o.ordinal = 2), Some(Refusal::NotMe));
        assert_eq!(refused(&|o| o.revision = 6), Some(Refusal::Outdated));
        assert_eq!(refused(&|o| (o.epoch, o.revision) = (2, 99)), Some(Refusal::Outdated));
        assert_eq!(refused(&|o| (o.epoch, o.revision) = (4, 0)), None);
    }

    #[test]
    fn data_is_made_only_where_there_is_none() {
        use Refusal::WrongDirectory;
        let cases = [
            (initialize("a"), Directory::Empty, Ok(true)),
            (initialize("a"), partial("a"), Ok(true)),
            (initialize("a"), partial("b"), Err(WrongDirectory)),
            (initialize("a"), complete("a"), Ok(false)),
            (initialize("a"), complete("b"), Err(WrongDirectory)),
            (clone("a"), Directory::Empty, Ok(true)),
            (clone("a"), partial("b"), Ok(true)),
            (clone("a"), complete("a"), Ok(false)),
            (clone("a"), complete("b"), Err(WrongDirectory)),
            (clone("a"), Directory::Locked { holder: "x".into() }, Err(WrongDirectory)),
            (clone("a"), Directory::Unusable { message: "x".into() }, Err(WrongDirectory)),
        ];
        for (action, directory, expected) in cases {
            let said = match judged(&order(action.clone()), &directory, Stage::Prepare, None) {
                Verdict::Begin => Ok(true),
                Verdict::Known => Ok(false),
                Verdict::Refuse(reason, _) => Err(reason),
            };
            assert_eq!(said, expected, "{action:?} on {directory:?}");
        }
        let served = judged(&order(clone("a")), &Directory::Empty, Stage::Serve, None);
        assert!(matches!(served, Verdict::Refuse(WrongDirectory, _)));
    }

    #[test]
    fn one_operation_at_a_time_and_a_repeated_order_changes_nothing() {
        let task = Task {
            fence: Fence::default(),
            kind: "Clone".into(),
            operation: Some("a".into()),
            state: TaskState::Running,
            progress: None,
        };
        let said = |id: &str| judged(&order(clone(id)), &partial("a"), Stage::Prepare, Some(&task));
        assert_eq!(said("a"), Verdict::Known);
        assert!(matches!(said("b"), Verdict::Refuse(Refusal::Busy, _)));
    }
}

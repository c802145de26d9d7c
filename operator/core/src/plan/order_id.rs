//! Which order an order is.

use mainstay_proto::{Action, Order};
use serde::Serialize;

use crate::children;

/// What makes an order another one: not what it carries along.
#[derive(Serialize)]
struct Inputs<'a> {
    cluster_id: &'a str,
    pod_uid: &'a str,
    ordinal: u32,
    epoch: u64,
    revision: u64,
    action: &'a Action,
}

/// The id of an order. It follows from the record alone: whoever leads next knows it again in what agents report.
pub(super) fn order_id(order: &Order) -> String {
    let Order { cluster_id, pod_uid, ordinal, epoch, revision, action, .. } = order;
    let inputs =
        Inputs { cluster_id, pod_uid, ordinal: *ordinal, epoch: *epoch, revision: *revision, action };
    format!("{epoch}.{revision}-{}-{}", action.kind(), children::digest(&inputs))
}

#[cfg(test)]
mod tests {
    use mainstay_proto::EventName;

    use super::*;

    #[test]
    fn the_same_again_has_the_same_id_and_another_has_another() {
        let order = Order {
            proto: 1,
            id: String::new(),
            cluster_id: "c".into(),
            pod_uid: "p".into(),
            ordinal: 1,
            epoch: 3,
            revision: 41,
            action: Action::Lead { alone: false },
            disabled_events: None,
        };
        let event = EventName { schema: "app".into(), name: "purge".into() };
        let more = Order { proto: 2, disabled_events: Some(vec![event]), ..order.clone() };
        assert_eq!(order_id(&order), order_id(&more));
        assert!(order_id(&order).starts_with("3.41-Lead-"));
        let others = [
            Order { pod_uid: "q".into(), ..order.clone() },
            Order { revision: 42, ..order.clone() },
            Order { action: Action::Lead { alone: true }, ..order.clone() },
            Order { action: Action::StandDown, ..order.clone() },
        ];
        for other in others {
            assert_ne!(order_id(&order), order_id(&other), "{other:?}");
        }
    }
}

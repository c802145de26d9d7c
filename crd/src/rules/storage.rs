//! Rules about `spec.storage`.

use std::borrow::Cow;

use schemars::Schema;
use serde_json::json;

use super::pod::SUBDOMAIN_OR_EMPTY;
use super::{Rule, Transition, add, property};
use crate::quantity::at_least;
use crate::spec::Storage;

/// Most modes that the list may name before the rule about it is asked.
const MAX_ACCESS_MODES: u32 = 4;

/// Least size: the data directory of MySQL 9.7 was seen to take 203 MiB once initialised and started.
const MIN_SIZE: &str = "256Mi";

pub(super) fn rules() -> Vec<Rule<Storage>> {
    vec![
        Rule {
            field: "size",
            message: "size must be a quantity of at least 256Mi, such as 100Gi: an empty database takes 200Mi",
            cel: format!(
                "isQuantity(string(self.size)) && quantity(string(self.size)).compareTo(quantity('{MIN_SIZE}')) >= 0"
            ),
            holds: |storage| at_least(&storage.size, MIN_SIZE),
        },
        Rule {
            field: "class",
            message: "class must be the name of a StorageClass; leave it out for the cluster's default class",
            cel: format!("!has(self.class) || self.class.{}", SUBDOMAIN_OR_EMPTY.cel()),
            holds: |storage| storage.class.as_ref().is_none_or(|class| SUBDOMAIN_OR_EMPTY.matches(class)),
        },
        Rule {
            field: "accessModes",
            message: "accessModes must name exactly one mode: a volume belongs to one instance",
            cel: "self.accessModes.size() == 1".into(),
            holds: |storage| storage.access_modes.len() == 1,
        },
    ]
}

fn transitions() -> [Transition; 4] {
    [
        Transition {
            field: "size",
            message: "size can't shrink: volumes can't; keep the size, or move the data to a new cluster",
            // What is no quantity is the other rule's business.
            cel: Cow::Borrowed(
                "!isQuantity(string(self.size)) || !isQuantity(string(oldSelf.size)) || \
                  quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0",
            ),
        },
        Transition {
            field: "class",
            message: "class can't change in place: a volume stays in the class it was made in; move the data to a \
                      new cluster",
            cel: Cow::Borrowed(
                "has(self.class) == has(oldSelf.class) && (!has(self.class) || self.class == oldSelf.class)",
            ),
        },
        Transition {
            field: "accessModes",
            message: "accessModes can't change in place; move the data to a new cluster",
            cel: Cow::Borrowed("self.accessModes == oldSelf.accessModes"),
        },
        Transition {
            field: "selector",
            message: "selector can't change in place: the volumes are bound; move the data to a new cluster",
            cel: Cow::Borrowed(
                "has(self.selector) == has(oldSelf.selector) && \
                  (!has(self.selector) || self.selector == oldSelf.selector)",
            ),
        },
    ]
}

/// Schema transform of [`Storage`].
pub(crate) fn storage(schema: &mut Schema) {
    if let Some(modes) = property(schema, "accessModes") {
        modes.insert("maxItems".into(), json!(MAX_ACCESS_MODES));
    }
    if let Some(class) = property(schema, "class") {
        class.insert("maxLength".into(), json!(253));
    }
    add(schema, rules().iter().map(Rule::to_json));
    add(schema, transitions().iter().map(Transition::to_json));
}

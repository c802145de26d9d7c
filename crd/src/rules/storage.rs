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

/// Rules about a change that ask what the claims have, at the root of the object: `status` is seen from there alone.
///
/// Without `status.storage` nobody has looked at the claims yet, so that they may have what the old spec said. The operator
/// writes it in the same look in which it lets a claim grow. Should somebody be quicker, the claim is larger than the spec
/// asks for, which harms nothing.
pub(super) fn root_transitions() -> [Transition; 2] {
    let (size, old) = ("string(self.spec.storage.size)", "string(oldSelf.spec.storage.size)");
    let looked = "has(self.status) && has(self.status.storage)";
    [
        Transition {
            field: "spec.storage.size",
            message: "size can't shrink below what a claim has (status.storage.largest): volumes can't; set it back to no \
                      less than that, or move the data to a new cluster",
            // What is no quantity is the other rule's business.
            cel: Cow::Owned(format!(
                "!isQuantity({size}) || !isQuantity({old}) || quantity({size}).compareTo(quantity({old})) >= 0 || \
                 ({looked} && (!has(self.status.storage.largest) || \
                 quantity({size}).compareTo(quantity(self.status.storage.largest)) >= 0))"
            )),
        },
        Transition {
            field: "spec.storage.class",
            message: "class can't change in place once a claim was bound, but to name the one that all claims have \
                      (status.storage.class): a volume stays in the class it was made in; move the data to a new cluster",
            // Where no claim has a volume, nothing is in a class yet: it may have been typed wrong.
            cel: Cow::Owned(format!(
                "({looked} && !has(self.status.storage.largest)) || (has(self.spec.storage.class) ? \
                 (has(oldSelf.spec.storage.class) && self.spec.storage.class == oldSelf.spec.storage.class) || \
                 ({looked} && has(self.status.storage.class) && \
                 self.spec.storage.class == self.status.storage.class) : !has(oldSelf.spec.storage.class))"
            )),
        },
    ]
}

fn transitions() -> [Transition; 2] {
    [
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

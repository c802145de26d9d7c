//! Since when something in the record has been so, by the clock of the operator that decides.
//!
//! The times in the record are for people. Another operator may have written them, by another machine's clock: held
//! against this machine's, a bound would be over at once, or never. So an operator measures from its own first sight of
//! what was written; one that takes over begins anew. Nothing is kept that must not be lost.

use mainstay_crd::{MySQLClusterStatus, Switchover, TryingTemplate};

use crate::{Operation, Record};

/// Everything in the record that time alone will change: each is measured from when it was seen first.
pub fn of(status: &MySQLClusterStatus) -> Vec<String> {
    let trying = status.template.iter().filter_map(|template| template.trying.as_ref()).map(trying);
    let away = status.instances.iter().filter(|i| !i.ready).map(|i| not_ready(&i.name));
    let others: Vec<String> = trying.chain(away).collect();
    let record = Record::of(status.replication.as_ref());
    let switchover = record.switchover();
    let switchovers = switchover.into_iter().flat_map(|s| [Some(announced(s)), ended(s)]).flatten();
    switchovers.chain(record.operations().iter().filter_map(rest)).chain(others).collect()
}

/// A template is being tried.
pub(crate) fn trying(trying: &TryingTemplate) -> String {
    format!("trying {} {}", trying.hash, trying.ordinal)
}

/// An instance does not serve.
pub(crate) fn not_ready(instance: &str) -> String {
    format!("not ready {instance}")
}

/// A switchover was announced.
pub(crate) fn announced(switchover: &Switchover) -> String {
    format!("announced {}", switchover.since.0)
}

/// A switchover came to its end.
pub(crate) fn ended(switchover: &Switchover) -> Option<String> {
    switchover.ended.as_ref().map(|ended| format!("ended {}", ended.0))
}

/// A copy that failed rests before it is tried again.
pub(crate) fn rest(operation: &Operation) -> Option<String> {
    operation.not_before.as_ref().map(|_| format!("rests {} {}", operation.id, operation.failures))
}

//! What is said of what came back: what differs, and the evidence. The ways out depend on how the cluster stands:
//! `plan::advice` has them.

use jiff::Timestamp;
use mainstay_crd::LedgerEntry;

use super::Case;
use crate::Pod;

/// Longest GTID set in a message, in characters.
const LONGEST: usize = 200;

pub(super) fn volume_of(entry: &LedgerEntry) -> String {
    let volume = entry.volume.as_deref().unwrap_or("of unknown name");
    format!("on the volume {volume} (claim UID {}), with all that it had", entry.claim_uid)
}

pub(super) fn named(node: &Option<String>) -> &str {
    node.as_deref().unwrap_or("?")
}

/// What is wrong, and the evidence.
pub(super) fn said(
    case: &Case<'_>,
    entry: &LedgerEntry,
    pod: &Pod,
    what: &str,
    differs: Option<String>,
) -> String {
    let name = case.names.pod(case.ordinal);
    let claim = case.instance.claim.as_ref().map_or("?", |claim| claim.uid.as_str());
    let seen = entry.seen_at.as_ref().map(|at| at.0).unwrap_or(Timestamp::UNIX_EPOCH);
    let evidence = [
        (entry.claim_uid != claim).then(|| format!("claim UID was {}, is {claim}", entry.claim_uid)),
        differs,
        (entry.node != pod.node).then(|| format!("node was {}, is {}", named(&entry.node), named(&pod.node))),
        Some(format!("server {} had executed {} at {seen}", entry.server_uuid, short(&entry.gtid_executed))),
    ];
    let evidence: Vec<String> = evidence.into_iter().flatten().collect();
    format!("{name} {what} ({}).", evidence.join("; "))
}

pub(crate) fn short(set: &str) -> String {
    let mut text: String = set.chars().take(LONGEST).collect();
    if text.len() < set.len() {
        text.push('…');
    }
    text
}

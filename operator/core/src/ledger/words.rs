//! What is said of what came back: what differs, the evidence, and the ways out.

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

/// What is wrong, the evidence, and the ways out.
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
    format!("{name} {what} ({}). {}", evidence.join("; "), way_out(case))
}

fn way_out(case: &Case<'_>) -> String {
    let (pod, claim) = (case.names.pod(case.ordinal), case.names.claim(case.ordinal));
    if case.is_primary() {
        format!(
            "It neither serves nor leads. Put back the volume that left and delete the pod {pod}. Or, to lead with what \
             a replica holds, delete {claim} and {pod}, then the object (claims are kept), and create it again. Or, to \
             go on with what is on this volume, delete the object and create it again"
        )
    } else {
        format!(
            "It stays out. Put back the volume that left and delete the pod {pod}; or delete {claim} and {pod} to have \
             it cloned anew"
        )
    }
}

pub(super) fn short(set: &str) -> String {
    let mut text: String = set.chars().take(LONGEST).collect();
    if text.len() < set.len() {
        text.push('…');
    }
    text
}

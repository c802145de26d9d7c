//! The ledger: what each instance was when it was last well, and what is to be said of what came back (invariant I9).
//!
//! The entry lives in `status.instances[].ledger`. It moves on while all is well and stands still otherwise, so that
//! every start of an instance is held against the last time that it was known to be right. An instance that is scaled
//! away leaves its entry on its claim: `status` has none of it then, and a new object never had.

mod messages;

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{ANNOTATION_LEDGER, Names};
use mainstay_crd::{InstanceStatus, Judgement, LedgerEntry, OperationKind, Verdict};
use mainstay_proto::{Directory, History, Marker, Report, Server, ServerState, Stage};
pub(crate) use messages::short;
use messages::{named, said, volume_of};

use crate::{Claim, GtidSet, Instance, Observation, Operation, Pod, Record, Volume};

/// One instance with all that a judgement rests on.
pub(crate) struct Case<'a> {
    observation: &'a Observation,
    names: &'a Names,
    record: &'a Record,
    ordinal: u32,
    /// What status said of it last.
    pub(crate) before: Option<&'a InstanceStatus>,
    pub(crate) instance: &'a Instance,
    /// What left: as status says, or the claim.
    entry: Option<Cow<'a, LedgerEntry>>,
}

impl<'a> Case<'a> {
    pub(crate) fn of(
        observation: &'a Observation,
        names: &'a Names,
        record: &'a Record,
        ordinal: u32,
    ) -> Option<Self> {
        let name = names.pod(ordinal);
        let before = observation.cluster.status.instances.iter().find(|i| i.name == name);
        let instance = observation.instances.get(&ordinal)?;
        let told = before.and_then(|before| before.ledger.as_ref()).map(Cow::Borrowed);
        let entry = told.or_else(|| left_on(instance.claim.as_ref()?).map(Cow::Owned));
        Some(Case { observation, names, record, ordinal, before, instance, entry })
    }

    /// What it was last known to be.
    pub(crate) fn entry(&self) -> Option<&LedgerEntry> {
        self.entry.as_deref()
    }

    fn volume(&self) -> Option<&'a Volume> {
        self.observation.surroundings.volumes.get(self.instance.claim.as_ref()?.volume.as_deref()?)
    }

    /// The record announces the operation of this id for this instance.
    fn announced(&self, operation: &str) -> bool {
        self.record.operations().iter().any(|o| o.id == operation && o.ordinal == self.ordinal)
    }

    /// The record announces that the volume that it is on is given back.
    fn given_back(&self) -> bool {
        let volume = self.instance.claim.as_ref().and_then(|claim| claim.volume.as_deref());
        volume.is_some_and(|volume| {
            let ours = |o: &&Operation| o.ordinal == self.ordinal && o.id == volume;
            self.record.operations().iter().filter(ours).any(|o| o.kind == OperationKind::GiveBack)
        })
    }

    fn is_what_left(&self, verdict: Option<&Verdict>) -> bool {
        let pod = self.instance.pod.as_ref();
        let of_this_pod = |verdict: &&Verdict| pod.is_some_and(|pod| pod.uid == verdict.pod_uid);
        verdict.filter(of_this_pod).is_some_and(|v| v.judgement == Judgement::SameVolume)
    }
}

/// What an instance left on its claim. A claim that was made from a copy of another is not the one that it was
/// written on.
pub(crate) fn left_on(claim: &Claim) -> Option<LedgerEntry> {
    let entry: LedgerEntry = serde_json::from_str(claim.annotations.get(ANNOTATION_LEDGER)?).ok()?;
    (entry.claim_uid == claim.uid).then_some(entry)
}

/// What is to be said of the data that an instance has come back with. `None`: nothing was seen yet. What has no
/// entry is taken for what its marker says; that this was said of this start is kept, because from then on the entry
/// moves on, and this start is not to be held against what came after it.
pub(crate) fn judge<'a>(case: &Case<'a>) -> Option<Cow<'a, Verdict>> {
    let kept = case.before.and_then(|before| before.verdict.as_ref()).map(Cow::Borrowed);
    let (Some(pod), Some(report)) = (&case.instance.pod, case.instance.agent.live()) else { return kept };
    let started_at = serving(report).and_then(|state| state.started_at).and_then(whole_seconds);
    let same_start = |verdict: &Verdict| {
        verdict.pod_uid == pod.uid && (serving(report).is_none() || verdict.started_at == started_at)
    };
    // What was said of a start holds until the next: the entry has moved on since.
    let of_data = |verdict: &Verdict| {
        !matches!(verdict.judgement, Judgement::NewVolumeEmpty | Judgement::Wiped | Judgement::Partial)
    };
    let final_word = |verdict: &Verdict| same_start(verdict) && serving(report).is_some() && of_data(verdict);
    if kept.as_deref().is_some_and(final_word) {
        return kept;
    }
    let found = match &case.entry {
        Some(entry) => find(case, entry, pod, report),
        None => first_sight(case, report),
    };
    let Some((judgement, message)) = found else { return kept };
    if let Some(kept) = kept.filter(|kept| same_start(kept) && kept.judgement == judgement) {
        return Some(kept);
    }
    let (at, pod_uid) = (Time(case.observation.now), pod.uid.clone());
    Some(Cow::Owned(Verdict { judgement, message, at, pod_uid, started_at }))
}

/// Times in an object have no finer parts: what is read back must be what was written.
/// Source: Kubernetes API conventions, "Primitive types"; `metav1.Time` is written in RFC 3339 with seconds.
fn whole_seconds(at: Timestamp) -> Option<Time> {
    Timestamp::from_second(at.as_second()).ok().map(Time)
}

/// Whether an instance may serve and lead: it is the one that left, or it was never seen before.
pub(crate) fn may_serve(case: &Case<'_>, verdict: Option<&Verdict>) -> bool {
    case.entry.is_none() || case.is_what_left(verdict)
}

/// The entry as it is to be. It moves on only while the instance serves in its role, or came out of an announced
/// operation.
pub(crate) fn note(case: &Case<'_>, verdict: Option<&Verdict>, well: bool) -> Option<LedgerEntry> {
    let kept = || case.entry().cloned();
    let Some((marker, state)) = case.instance.agent.live().and_then(|r| Some((marker(r)?, serving(r)?)))
    else {
        return kept();
    };
    // Until it knows that it was judged, it may come back with what it first had.
    if state.unconfirmed {
        return kept();
    }
    let serves = may_serve(case, verdict);
    let (Some(claim), true) =
        (&case.instance.claim, serves && (well || case.announced(&marker.operation) || case.given_back()))
    else {
        return kept();
    };
    Some(entry(case, claim, marker, state, case.entry()))
}

fn entry(
    case: &Case<'_>,
    claim: &Claim,
    marker: &Marker,
    state: &ServerState,
    kept: Option<&LedgerEntry>,
) -> LedgerEntry {
    let begun = LedgerEntry {
        claim_uid: claim.uid.clone(),
        volume: claim.volume.clone(),
        node: case.instance.pod.as_ref().and_then(|pod| pod.node.clone()),
        operation: marker.operation.clone(),
        server_uuid: state.server_uuid.clone(),
        gtid_executed: state.gtid_executed.clone(),
        history: history(state),
        seen_at: Some(Time(case.observation.now)),
        ..LedgerEntry::default()
    };
    match (case.volume(), kept.filter(|kept| kept.volume == claim.volume)) {
        (Some(volume), _) => LedgerEntry {
            volume_uid: Some(volume.uid.clone()),
            handle: handle(volume),
            class: volume.class.clone(),
            reclaim_policy: volume.reclaim_policy.clone(),
            pinned_to: volume.hosts.clone().unwrap_or_default(),
            attached: !volume.attached_to.is_empty(),
            ..begun
        },
        // What can't be seen at the moment has not changed for that.
        (None, Some(kept)) => LedgerEntry {
            volume_uid: kept.volume_uid.clone(),
            handle: kept.handle.clone(),
            class: kept.class.clone(),
            reclaim_policy: kept.reclaim_policy.clone(),
            pinned_to: kept.pinned_to.clone(),
            attached: kept.attached,
            ..begun
        },
        (None, None) => begun,
    }
}

/// From which count a server's sets are, as an entry has it.
pub(crate) fn history(state: &ServerState) -> Option<String> {
    state.history.filter(|history| !history.is_first()).map(|history| history.to_string())
}

/// Kind and handle of a volume whose source tells it from all others.
fn handle(volume: &Volume) -> Option<String> {
    Some(format!("{}:{}", volume.source.as_deref()?, volume.handle.as_deref()?))
}

/// A directory of a node: the same path on another node is another directory.
fn is_path(handle: &str) -> bool {
    handle.starts_with("local:") || handle.starts_with("hostPath:")
}

fn first_sight(case: &Case<'_>, report: &Report) -> Option<(Judgement, String)> {
    let (marker, state) = (marker(report)?, serving(report)?);
    let name = case.names.pod(case.ordinal);
    let message = format!(
        "{name} is seen for the first time, with server {} made by {}",
        state.server_uuid, marker.operation
    );
    Some((Judgement::SameVolume, message))
}

fn find(case: &Case<'_>, entry: &LedgerEntry, pod: &Pod, report: &Report) -> Option<(Judgement, String)> {
    let differs = other_volume(case, entry);
    if let Directory::Complete { marker } = &report.directory {
        return complete(case, entry, pod, marker, serving(report)?, differs);
    }
    let differs = differs.or_else(|| other_path(entry, pod));
    match &report.directory {
        Directory::Empty => {
            let judgement = if differs.is_some() { Judgement::NewVolumeEmpty } else { Judgement::Wiped };
            Some((judgement, said(case, entry, pod, "holds nothing", differs)))
        }
        Directory::Partial { operation, .. } if case.announced(operation) => None,
        Directory::Partial { operation, .. } => {
            let what =
                format!("holds an unfinished copy, by the operation {operation} that nobody announced");
            Some((Judgement::Partial, said(case, entry, pod, &what, differs)))
        }
        Directory::Foreign { message, .. } => {
            let what = format!("holds what is not its own ({message})");
            Some((Judgement::NewVolumeForeign, said(case, entry, pod, &what, differs)))
        }
        Directory::Complete { .. } | Directory::Locked { .. } | Directory::Unusable { .. } => None,
    }
}

fn complete(
    case: &Case<'_>,
    entry: &LedgerEntry,
    pod: &Pod,
    marker: &Marker,
    state: &ServerState,
    differs: Option<String>,
) -> Option<(Judgement, String)> {
    let name = case.names.pod(case.ordinal);
    // What the entry has already is no news any more, even if the record has not got so far.
    let entered = entry.operation == marker.operation && entry.server_uuid == state.server_uuid;
    if case.announced(&marker.operation) && !(entered && differs.is_none()) {
        let message = format!("{name} holds what the announced operation {} made", marker.operation);
        return Some((Judgement::SameVolume, message));
    }
    if case.given_back() && !(entered && differs.is_none()) {
        let message =
            format!("{name} is on the volume that was given back, with server {}", state.server_uuid);
        return Some((Judgement::SameVolume, message));
    }
    let foreign = [
        (state.server_uuid != entry.server_uuid)
            .then(|| format!("server_uuid was {}, is {}", entry.server_uuid, state.server_uuid)),
        (marker.operation != entry.operation)
            .then(|| format!("it was made by the operation {}, is by {}", entry.operation, marker.operation)),
    ];
    let foreign: Vec<String> = foreign.into_iter().flatten().collect();
    if !foreign.is_empty() || differs.is_some() {
        let what = if foreign.is_empty() {
            "holds data of this instance, but is not the volume that left".to_owned()
        } else {
            format!("holds other data than left: {}", foreign.join(", "))
        };
        return Some((Judgement::NewVolumeForeign, said(case, entry, pod, &what, differs)));
    }
    if let Some(what) = set_back(entry, state)? {
        return Some((Judgement::RolledBack, said(case, entry, pod, &what, None)));
    }
    let node = pod.node.as_deref().unwrap_or("?");
    let message = match entry.node.as_deref().filter(|before| Some(*before) != pod.node.as_deref()) {
        Some(before) => format!("{name} is back on node {node}, before on {before}, {}", volume_of(entry)),
        None => format!("{name} is back on node {node}, {}", volume_of(entry)),
    };
    Some((Judgement::SameVolume, message))
}

/// In what it is older than what left, if it is. The marker says on the volume itself when a server was seen to count its
/// transactions anew: what left before that tells nothing of it. One that knows less of that than was written down is from
/// before. `None`: it can't be told.
fn set_back(entry: &LedgerEntry, state: &ServerState) -> Option<Option<String>> {
    let before: History = match &entry.history {
        Some(text) => text.parse().ok()?,
        None => History::default(),
    };
    // An agent that does not tell leaves only the sets.
    let now = state.history.unwrap_or(before);
    if now != before {
        let earlier = now.resets <= before.resets;
        return Some(earlier.then(|| {
            "was set back: to a time before its server was made to count its transactions anew".to_owned()
        }));
    }
    let left: GtidSet = entry.gtid_executed.parse().ok()?;
    let missing = left.subtract(&at_start(state)?);
    Some((!missing.is_empty()).then(|| format!("was set back: it lacks {}", short(&missing.to_string()))))
}

/// What the server came up with, before it replicated; an older agent says only what it holds now.
fn at_start(state: &ServerState) -> Option<GtidSet> {
    if let Some(text) = &state.gtid_at_start {
        return text.parse().ok();
    }
    let executed: GtidSet = state.gtid_executed.parse().ok()?;
    let received = state.channel.as_ref().and_then(|channel| channel.gtid_received.parse().ok());
    Some(received.map_or_else(|| executed.clone(), |received: GtidSet| executed.union(&received)))
}

/// A path without data, on another node than before: most likely not the same disk. One with the data that left is
/// on storage that the nodes share.
fn other_path(entry: &LedgerEntry, pod: &Pod) -> Option<String> {
    let path = entry.handle.as_deref().filter(|handle| is_path(handle))?;
    let moved = entry.node.is_some() && pod.node.is_some() && entry.node != pod.node;
    moved.then(|| format!("{path} is a path of node {}, now of another", named(&entry.node)))
}

/// In what the volume is another than the one that left, if it is.
fn other_volume(case: &Case<'_>, entry: &LedgerEntry) -> Option<String> {
    let claim = case.instance.claim.as_ref()?;
    let (before, now) = (entry.volume.as_deref()?, claim.volume.as_deref()?);
    let volume = case.volume();
    let handles = (entry.handle.as_deref(), volume.and_then(handle));
    if let (Some(was), Some(is)) = &handles
        && was == is
    {
        return None;
    }
    let uids = (entry.volume_uid.as_deref(), volume.map(|volume| volume.uid.as_str()));
    let same_uid = !matches!(uids, (Some(was), Some(is)) if was != is);
    if before == now && same_uid && !matches!(handles, (Some(_), Some(_))) {
        return None;
    }
    let text = |name: &str, handle: Option<&str>| match handle {
        Some(handle) => format!("{name} ({handle})"),
        None => name.to_owned(),
    };
    Some(format!("the volume was {}, is {}", text(before, handles.0), text(now, handles.1.as_deref())))
}

fn serving(report: &Report) -> Option<&ServerState> {
    match &report.server {
        Server::Running { state } if report.stage == Stage::Serve => Some(state),
        _ => None,
    }
}

fn marker(report: &Report) -> Option<&Marker> {
    match &report.directory {
        Directory::Complete { marker } => Some(marker),
        _ => None,
    }
}

/// The reason that a condition gives for a bad verdict.
pub(crate) fn reason(judgement: Judgement) -> Reason {
    match judgement {
        Judgement::RolledBack => Reason::RolledBack,
        _ => Reason::ForeignVolume,
    }
}

#[cfg(test)]
mod tests;

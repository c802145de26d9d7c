//! The observation seen from the record: what each instance is good for.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use mainstay_crd::names::Names;
use mainstay_crd::{Judgement, LedgerEntry, ReplicationRecord, Verdict};
use mainstay_proto::{
    Channel, Directory, Endpoint, Fence, GrantedRole, LAG_LIMIT_SECONDS, Marker, Report, Server, ServerState,
    Stage, Task, TaskState, pod,
};

use super::{divergence, guards, leaving};
use crate::{GtidSet, Instance, Observation, ledger};

/// The observation with what is derived from it once.
pub(super) struct View<'a> {
    pub(super) o: &'a Observation,
    pub(super) names: Names,
    pub(super) record: ReplicationRecord,
    /// The cluster id in status; nothing is done before it is there.
    pub(super) cluster_id: Option<&'a str>,
    /// What is to be said of the data that instances came back with.
    verdicts: BTreeMap<u32, Verdict>,
    /// Transactions that instances hold and the primary never had.
    errant: BTreeMap<u32, GtidSet>,
}

impl<'a> View<'a> {
    pub(super) fn of(o: &'a Observation) -> Self {
        let names = Names::new(&o.cluster.namespace, &o.cluster.name);
        let record = o.cluster.status.replication.clone().unwrap_or_default();
        let judged = |&i: &u32| Some((i, ledger::judge(o, &names, &record, i)?));
        let verdicts = o.instances.keys().filter_map(judged).collect();
        let cluster_id = o.cluster.status.cluster_id.as_deref();
        let mut view = View { o, names, record, cluster_id, verdicts, errant: BTreeMap::new() };
        let proven = |&i: &u32| Some((i, divergence::proven(&view, i)?));
        view.errant = o.instances.keys().filter_map(proven).collect();
        view
    }

    /// Transactions that it holds and the primary, which leads, never had.
    pub(super) fn errant(&self, ordinal: u32) -> Option<&GtidSet> {
        self.errant.get(&ordinal)
    }

    /// Its data may not be used: nobody waits for it, and it neither serves nor takes over.
    pub(super) fn quarantined(&self, ordinal: u32) -> bool {
        self.errant(ordinal).is_some() || self.distrusted(ordinal).is_some()
    }

    /// What is to be said of the data that the instance came back with.
    pub(super) fn verdict(&self, ordinal: u32) -> Option<&Verdict> {
        self.verdicts.get(&ordinal)
    }

    /// It is the one that left, or was never seen before: only then it may serve or lead (invariant I9).
    pub(super) fn trusted(&self, ordinal: u32) -> bool {
        ledger::trusted(self.o, &self.names, &self.record, ordinal, self.verdict(ordinal))
    }

    /// Why the data that it has may not be used, if it was judged so since its pod was made.
    pub(super) fn distrusted(&self, ordinal: u32) -> Option<&Verdict> {
        let uid = &self.instance(ordinal)?.pod.as_ref()?.uid;
        let bad = |v: &&Verdict| match v.judgement {
            Judgement::NewVolumeForeign | Judgement::RolledBack => v.pod_uid == *uid,
            // There is no data that could be used.
            Judgement::SameVolume | Judgement::NewVolumeEmpty | Judgement::Wiped | Judgement::Partial => {
                false
            }
        };
        self.verdict(ordinal).filter(bad)
    }

    /// The ledger's entry as it is to be.
    pub(super) fn ledger(&self, ordinal: u32) -> Option<LedgerEntry> {
        let follows = |channel: &Channel| channel.receiver_running && channel.applier_running;
        let well = self.leads(ordinal) || self.channel_to_primary(ordinal).is_some_and(follows);
        ledger::note(self.o, &self.names, &self.record, ordinal, well)
    }

    /// The ledger's entry as it was written last.
    pub(super) fn noted(&self, ordinal: u32) -> Option<&'a LedgerEntry> {
        let name = self.names.pod(ordinal);
        self.o.cluster.status.instances.iter().find(|i| i.name == name)?.ledger.as_ref()
    }

    /// Only the status tells what it left: its claim is still there and does not.
    pub(super) fn alone_in_status(&self, ordinal: u32) -> bool {
        let claim = self.instance(ordinal).and_then(|instance| instance.claim.as_ref());
        let Some((entry, claim)) = self.noted(ordinal).zip(claim) else { return false };
        let told = ledger::left_on(claim).is_some_and(|left| {
            (&left.operation, &left.server_uuid) == (&entry.operation, &entry.server_uuid)
        });
        entry.claim_uid == claim.uid && !told
    }

    /// How long a moment of the record is ago, by the operator's own clock.
    pub(super) fn seen_for(&self, moment: &str) -> SignedDuration {
        self.o.seen_for.get(moment).copied().unwrap_or_default()
    }

    pub(super) fn wanted(&self) -> u32 {
        u32::try_from(self.o.cluster.spec.replicas).unwrap_or(1)
    }

    /// The record's primary.
    pub(super) fn primary(&self) -> Option<u32> {
        self.record.primary.and_then(|p| u32::try_from(p).ok())
    }

    pub(super) fn instance(&self, ordinal: u32) -> Option<&'a Instance> {
        self.o.instances.get(&ordinal)
    }

    /// Why an instance has no pod, or why its pod does not run, in Kubernetes' words.
    pub(super) fn pod_trouble(&self, ordinal: u32) -> Option<String> {
        match self.instance(ordinal).and_then(|instance| instance.pod.as_ref()) {
            Some(pod) => pod.trouble.clone(),
            None => self.o.pods_refused.as_ref().map(|words| format!("it has no pod: {words}")),
        }
    }

    /// The report of an instance whose stream is open.
    pub(super) fn live(&self, ordinal: u32) -> Option<&'a Report> {
        self.instance(ordinal)?.agent.live()
    }

    pub(super) fn fence(&self) -> Fence {
        Fence { epoch: self.record.epoch.unsigned_abs(), revision: self.record.revision.unsigned_abs() }
    }

    pub(super) fn endpoint(&self, ordinal: u32) -> Endpoint {
        let host = pod::host(&self.o.cluster.namespace, &self.o.cluster.name, ordinal);
        Endpoint { host, port: pod::ports::MYSQL }
    }

    /// The instance that is to lead, while the primary hands over.
    pub(super) fn target(&self) -> Option<u32> {
        self.record.target.and_then(|t| u32::try_from(t).ok())
    }

    /// Number of pods: what the spec asks for, but never without the primary. A second instance waits until the
    /// first knows that it is no longer alone: else a restart would make it writable by itself.
    pub(super) fn stateful_set_replicas(&self) -> u32 {
        let asked = self.asked();
        let staying = self.beyond(asked).rev().find(|&i| leaving::must_stay(self, i));
        // Also while nobody is known to lead.
        let last_copy = self.o.instances.range(asked..).rev().find(|&(&i, instance)| {
            instance.pod.as_ref().is_some_and(|pod| !pod.deleting) && guards::may_take(self, i).is_err()
        });
        let staying = staying.max(last_copy.map(|(&i, _)| i));
        staying.map_or(asked, |i| i + 1)
    }

    /// Instances that are no longer asked for, but still have a pod.
    pub(super) fn leaving(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.beyond(self.asked())
    }

    /// None while no primary is recorded: who holds what is not known then.
    fn beyond(&self, asked: u32) -> impl DoubleEndedIterator<Item = u32> + '_ {
        let known = self.primary().is_some();
        let beyond = self.o.instances.range(asked..).filter(move |_| known);
        beyond.filter(|(_, instance)| instance.pod.is_some()).map(|(&i, _)| i)
    }

    fn asked(&self) -> u32 {
        let Some(primary) = self.primary() else { return self.wanted() };
        let alone = self.live(primary).and_then(Seen::marker).is_some_and(|marker| {
            matches!(&marker.grant, Some(grant) if grant.role == GrantedRole::Primary { alone: true })
        });
        let others = self.o.instances.iter().any(|(&i, instance)| i != primary && instance.pod.is_some());
        if alone && !others { primary + 1 } else { self.staying() }
    }

    /// What the spec asks for, but never without the primary and whoever is to take over from it.
    fn staying(&self) -> u32 {
        let least = |ordinal: Option<u32>| ordinal.map_or(0, |i| i.saturating_add(1));
        self.wanted().max(least(self.primary())).max(least(self.target()))
    }

    /// The cluster is to have one instance, and no other has a pod.
    pub(super) fn alone(&self, primary: u32) -> bool {
        self.wanted() == 1
            && primary == 0
            && self.o.instances.iter().all(|(&i, instance)| i == primary || instance.pod.is_none())
    }

    /// Ordinals that are to have a pod and to serve.
    pub(super) fn ordinals(&self) -> std::ops::Range<u32> {
        0..self.asked()
    }

    /// It serves writes in the record's epoch.
    pub(super) fn leads(&self, ordinal: u32) -> bool {
        let Some(report) = self.live(ordinal) else { return false };
        let granted = report.marker().and_then(|m| m.grant.as_ref()).is_some_and(|grant| {
            matches!(grant.role, GrantedRole::Primary { .. }) && grant.fence.epoch == self.fence().epoch
        });
        let right = self.primary() == Some(ordinal) && self.trusted(ordinal);
        right
            && granted
            && report.serving().is_some_and(|s| !s.super_read_only && s.unsafe_options.is_empty())
    }

    /// It follows and is not too far behind. One that lost its source a moment ago still counts: its agent lets
    /// the lag grow meanwhile.
    pub(super) fn in_time(&self, ordinal: u32) -> bool {
        self.channel_to_primary(ordinal).is_some_and(|channel| {
            channel.applier_running
                && (channel.receiver_running || channel.receiver_connecting)
                && channel.lag_seconds.is_some_and(|lag| lag <= LAG_LIMIT_SECONDS)
        })
    }

    /// It serves in its role, and is not about to end.
    pub(super) fn ready(&self, ordinal: u32) -> bool {
        let deleted = self.instance(ordinal).and_then(|i| i.pod.as_ref()).is_none_or(|pod| pod.deleting);
        let ending = deleted || self.live(ordinal).is_some_and(|report| report.ending);
        !ending && (self.leads(ordinal) || self.in_time(ordinal))
    }

    fn channel_to_primary(&self, ordinal: u32) -> Option<&'a Channel> {
        let source = self.endpoint(self.primary().filter(|&p| p != ordinal)?);
        let state = self.live(ordinal)?.serving()?;
        let channel = state.channel.as_ref()?;
        let right = channel.source_host == source.host && channel.source_port == source.port;
        let right = right && self.trusted(ordinal) && self.errant(ordinal).is_none();
        let right = right && state.unsafe_options.is_empty();
        (right && state.super_read_only).then_some(channel)
    }
}

/// What is read from a report in more than one place.
pub(super) trait Seen {
    fn marker(&self) -> Option<&Marker>;
    fn serving(&self) -> Option<&ServerState>;
    /// The directory can be given data: it is empty or partial, and the agent waits for an order.
    fn vacant(&self) -> bool;
    /// A task of this kind and operation, if it is the last one.
    fn task(&self, kind: &str, operation: Option<&str>) -> Option<&Task>;
    fn busy(&self) -> bool;
}

impl Seen for Report {
    fn marker(&self) -> Option<&Marker> {
        match &self.directory {
            Directory::Complete { marker } => Some(marker),
            _ => None,
        }
    }
    fn serving(&self) -> Option<&ServerState> {
        match &self.server {
            Server::Running { state } if self.stage == Stage::Serve => Some(state),
            _ => None,
        }
    }
    fn vacant(&self) -> bool {
        self.stage != Stage::Serve && matches!(self.directory, Directory::Empty | Directory::Partial { .. })
    }
    fn task(&self, kind: &str, operation: Option<&str>) -> Option<&Task> {
        self.task.as_ref().filter(|task| task.kind == kind && task.operation.as_deref() == operation)
    }
    fn busy(&self) -> bool {
        self.task.as_ref().is_some_and(|task| task.state == TaskState::Running)
    }
}

/// A set that an agent reported; one that can't be read counts as unknown.
pub(super) fn gtids(text: &str) -> Option<GtidSet> {
    text.parse().ok()
}

//! Each instance read once: what its report, its claim, its entry in status and the record say of it. Questions of the
//! plan and guards look here; no question reads a text again.

mod divergence;
mod errant;
mod history;
mod member;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::SignedDuration;
use mainstay_crd::names::Names;
use mainstay_crd::{InstanceStatus, LedgerEntry, Verdict, rules};
use mainstay_proto::{Channel, Endpoint, GrantedRole, LAG_LIMIT_SECONDS, Marker, Report, ServerState, pod};

use crate::children::{self, Blueprint, FixedFields};
pub(crate) use crate::gtid::gtids;
use crate::{GtidSet, Instance, Observation, Record, ledger};
pub(crate) use divergence::Divergence;
pub use errant::EARLIER;
use member::Member;
pub(crate) use member::Seen;

/// The observation with what is derived from it once.
pub(crate) struct Facts<'a> {
    pub(crate) observation: &'a Observation,
    pub(crate) names: &'a Names,
    pub(crate) record: &'a Record,
    /// The cluster id in status; nothing is done before it is there.
    pub(crate) cluster_id: Option<&'a str>,
    members: BTreeMap<u32, Member<'a>>,
    /// Where replicas are to replicate from.
    source: Option<Endpoint>,
    /// How many ordinals are to have a pod and to serve.
    asked: u32,
    template_hash: OnceCell<String>,
    invalid: OnceCell<Option<String>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn of(observation: &'a Observation, names: &'a Names, record: &'a Record) -> Self {
        let mut facts = Facts {
            observation,
            names,
            record,
            cluster_id: observation.cluster.status.cluster_id.as_deref(),
            members: observation
                .instances
                .keys()
                .filter_map(|&i| Some((i, Member::read(observation, names, record, i)?)))
                .collect(),
            source: None,
            asked: 0,
            template_hash: OnceCell::new(),
            invalid: OnceCell::new(),
        };
        facts.source = facts.primary().map(|primary| facts.endpoint(primary));
        facts.asked = facts.count_asked();
        facts.compare();
        facts
    }

    /// Finds out who leads, what the others hold that the leader lacks, and who follows it.
    fn compare(&mut self) {
        let ordinals: Vec<u32> = self.members.keys().copied().collect();
        for &ordinal in &ordinals {
            let leads = self.serves_writes(ordinal);
            self.change(ordinal, |member| member.leads = leads);
        }
        for &ordinal in &ordinals {
            let suspected = errant::suspected(self, ordinal);
            self.change(ordinal, |member| member.suspected = suspected);
            let errant = errant::proven(self, ordinal);
            self.change(ordinal, |member| member.errant = errant);
            let diverged = divergence::proven(self, ordinal);
            self.change(ordinal, |member| member.diverged = diverged);
            let follows = self.replicates(ordinal);
            self.change(ordinal, |member| member.follows = follows);
        }
    }

    fn change(&mut self, ordinal: u32, change: impl FnOnce(&mut Member<'a>)) {
        if let Some(member) = self.members.get_mut(&ordinal) {
            change(member);
        }
    }

    fn member(&self, ordinal: u32) -> Option<&Member<'a>> {
        self.members.get(&ordinal)
    }

    fn serves_writes(&self, ordinal: u32) -> bool {
        let Some(member) = self.member(ordinal) else { return false };
        let epoch = self.record.term().epoch;
        let granted = member.marker.and_then(|marker| marker.grant.as_ref()).is_some_and(|grant| {
            matches!(grant.role, GrantedRole::Primary { .. }) && grant.term.epoch == epoch
        });
        let writable = |state: &ServerState| !state.super_read_only && state.unsafe_options.is_empty();
        self.primary() == Some(ordinal) && member.may_serve && granted && member.serving.is_some_and(writable)
    }

    fn replicates(&self, ordinal: u32) -> bool {
        let (Some(member), Some(source)) = (self.member(ordinal), &self.source) else { return false };
        let Some((state, channel)) = member.serving.and_then(|state| Some((state, state.channel.as_ref()?)))
        else {
            return false;
        };
        self.primary() != Some(ordinal)
            && channel.source_host == source.host
            && channel.source_port == source.port
            && member.may_serve
            && member.diverged.is_none()
            && state.unsafe_options.is_empty()
            && state.super_read_only
    }

    /// What the leading primary's server said last; none for the primary itself.
    fn leader(&self, ordinal: u32) -> Option<&Member<'a>> {
        let primary = self.primary().filter(|&p| p != ordinal && self.leads(p))?;
        self.member(primary)
    }
}

/// One instance.
impl<'a> Facts<'a> {
    pub(crate) fn instance(&self, ordinal: u32) -> Option<&'a Instance> {
        self.observation.instances.get(&ordinal)
    }

    /// The report of an instance whose stream is open.
    pub(crate) fn live(&self, ordinal: u32) -> Option<&'a Report> {
        self.member(ordinal)?.report
    }

    /// Its server, once it serves.
    pub(crate) fn serving(&self, ordinal: u32) -> Option<&'a ServerState> {
        self.member(ordinal)?.serving
    }

    /// The marker of its directory, if that is complete.
    pub(crate) fn marker(&self, ordinal: u32) -> Option<&'a Marker> {
        self.member(ordinal)?.marker
    }

    /// What status said of it last.
    pub(crate) fn before(&self, ordinal: u32) -> Option<&'a InstanceStatus> {
        if let Some(member) = self.member(ordinal) {
            return member.before;
        }
        let name = self.names.pod(ordinal);
        self.observation.cluster.status.instances.iter().find(|instance| instance.name == name)
    }

    /// What its server has executed; `None` if it does not serve, or what it says can't be read.
    pub(crate) fn executed(&self, ordinal: u32) -> Option<&GtidSet> {
        self.member(ordinal)?.executed()
    }

    /// What its server has executed or received: what it received, it will execute. `None` if either can't be read.
    pub(crate) fn received_or_executed(&self, ordinal: u32) -> Option<&GtidSet> {
        self.member(ordinal)?.received_or_executed()
    }

    /// What its server no longer has the binary logs of.
    pub(crate) fn purged(&self, ordinal: u32) -> Option<&GtidSet> {
        self.member(ordinal)?.purged()
    }

    /// Transactions that it holds and the primary, which leads, never had.
    pub(crate) fn errant(&self, ordinal: u32) -> Option<&GtidSet> {
        self.member(ordinal)?.errant.as_ref()
    }

    /// What it holds and the leading primary's last report lacks, but for what it may just have received. It may only be
    /// newer than that report.
    pub(crate) fn suspected(&self, ordinal: u32) -> Option<&GtidSet> {
        self.member(ordinal)?.suspected.as_ref()
    }

    /// What an instance was the first to commit, no longer has, and another one holds.
    pub(crate) fn lost_to(&self, ordinal: u32, other: u32) -> Option<GtidSet> {
        if !self.same_history(ordinal, other) {
            return None;
        }
        let (own, theirs) = (self.received_or_executed(ordinal)?, self.received_or_executed(other)?);
        let lost = theirs.subtract(own).of(&self.serving(ordinal)?.server_uuid);
        (!lost.is_empty()).then_some(lost)
    }

    /// Which instance holds transactions that this one was the first to commit and no longer has, and which they are.
    pub(crate) fn ahead_of(&self, ordinal: u32) -> Option<(u32, GtidSet)> {
        let usable = |&&other: &&u32| other != ordinal && self.quarantine_verdict(other).is_none();
        let mut others = self.members.keys().filter(usable);
        others.find_map(|&other| Some((other, self.lost_to(ordinal, other)?)))
    }

    /// Its data may not be used: nobody waits for it, and it neither serves nor takes over.
    pub(crate) fn quarantined(&self, ordinal: u32) -> bool {
        self.diverged(ordinal).is_some() || self.quarantine_verdict(ordinal).is_some()
    }

    /// What is to be said of the data that the instance came back with.
    pub(crate) fn verdict(&self, ordinal: u32) -> Option<&Verdict> {
        self.member(ordinal)?.verdict.as_deref()
    }

    /// It is the one that left, or was never seen before: only then it may serve or lead (invariant I9).
    pub(crate) fn may_serve(&self, ordinal: u32) -> bool {
        self.member(ordinal).is_none_or(|member| member.may_serve)
    }

    /// Why the data that it has may not be used, if it was judged so since its pod was made.
    pub(crate) fn quarantine_verdict(&self, ordinal: u32) -> Option<&Verdict> {
        self.member(ordinal)?.quarantine_verdict()
    }

    /// The ledger's entry as it is to be.
    pub(crate) fn next_ledger_entry(&self, ordinal: u32) -> Option<LedgerEntry> {
        let member = self.member(ordinal)?;
        let follows = |channel: &Channel| channel.receiver_running && channel.applier_running;
        let well = member.leads || self.channel_to_primary(ordinal).is_some_and(follows);
        ledger::note(&member.case, member.verdict.as_deref(), well)
    }

    /// The ledger's entry as it was written last.
    pub(crate) fn ledger_entry(&self, ordinal: u32) -> Option<&'a LedgerEntry> {
        self.before(ordinal)?.ledger.as_ref()
    }

    /// What it was last known to be: as status says, or its claim.
    pub(crate) fn left(&self, ordinal: u32) -> Option<&LedgerEntry> {
        match self.member(ordinal) {
            Some(member) => member.case.entry(),
            None => self.ledger_entry(ordinal),
        }
    }

    /// Only the status tells what it left: its claim is still there and does not.
    pub(crate) fn alone_in_status(&self, ordinal: u32) -> bool {
        let claim = self.instance(ordinal).and_then(|instance| instance.claim.as_ref());
        let Some((entry, claim)) = self.ledger_entry(ordinal).zip(claim) else { return false };
        let told = || {
            ledger::left_on(claim).is_some_and(|left| {
                (&left.operation, &left.server_uuid) == (&entry.operation, &entry.server_uuid)
            })
        };
        entry.claim_uid == claim.uid && !told()
    }

    /// It serves writes in the record's epoch.
    pub(crate) fn leads(&self, ordinal: u32) -> bool {
        self.member(ordinal).is_some_and(|member| member.leads)
    }

    /// It follows and is not too far behind. One that lost its source a moment ago still counts: its agent lets
    /// the lag grow meanwhile.
    pub(crate) fn in_time(&self, ordinal: u32) -> bool {
        self.channel_to_primary(ordinal).is_some_and(|channel| {
            channel.applier_running
                && (channel.receiver_running || channel.receiver_connecting)
                && channel.lag_seconds.is_some_and(|lag| lag <= LAG_LIMIT_SECONDS)
        })
    }

    /// It serves in its role, and is not about to end.
    pub(crate) fn ready(&self, ordinal: u32) -> bool {
        let deleted = self.instance(ordinal).and_then(|i| i.pod.as_ref()).is_none_or(|pod| pod.deleting);
        let ending = deleted || self.live(ordinal).is_some_and(|report| report.ending);
        !ending && (self.leads(ordinal) || self.in_time(ordinal))
    }

    fn channel_to_primary(&self, ordinal: u32) -> Option<&'a Channel> {
        self.member(ordinal).filter(|member| member.follows)?.serving?.channel.as_ref()
    }

    /// Why an instance has no pod, or why its pod does not run, in Kubernetes' words.
    pub(crate) fn pod_trouble(&self, ordinal: u32) -> Option<String> {
        match self.instance(ordinal).and_then(|instance| instance.pod.as_ref()) {
            Some(pod) => pod.trouble.clone(),
            None => self.observation.pods_refused.as_ref().map(|words| format!("it has no pod: {words}")),
        }
    }

    /// Its pod is there.
    pub(crate) fn has_pod(&self, ordinal: u32) -> bool {
        self.instance(ordinal).is_some_and(|instance| instance.pod.is_some())
    }

    /// What is said of an instance that is not heard, where Kubernetes says nothing.
    pub(crate) fn silence(&self, ordinal: u32) -> String {
        let why = if self.has_pod(ordinal) { "has not reported yet" } else { "has no pod yet" };
        format!("{} {why}", self.names.pod(ordinal))
    }
}

/// The cluster.
impl Facts<'_> {
    /// How long a moment of the record is ago, by the operator's own clock.
    pub(crate) fn seen_for(&self, moment: &str) -> SignedDuration {
        self.observation.seen_for.get(moment).copied().unwrap_or_default()
    }

    /// Hash of the pods' template that the spec asks for.
    pub(crate) fn template_hash(&self) -> &str {
        self.template_hash.get_or_init(|| children::template_hash(&self.blueprint()))
    }

    /// What of the StatefulSet that the spec asks for can't be changed later.
    pub(crate) fn fixed_fields(&self) -> Option<FixedFields> {
        FixedFields::of(&children::stateful_set(&self.blueprint()))
    }

    /// As far as template and claims depend on it.
    fn blueprint(&self) -> Blueprint<'_> {
        let cluster = &self.observation.cluster;
        Blueprint {
            namespace: &cluster.namespace,
            name: &cluster.name,
            uid: &cluster.uid,
            cluster_id: self.cluster_id.unwrap_or_default(),
            spec: &cluster.spec,
            replicas: self.asked,
            sees_drains: false,
            agent_image: "",
        }
    }

    /// The first rule that the spec breaks.
    pub(crate) fn invalid(&self) -> Option<&str> {
        let first = || {
            let broken = rules::validate(&self.observation.cluster.spec);
            broken.first().map(|violation| format!("{}: {}", violation.field, violation.message))
        };
        self.invalid.get_or_init(first).as_deref()
    }

    pub(crate) fn wanted(&self) -> u32 {
        u32::try_from(self.observation.cluster.spec.replicas).unwrap_or(1)
    }

    /// The record's primary.
    pub(crate) fn primary(&self) -> Option<u32> {
        self.record.primary()
    }

    /// The instance that is to lead, while the primary hands over.
    pub(crate) fn target(&self) -> Option<u32> {
        self.record.target()
    }

    /// Where an instance's server is reached.
    pub(crate) fn endpoint(&self, ordinal: u32) -> Endpoint {
        let host = pod::host(&self.observation.cluster.namespace, &self.observation.cluster.name, ordinal);
        Endpoint { host, port: pod::ports::MYSQL }
    }

    /// Instances that are no longer asked for, but still have a pod. None while no primary is recorded: who holds what is
    /// not known then.
    pub(crate) fn leaving(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        let known = self.primary().is_some();
        let beyond = self.observation.instances.range(self.asked..).filter(move |_| known);
        beyond.filter(|(_, instance)| instance.pod.is_some()).map(|(&i, _)| i)
    }

    /// Number of ordinals that are to have a pod. A second instance waits until the first knows that it is no longer
    /// alone: else a restart would make it writable by itself.
    pub(crate) fn asked(&self) -> u32 {
        self.asked
    }

    fn count_asked(&self) -> u32 {
        let Some(primary) = self.primary() else { return self.wanted() };
        let marker = self.member(primary).and_then(|member| member.marker);
        let alone = marker
            .and_then(|marker| marker.grant.as_ref())
            .is_some_and(|grant| grant.role == GrantedRole::Primary { alone: true });
        let others =
            self.observation.instances.iter().any(|(&i, instance)| i != primary && instance.pod.is_some());
        if alone && !others { primary + 1 } else { self.staying() }
    }

    /// What the spec asks for, but never without the primary and whoever is to take over from it.
    fn staying(&self) -> u32 {
        let least = |ordinal: Option<u32>| ordinal.map_or(0, |i| i.saturating_add(1));
        self.wanted().max(least(self.primary())).max(least(self.target()))
    }

    /// The cluster is to have one instance, and no other has a pod.
    pub(crate) fn alone(&self, primary: u32) -> bool {
        self.wanted() == 1
            && primary == 0
            && self.observation.instances.iter().all(|(&i, instance)| i == primary || instance.pod.is_none())
    }

    /// Ordinals that are to have a pod and to serve.
    pub(crate) fn ordinals(&self) -> std::ops::Range<u32> {
        0..self.asked
    }
}

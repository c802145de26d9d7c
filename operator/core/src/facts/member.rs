//! One instance, and its texts read as sets once.

use std::borrow::Cow;
use std::cell::OnceCell;

use mainstay_crd::names::Names;
use mainstay_crd::{InstanceStatus, Judgement, Verdict};
use mainstay_proto::{Directory, Marker, Report, Server, ServerState, Stage, Task, TaskState};

use super::{Divergence, Facts};
use crate::gtid::gtids;
use crate::ledger::{self, Case};
use crate::{GtidSet, Observation, Record};

/// One instance.
pub(super) struct Member<'a> {
    /// What status said of it last.
    pub(super) before: Option<&'a InstanceStatus>,
    /// The report of an open stream.
    pub(super) report: Option<&'a Report>,
    /// The marker of its directory, if that is complete.
    pub(super) marker: Option<&'a Marker>,
    /// Its server, once it serves.
    pub(super) serving: Option<&'a ServerState>,
    /// What a judgement of its data rests on.
    pub(super) case: Case<'a>,
    /// What is to be said of the data that it came back with.
    pub(super) verdict: Option<Cow<'a, Verdict>>,
    /// It is the one that left, or was never seen before.
    pub(super) may_serve: bool,
    /// It serves writes in the record's epoch.
    pub(super) leads: bool,
    /// It is set up to replicate from the record's primary, and may.
    pub(super) follows: bool,
    /// What it holds and the leader's last report lacks.
    pub(super) suspected: Option<GtidSet>,
    /// What of that is certain.
    pub(super) errant: Option<GtidSet>,
    /// Why its data does not go with the primary's.
    pub(super) diverged: Option<Divergence>,
    sets: Sets,
}

/// Sets that its server reported, read when they are asked for first.
#[derive(Default)]
struct Sets {
    executed: OnceCell<Option<GtidSet>>,
    both: OnceCell<Option<GtidSet>>,
    purged: OnceCell<Option<GtidSet>>,
}

impl<'a> Member<'a> {
    pub(super) fn read(
        o: &'a Observation,
        names: &'a Names,
        record: &'a Record,
        ordinal: u32,
    ) -> Option<Self> {
        let case = Case::of(o, names, record, ordinal)?;
        let report = case.instance.agent.live();
        let verdict = ledger::judge(&case);
        Some(Member {
            before: case.before,
            report,
            marker: report.and_then(Seen::marker),
            serving: report.and_then(Seen::serving),
            may_serve: ledger::may_serve(&case, verdict.as_deref()),
            verdict,
            case,
            leads: false,
            follows: false,
            suspected: None,
            errant: None,
            diverged: None,
            sets: Sets::default(),
        })
    }

    pub(super) fn executed(&self) -> Option<&GtidSet> {
        let read = || gtids(&self.serving?.gtid_executed);
        self.sets.executed.get_or_init(read).as_ref()
    }

    pub(super) fn received_or_executed(&self) -> Option<&GtidSet> {
        let read = || {
            let executed = self.executed()?;
            match &self.serving?.channel {
                Some(channel) => Some(executed.union(&gtids(&channel.gtid_received)?)),
                None => Some(executed.clone()),
            }
        };
        self.sets.both.get_or_init(read).as_ref()
    }

    pub(super) fn purged(&self) -> Option<&GtidSet> {
        let read = || gtids(&self.serving?.gtid_purged);
        self.sets.purged.get_or_init(read).as_ref()
    }

    pub(super) fn quarantine_verdict(&self) -> Option<&Verdict> {
        let uid = &self.case.instance.pod.as_ref()?.uid;
        let bad = |verdict: &&Verdict| match verdict.judgement {
            Judgement::NewVolumeForeign | Judgement::RolledBack => verdict.pod_uid == *uid,
            // There is no data that could be used.
            Judgement::SameVolume | Judgement::NewVolumeEmpty | Judgement::Wiped | Judgement::Partial => {
                false
            }
        };
        self.verdict.as_deref().filter(bad)
    }
}

impl<'a> Facts<'a> {
    /// The id of another cluster, which began to fill this instance's directory and never finished: what is there is not
    /// this one's to wipe, nor to go on with.
    pub(crate) fn begun_by_another(&self, ordinal: u32) -> Option<&'a str> {
        let Directory::Partial { cluster_id, .. } = &self.live(ordinal)?.directory else { return None };
        self.cluster_id.filter(|own| own != cluster_id).map(|_| cluster_id.as_str())
    }
}

/// What is read from a report in more than one place.
pub(crate) trait Seen {
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

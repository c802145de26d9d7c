//! The record (`status.replication`) as the plan reads and writes it.
//!
//! It is the only code that raises epoch or revision, each by a method that is named after what is written. A revision
//! rises with what is announced, decided or ended; what is only noted beside it does not raise it, because what
//! instances report counts as evidence at the revision of the record that asked for it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::{Aside, Lost, OperationKind, ReplicationRecord, Switchover, SwitchoverReason};
pub use mainstay_proto::Term;
use serde::Serialize;

/// The highest epoch or revision that is taken from elsewhere: they are 64 bits with a sign in the object.
const HIGHEST: u64 = i64::MAX.unsigned_abs() - 1;

/// The record. What is written of it is a [`ReplicationRecord`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "ReplicationRecord")]
pub struct Record {
    term: Term,
    initialized: bool,
    primary: Option<u32>,
    target: Option<u32>,
    operations: Vec<Operation>,
    switchover: Option<Switchover>,
    answered_request: Option<String>,
    answered_lead_from: Option<String>,
    lost: Option<Lost>,
    ending: Option<Ending>,
}

/// A change to an instance's data directory, announced or to be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Unique id; the directory's marker carries it afterwards.
    pub id: String,
    /// What is to be done.
    pub kind: OperationKind,
    /// The instance to which it is done.
    pub ordinal: u32,
    /// Where a clone comes from.
    pub donor: Option<u32>,
    /// The revision that announced it; [`Record`] fills it in.
    pub revision: u64,
    /// Tries that failed before this one.
    pub failures: u32,
    /// When this try may begin; at once if absent. For people: [`crate::moments`] has what is measured.
    pub not_before: Option<Time>,
    /// What is kept, of a volume that is set aside.
    pub aside: Option<Aside>,
    /// UID of the claim on whose directory it is done, where it may be done on no other.
    pub claim_uid: Option<String>,
}

/// What becomes of the claims of a cluster that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When that was decided.
    pub since: Time,
    /// Why all claims are kept; absent if they go.
    pub kept: Option<String>,
    /// The instances whose claims hold, together, all that is known of.
    pub copies: Vec<u32>,
}

impl Operation {
    /// To do this to an instance, with nothing besides.
    pub fn new(id: String, kind: OperationKind, ordinal: u32) -> Self {
        let (donor, not_before, aside, claim_uid) = (None, None, None, None);
        Operation { id, kind, ordinal, donor, revision: 0, failures: 0, not_before, aside, claim_uid }
    }
}

/// What it says.
impl Record {
    /// The record of an object's status; an empty one if there is none yet.
    pub fn of(written: Option<&ReplicationRecord>) -> Self {
        written.map(Record::from).unwrap_or_default()
    }

    /// Epoch and revision.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whether what was reported of an order counts as evidence for what this record decides: it was carried out under
    /// this very record.
    pub fn counts(&self, term: Term) -> bool {
        term == self.term
    }

    /// Whether a data directory of this cluster was ever initialised, or is announced to be.
    pub fn is_initialized(&self) -> bool {
        self.initialized
    }

    /// The instance that leads in this epoch.
    pub fn primary(&self) -> Option<u32> {
        self.primary
    }

    /// The instance that is to lead, while the primary hands over.
    pub fn target(&self) -> Option<u32> {
        self.target
    }

    /// Intentions that have no outcome yet.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The first intention of this kind.
    pub fn announced(&self, kind: OperationKind) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.kind == kind)
    }

    /// The first intention for an instance.
    pub fn announced_for(&self, ordinal: u32) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.ordinal == ordinal)
    }

    /// The switchover under way, while there is a target; else the last one.
    pub fn switchover(&self) -> Option<&Switchover> {
        self.switchover.as_ref()
    }

    /// The request for a switchover that was answered last.
    pub fn answered_request(&self) -> Option<&String> {
        self.answered_request.as_ref()
    }

    /// The request to lead from an instance that was answered last.
    pub fn answered_lead_from(&self) -> Option<&String> {
        self.answered_lead_from.as_ref()
    }

    /// What was given up when an instance last was made to lead with what it held.
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// What was decided of the claims once the object was being deleted.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }
}

/// What comes after it. These raise the revision: what was reported before is no evidence any more.
impl Record {
    fn next(&self) -> Self {
        let term = Term { revision: self.term.revision.min(HIGHEST) + 1, ..self.term };
        Record { term, ..self.clone() }
    }

    /// Another primary, in an epoch of its own.
    fn led_by(&self, primary: u32) -> Self {
        let next = self.next();
        let term = Term { epoch: next.term.epoch.min(HIGHEST) + 1, ..next.term };
        Record { term, primary: Some(primary), target: None, ..next }
    }

    fn with(&self, operation: Operation, stays: impl Fn(&Operation) -> bool) -> Self {
        let mut next = self.next();
        next.operations.retain(stays);
        next.operations.push(Operation { revision: next.term.revision, ..operation });
        next
    }

    /// Announces it, beside what else is announced.
    #[must_use]
    pub fn announce(&self, operation: Operation) -> Self {
        self.with(operation, |_| true)
    }

    /// Announces it in place of all that was announced for its instance.
    #[must_use]
    pub fn announce_instead(&self, operation: Operation) -> Self {
        let ordinal = operation.ordinal;
        self.with(operation, |other| other.ordinal != ordinal)
    }

    /// Announces the first directory of a cluster that never had one.
    #[must_use]
    pub fn initialize(&self, operation: Operation) -> Self {
        Record { initialized: true, ..self.with(operation, |_| false) }
    }

    /// The first directory is there, and its instance leads.
    #[must_use]
    pub fn initialized(&self, ordinal: u32) -> Self {
        Record { operations: Vec::new(), ..self.led_by(ordinal) }
    }

    /// Who leads was found out from what the instances hold. Epoch and revision rise above the highest that any of them
    /// knows, or none would take an order; all else of an earlier record is no longer known.
    #[must_use]
    pub fn rebuilt(&self, ordinal: u32, highest: Term) -> Self {
        let term = Term {
            epoch: self.term.epoch.max(highest.epoch.min(HIGHEST)),
            revision: self.term.revision.max(highest.revision.min(HIGHEST)),
        };
        Record { term, initialized: true, ..Record::default() }.led_by(ordinal)
    }

    /// Takes intentions that have come to their end out, with the ordinals that they were for. `None`: none has.
    pub fn end(&self, over: impl Fn(&Operation) -> bool) -> Option<(Self, Vec<u32>)> {
        let ended: Vec<u32> = self.operations.iter().filter(|o| over(o)).map(|o| o.ordinal).collect();
        if ended.is_empty() {
            return None;
        }
        let mut next = self.next();
        next.operations.retain(|operation| !over(operation));
        Some((next, ended))
    }

    /// The primary is to hand over to `target`; `answered` is the request that asked for it, if one did.
    #[must_use]
    pub fn hand_over(
        &self,
        target: u32,
        reason: SwitchoverReason,
        since: Time,
        answered: Option<String>,
    ) -> Self {
        let switchover = Switchover { reason, since, final_gtid_set: None, ended: None, given_up: None };
        let answered_request = answered.or_else(|| self.answered_request.clone());
        Record { target: Some(target), switchover: Some(switchover), answered_request, ..self.next() }
    }

    /// The switchover ended well: whoever it was for leads.
    #[must_use]
    pub fn promote(&self, target: u32, at: Time) -> Self {
        let ended = |last: Switchover| Switchover { final_gtid_set: None, ended: Some(at), ..last };
        Record { switchover: self.switchover.clone().map(ended), ..self.led_by(target) }
    }

    /// The switchover is given up: the primary stays.
    #[must_use]
    pub fn give_up(&self, why: String, at: Time) -> Self {
        let over = |last: Switchover| Switchover {
            final_gtid_set: None,
            ended: Some(at),
            given_up: Some(why),
            ..last
        };
        Record { target: None, switchover: self.switchover.clone().map(over), ..self.next() }
    }

    /// A person's request is carried out: an instance leads with what it holds, and `lost` is given up. What was
    /// announced for instances goes on.
    #[must_use]
    pub fn lead_from(&self, ordinal: u32, lost: Lost, asked: String) -> Self {
        let (answered_lead_from, lost) = (Some(asked), Some(lost));
        Record { switchover: None, answered_lead_from, lost, ..self.led_by(ordinal) }
    }
}

/// What is noted beside it. These raise nothing: what was reported stays evidence.
impl Record {
    /// The old primary stands, read-only and without its right to lead, and `held` is all that it has.
    ///
    /// This must not raise the revision: that it stands is told by the outcome of an order of this very revision, and
    /// only while the revision stays does what it reports count on ([`Record::counts`]). Under another, the record would
    /// hold a set of which no report that counts says that it is still all.
    #[must_use]
    pub fn stands(&self, final_gtid_set: String) -> Self {
        let keep = |last: Switchover| Switchover { final_gtid_set: Some(final_gtid_set), ..last };
        Record { switchover: self.switchover.clone().map(keep), ..self.clone() }
    }

    /// A request for a switchover was answered, or withdrawn.
    #[must_use]
    pub fn answer(&self, asked: Option<&str>) -> Self {
        Record { answered_request: asked.map(String::from), ..self.clone() }
    }

    /// A request to lead from an instance was answered, or withdrawn.
    #[must_use]
    pub fn answer_lead_from(&self, asked: Option<&str>) -> Self {
        Record { answered_lead_from: asked.map(String::from), ..self.clone() }
    }

    /// What becomes of the claims was decided: it stands, whatever comes after.
    #[must_use]
    pub fn ends(&self, ending: Ending) -> Self {
        Record { ending: Some(ending), ..self.clone() }
    }
}

/// From the numbers of the object, whose kinds have a sign.
impl From<&ReplicationRecord> for Record {
    fn from(written: &ReplicationRecord) -> Self {
        let ordinal = |written: Option<i32>| written.and_then(|ordinal| u32::try_from(ordinal).ok());
        Record {
            term: Term { epoch: written.epoch.unsigned_abs(), revision: written.revision.unsigned_abs() },
            initialized: written.initialized,
            primary: ordinal(written.primary),
            target: ordinal(written.target),
            operations: written.operations.iter().map(Operation::from).collect(),
            switchover: written.switchover.clone(),
            answered_request: written.answered_request.clone(),
            answered_lead_from: written.answered_lead_from.clone(),
            lost: written.lost.clone(),
            ending: written.ending.as_ref().map(|ending| Ending {
                since: ending.since.clone(),
                kept: ending.kept.clone(),
                copies: ending.copies.iter().map(|ordinal| ordinal.unsigned_abs()).collect(),
            }),
        }
    }
}

impl From<&mainstay_crd::Operation> for Operation {
    fn from(written: &mainstay_crd::Operation) -> Self {
        Operation {
            id: written.id.clone(),
            kind: written.kind,
            ordinal: written.ordinal.unsigned_abs(),
            donor: written.donor.map(i32::unsigned_abs),
            revision: written.revision.unsigned_abs(),
            failures: written.failures.unsigned_abs(),
            not_before: written.not_before.clone(),
            aside: written.aside.clone(),
            claim_uid: written.claim_uid.clone(),
        }
    }
}

/// An ordinal, or a count of tries, as the object has it.
pub(crate) fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl From<Record> for ReplicationRecord {
    fn from(record: Record) -> Self {
        let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let operation = |operation: Operation| mainstay_crd::Operation {
            id: operation.id,
            kind: operation.kind,
            ordinal: signed(operation.ordinal),
            donor: operation.donor.map(signed),
            revision: long(operation.revision),
            failures: signed(operation.failures),
            not_before: operation.not_before,
            aside: operation.aside,
            claim_uid: operation.claim_uid,
        };
        ReplicationRecord {
            epoch: long(record.term.epoch),
            revision: long(record.term.revision),
            initialized: record.initialized,
            primary: record.primary.map(signed),
            target: record.target.map(signed),
            operations: record.operations.into_iter().map(operation).collect(),
            switchover: record.switchover,
            answered_request: record.answered_request,
            answered_lead_from: record.answered_lead_from,
            lost: record.lost,
            ending: record.ending.map(|ending| mainstay_crd::Ending {
                since: ending.since,
                kept: ending.kept,
                copies: ending.copies.into_iter().map(signed).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;

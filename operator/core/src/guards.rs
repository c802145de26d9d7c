//! What must be true right before something is taken away or made: asked by the questions of the plan, and once more of a
//! fresh look right before it is done.

mod pods;

use mainstay_crd::{MySQLCluster, MySQLClusterSpec, RetentionPolicy};

use crate::{ClusterObject, Ending, Observation, Record, Volume};
pub use pods::{Safe, may_take_pod};
pub(crate) use pods::{going, held_elsewhere, may_renew, may_take};

/// What of the object decides, as it was observed or as a fresh look has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<'a> {
    spec: &'a MySQLClusterSpec,
    deleting: bool,
    record: Record,
}

impl<'a> From<&'a MySQLCluster> for Object<'a> {
    fn from(object: &'a MySQLCluster) -> Self {
        let written = object.status.as_ref().and_then(|status| status.replication.as_ref());
        let deleting = object.metadata.deletion_timestamp.is_some();
        Object { spec: &object.spec, deleting, record: Record::of(written) }
    }
}

impl<'a> From<&'a ClusterObject> for Object<'a> {
    fn from(object: &'a ClusterObject) -> Self {
        let record = Record::of(object.status.replication.as_ref());
        Object { spec: &object.spec, deleting: object.deleting, record }
    }
}

/// What becomes of the claims of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimsFate {
    /// They stay, for this reason.
    Stay(String),
    /// They would go with it, but nobody has asked yet what is on them.
    Undecided,
    /// They go with it: decided while its instances could still be asked, and written down.
    Go,
}

impl Object<'_> {
    /// It is being torn down: deleted, and `spec.deletionProtection` does not keep it.
    pub fn ends(&self) -> bool {
        self.deleting && !self.spec.deletion_protection
    }

    /// It is being deleted, but `spec.deletionProtection` keeps it: everything goes on as if it were not.
    pub fn is_protected(&self) -> bool {
        self.deleting && self.spec.deletion_protection
    }

    /// Whether children may be made. What is torn down is not made anew.
    pub fn may_make_children(&self) -> bool {
        !self.ends()
    }

    /// Whether children that are there may be changed. A pause keeps them as they are.
    pub fn may_change_children(&self) -> bool {
        self.may_make_children() && !self.spec.paused
    }

    /// Whether the claim of an ordinal may be deleted because no instance uses it. One whose pod is there may not,
    /// whatever the object says.
    pub fn may_delete_unused(&self, ordinal: u32) -> bool {
        let retention = self.spec.storage.retention.clone().unwrap_or_default();
        let asked = u32::try_from(self.spec.replicas).is_ok_and(|replicas| ordinal < replicas);
        let nobody_is_known = self.record.primary().is_none();
        let leads = [self.record.primary(), self.record.target()].contains(&Some(ordinal));
        !self.deleting
            && !self.spec.paused
            && !asked
            && retention.scaled().policy != RetentionPolicy::Retain
            && !leads
            && !nobody_is_known
    }

    /// What becomes of the claims when it is torn down.
    pub fn claims_fate(&self) -> ClaimsFate {
        let goes = matches!(self.when_deleted(), RetentionPolicy::Delete | RetentionPolicy::Snapshot);
        if !self.ends() || !goes {
            return ClaimsFate::Stay("its claims are kept".into());
        }
        match self.record.ending() {
            None => ClaimsFate::Undecided,
            Some(Ending { kept: Some(why), .. }) => ClaimsFate::Stay(why.clone()),
            Some(Ending { kept: None, .. }) => ClaimsFate::Go,
        }
    }

    /// What becomes of the claims of one that is deleted, as the spec says.
    pub(crate) fn when_deleted(&self) -> RetentionPolicy {
        self.spec.storage.retention.as_ref().map(|retention| retention.deleted().policy).unwrap_or_default()
    }

    /// Whether its claims go with it: then its StatefulSet and they may be deleted.
    pub fn takes_its_claims(&self) -> bool {
        self.claims_fate() == ClaimsFate::Go
    }
}

/// Whether a volume stays when the claim with this UID goes: it is bound to it, and `Retain`.
pub fn is_kept(volume: &Volume, claim_uid: &str) -> bool {
    volume.reclaim_policy.as_deref() == Some("Retain") && volume.claim_uid.as_deref() == Some(claim_uid)
}

/// Pods, by UID and ordinal, whose claim was not seen: a person may have made it, under an instance's name, without the
/// label by which claims are seen. It is labelled, so that its end is guarded like that of any other; not while paused.
pub fn claims_to_adopt(observation: &Observation) -> impl Iterator<Item = (&str, u32)> {
    let object = Object::from(&observation.cluster);
    let may = object.ends() || !object.spec.paused;
    let unseen = observation.instances.iter().filter(move |(_, instance)| may && instance.claim.is_none());
    unseen.filter_map(|(&ordinal, instance)| Some((instance.pod.as_ref()?.uid.as_str(), ordinal)))
}

#[cfg(test)]
mod tests {
    use mainstay_crd::MySQLClusterStatus;
    use serde_json::json;

    use super::*;
    use crate::Instance;

    fn observation(change: impl FnOnce(&mut ClusterObject)) -> Observation {
        let mut observation: Observation = serde_json::from_value(json!({
            "now": "2026-01-01T00:00:00Z", "freshId": "fresh", "secretsClusterId": null, "instances": {},
            "cluster": {"namespace": "db", "name": "shop", "uid": "u", "generation": 3, "deleting": false,
                "spec": {"replicas": 2, "image": "mysql:9.7", "storage": {"size": "1Gi", "retention": {
                    "whenScaled": {"policy": "Delete"}, "whenDeleted": {"policy": "Delete"}}}}, "status": {}},
        }))
        .unwrap();
        let record = Record::default().initialized(0);
        observation.cluster.status =
            MySQLClusterStatus { replication: Some(record.into()), ..MySQLClusterStatus::default() };
        change(&mut observation.cluster);
        observation
    }

    fn record(object: &mut ClusterObject, change: impl FnOnce(Record) -> Record) {
        let before = Record::of(object.status.replication.as_ref());
        object.status.replication = Some(change(before).into());
    }

    fn ending(kept: Option<&str>) -> Ending {
        let since = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH);
        Ending { since, kept: kept.map(String::from), copies: Vec::new() }
    }

    #[test]
    fn an_unused_claim_goes_only_while_nothing_speaks_against_it() {
        let may = |ordinal, change: fn(&mut ClusterObject)| {
            Object::from(&observation(change).cluster).may_delete_unused(ordinal)
        };
        assert!(may(2, |_| ()));
        assert!(!may(1, |_| ()), "asked for");
        assert!(!may(2, |o| o.deleting = true));
        assert!(!may(2, |o| o.spec.paused = true));
        assert!(!may(2, |o| o.spec.storage.retention = None), "the policy is to keep it");
        assert!(!may(2, |o| record(o, |r| r.promote(2, ending(None).since))), "it leads");
        let over =
            |r: Record| r.hand_over(2, mainstay_crd::SwitchoverReason::Requested, ending(None).since, None);
        let mut handing = observation(|_| ());
        record(&mut handing.cluster, over);
        assert!(!Object::from(&handing.cluster).may_delete_unused(2), "it is to lead");
        assert!(!may(2, |o| o.status.replication = None), "nobody knows who leads");
    }

    #[test]
    fn claims_go_with_the_cluster_only_once_that_was_decided_and_written_down() {
        let fate = |change: fn(&mut ClusterObject)| Object::from(&observation(change).cluster).claims_fate();
        let stays = |fate: ClaimsFate| matches!(fate, ClaimsFate::Stay(_));
        assert!(stays(fate(|_| ())), "it is not being deleted");
        assert_eq!(fate(|o| o.deleting = true), ClaimsFate::Undecided);
        let decided = |o: &mut ClusterObject| {
            o.deleting = true;
            record(o, |r| r.ends(ending(None)));
        };
        let mut object = observation(decided).cluster;
        assert!(Object::from(&object).takes_its_claims());
        object.spec.deletion_protection = true;
        assert!(stays(Object::from(&object).claims_fate()));
        object.spec.deletion_protection = false;
        object.spec.storage.retention = None;
        assert!(stays(Object::from(&object).claims_fate()), "the policy was changed");
        let kept = fate(|o| {
            o.deleting = true;
            record(o, |r| r.ends(ending(Some("lost"))));
        });
        assert_eq!(kept, ClaimsFate::Stay("lost".into()));
    }

    #[test]
    fn what_ends_makes_no_children_and_what_is_paused_changes_none() {
        let may = |change: fn(&mut ClusterObject)| {
            let observation = observation(change);
            let object = Object::from(&observation.cluster);
            (object.may_make_children(), object.may_change_children())
        };
        assert_eq!(may(|_| ()), (true, true));
        assert_eq!(may(|o| o.spec.paused = true), (true, false));
        assert_eq!(may(|o| o.deleting = true), (false, false));
        assert_eq!(
            may(|o| (o.deleting, o.spec.deletion_protection) = (true, true)),
            (true, true),
            "it is kept"
        );
    }

    #[test]
    fn a_claim_that_was_not_seen_is_adopted_unless_the_cluster_is_paused() {
        let adopts = |change: fn(&mut ClusterObject)| {
            let mut observation = observation(change);
            let pod = Some(crate::Pod { uid: "p".into(), ..crate::Pod::default() });
            observation.instances.insert(1, Instance { pod, ..Instance::default() });
            claims_to_adopt(&observation).map(|(uid, i)| (uid.to_owned(), i)).collect::<Vec<_>>()
        };
        assert_eq!(adopts(|_| ()), [("p".to_owned(), 1)]);
        assert!(adopts(|o| o.spec.paused = true).is_empty());
        assert!(!adopts(|o| (o.spec.paused, o.deleting) = (true, true)).is_empty(), "it is torn down");
    }
}

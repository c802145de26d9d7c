//! The world's claims and volumes, and the steps on them.

use std::collections::BTreeMap;

use mainstay_crd::names::{
    ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, ANNOTATION_LEDGER, ANNOTATION_LEFT_POD, ANNOTATION_SNAPSHOT,
};
use mainstay_crd::{RetentionPolicy, quantity};

use super::{NAME, NAMESPACE, Volume, World};
use crate::{Claim, ClaimStep, Class, GtidSet, Surroundings, Unneeded, VolumeStep};

/// Name of the claim of an ordinal.
fn claim_of(ordinal: u32) -> String {
    format!("data-{NAME}-{ordinal}")
}

impl World {
    pub(crate) fn surroundings(&self) -> Surroundings {
        if self.blind {
            let unseen = vec!["persistentvolumes".into(), "nodes".into()];
            return Surroundings { unseen, ..Surroundings::default() };
        }
        let there = self.volumes.iter().filter(|(i, volume)| !self.unbound.contains(i) && !volume.lost);
        let bound = there.map(|(&i, volume)| {
            let attached_to = self.class.as_ref().map(|_| self.attached_to(i)).unwrap_or_default();
            let attached_to = if volume.host.is_some() { Vec::new() } else { attached_to };
            crate::Volume { attached_to, ..self.volume(volume, claim_of(i), "Bound") }
        });
        let released = self.released.iter().map(|volume| match (&volume.reserved, &volume.was) {
            (Some(claim), _) => self.volume(volume, claim.clone(), "Available"),
            (None, was) => self.volume(volume, was.clone().unwrap_or_default(), "Released"),
        });
        let aside = self.aside.iter().map(|(claim, volume)| self.volume(volume, claim.clone(), "Bound"));
        let volumes = bound.chain(released).chain(aside).map(|volume| (volume.name.clone(), volume));
        let class = |name: &String| {
            let class = Class { provisioner: "csi".into(), expandable: true, ..Class::default() };
            (name.clone(), Class { waits_for_consumer: self.local, ..class })
        };
        Surroundings {
            known: true,
            nodes: self.nodes(),
            volumes: volumes.collect(),
            classes: self.class.iter().map(class).collect(),
            ..Surroundings::default()
        }
    }

    fn volume(&self, volume: &Volume, claim: String, phase: &str) -> crate::Volume {
        crate::Volume {
            name: volume.pv.clone(),
            uid: format!("uid-{}", volume.pv),
            phase: Some(phase.into()),
            source: Some(if volume.host.is_some() { "local" } else { "csi" }.into()),
            handle: Some(volume.pv.clone()),
            hosts: volume.host.clone().map(|host| vec![host]),
            class: self.class.clone(),
            capacity: self.class.as_ref().map(|_| volume.capacity),
            labels: volume.labels.clone(),
            reclaim_policy: if volume.kept { Some("Retain".into()) } else { self.reclaim.clone() },
            claim: Some((NAMESPACE.into(), claim)),
            claim_uid: Some(volume.claim_uid.clone()).filter(|_| volume.reserved.is_none()),
            annotations: volume.marks.clone(),
            ..crate::Volume::default()
        }
    }

    /// The claims that keep what was set aside.
    pub(super) fn aside_claims(&self) -> BTreeMap<String, Claim> {
        let claim = |(name, volume): (&String, &Volume)| {
            let claim = Claim {
                name: name.clone(),
                uid: volume.claim_uid.clone(),
                cluster_id: volume.cluster_id.clone(),
                phase: Some("Bound".into()),
                volume: Some(volume.pv.clone()),
                resource_version: Some(volume.version.to_string()),
                annotations: volume.annotations.clone(),
                ..Claim::default()
            };
            (name.clone(), claim)
        };
        self.aside.iter().map(claim).collect()
    }

    pub(crate) fn do_to_claim(&mut self, uid: &str, step: ClaimStep) {
        match step {
            ClaimStep::Delete { unneeded, resource_version } => match unneeded {
                Unneeded::Unused { ordinal } => self.delete_claim(ordinal, uid, &resource_version.unwrap()),
                Unneeded::WithCluster => self.delete_with_cluster(uid),
                Unneeded::VolumeKept { .. } => {
                    let volume = self.volumes.values_mut().find(|v| v.claim_uid == uid).unwrap();
                    assert!(volume.kept, "I5: the volume would go with its claim");
                    volume.deleting = true;
                    self.release();
                }
            },
            step => self.write_on_claim(uid, step),
        }
    }

    fn write_on_claim(&mut self, uid: &str, step: ClaimStep) {
        let mut all = self.volumes.values_mut().chain(self.aside.values_mut());
        let volume = all.find(|volume| volume.claim_uid == uid).expect("the claim that was seen");
        volume.version += 1;
        match step {
            ClaimStep::Label { cluster_id, .. } => volume.cluster_id = Some(cluster_id),
            ClaimStep::Note { note, .. } => {
                volume.annotations.retain(|key, _| key == ANNOTATION_SNAPSHOT);
                if let Some(note) = note {
                    volume.annotations.insert(ANNOTATION_GTID_SET.into(), note.gtid_set);
                    volume.annotations.insert(ANNOTATION_KEPT_SINCE.into(), note.since.to_string());
                    volume.annotations.insert(ANNOTATION_LEFT_POD.into(), note.pod_uid);
                    let ledger = note.ledger.map(|ledger| serde_json::to_string(&ledger).unwrap());
                    volume.annotations.extend(ledger.map(|ledger| (ANNOTATION_LEDGER.into(), ledger)));
                }
            }
            ClaimStep::Snapshot { snapshot, .. } => {
                self.snapshots.insert(snapshot.clone(), volume.gtids.clone());
                volume.annotations.insert(ANNOTATION_SNAPSHOT.into(), snapshot);
            }
            ClaimStep::Grow { size } => {
                let wanted = bytes(&size);
                assert!(volume.requested < wanted, "a claim is never made smaller");
                volume.requested = wanted;
            }
            ClaimStep::Delete { .. } => panic!("that is no change of it"),
        }
    }

    pub(crate) fn do_to_volume(&mut self, name: &str, step: VolumeStep) {
        let all = self.volumes.values_mut().chain(&mut self.released).chain(self.aside.values_mut());
        // It may have gone with its claim meanwhile.
        let Some(volume) = all.into_iter().find(|volume| volume.pv == name) else { return };
        match step {
            VolumeStep::Mark { labels } => volume.labels.extend(labels),
            VolumeStep::Keep { claim_uid, labels, annotations } => {
                assert_eq!(volume.claim_uid, claim_uid);
                volume.labels.extend(labels);
                volume.kept = true;
                volume.marks.extend(annotations);
            }
            VolumeStep::Reserve { claim, .. } => {
                let released = self.released.iter_mut().find(|volume| volume.pv == name).unwrap();
                released.reserved = Some(claim);
            }
            VolumeStep::ClaimAside { aside, cluster_id, .. } => {
                let claim_uid = self.id("claim");
                let at = self.released.iter().position(|volume| volume.pv == name).unwrap();
                let volume = self.released.remove(at);
                let (cluster_id, annotations) = (Some(cluster_id), BTreeMap::new());
                let volume =
                    Volume { claim_uid, cluster_id, annotations, reserved: None, was: None, ..volume };
                assert!(self.aside.insert(aside.claim, volume).is_none());
            }
        }
    }

    /// A new claim of an ordinal gets the volume that is reserved for it, or a new one.
    pub(crate) fn bound_to_new_claim(&mut self, ordinal: u32) -> Volume {
        let (claim_uid, claim) = (self.id("claim"), claim_of(ordinal));
        let requested = bytes(&self.spec.storage.size.0);
        let reserved = self.released.iter().position(|v| v.reserved.as_ref() == Some(&claim));
        let Some(at) = reserved else {
            let pv = self.id("pv");
            return Volume { claim_uid, pv, requested, capacity: requested, ..Volume::default() };
        };
        let volume = self.released.remove(at);
        let (capacity, full) = (volume.capacity.max(requested), volume.full && volume.capacity >= requested);
        let of_claim =
            Volume { claim_uid, requested, capacity, full, cluster_id: None, deleting: false, ..volume };
        Volume { reserved: None, was: None, annotations: BTreeMap::new(), ..of_claim }
    }

    /// Claims that are being deleted go once no pod uses them.
    pub(crate) fn release(&mut self) {
        let gone = self.volumes.iter().filter(|(i, v)| v.deleting && !self.pods.contains_key(i));
        for ordinal in gone.map(|(&i, _)| i).collect::<Vec<_>>() {
            let volume = self.volumes.remove(&ordinal);
            let stays =
                |volume: &Volume| !volume.lost && (volume.kept || self.reclaim.as_deref() != Some("Delete"));
            let was = Some(claim_of(ordinal));
            self.released.extend(volume.filter(stays).map(|volume| Volume { was, ..volume }));
        }
    }

    /// What was asked for is there.
    pub(super) fn grow(&mut self) {
        for volume in self.volumes.values_mut().filter(|volume| volume.capacity < volume.requested) {
            (volume.capacity, volume.full) = (volume.requested, false);
        }
    }

    /// The whole cluster goes, with all that it holds.
    fn delete_with_cluster(&mut self, uid: &str) {
        assert!(self.deleting && !self.spec.deletion_protection && self.pods.is_empty());
        let retention = self.spec.storage.retention.clone().unwrap_or_default().deleted();
        assert_ne!(retention.policy, RetentionPolicy::Retain, "I5: against the policy");
        let of_instance = self.volumes.iter().find(|(_, volume)| volume.claim_uid == uid);
        if let Some(ordinal) = of_instance.map(|(&i, _)| i) {
            let volume = self.volumes.remove(&ordinal).unwrap();
            let was = Some(claim_of(ordinal));
            let kept = Some(volume).filter(|volume| volume.kept && !volume.lost);
            self.released.extend(kept.map(|volume| Volume { was, ..volume }));
        } else {
            let name = self.aside.iter().find(|(_, volume)| volume.claim_uid == uid).unwrap().0.clone();
            let volume = self.aside.remove(&name).unwrap();
            self.released.push(Volume { was: Some(name), ..volume });
        }
        self.acknowledged = GtidSet::default();
    }

    /// I5: only by policy, and never the last copy.
    fn delete_claim(&mut self, ordinal: u32, uid: &str, version: &str) {
        let volume = self.volumes.remove(&ordinal).unwrap();
        assert_eq!((volume.claim_uid.as_str(), volume.version.to_string().as_str()), (uid, version));
        let retention = self.spec.storage.retention.clone().unwrap_or_default().scaled();
        assert_ne!(retention.policy, RetentionPolicy::Retain, "I5: against the policy");
        assert!(ordinal >= u32::try_from(self.spec.replicas).unwrap() && !self.pods.contains_key(&ordinal));
        assert_ne!(self.recorded_primary(), Some(ordinal));
        let another = self.volumes.values().any(|other| other.gtids.contains(&volume.gtids));
        assert!(another, "I5: the last copy of {}", volume.gtids);
        if retention.policy == RetentionPolicy::Snapshot {
            assert!(self.snapshots.values().any(|copy| *copy == volume.gtids));
        }
        self.deleted += 1;
        let was = Some(claim_of(ordinal));
        let kept = Some(volume).filter(|volume| volume.kept && !volume.lost);
        self.released.extend(kept.map(|volume| Volume { was, ..volume }));
    }
}

/// A size in bytes.
fn bytes(size: &str) -> u64 {
    let size = k8s_openapi::apimachinery::pkg::api::resource::Quantity(size.to_owned());
    quantity::whole(&size).expect("a size")
}

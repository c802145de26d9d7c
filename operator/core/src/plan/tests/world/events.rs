//! What people, clients and time do to the world.

use mainstay_crd::names::{ANNOTATION_GIVE_BACK, ANNOTATION_SWITCHOVER_TO, LABEL_ORDINAL, SWITCHOVER_TO_ANY};
use mainstay_crd::{KeepOrDelete, MySQLClusterStatus, Retention, RetentionPolicy};
use mainstay_proto::{Directory, pod};

use super::{NAME, NAMESPACE, Process, Volume, World};
use crate::GtidSet;

impl World {
    /// The object is deleted and made anew; claims and Secrets stay.
    pub(crate) fn recreate(&mut self) {
        self.status = MySQLClusterStatus::default();
        self.finalizers.clear();
        self.end_pods();
        self.replicas = 0;
    }

    /// Sets `spec.storage.retention.whenScaled`.
    pub(crate) fn retain(&mut self, policy: RetentionPolicy) {
        let after = (policy == RetentionPolicy::DeleteAfter).then(|| "2m".to_owned());
        let when_scaled = Some(KeepOrDelete { policy, after });
        self.spec.storage.retention = Some(Retention { when_scaled, when_deleted: None });
    }

    /// A person asks that this ordinal lead, or any other than now.
    pub(crate) fn ask(&mut self, to: Option<u32>) {
        let to = to.map_or(SWITCHOVER_TO_ANY.into(), |i| format!("{NAME}-{i}"));
        self.annotations.insert(ANNOTATION_SWITCHOVER_TO.into(), to);
    }

    /// All claims are deleted; their volumes are kept.
    pub(crate) fn lose_claims(&mut self) {
        for (ordinal, volume) in std::mem::take(&mut self.volumes) {
            let was = Some(format!("data-{NAME}-{ordinal}"));
            self.released.push(Volume { was, ..volume });
        }
        self.pods.clear();
    }

    /// Its binary logs are purged, but for those that a connected receiver still needs (manual, "PURGE BINARY LOGS
    /// Statement").
    pub(crate) fn purge(&mut self, ordinal: u32) {
        let host = pod::host(NAMESPACE, NAME, ordinal);
        let connected = |process: &Process| {
            process.channel.as_ref().is_some_and(|c| c.receiver_running && c.source_host == host)
        };
        let needed = self.pods.iter().filter(|(_, process)| connected(process));
        let needed: Vec<GtidSet> = needed.map(|(i, _)| self.volumes[i].gtids.clone()).collect();
        let Some(volume) = self.volumes.get_mut(&ordinal) else { return };
        let goes = needed.iter().fold(volume.gtids.clone(), |goes, has| goes.common(has));
        volume.purged = volume.purged.union(&goes);
    }

    /// A person runs `RESET BINARY LOGS AND GTIDS`, and the agent notices.
    pub(crate) fn reset(&mut self, ordinal: u32) {
        let at = self.now.as_millisecond();
        let volume = self.volumes.get_mut(&ordinal).unwrap();
        (volume.gtids, volume.purged) = (GtidSet::default(), GtidSet::default());
        volume.history = volume.history.reset(ordinal, at);
        if self.pods[&ordinal].writable {
            (self.acknowledged, self.history) = (GtidSet::default(), volume.history);
        }
    }

    /// A client's commit on whoever is writable.
    pub(crate) fn write(&mut self) {
        self.check();
        let Some((&primary, _)) = self.pods.iter().find(|(_, p)| p.writable) else { return };
        let volume = self.volumes.get_mut(&primary).unwrap();
        if volume.full {
            return;
        }
        let Some(Directory::Complete { marker }) = &volume.directory else { panic!("it writes to nothing") };
        let uuid = &marker.server_uuid;
        let before = volume.gtids.count() - volume.gtids.foreign_to(uuid).count();
        let own: GtidSet = format!("{uuid}:1-{}", before + 1).parse().unwrap();
        volume.gtids = volume.gtids.union(&own);
        // One alone goes on by itself with what was changed behind everybody's back, until it is told to stop. What
        // it writes then makes good the numbers that it lost, but not the transactions.
        if volume.original.is_none() {
            self.acknowledged = self.acknowledged.union(&own);
        }
    }

    /// Those that wait for an order take up their roles by themselves.
    pub(crate) fn time_passes(&mut self) {
        for (ordinal, process) in self.pods.iter_mut().filter(|(_, process)| process.runs) {
            if std::mem::take(&mut process.held) {
                process.resume(self.volumes[ordinal].granted());
            }
        }
    }
    /// All agents are heard.
    pub(crate) fn hear(&mut self) {
        self.pods.values_mut().for_each(|process| process.heard = true);
    }

    /// A person asks for larger volumes.
    pub(crate) fn enlarge(&mut self) {
        let largest = self.volumes.values().map(|volume| volume.requested >> 30).max().unwrap_or_default();
        self.spec.storage.size.0 = format!("{}Gi", largest.max(1) + 1);
    }

    /// The PersistentVolume of an instance goes, with its data, if another that leads holds all of that.
    pub(crate) fn lose_volume(&mut self, ordinal: u32) {
        let primary = self.recorded_primary().filter(|&primary| primary != ordinal);
        let Some(leads) = primary.and_then(|primary| self.volumes.get(&primary)) else { return };
        let (held, target) = (leads.gtids.clone(), self.target());
        let Some(volume) = self.volumes.get_mut(&ordinal) else { return };
        if !held.contains(&volume.gtids) || target == Some(ordinal) {
            return;
        }
        (volume.lost, volume.directory) = (true, None);
        (volume.gtids, volume.purged) = (GtidSet::default(), GtidSet::default());
        self.end_pod(ordinal);
    }

    /// Who is to lead next.
    fn target(&self) -> Option<u32> {
        self.status.replication.as_ref()?.target.map(i32::unsigned_abs)
    }

    /// A person deletes a claim whose volume is gone, and its pod.
    pub(crate) fn give_up_volume(&mut self, ordinal: u32) {
        if let Some(volume) = self.volumes.get_mut(&ordinal).filter(|volume| volume.lost) {
            volume.deleting = true;
            self.end_pod(ordinal);
        }
    }

    /// A person deletes a claim on which another cluster began something and never finished it, and its pod.
    pub(crate) fn give_up_partial(&mut self, ordinal: u32) {
        let id = self.status.cluster_id.clone();
        let of_another = |volume: &&mut Volume| match &volume.directory {
            Some(Directory::Partial { cluster_id, .. }) => id.as_ref().is_some_and(|id| id != cluster_id),
            _ => false,
        };
        if let Some(volume) = self.volumes.get_mut(&ordinal).filter(of_another) {
            volume.deleting = true;
            self.end_pod(ordinal);
        }
    }

    /// A person who has looked gives up volumes that no claim has: what was acknowledged is on one of a claim.
    pub(crate) fn disown_released(&mut self) {
        let mut claimed = self.volumes.values();
        assert!(
            claimed.any(|volume| volume.gtids.contains(&self.acknowledged)),
            "it may be there that it is"
        );
        self.released.retain(|volume| volume.reserved.is_some());
    }

    /// A person wants a volume back that a replica had, and deletes the claim of the one that it has now.
    pub(crate) fn give_back(&mut self) {
        let of = |volume: &Volume| volume.labels.get(LABEL_ORDINAL)?.parse::<u32>().ok();
        let free = self.released.iter().filter(|volume| volume.reserved.is_none());
        let busy = [self.recorded_primary(), self.target()];
        let may = |i: &u32| self.recorded_primary().is_some() && !busy.contains(&Some(*i));
        let found = free.filter_map(|volume| Some((of(volume)?, volume.pv.clone()))).find(|(i, _)| may(i));
        let Some((ordinal, pv)) = found else { return };
        self.annotations.insert(ANNOTATION_GIVE_BACK.into(), pv);
        if let Some(volume) = self.volumes.get_mut(&ordinal) {
            volume.deleting = true;
        }
    }
}

//! Steps on volumes. What keeps one, or gives it to another claim, reads it afresh and writes with its resourceVersion:
//! what the watches brought may be old, and a volume that is not `Retain` goes with its claim.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use mainstay_core::{Volume, VolumeStep};
use mainstay_crd::Aside;
use mainstay_crd::names::{
    ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, LABEL_ASIDE, LABEL_CLUSTER, LABEL_CLUSTER_ID,
    MANAGER_CLUSTER, Names,
};
use serde_json::{Value, json};
use tracing::debug;

use super::outcome::{Outcome, StepError};
use crate::api::{is_conflict, is_gone};
use crate::context::Context;

/// When labels that could not be written are tried again.
const MARK_AGAIN: Duration = Duration::from_secs(300);

/// A volume as it is now.
pub(super) struct Look {
    /// What matters of it for guards.
    pub(super) seen: Volume,
    /// Namespace and name of the claim that it is bound to or reserved for.
    claim: (String, String),
    version: Option<String>,
}

/// Reads a volume.
///
/// # Errors
/// If the API server refused or did not answer.
pub(super) async fn look(context: &Context, volume: &str) -> Result<Option<Look>, StepError> {
    let api = Api::<PersistentVolume>::all(context.client.clone());
    let now = api.get_opt(volume).await.map_err(|error| StepError::Volume(volume.into(), error))?;
    Ok(now.map(|now| {
        let spec = now.spec.unwrap_or_default();
        let claim = spec.claim_ref.unwrap_or_default();
        let seen = Volume {
            name: volume.into(),
            uid: now.metadata.uid.unwrap_or_default(),
            deleting: now.metadata.deletion_timestamp.is_some(),
            reclaim_policy: spec.persistent_volume_reclaim_policy,
            claim_uid: claim.uid,
            ..Volume::default()
        };
        let claim = (claim.namespace.unwrap_or_default(), claim.name.unwrap_or_default());
        Look { seen, claim, version: now.metadata.resource_version }
    }))
}

/// The volume that a step is done to.
pub(super) struct VolumeTarget<'a> {
    pub(super) context: &'a Context,
    pub(super) names: &'a Names,
    pub(super) volume: &'a str,
    pub(super) uid: &'a str,
}

impl VolumeTarget<'_> {
    /// Carries out `step`.
    ///
    /// # Errors
    /// If the API server refused or did not answer.
    pub(super) async fn carry_out(&self, step: &VolumeStep) -> Result<Outcome, StepError> {
        match step {
            VolumeStep::Mark { labels } => {
                match self.patch(None, json!({"metadata": {"labels": labels}})).await {
                    // To write it down is not worth more than an attempt now and then.
                    Err(error) => {
                        debug!(volume = self.volume, %error, "not marked");
                        Ok(Outcome::Later(MARK_AGAIN))
                    }
                    outcome => outcome,
                }
            }
            VolumeStep::Keep { claim_uid, labels, annotations } => {
                let change = json!({
                    "metadata": {"labels": labels, "annotations": annotations},
                    "spec": {"persistentVolumeReclaimPolicy": "Retain"},
                });
                let Some(now) = look(self.context, self.volume).await? else { return Ok(Outcome::Outdated) };
                if now.seen.claim_uid.as_ref() != Some(claim_uid) {
                    return Ok(Outcome::Outdated);
                }
                self.patch(now.version, change).await
            }
            VolumeStep::Reserve { claim_uid, claim } => self.reserve(claim_uid.as_deref(), claim).await,
            VolumeStep::ClaimAside { aside, ordinal, cluster_id, class, capacity, access_modes } => {
                let of = (*ordinal, cluster_id.as_str());
                self.claim_aside(aside, of, class.as_deref(), *capacity, access_modes).await
            }
        }
    }

    /// The UID makes it a precondition: another volume of this name is left alone.
    async fn patch(&self, version: Option<String>, mut change: Value) -> Result<Outcome, StepError> {
        change["metadata"]["uid"] = json!(self.uid);
        if let Some(version) = version {
            change["metadata"]["resourceVersion"] = json!(version);
        }
        let api = Api::<PersistentVolume>::all(self.context.client.clone());
        let params = PatchParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PatchParams::default() };
        match api.patch_metadata(self.volume, &params, &Patch::Merge(change)).await {
            Ok(_) => Ok(Outcome::Told),
            Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
            Err(error) => Err(StepError::Volume(self.volume.to_owned(), error)),
        }
    }

    /// Takes the UID out of its reference: then the next claim of this name is bound to it, whenever it comes. One that
    /// is being bound to it already must keep its UID, or it is Lost: the watches may not have brought that claim yet,
    /// so that both are looked at afresh, the volume first.
    async fn reserve(&self, claim_uid: Option<&str>, claim: &str) -> Result<Outcome, StepError> {
        let failed = |error| StepError::Volume(self.volume.to_owned(), error);
        let Some(now) = look(self.context, self.volume).await? else { return Ok(Outcome::Outdated) };
        let bound_to = now.seen.claim_uid.as_deref();
        if bound_to != claim_uid {
            return Ok(Outcome::Outdated);
        }
        let (namespace, holder) = &now.claim;
        if bound_to.is_some() {
            let client = self.context.client.clone();
            let claims = Api::<PersistentVolumeClaim>::namespaced(client, namespace);
            let there = claims.get_metadata_opt(holder).await.map_err(failed)?;
            if there.is_some_and(|claim| claim.metadata.uid.as_deref() == bound_to) {
                return Ok(Outcome::Outdated);
            }
        }
        let reference = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim,
            "namespace": self.names.namespace, "uid": null, "resourceVersion": null});
        self.patch(now.version, json!({"metadata": {}, "spec": {"claimRef": reference}})).await
    }

    /// Makes the claim that keeps it.
    async fn claim_aside(
        &self,
        aside: &Aside,
        (ordinal, cluster_id): (u32, &str),
        class: Option<&str>,
        capacity: u64,
        access_modes: &[String],
    ) -> Result<Outcome, StepError> {
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": aside.claim,
                "namespace": self.names.namespace,
                "labels": {
                    LABEL_CLUSTER: self.names.cluster,
                    LABEL_CLUSTER_ID: cluster_id,
                    LABEL_ASIDE: ordinal.to_string(),
                },
                "annotations": {
                    ANNOTATION_GTID_SET: aside.gtid_set,
                    ANNOTATION_KEPT_SINCE: aside.since.0.to_string(),
                },
            },
            "spec": {
                "volumeName": aside.volume,
                // Left out, the default class would be asked for, which the volume may not be of.
                "storageClassName": class.unwrap_or_default(),
                "accessModes": access_modes,
                "resources": {"requests": {"storage": capacity.to_string()}},
            },
        });
        let claim: PersistentVolumeClaim = serde_json::from_value(claim)?;
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.context.client.clone(), &self.names.namespace);
        let params = PostParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PostParams::default() };
        match api.create(&params, &claim).await {
            Ok(_) => Ok(Outcome::Told),
            Err(error) if is_conflict(&error) => Ok(Outcome::Outdated),
            Err(error) => Err(StepError::Claim(aside.claim.clone(), error)),
        }
    }
}

//! Steps by which a volume is kept under a claim of another name.
//!
//! Each reads the volume afresh and writes with its resourceVersion: what the watches brought may be old, and a volume
//! that is not `Retain` goes with its claim.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mainstay_crd::Aside;
use mainstay_crd::names::{
    ANNOTATION_FORMER_POLICY, ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, LABEL_ASIDE, LABEL_CLUSTER,
    LABEL_CLUSTER_ID, LABEL_ORDINAL, MANAGER_CLUSTER, Names,
};
use serde_json::{Value, json};

use super::api_error::{is_conflict, is_gone};
use super::claims::Subject;
use super::step::{Outcome, StepError};
use crate::context::Context;

const RETAIN: &str = "Retain";

/// What is being set aside.
pub(super) struct Keeper<'a> {
    pub(super) context: &'a Context,
    pub(super) names: &'a Names,
    pub(super) aside: &'a Aside,
}

impl Keeper<'_> {
    fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.context.client.clone())
    }

    fn failed(&self) -> impl FnOnce(kube::Error) -> StepError {
        let volume = self.aside.volume.clone();
        |error| StepError::Volume(volume, error)
    }

    /// The volume, if it is still bound to the claim that is to go.
    async fn bound(&self) -> Result<Option<PersistentVolume>, StepError> {
        let volume = self.volumes().get_opt(&self.aside.volume).await.map_err(self.failed())?;
        Ok(volume.filter(|volume| {
            let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
            claim.and_then(|claim| claim.uid.as_ref()) == Some(&self.aside.claim_uid)
        }))
    }

    async fn patch(&self, volume: &PersistentVolume, mut patch: Value) -> Result<Outcome, StepError> {
        patch["metadata"]["uid"] = json!(volume.uid());
        patch["metadata"]["resourceVersion"] = json!(volume.resource_version());
        let params = PatchParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PatchParams::default() };
        match self.volumes().patch_metadata(&self.aside.volume, &params, &Patch::Merge(patch)).await {
            Ok(_) => Ok(Outcome::Told),
            Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
            Err(error) => Err(self.failed()(error)),
        }
    }

    /// Sets it to `Retain` and says on it what it is.
    pub(super) async fn keep(
        &self,
        ordinal: u32,
        cluster_id: &str,
        former_policy: Option<&str>,
    ) -> Result<Outcome, StepError> {
        let Some(volume) = self.bound().await? else { return Ok(Outcome::Outdated) };
        let mut annotations = json!({
            ANNOTATION_GTID_SET: self.aside.gtid_set,
            ANNOTATION_KEPT_SINCE: self.aside.since.0.to_string(),
        });
        if let Some(policy) = former_policy.filter(|policy| *policy != RETAIN) {
            annotations[ANNOTATION_FORMER_POLICY] = json!(policy);
        }
        let labels = json!({
            LABEL_CLUSTER: self.names.cluster,
            LABEL_CLUSTER_ID: cluster_id,
            LABEL_ORDINAL: ordinal.to_string(),
        });
        let patch = json!({
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"persistentVolumeReclaimPolicy": RETAIN},
        });
        self.patch(&volume, patch).await
    }

    /// Deletes the instance's claim, once the volume was read back as kept.
    pub(super) async fn release(&self, claim: &str) -> Result<Outcome, StepError> {
        let Some(volume) = self.bound().await? else { return Ok(Outcome::Outdated) };
        let spec = volume.spec.as_ref();
        if spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()) != Some(RETAIN) {
            return Ok(Outcome::Outdated);
        }
        let (context, names) = (self.context, self.names);
        Subject { context, names, claim, uid: &self.aside.claim_uid, ordinal: 0 }.delete(None).await
    }

    /// Reserves it for the claim that is to keep it: a reservation names no UID.
    pub(super) async fn reserve(&self) -> Result<Outcome, StepError> {
        let Some(volume) = self.bound().await? else { return Ok(Outcome::Outdated) };
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": self.names.namespace,
            "name": self.aside.claim,
            "uid": null,
            "resourceVersion": null,
        });
        self.patch(&volume, json!({"metadata": {}, "spec": {"claimRef": claim}})).await
    }

    /// Makes the claim that keeps it.
    pub(super) async fn claim(
        &self,
        ordinal: u32,
        cluster_id: &str,
        class: Option<&str>,
        capacity: u64,
        access_modes: &[String],
    ) -> Result<Outcome, StepError> {
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": self.aside.claim,
                "namespace": self.names.namespace,
                "labels": {
                    LABEL_CLUSTER: self.names.cluster,
                    LABEL_CLUSTER_ID: cluster_id,
                    LABEL_ASIDE: ordinal.to_string(),
                },
                "annotations": {
                    ANNOTATION_GTID_SET: self.aside.gtid_set,
                    ANNOTATION_KEPT_SINCE: self.aside.since.0.to_string(),
                },
            },
            "spec": {
                "volumeName": self.aside.volume,
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
            Err(error) => Err(StepError::Claim(self.aside.claim.clone(), error)),
        }
    }
}

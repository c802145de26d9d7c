//! Steps on claims: what is written on them, and their end.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource};
use mainstay_core::{LeaveNote, Object, Unneeded, is_kept};
use mainstay_crd::MySQLCluster;
use mainstay_crd::names::{
    ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, ANNOTATION_LEDGER, ANNOTATION_LEFT_POD, ANNOTATION_SNAPSHOT,
    LABEL_CLUSTER_ID, LABEL_ORDINAL, MANAGER_CLUSTER, Names,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::outcome::{Outcome, StepError};
use super::{deletion, volumes};
use crate::api::is_gone;
use crate::context::Context;

/// The claim that a step is done to.
pub(super) struct ClaimTarget<'a> {
    pub(super) context: &'a Context,
    pub(super) names: &'a Names,
    pub(super) claim: &'a str,
    pub(super) uid: &'a str,
}

impl ClaimTarget<'_> {
    pub(super) fn api(&self) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.context.client.clone(), &self.names.namespace)
    }

    fn failed(&self) -> impl FnOnce(kube::Error) -> StepError {
        let claim = self.claim.to_owned();
        |error| StepError::Claim(claim, error)
    }

    /// Says on it that its directory holds this cluster's data.
    pub(super) async fn label(&self, ordinal: u32, cluster_id: &str) -> Result<Outcome, StepError> {
        let labels = json!({LABEL_CLUSTER_ID: cluster_id, LABEL_ORDINAL: ordinal.to_string()});
        self.patch(json!({"labels": labels})).await
    }

    /// Says on it what it holds, or takes that back.
    pub(super) async fn note(
        &self,
        ordinal: u32,
        cluster_id: &str,
        note: Option<&LeaveNote>,
    ) -> Result<Outcome, StepError> {
        let labels = json!({LABEL_CLUSTER_ID: cluster_id, LABEL_ORDINAL: ordinal.to_string()});
        let ledger = note.and_then(|note| note.ledger.as_ref()).map(serde_json::to_string).transpose()?;
        let annotations = json!({
            ANNOTATION_GTID_SET: note.map(|note| &note.gtid_set),
            ANNOTATION_KEPT_SINCE: note.map(|note| note.since.to_string()),
            ANNOTATION_LEFT_POD: note.map(|note| &note.pod_uid),
            ANNOTATION_LEDGER: ledger,
            // A snapshot that was taken before is of what it held then.
            ANNOTATION_SNAPSHOT: Value::Null,
        });
        self.patch(json!({"labels": labels, "annotations": annotations})).await
    }

    /// The UID makes it a precondition: another claim of this name is left alone.
    pub(super) async fn patch(&self, mut metadata: Value) -> Result<Outcome, StepError> {
        metadata["uid"] = json!(self.uid);
        self.apply(json!({"metadata": metadata})).await
    }

    async fn apply(&self, change: Value) -> Result<Outcome, StepError> {
        let params = PatchParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PatchParams::default() };
        match self.api().patch_metadata(self.claim, &params, &Patch::Merge(change)).await {
            Ok(_) => Ok(Outcome::Told),
            Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
            Err(error) => Err(self.failed()(error)),
        }
    }

    /// Asks for more room.
    pub(super) async fn grow(&self, size: &str) -> Result<Outcome, StepError> {
        let room = json!({"resources": {"requests": {"storage": size}}});
        self.apply(json!({"metadata": {"uid": self.uid}, "spec": room})).await
    }

    /// Deletes it, if what lets it go is still so: what the watches have brought may be old.
    pub(super) async fn delete_unneeded(
        &self,
        cluster: &MySQLCluster,
        unneeded: &Unneeded,
        version: Option<&str>,
    ) -> Result<Outcome, StepError> {
        let may_go = match unneeded {
            Unneeded::Unused { ordinal } => {
                self.object_lets(cluster, |now| now.may_delete_unused(*ordinal)).await?
                    && !self.is_there::<Pod>(&self.names.pod(*ordinal)).await?
            }
            Unneeded::VolumeKept { volume } => {
                let seen = volumes::look(self.context, volume).await?;
                seen.is_some_and(|volume| is_kept(&volume.seen, self.uid))
            }
            Unneeded::WithCluster => {
                self.object_lets(cluster, |now| now.takes_its_claims()).await?
                    && !self.is_there::<StatefulSet>(&self.names.base()).await?
            }
        };
        if may_go { self.delete(version).await } else { Ok(Outcome::Outdated) }
    }

    async fn object_lets(
        &self,
        cluster: &MySQLCluster,
        lets: impl FnOnce(&Object<'_>) -> bool,
    ) -> Result<bool, StepError> {
        let now = deletion::fresh(self.context, self.names, cluster).await.map_err(self.failed())?;
        Ok(now.is_some_and(|now| lets(&Object::from(&now))))
    }

    async fn is_there<K>(&self, name: &str) -> Result<bool, StepError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::namespaced(self.context.client.clone(), &self.names.namespace);
        Ok(api.get_metadata_opt(name).await.map_err(self.failed())?.is_some())
    }

    /// Deletes it, with its UID and, if given, its version as preconditions.
    async fn delete(&self, version: Option<&str>) -> Result<Outcome, StepError> {
        let preconditions =
            Preconditions { uid: Some(self.uid.into()), resource_version: version.map(String::from) };
        let params = DeleteParams::default().preconditions(preconditions);
        match self.api().delete(self.claim, &params).await {
            Ok(_) => Ok(Outcome::Told),
            Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
            Err(error) => Err(self.failed()(error)),
        }
    }
}

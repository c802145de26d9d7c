//! Steps on claims: what is written on them, and their end.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use mainstay_core::Note;
use mainstay_crd::names::{
    ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, ANNOTATION_LEDGER, ANNOTATION_SNAPSHOT, LABEL_CLUSTER_ID,
    LABEL_ORDINAL, MANAGER_CLUSTER, Names,
};
use mainstay_crd::{MySQLCluster, RetentionPolicy};
use serde_json::{Value, json};

use super::api_error::is_gone;
use super::step::{Outcome, StepError};
use crate::context::Context;

/// The claim that a step is about.
pub(super) struct Subject<'a> {
    pub(super) context: &'a Context,
    pub(super) names: &'a Names,
    pub(super) claim: &'a str,
    pub(super) uid: &'a str,
    pub(super) ordinal: u32,
}

impl Subject<'_> {
    pub(super) fn api(&self) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.context.client.clone(), &self.names.namespace)
    }

    fn failed(&self) -> impl FnOnce(kube::Error) -> StepError {
        let claim = self.claim.to_owned();
        |error| StepError::Claim(claim, error)
    }

    /// Says on it that its directory holds this cluster's data.
    pub(super) async fn label(&self, cluster_id: &str) -> Result<Outcome, StepError> {
        let labels = json!({LABEL_CLUSTER_ID: cluster_id, LABEL_ORDINAL: self.ordinal.to_string()});
        self.patch(json!({"labels": labels})).await
    }

    /// Says on it what it holds, or takes that back.
    pub(super) async fn note(&self, cluster_id: &str, note: Option<&Note>) -> Result<Outcome, StepError> {
        let labels = json!({LABEL_CLUSTER_ID: cluster_id, LABEL_ORDINAL: self.ordinal.to_string()});
        let ledger = note.and_then(|note| note.ledger.as_ref()).map(serde_json::to_string).transpose()?;
        let annotations = json!({
            ANNOTATION_GTID_SET: note.map(|note| &note.gtid_set),
            ANNOTATION_KEPT_SINCE: note.map(|note| note.since.to_string()),
            ANNOTATION_LEDGER: ledger,
            // A snapshot that was taken before is of what it held then.
            ANNOTATION_SNAPSHOT: Value::Null,
        });
        self.patch(json!({"labels": labels, "annotations": annotations})).await
    }

    /// The UID makes it a precondition: another claim of this name is left alone.
    pub(super) async fn patch(&self, mut metadata: Value) -> Result<Outcome, StepError> {
        metadata["uid"] = json!(self.uid);
        let params = PatchParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"metadata": metadata}));
        match self.api().patch_metadata(self.claim, &params, &patch).await {
            Ok(_) => Ok(Outcome::Told),
            Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
            Err(error) => Err(self.failed()(error)),
        }
    }

    /// Deletes it, if everything is still as it was when that was decided: what the watches have brought may be old.
    pub(super) async fn delete_unused(
        &self,
        cluster: &MySQLCluster,
        version: &str,
    ) -> Result<Outcome, StepError> {
        let (client, namespace) = (self.context.client.clone(), &self.names.namespace);
        let clusters: Api<MySQLCluster> = Api::namespaced(client.clone(), namespace);
        let now = clusters.get_opt(&self.names.cluster).await.map_err(self.failed())?;
        if !now.is_some_and(|now| now.uid() == cluster.uid() && may_go(&now, self.ordinal)) {
            return Ok(Outcome::Outdated);
        }
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        if pods.get_metadata_opt(&self.names.pod(self.ordinal)).await.map_err(self.failed())?.is_some() {
            return Ok(Outcome::Outdated);
        }
        self.delete(Some(version)).await
    }

    /// Deletes it, with its UID and, if given, its version as preconditions.
    pub(super) async fn delete(&self, version: Option<&str>) -> Result<Outcome, StepError> {
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

/// Whether the object, as it is now, has no use for the ordinal and lets its claim go.
fn may_go(cluster: &MySQLCluster, ordinal: u32) -> bool {
    let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
    let retention = cluster.spec.storage.retention.clone().unwrap_or_default();
    let record = cluster.status.as_ref().and_then(|status| status.replication.as_ref());
    let leads = record.is_none_or(|r| r.primary == Some(ordinal) || r.target == Some(ordinal));
    cluster.metadata.deletion_timestamp.is_none()
        && !cluster.spec.paused
        && cluster.spec.replicas <= ordinal
        && retention.scaled().policy != RetentionPolicy::Retain
        && !leads
}

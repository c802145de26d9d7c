//! VolumeSnapshots: of an API that a Kubernetes cluster may or may not have.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, ResourceExt};
use mainstay_crd::names::{
    ANNOTATION_SNAPSHOT, LABEL_CLUSTER, LABEL_CLUSTER_ID, LABEL_ORDINAL, MANAGER_CLUSTER,
};
use serde_json::json;
use std::time::Duration;

use super::claims::ClaimTarget;
use super::outcome::{Outcome, StepError};
use crate::api::is_conflict;

/// Time between two looks at a snapshot that is being taken.
const LOOK: Duration = Duration::from_secs(5);
/// Annotation on a VolumeSnapshot: UID of the claim that it was taken of.
const ANNOTATION_OF: &str = "mysql.mainstay.dev/claim-uid";

impl ClaimTarget<'_> {
    /// Has a snapshot taken, and once it is ready to use, says so on the claim.
    pub(super) async fn snapshot(
        &self,
        name: &str,
        ordinal: u32,
        cluster_id: &str,
    ) -> Result<Outcome, StepError> {
        let kind = GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshot");
        let resource = ApiResource::from_gvk(&kind);
        let client = self.context.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.names.namespace, &resource);
        // An object that there is not is no error, so it is the kind: without its API group the answer is no status,
        // but a line of text; without the kind alone it comes when one is created.
        let failed = |error| match error {
            kube::Error::Api(status) if status.code == 404 => StepError::NoSnapshotApi(self.claim.into()),
            error => StepError::SnapshotApi(self.claim.into(), error),
        };
        let Some(snapshot) = api.get_opt(name).await.map_err(failed)? else {
            let params = PostParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PostParams::default() };
            return match api.create(&params, &self.wanted(name, ordinal, cluster_id, &resource)).await {
                Ok(_) => Ok(Outcome::Later(LOOK)),
                Err(error) if is_conflict(&error) => Ok(Outcome::Outdated),
                Err(error) => Err(failed(error)),
            };
        };
        if snapshot.annotations().get(ANNOTATION_OF).map(String::as_str) != Some(self.uid) {
            let message =
                format!("VolumeSnapshot {name} exists, but is of another claim: rename or delete it");
            return Err(StepError::Snapshot(self.claim.into(), message));
        }
        if snapshot.data["status"]["readyToUse"] == true {
            return self.patch(json!({"annotations": {ANNOTATION_SNAPSHOT: name}})).await;
        }
        match snapshot.data["status"]["error"]["message"].as_str() {
            Some(error) => Err(StepError::Snapshot(self.claim.into(), format!("{name}: {error}"))),
            None => Ok(Outcome::Later(LOOK)),
        }
    }

    /// It has no owner: it outlives the cluster.
    fn wanted(&self, name: &str, ordinal: u32, cluster_id: &str, resource: &ApiResource) -> DynamicObject {
        let mut snapshot = DynamicObject::new(name, resource)
            .within(&self.names.namespace)
            .data(json!({"spec": {"source": {"persistentVolumeClaimName": self.claim}}}));
        let labels = [
            (LABEL_CLUSTER, self.names.cluster.clone()),
            (LABEL_CLUSTER_ID, cluster_id.to_owned()),
            (LABEL_ORDINAL, ordinal.to_string()),
        ];
        snapshot.metadata.labels = Some(labels.map(|(key, value)| (key.into(), value)).into());
        snapshot.metadata.annotations = Some([(ANNOTATION_OF.into(), self.uid.into())].into());
        snapshot
    }
}

//! Volumes that are bound, and can't be used as asked for.

use anyhow::Result;
use futures::FutureExt;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::ANNOTATION_GIVE_BACK;
use mainstay_e2e::static_volumes::Place;
use mainstay_e2e::wait;
use serde_json::json;

use super::pending::on_ghost;
use super::{Case, Patient, Row};

pub(super) fn cases() -> Vec<Case> {
    vec![
        ("stranded", |p| stranded(p).boxed()),
        ("unmounted", |p| unmounted(p).boxed()),
        ("fixed", |p| fixed(p).boxed()),
        ("not-ours", |p| not_ours(p).boxed()),
    ]
}

type Rows = Result<Vec<Row>>;

/// The volume is on a node that does not exist.
async fn stranded(p: &Patient<'_>) -> Rows {
    let class = p.class("hand", "Immediate").await?;
    let volume = p.volume("it", "hand", on_ghost()).await?;
    p.apply(json!({"class": class})).await?;
    let says = format!("its volume {volume} can only be mounted on ghost, which is gone");
    let row = p.told(Reason::NodeGone, &[&p.pod(), &says, "bring the node back"]).await?;
    // It never held anything.
    p.volume("made", "hand", json!({})).await?;
    p.delete::<PersistentVolumeClaim>(&p.claim()).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// The directory is not there.
async fn unmounted(p: &Patient<'_>) -> Rows {
    let class = p.class("hand", "Immediate").await?;
    let path = p.bench.void.replace("void", "missing");
    p.volume("it", "hand", json!({"hostPath": {"path": path, "type": "Directory"}})).await?;
    p.apply(json!({"class": class})).await?;
    let row = p.told(Reason::MountFailed, &[&p.pod(), &path, "FailedMount"]).await?;
    p.bench.volumes.directory(Place::Network, &p.bench.node, "missing")?;
    p.mended().await?;
    Ok(vec![row])
}

/// The class does not let claims grow.
async fn fixed(p: &Patient<'_>) -> Rows {
    let class = p.class("hand", "Immediate").await?;
    p.volume("it", "hand", json!({"capacity": {"storage": "4Gi"}})).await?;
    p.apply(json!({"class": class})).await?;
    p.mended().await?;
    p.database.patch(json!({"storage": {"size": "2Gi"}})).await?;
    let row = p.told(Reason::ExpansionRefused, &[&p.claim(), &class, "allowVolumeExpansion"]).await?;
    let classes: Api<StorageClass> = Api::all(p.bench.scope.client());
    let allow = Patch::Merge(json!({"allowVolumeExpansion": true}));
    classes.patch(&class, &PatchParams::default(), &allow).await?;
    p.mended().await?;
    wait::object(
        &p.bench.scope.api(),
        &p.claim(),
        "the claim to ask for more",
        wait::SHORT,
        |claim: &PersistentVolumeClaim| {
            let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
            requests.and_then(|requests| requests.get("storage")).is_some_and(|size| size.0 == "2Gi")
        },
    )
    .await?;
    Ok(vec![row])
}

/// A volume is asked back that is not the cluster's.
async fn not_ours(p: &Patient<'_>) -> Rows {
    let class = p.class("hand", "Immediate").await?;
    p.volume("it", "hand", json!({})).await?;
    p.apply(json!({"class": class})).await?;
    p.mended().await?;
    let other = p.volume("other", "hand", json!({})).await?;
    p.ask_back(Some(&other)).await?;
    let row = p.told(Reason::GiveBackRefused, &[ANNOTATION_GIVE_BACK, &other]).await?;
    p.ask_back(None).await?;
    p.mended().await?;
    let volumes: Api<k8s_openapi::api::core::v1::PersistentVolume> = Api::all(p.bench.scope.client());
    volumes.delete(&other, &DeleteParams::default()).await?;
    Ok(vec![row])
}

impl Patient<'_> {
    /// Asks for a volume to be given back, or no longer.
    pub(super) async fn ask_back(&self, volume: Option<&str>) -> Result<()> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION_GIVE_BACK: volume}}}));
        self.database.api().patch(&self.database.names.cluster, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

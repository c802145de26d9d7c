//! Volumes that hold data, taken from under a server and given back.

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{ANNOTATION_GIVE_BACK, LABEL_ORDINAL};
use mainstay_e2e::faults::on_node;
use mainstay_e2e::static_volumes::Place;
use mainstay_e2e::table::Identity;
use mainstay_e2e::{load, table, wait};
use serde_json::{Value, json};

use super::{Case, Patient, ROWS, Row};

pub(super) fn cases() -> Vec<Case> {
    vec![
        ("released", |p| released(p).boxed()),
        ("failed", |p| failed(p).boxed()),
        ("lost", |p| lost(p).boxed()),
    ]
}

type Rows = Result<Vec<Row>>;

/// The claim is deleted, and goes with its pod; the volume stays, and is given back.
async fn released(p: &Patient<'_>) -> Rows {
    let (volume, before) = p.serve(json!({})).await?;
    p.delete::<PersistentVolumeClaim>(&p.claim()).await?;
    let terminating = p.told(Reason::ClaimTerminating, &[&p.claim(), "set to Retain"]).await?;
    load::check_rows(&mut p.database.sql(0).await?, ROWS).await?;
    p.delete::<Pod>(&p.pod()).await?;
    let annotation = format!("{ANNOTATION_GIVE_BACK}={volume}");
    let row = p.told(Reason::VolumeReleased, &[&p.claim(), &annotation]).await?;
    p.ask_back(Some(&volume)).await?;
    p.same(&before).await?;
    Ok(vec![terminating, row])
}

/// As before, of a volume that was to be deleted with its claim, and could not be.
async fn failed(p: &Patient<'_>) -> Rows {
    let (volume, before) = p.serve(json!({"persistentVolumeReclaimPolicy": "Delete"})).await?;
    // While paused, the operator does not keep it.
    p.database.patch(json!({"paused": true})).await?;
    p.delete::<PersistentVolumeClaim>(&p.claim()).await?;
    p.delete::<Pod>(&p.pod()).await?;
    let annotation = format!("{ANNOTATION_GIVE_BACK}={volume}");
    let row = p.told(Reason::VolumeFailed, &[&p.claim(), &volume, &annotation]).await?;
    p.database.patch(json!({"paused": false})).await?;
    p.ask_back(Some(&volume)).await?;
    p.same(&before).await?;
    Ok(vec![row])
}

/// The volume's object is deleted under the server, and made again; then its directory is away for a while.
async fn lost(p: &Patient<'_>) -> Rows {
    let (volume, before) = p.serve(json!({})).await?;
    let volumes: Api<PersistentVolume> = Api::all(p.bench.scope.client());
    let mut object = volumes.get(&volume).await?;
    let uid = object.uid();
    volumes.delete(&volume, &DeleteParams::default()).await?;
    let terminating = p.told(Reason::VolumeTerminating, &[&p.claim(), &volume, "Retain"]).await?;
    p.change(&volume, json!({"metadata": {"finalizers": null}})).await?;
    wait::gone(&volumes, &volume, uid.as_deref(), wait::SHORT).await?;
    let row = p.told(Reason::ClaimLost, &[&p.claim(), &volume]).await?;
    load::check_rows(&mut p.database.sql(0).await?, ROWS).await?;

    let spec = object.spec.as_mut().context("a volume without a spec")?;
    spec.claim_ref = None;
    let path = spec.host_path.as_ref().context("no host path")?.path.clone();
    object.status = None;
    object.metadata = serde_json::from_value(json!({"name": volume, "labels": object.metadata.labels}))?;
    volumes.create(&Default::default(), &object).await?;
    p.mended().await?;
    p.database.restart(0, 1).await?;
    p.same(&before).await?;

    on_node(&p.bench.node, r#"mv "$1" "$1.away""#, &[&path])?;
    p.delete::<Pod>(&p.pod()).await?;
    let unmounted = p.told(Reason::MountFailed, &[&p.pod(), &path]).await?;
    on_node(&p.bench.node, r#"mv "$1.away" "$1""#, &[&path])?;
    p.same(&before).await?;
    Ok(vec![terminating, row, unmounted])
}

impl Patient<'_> {
    /// The cluster, Healthy on a volume made by hand, with rows; who its instance is, and the volume's name.
    async fn serve(&self, spec: Value) -> Result<(String, Identity)> {
        let class = self.class("hand", "Immediate").await?;
        let path = self.bench.volumes.directory(Place::Network, &self.bench.node, self.name)?;
        let mut spec = spec;
        spec["hostPath"] = json!({"path": path, "type": "Directory"});
        let volume = self.volume("it", "hand", spec).await?;
        self.database.create(1, json!({"storage": {"size": "1Gi", "class": class}})).await?;
        let before = self.with_rows().await?;
        let volumes: Api<PersistentVolume> = Api::all(self.bench.scope.client());
        wait::object(&volumes, &volume, "the volume to be marked", wait::SHORT, |volume| {
            volume.labels().contains_key(LABEL_ORDINAL)
        })
        .await?;
        Ok((volume, before))
    }

    /// Who its instance is once it is Healthy, and has rows.
    pub(super) async fn with_rows(&self) -> Result<Identity> {
        self.database.healthy(1, wait::LONG).await?;
        load::rows(&mut self.database.sql(0).await?, ROWS).await?;
        table::identity(&self.database, 0).await
    }

    /// It serves again, on the same volume, with all rows.
    pub(super) async fn same(&self, before: &Identity) -> Result<()> {
        self.mended().await?;
        self.database.healthy(1, wait::LONG).await?;
        let now = table::identity(&self.database, 0).await?;
        ensure!(
            (&now.volume, &now.server_uuid) == (&before.volume, &before.server_uuid),
            "it is another one now: {before:?}, {now:?}"
        );
        load::check_rows(&mut self.database.sql(0).await?, ROWS).await
    }
}

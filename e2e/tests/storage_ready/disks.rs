//! Disks that are attached to one node at a time, fill up and grow.

use anyhow::{Result, ensure};
use futures::FutureExt;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use mainstay_crd::conditions::Reason;
use mainstay_e2e::table::Identity;
use mainstay_e2e::{exec, held};
use mainstay_proto::pod::CONTAINER_MYSQL;
use serde_json::json;

use super::{Case, Patient, Row};

pub(super) fn cases() -> Vec<Case> {
    vec![
        ("elsewhere", |p| elsewhere(p).boxed()),
        ("full", |p| full(p).boxed()),
        ("growing", |p| growing(p).boxed()),
    ]
}

type Rows = Result<Vec<Row>>;

/// The pod has moved, and its disk is not detached from the node that it left.
async fn elsewhere(p: &Patient<'_>) -> Rows {
    let before = p.serve_disk("1Gi").await?;
    let node = p.database.node(0).await?;
    let other = p.bench.volumes.workers().await?.into_iter().find(|other| *other != node);
    let attachments = held::attachments(&p.bench.scope.client());
    let attachment = held::attachment(&p.bench.scope.client(), &before.volume, &node).await?;
    held::hold(&attachments, &attachment).await?;
    p.database.patch(json!({"scheduling": {"nodeSelector": {"kubernetes.io/hostname": other}}})).await?;
    let says = format!("its volume {} is still attached to node {node}", before.volume);
    let row = p.told(Reason::AttachedElsewhere, &[&p.pod(), &says]).await?;
    let elsewhere = p.database.node(0).await?;
    ensure!(Some(&elsewhere) == other.as_ref(), "it is on {elsewhere}, not on {other:?}");
    ensure!(row.message.contains(&elsewhere), "it does not say where the pod is: {}", row.message);
    held::let_go(&attachments, &attachment).await?;
    p.same(&before).await?;
    Ok(vec![row])
}

/// Nothing is left of the disk; then somebody frees some of it.
async fn full(p: &Patient<'_>) -> Rows {
    let before = p.serve_disk("768Mi").await?;
    p.in_server(FILL).await?;
    let row = p.told(Reason::VolumeFull, &[&p.pod(), "raise spec.storage.size above 768Mi"]).await?;
    p.in_server("rm /var/lib/mysql/ballast").await?;
    p.same(&before).await?;
    Ok(vec![row])
}

/// dd ends with an error when there is no more room, which is what it is for.
const FILL: &str = "dd if=/dev/zero of=/var/lib/mysql/ballast bs=1M status=none; \
                    dd if=/dev/zero of=/var/lib/mysql/ballast bs=4k oflag=append conv=notrunc status=none; \
                    test $(stat --file-system --format %a /var/lib/mysql) -lt 64";

/// More is asked for, and the kubelet has not made the file system larger yet. No server runs, as when it can't start.
async fn growing(p: &Patient<'_>) -> Rows {
    p.apply(json!({"class": "csi"})).await?;
    p.mended().await?;
    p.database.patch(json!({"storage": {"size": "2Gi"}})).await?;
    let row = p.told(Reason::Growing, &[&p.claim()]).await?;
    p.mended().await?;
    let claim: PersistentVolumeClaim = p.database.claim(0).await?;
    let capacity = claim.status.and_then(|status| status.capacity).unwrap_or_default();
    ensure!(capacity.get("storage").is_some_and(|has| has.0 == "2Gi"), "it has {capacity:?}");
    Ok(vec![row])
}

impl Patient<'_> {
    /// The cluster, Healthy on a disk of this size, with rows; who its instance is.
    pub(super) async fn serve_disk(&self, size: &str) -> Result<Identity> {
        self.database.create(1, json!({"storage": {"size": size, "class": "csi"}})).await?;
        self.with_rows().await
    }

    async fn in_server(&self, script: &str) -> Result<()> {
        let command = ["bash", "-c", script];
        exec::in_pod(&self.bench.scope.api(), &self.pod(), CONTAINER_MYSQL, &command).await.map(drop)
    }
}

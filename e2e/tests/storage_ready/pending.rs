//! Claims that get no volume.

use anyhow::{Result, ensure};
use futures::FutureExt;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ResourceQuota};
use kube::api::PostParams;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_e2e::faults::Nodes;
use mainstay_e2e::wait;
use serde_json::json;

use super::{ABSENT, Case, Patient, Row};

pub(super) fn cases() -> Vec<Case> {
    vec![
        ("class", |p| class(p).boxed()),
        ("retyped", |p| retyped(p).boxed()),
        ("size", |p| size(p).boxed()),
        ("mode", |p| mode(p).boxed()),
        ("selector", |p| selector(p).boxed()),
        ("reserved", |p| reserved(p).boxed()),
        ("unreachable", |p| unreachable(p).boxed()),
        ("no-class", |p| no_class(p).boxed()),
        ("no-default", |p| no_default(p).boxed()),
        ("consumer", |p| consumer(p).boxed()),
        ("refused", |p| refused(p).boxed()),
        ("nobody", |p| nobody(p).boxed()),
        ("nowhere", |p| nowhere(p).boxed()),
        ("taken", |p| taken(p).boxed()),
    ]
}

type Rows = Result<Vec<Row>>;

/// The only volume has another class.
async fn class(p: &Patient<'_>) -> Rows {
    let wanted = p.class("wanted", "Immediate").await?;
    let other = p.class("other", "Immediate").await?;
    let near = p.volume("near", "other", json!({})).await?;
    p.apply(json!({"class": wanted})).await?;
    let says = format!("{near} has the class '{other}', not '{wanted}'");
    let row = p.told(Reason::NoMatchingVolume, &[&p.claim(), &says, "Make one"]).await?;
    p.volume("made", "wanted", json!({})).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// The class was typed wrong, and put right; the claim that was made in between still asks for the first.
async fn retyped(p: &Patient<'_>) -> Rows {
    let right = p.class("right", "WaitForFirstConsumer").await?;
    p.volume("made", "right", json!({})).await?;
    p.apply(json!({"class": p.called("wrong")})).await?;
    let wrong = p.told(Reason::NoMatchingVolume, &[&p.claim(), &p.called("wrong")]).await?;
    p.database.patch(json!({"storage": {"class": right}})).await?;
    let says = format!("kubectl delete pvc {} -n {}", p.claim(), p.database.names.namespace);
    let row = p.told(Reason::OtherClass, &["was never bound", &right, &says]).await?;
    p.delete::<PersistentVolumeClaim>(&p.claim()).await?;
    p.mended().await?;
    Ok(vec![wrong, row])
}

/// The only volume is too small.
async fn size(p: &Patient<'_>) -> Rows {
    let class = p.class("hand", "Immediate").await?;
    let small = p.volume("small", "hand", json!({"capacity": {"storage": "512Mi"}})).await?;
    p.apply(json!({"class": class})).await?;
    let says = format!("{small} has 512Mi, not 1Gi");
    let row = p.told(Reason::NoMatchingVolume, &[&p.claim(), &says]).await?;
    p.volume("made", "hand", json!({})).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// The only volume can't be mounted as asked for.
async fn mode(p: &Patient<'_>) -> Rows {
    let class = p.class("hand", "Immediate").await?;
    let once = p.volume("once", "hand", json!({"capacity": {"storage": "512Mi"}})).await?;
    p.apply(json!({"class": class, "size": "512Mi", "accessModes": ["ReadWriteMany"]})).await?;
    let says = format!("{once} can't be mounted ReadWriteMany");
    let row = p.told(Reason::NoMatchingVolume, &[&p.claim(), &says]).await?;
    p.volume("made", "hand", json!({"accessModes": ["ReadWriteMany"]})).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// The only volume, of no class at all, has not the labels.
async fn selector(p: &Patient<'_>) -> Rows {
    let half = json!({"capacity": {"storage": "512Mi"}, "storageClassName": null});
    let plain = p.volume("plain", "none", half).await?;
    let selector = json!({"matchLabels": {"disk": p.called("it")}});
    p.apply(json!({"class": "", "size": "512Mi", "selector": selector})).await?;
    let says = format!("{plain} has not the labels that spec.storage.selector asks for");
    let row = p.told(Reason::NoMatchingVolume, &[&p.claim(), &says]).await?;
    p.change(&plain, json!({"metadata": {"labels": {"disk": p.called("it")}}})).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// The only volume is kept for another claim.
async fn reserved(p: &Patient<'_>) -> Rows {
    let class = p.class("hand", "Immediate").await?;
    let namespace = &p.database.names.namespace;
    let whose = json!({"namespace": namespace, "name": "data-elsewhere-0"});
    let volume = p.volume("it", "hand", json!({"claimRef": whose})).await?;
    p.apply(json!({"class": class})).await?;
    let says = format!("{volume} is reserved for {namespace}/data-elsewhere-0");
    let row = p.told(Reason::NoMatchingVolume, &[&p.claim(), &says]).await?;
    p.change(&volume, json!({"spec": {"claimRef": null}})).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// The only volume is on a node that does not exist.
async fn unreachable(p: &Patient<'_>) -> Rows {
    let class = p.class("hand", "WaitForFirstConsumer").await?;
    let volume = p.volume("it", "hand", on_ghost()).await?;
    p.apply(json!({"class": class})).await?;
    let says = format!("{volume} can only be mounted on ghost, which is gone");
    let row = p.told(Reason::NoMatchingVolume, &[&p.claim(), &says]).await?;
    p.volume("made", "hand", json!({})).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// What a volume says that only the node `ghost` can mount, which does not exist.
pub(super) fn on_ghost() -> serde_json::Value {
    let host = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["ghost"]});
    json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}}})
}

/// The class does not exist.
async fn no_class(p: &Patient<'_>) -> Rows {
    let class = p.called("absent");
    p.apply(json!({"class": class})).await?;
    let says = format!("there is no StorageClass {class}");
    let row = p.told(Reason::NoMatchingVolume, &[&p.claim(), &says]).await?;
    // A volume may name a class that does not exist, too.
    p.volume("made", "absent", json!({})).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// The cluster has no default class.
async fn no_default(p: &Patient<'_>) -> Rows {
    let Some(nodes) = Nodes::of(&p.bench.scope.env) else { return Ok(Vec::new()) };
    let fault = nodes.without_default_class()?;
    p.apply(json!({"class": null})).await?;
    let row = p.told(Reason::NoDefaultClass, &[&p.claim(), "make a StorageClass the default"]).await?;
    fault.end();
    p.mended().await?;
    Ok(vec![row])
}

/// The pod may not be made.
async fn consumer(p: &Patient<'_>) -> Rows {
    let critical = "system-cluster-critical";
    let scope = json!({"scopeName": "PriorityClass", "operator": "In", "values": [critical]});
    let quota = json!({
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [scope]}},
    });
    let quotas = p.bench.scope.api::<ResourceQuota>();
    quotas.create(&PostParams::default(), &serde_json::from_value(quota)?).await?;
    wait::object(&quotas, "none", "the quota to be counted", wait::SHORT, |q| {
        q.status.as_ref().is_some_and(|status| status.hard.is_some())
    })
    .await?;
    let scheduling = json!({"priorityClassName": critical});
    let spec = json!({"image": ABSENT, "scheduling": scheduling, "storage": {"size": "1Gi"}});
    p.database.create(1, spec).await?;
    let row = p.told(Reason::ClaimMissing, &[&p.claim(), &p.pod()]).await?;
    let refused = p.database.told(ConditionType::SpecValid, Reason::InvalidSpec, wait::SHORT).await?;
    ensure!(refused.contains("exceeded quota: none"), "the API server's words are not told: {refused}");
    p.delete::<ResourceQuota>("none").await?;
    p.mended().await?;
    Ok(vec![row])
}

/// The provisioner refuses: it is not configured for this class.
async fn refused(p: &Patient<'_>) -> Rows {
    let class = p.provisioned("refused", "mainstay.dev/path").await?;
    p.apply(json!({"class": class})).await?;
    let row = p.told(Reason::ProvisioningFailed, &[&p.claim(), &class, "ProvisioningFailed: "]).await?;
    p.volume("made", "refused", json!({})).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// The provisioner does not run.
async fn nobody(p: &Patient<'_>) -> Rows {
    let class = p.provisioned("nobody", "example.com/nobody").await?;
    p.apply(json!({"class": class})).await?;
    let row = p.told(Reason::Provisioning, &[&p.claim(), "see whether example.com/nobody runs"]).await?;
    p.volume("made", "nobody", json!({})).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// No node takes the pod, for a reason of its own; there would be a volume.
async fn nowhere(p: &Patient<'_>) -> Rows {
    let class = p.class("hand", "WaitForFirstConsumer").await?;
    p.volume("it", "hand", json!({})).await?;
    let scheduling = json!({"nodeSelector": {"mainstay.dev/e2e": "nowhere"}});
    let storage = json!({"size": "1Gi", "class": class});
    p.database.create(1, json!({"image": ABSENT, "scheduling": scheduling, "storage": storage})).await?;
    let row = p
        .told(Reason::Unschedulable, &[&p.claim(), &p.pod(), "nodes are available", "spec.scheduling"])
        .await?;
    p.database.patch(json!({"scheduling": null})).await?;
    p.mended().await?;
    Ok(vec![row])
}

/// Two claims, made by hand, name one volume.
async fn taken(p: &Patient<'_>) -> Rows {
    let class = p.class("hand", "Immediate").await?;
    let volume = p.volume("it", "hand", json!({})).await?;
    let claims = p.bench.scope.api::<PersistentVolumeClaim>();
    let wants = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": class,
        "volumeName": volume,
    });
    let first = "data-elsewhere-1";
    for name in [first, &p.claim()] {
        let claim = json!({"metadata": {"name": name}, "spec": wants});
        claims.create(&PostParams::default(), &serde_json::from_value(claim)?).await?;
        if name == first {
            wait::object(&claims, name, "the first claim to be Bound", wait::SHORT, |claim| {
                claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
            })
            .await?;
        }
    }
    p.apply(json!({"class": class})).await?;
    let row = p.told(Reason::VolumeTaken, &[&p.claim(), &volume, first, "delete it and its pod"]).await?;
    p.volume("made", "hand", json!({})).await?;
    p.delete::<PersistentVolumeClaim>(&p.claim()).await?;
    p.mended().await?;
    Ok(vec![row])
}

impl Patient<'_> {
    /// A class with this provisioner.
    async fn provisioned(&self, what: &str, provisioner: &str) -> Result<String> {
        let class = json!({"metadata": {"name": self.own(what)}, "provisioner": provisioner});
        self.bench.volumes.class(serde_json::from_value(class)?).await?;
        Ok(self.called(what))
    }
}

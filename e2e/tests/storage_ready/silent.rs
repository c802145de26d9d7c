//! A node falls silent: what is said of it, from the first suspicion to its return.

use anyhow::{Context, Result, bail, ensure};
use futures::try_join;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use mainstay_crd::conditions::Reason;
use mainstay_e2e::faults::Nodes;
use mainstay_e2e::operator;
use serde_json::{Value, json};

use super::{Bench, Patient};

/// Two instances on a node that stalls, of two clusters: one waits for it; of the other somebody deletes the pod by
/// force, which is elsewhere then, and its disk is not.
pub(super) async fn play(bench: &Bench<'_>, nodes: Nodes) -> Result<()> {
    let patient = |name| Patient { bench, database: bench.scope.database(name), name };
    let (moves, waits) = (patient("moves"), patient("waits"));
    let keep_off = affinity("NotIn", &acting(bench).await?);
    let storage = json!({"size": "1Gi", "class": "csi"});
    moves.database.create(1, json!({"storage": storage, "scheduling": {"affinity": keep_off}})).await?;
    let before = moves.with_rows().await?;
    let node = moves.database.node(0).await?;
    waits.database.create(1, json!({"scheduling": {"affinity": affinity("In", &node)}})).await?;
    let stays = waits.with_rows().await?;
    let pods = (moves.database.pod(0).await?.uid(), waits.database.pod(0).await?.uid());

    let stalled = nodes.stall(&node)?;
    let both = [&moves, &waits];
    told(both, Reason::NodeSuspected, &["which is probably lost", "Lease was not renewed", &node]).await?;
    told(both, Reason::NodeNotReady, &["which is not Ready", "out-of-service", &node]).await?;
    let now = (moves.database.pod(0).await?.uid(), waits.database.pod(0).await?.uid());
    ensure!(now == pods, "a pod was touched whose node is only silent");

    let by_force = DeleteParams::default().grace_period(0);
    bench.scope.api::<Pod>().delete(&moves.pod(), &by_force).await?;
    let says = format!("its volume {} is still attached to node {node}", before.volume);
    moves.told(Reason::AttachedElsewhere, &[&moves.pod(), &says]).await?.show(moves.name);

    stalled.end();
    Nodes::ready(bench.scope.client(), &node).await?;
    try_join!(moves.same(&before), waits.same(&stays))?;
    ensure!(moves.database.node(0).await? != node, "it is on {node} again");
    ensure!(waits.database.pod(0).await?.uid() == pods.1, "the pod that was left alone is another one");
    Ok(())
}

/// Waits until both give this reason, with the pod and all of these words.
async fn told(patients: [&Patient<'_>; 2], reason: Reason, words: &[&str]) -> Result<()> {
    let one = async |patient: &Patient<'_>| -> Result<()> {
        let pod = patient.pod();
        let words: Vec<&str> = words.iter().copied().chain([pod.as_str()]).collect();
        patient.told(reason, &words).await?.show(patient.name);
        Ok(())
    };
    try_join!(one(patients[0]), one(patients[1])).map(drop)
}

/// The node of the operator that acts: it must not stall.
async fn acting(bench: &Bench<'_>) -> Result<String> {
    let client = bench.scope.client();
    for pod in operator::pods(&client).await? {
        if operator::leads(&client, &pod).await? {
            return pod.spec.and_then(|spec| spec.node_name).context("the operator's pod has no node");
        }
    }
    bail!("no operator acts")
}

/// Affinity to a node, or to the others.
fn affinity(operator: &str, node: &str) -> Value {
    let host = json!({"key": "kubernetes.io/hostname", "operator": operator, "values": [node]});
    let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [host]}]});
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})
}

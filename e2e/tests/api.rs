//! The API's rules, asked of a real API server: every rule has an object that it takes and one that it refuses.
//!
//! The cases are those of `crd/tests/cases`, which the unit tests ask of both forms of the rules.
//! The operator is not needed, and nothing that is made here is unpaused.

#[path = "../../crd/tests/cases/mod.rs"]
mod cases;

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use cases::{Change, Verdict};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, Status};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::Condition as _;
use kube::{Client, ResourceExt};
use mainstay_crd::conditions::{ConditionType, DesiredCondition, Reason, merge};
use mainstay_crd::names::MANAGER_STATUS;
use mainstay_crd::{InstanceState, InstanceStatus, MySQLCluster, MySQLClusterStatus, ReplicationRecord};
use mainstay_e2e::cluster::{Env, program, root};
use mainstay_e2e::{exec, note, operator, wait};
use serde_json::{Value, json};

/// Objects are sent as they are written, not as the types would write them.
type Clusters = Api<DynamicObject>;

fn clusters(client: &Client, namespace: &str) -> Clusters {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<MySQLCluster>(&()))
}

/// The definition of this checkout, by the chart that brings it to users.
async fn install(env: &Env) -> Result<()> {
    let mut helm = Command::new(program("helm")?);
    helm.arg("--kubeconfig").arg(&env.kubeconfig).args(["--namespace", "mainstay-system"]);
    helm.args(["upgrade", "--install", "--create-namespace", "mainstay-crds"])
        .arg(root().join("charts/mainstay-crds"));
    tokio::task::spawn_blocking(move || exec::here(&mut helm)).await??;
    let definitions: Api<CustomResourceDefinition> = Api::all(env.client.clone());
    let name = mainstay_crd::manifest::crd().name_any();
    let established = |crd: &CustomResourceDefinition| is_crd_established().matches_object(Some(crd));
    wait::object(&definitions, &name, "the definition to be established", wait::SHORT, established)
        .await
        .map(drop)
}

/// What is wrong with an answer, if anything.
fn judge<T>(name: &str, verdict: Verdict, answer: kube::Result<T>) -> Result<Option<String>> {
    let said = match answer {
        Ok(_) => None,
        Err(kube::Error::Api(status)) if is_refusal(&status) => Some(status.message),
        Err(other) => return Err(other).with_context(|| name.to_owned()),
    };
    let right = match (verdict, &said) {
        (Verdict::Accepted, said) => said.is_none(),
        (Verdict::Refused(why) | Verdict::Misshapen(why), Some(said)) => said.contains(why),
        (_, None) => false,
    };
    Ok((!right)
        .then(|| format!("{name} should be {verdict:?}, but: {}", said.as_deref().unwrap_or("accepted"))))
}

fn is_refusal(status: &Status) -> bool {
    status.code == 422 || status.code == 400
}

/// A rule that has just been installed takes a moment to reach the API server's handlers, so wrong answers are
/// asked for again.
async fn until_right<F>(what: &str, mut ask: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<Vec<String>>>,
{
    let asking = wait::poll(what, wait::SHORT, || {
        let answer = ask();
        async move {
            let wrong = answer.await?;
            ensure!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
            Ok(Some(()))
        }
    });
    asking.await
}

fn dry() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

#[tokio::test]
async fn the_api_server_judges_every_new_object_as_it_should() -> Result<()> {
    let env = Env::connect().await?;
    install(&env).await?;
    let api = clusters(&env.client, "default");
    let all = cases::creations();
    note!("{} objects", all.len());
    until_right("the API server to judge new objects", || async {
        let mut wrong = Vec::new();
        for case in &all {
            let object: DynamicObject = serde_json::from_value(case.object.clone())?;
            wrong.extend(judge(&case.name, case.verdict, api.create(&dry(), &object).await)?);
        }
        Ok(wrong)
    })
    .await
}

#[tokio::test]
async fn the_api_server_judges_every_change_as_it_should() -> Result<()> {
    let env = Env::connect().await?;
    install(&env).await?;
    stop_operator(&env.client).await?;
    with_namespace(&env.client, async |namespace| {
        let api = clusters(&env.client, namespace);
        let all = cases::changes();
        note!("{} changes", all.len());
        until_right("the API server to judge changes", || async {
            let mut wrong = Vec::new();
            for (number, change) in all.iter().enumerate() {
                wrong.extend(attempt(&api, &format!("change-{number}"), change).await?);
            }
            Ok(wrong)
        })
        .await
    })
    .await
}

/// Makes the object as it was, tries the change without making it, and takes the object away again.
async fn attempt(api: &Clusters, name: &str, change: &Change) -> Result<Option<String>> {
    let mut from: DynamicObject = serde_json::from_value(change.from.clone())?;
    from.metadata.name = Some(name.into());
    api.create(&PostParams::default(), &from).await.with_context(|| change.name.clone())?;
    if let Some(status) = change.from.get("status") {
        let status = Patch::Merge(json!({ "status": status }));
        api.patch_status(name, &PatchParams::default(), &status)
            .await
            .with_context(|| change.name.clone())?;
    }
    let patch =
        serde_json::from_value(json!([{"op": "replace", "path": "/spec", "value": change.to["spec"]}]))?;
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let wrong =
        judge(&change.name, change.verdict, api.patch(name, &params, &Patch::<Value>::Json(patch)).await);
    remove(api, name).await?;
    wrong
}

/// Deletes an object that never was more than an object, whatever an operator may have put on it.
async fn remove(api: &Clusters, name: &str) -> Result<()> {
    let free = json!({"metadata": {"finalizers": null}});
    api.delete(name, &DeleteParams::default()).await?;
    match api.patch(name, &PatchParams::default(), &Patch::Merge(free)).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(other) => return Err(other.into()),
    }
    wait::gone(api, name, None, wait::SHORT).await
}

/// A namespace for what can't be tried without making it.
async fn with_namespace(client: &Client, body: impl AsyncFnOnce(&str) -> Result<()>) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let new: Namespace = serde_json::from_value(json!({"metadata": {"generateName": "api-rules-"}}))?;
    let name = namespaces.create(&PostParams::default(), &new).await?.name_any();
    let outcome = body(&name).await;
    namespaces.delete(&name, &DeleteParams::default()).await?;
    outcome
}

#[tokio::test]
async fn defaults_are_filled_in_and_nulls_are_dropped() -> Result<()> {
    let env = Env::connect().await?;
    install(&env).await?;
    let mut object = cases::object(&json!({"spec": {"podSecurity": {}}}));
    for (path, field) in [("/spec/storage", "class"), ("/spec", "resources"), ("/spec", "replicas")] {
        let parent = object.pointer_mut(path).and_then(Value::as_object_mut).context("the path is there")?;
        parent.insert(field.into(), Value::Null);
    }
    let object: DynamicObject = serde_json::from_value(object)?;
    let stored = clusters(&env.client, "default").create(&dry(), &object).await?;
    let expected = json!({
        "image": "mysql:9.7",
        "paused": true,
        "podSecurity": {"fsGroup": 999, "runAsUser": 999},
        "replicas": 3,
        "storage": {"accessModes": ["ReadWriteOnce"], "size": "1Gi"},
    });
    ensure!(stored.data["spec"] == expected, "stored: {}", stored.data["spec"]);
    Ok(())
}

#[tokio::test]
async fn a_field_that_does_not_exist_is_refused_where_the_client_asks_for_that() -> Result<()> {
    let env = Env::connect().await?;
    install(&env).await?;
    let api = clusters(&env.client, "default");
    let params = PatchParams { dry_run: true, ..PatchParams::apply("api-rules").validation_strict() };
    let apply = async |patch: Value| api.patch("case", &params, &Patch::Apply(cases::object(&patch))).await;
    apply(json!({})).await?;
    match apply(json!({"spec": {"storage": {"sise": "2Gi"}}})).await {
        // 500, strangely: the API server says that it could not make an object of this.
        Err(kube::Error::Api(status)) if status.message.contains(".spec.storage.sise") => Ok(()),
        other => bail!("a misspelt field should be refused, but: {other:?}"),
    }
}

#[tokio::test]
async fn instances_can_be_scaled_within_the_bounds() -> Result<()> {
    let env = Env::connect().await?;
    install(&env).await?;
    with_namespace(&env.client, async |namespace| {
        let api = clusters(&env.client, namespace);
        let object: DynamicObject = serde_json::from_value(cases::object(&json!({})))?;
        api.create(&PostParams::default(), &object).await?;
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        let refused = Verdict::Refused("replicas must be from 1 to 9");
        let mut wrong = Vec::new();
        for (replicas, verdict) in
            [(1, Verdict::Accepted), (9, Verdict::Accepted), (0, refused), (10, refused)]
        {
            let scale = Patch::Merge(json!({"spec": {"replicas": replicas}}));
            let answer = api.patch_scale("case", &params, &scale).await;
            wrong.extend(judge(&format!("{replicas} replicas"), verdict, answer)?);
        }
        remove(&api, "case").await?;
        ensure!(wrong.is_empty(), "{wrong:?}");
        Ok(())
    })
    .await
}

/// As the operator writes it: by server-side apply, with what is unknown left out.
#[tokio::test]
async fn a_status_is_applied_whole_and_keeps_what_is_applied_again() -> Result<()> {
    let env = Env::connect().await?;
    install(&env).await?;
    stop_operator(&env.client).await?;
    with_namespace(&env.client, async |namespace| {
        let api = clusters(&env.client, namespace);
        let object: DynamicObject = serde_json::from_value(cases::object(&json!({})))?;
        let created = api.create(&PostParams::default(), &object).await?;
        let now = created.metadata.creation_timestamp.context("a new object has a time")?;
        let apply = async |status: &MySQLClusterStatus| -> Result<DynamicObject> {
            let patch = json!({
                "apiVersion": "mysql.mainstay.dev/v1alpha1", "kind": "MySQLCluster", "status": status,
            });
            let params = PatchParams::apply(MANAGER_STATUS).force().validation_strict();
            Ok(api.patch_status("case", &params, &Patch::Apply(patch)).await?)
        };
        apply(&MySQLClusterStatus::default()).await?;
        let wanted = status(&now);
        let first = apply(&wanted).await?;
        let read: MySQLClusterStatus = serde_json::from_value(first.data["status"].clone())?;
        ensure!(read == wanted, "read back: {}", first.data["status"]);
        let second = apply(&wanted).await?;
        ensure!(first.resource_version() == second.resource_version(), "the same status was written twice");
        // An instance that is no longer there goes, though the list is merged by name.
        let fewer = MySQLClusterStatus { instances: wanted.instances[..1].to_vec(), ..wanted.clone() };
        let third = apply(&fewer).await?;
        let left = third.data["status"]["instances"].as_array().map(Vec::len);
        ensure!(left == Some(1), "{left:?} instances are left");
        remove(&api, "case").await
    })
    .await
}

/// An operator would have a status of its own to write. The tests that need one install it again.
async fn stop_operator(client: &Client) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), operator::NAMESPACE);
    if deployments.get_opt(operator::RELEASE).await?.is_none() {
        return Ok(());
    }
    deployments.delete(operator::RELEASE, &DeleteParams::foreground()).await?;
    wait::gone(&deployments, operator::RELEASE, None, wait::SHORT).await
}

fn status(now: &Time) -> MySQLClusterStatus {
    let instance = |ordinal: i32| InstanceStatus {
        name: format!("case-{ordinal}"),
        ordinal,
        role: None,
        ready: false,
        state: InstanceState::Offline,
        message: None,
        node: None,
        claim: None,
        claim_uid: None,
        volume: None,
        server_uuid: None,
        gtid_executed: None,
        seen_at: None,
        lag_seconds: None,
        clone: None,
        ledger: None,
        verdict: None,
    };
    let wanted = DesiredCondition {
        type_: ConditionType::Ready,
        status: Some(false),
        reason: Reason::Paused,
        message: "nothing is done while paused".into(),
    };
    MySQLClusterStatus {
        observed_generation: Some(1),
        conditions: merge(&[], &[wanted], 1, now),
        replication: Some(ReplicationRecord::default()),
        instances: vec![instance(0), instance(1)],
        ..MySQLClusterStatus::default()
    }
}

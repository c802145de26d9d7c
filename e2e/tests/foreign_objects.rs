//! Objects that have the names of a cluster's children and are not its own, and clusters that want one name.

use anyhow::{Context, Result, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::serde::Serialize;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Resource, ResourceExt};
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::wait;
use serde_json::{Value, json};

/// What a person made, as it was then.
struct Theirs {
    name: String,
    uid: Option<String>,
    version: Option<String>,
}

impl Theirs {
    async fn make<K>(scope: &Scope, name: &str, content: Value) -> Result<Theirs>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Serialize,
        K: DeserializeOwned + std::fmt::Debug,
    {
        let mut object = json!({"metadata": {"name": name, "labels": {"team": "theirs"}}});
        for (key, value) in content.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        let made = scope.api::<K>().create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(Theirs { name: name.into(), uid: made.uid(), version: made.resource_version() })
    }

    /// It is there, and nobody has written to it.
    async fn is_untouched<K>(&self, scope: &Scope) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone,
        K: DeserializeOwned + std::fmt::Debug,
    {
        let now = scope.api::<K>().get(&self.name).await.with_context(|| format!("{} is gone", self.name))?;
        ensure!(
            (now.uid(), now.resource_version()) == (self.uid.clone(), self.version.clone()),
            "{} was written to: {:?}",
            self.name,
            now.meta()
        );
        Ok(())
    }
}

/// Importance 1: what a person made under a child's name stays as it is, is named by the condition, and stays when the
/// cluster goes; once it is out of the way, the cluster comes up by itself.
#[tokio::test]
async fn foreign_objects() -> Result<(), Failed> {
    scope::run("foreign_objects", wait::LONG * 3, async |scope| {
        let database = scope.database("till");
        let names = database.names.clone();
        let data = json!({"data": {"k": "v"}});
        let config = Theirs::make::<ConfigMap>(scope, &names.old_config_map(), data).await?;
        let account = Theirs::make::<ServiceAccount>(scope, &names.base(), json!({})).await?;
        let port = json!([{"port": 80}]);
        let service = json!({"spec": {"selector": {"app": "theirs"}, "ports": port}});
        let service = Theirs::make::<Service>(scope, &names.read_service(), service).await?;
        database.create(1, json!({})).await?;

        for name in [&names.base(), &names.read_service()] {
            let what = format!("the condition to name {name}");
            let said = |status: &mainstay_crd::MySQLClusterStatus| {
                status.conditions.iter().any(|condition| {
                    condition.type_ == ConditionType::Blocked.as_str()
                        && condition.reason == Reason::ForeignObject.as_str()
                        && condition.message.contains(&format!(" {name} exists and is not this cluster's"))
                })
            };
            database.until(&what, wait::SHORT, said).await?;
            let sets = scope.api::<StatefulSet>();
            ensure!(sets.get_opt(&names.base()).await?.is_none(), "pods are made while {name} is in the way");
            if *name == names.base() {
                account.is_untouched::<ServiceAccount>(scope).await?;
            }
            service.is_untouched::<Service>(scope).await?;
            config.is_untouched::<ConfigMap>(scope).await?;
            // One after the other makes way.
            match name {
                name if *name == names.base() => {
                    scope.api::<ServiceAccount>().delete(name, &DeleteParams::default()).await.map(drop)?;
                }
                name => scope.api::<Service>().delete(name, &DeleteParams::default()).await.map(drop)?,
            }
        }
        database.healthy(1, wait::LONG).await?;
        // Of a name that only older operators used.
        config.is_untouched::<ConfigMap>(scope).await?;
        stays_behind(scope).await
    })
    .await
}

/// A foreign object does not go with a cluster that never had it.
async fn stays_behind(scope: &Scope) -> Result<()> {
    let database = scope.database("gone");
    let name = database.names.primary_service();
    let service = json!({"spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}});
    let service = Theirs::make::<Service>(scope, &name, service).await?;
    database.create(1, json!({})).await?;
    database.told(ConditionType::Blocked, Reason::ForeignObject, wait::SHORT).await?;
    database.delete().await?;
    // Once the garbage collector has removed what was the cluster's.
    let read = database.names.read_service();
    wait::gone(&scope.api::<Service>(), &read, None, wait::LONG).await?;
    service.is_untouched::<Service>(scope).await
}

/// Importance 1: of two clusters that want one name the first has it, in whatever order; the other says so, makes
/// nothing, and begins once the first is gone.
#[tokio::test]
async fn colliding_names() -> Result<(), Failed> {
    scope::run("colliding_names", wait::LONG * 6, async |scope| {
        for (first, second) in [("mill", "mill-read"), ("forge-read", "forge"), ("loom", "loom-operator")] {
            let (first, second) = (scope.database(first), scope.database(second));
            first.start(1).await?;
            let service = selector(scope, &first.names.read_service()).await?;
            second.create(1, json!({})).await?;
            let said = second.told(ConditionType::Blocked, Reason::NameTaken, wait::SHORT).await?;
            ensure!(said.contains(&format!("MySQLCluster {}", first.names.cluster)), "{said}");
            makes_nothing(scope, &second).await?;
            ensure!(
                selector(scope, &first.names.read_service()).await? == service,
                "the first one's Service leads elsewhere"
            );
            first.delete().await?;
            // Secrets are kept with the claims: one whose name the second needs is deleted, as the condition says.
            let secrets = scope.api::<Secret>();
            if secrets.get_opt(&second.names.tls_secret()).await?.is_some() {
                let said = second.told(ConditionType::Blocked, Reason::ForeignObject, wait::SHORT).await?;
                ensure!(said.contains("rename or delete it"), "{said}");
                secrets.delete(&second.names.tls_secret(), &DeleteParams::default()).await?;
            }
            second.healthy(1, wait::LONG).await?;
        }
        Ok(())
    })
    .await
}

async fn selector(scope: &Scope, service: &str) -> Result<Value> {
    let service = scope.api::<Service>().get(service).await?;
    Ok(serde_json::to_value(service.spec.and_then(|spec| spec.selector))?)
}

async fn makes_nothing(scope: &Scope, second: &Database<'_>) -> Result<()> {
    let names = &second.names;
    let sets = scope.api::<StatefulSet>().get_opt(&names.base()).await?;
    let maps = scope.api::<ConfigMap>().list(&ListParams::default()).await?.items;
    let maps = maps.iter().find(|map| names.is_config_map(&map.name_any()));
    let secrets = scope.api::<Secret>().get_opt(&names.credentials_secret()).await?;
    ensure!(sets.is_none() && maps.is_none() && secrets.is_none(), "it was half made");
    ensure!(second.status().await?.cluster_id.is_none(), "it has an id");
    Ok(())
}

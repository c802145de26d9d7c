//! All that a person wants to see when a test failed, because it is gone a moment later.

use std::fmt::Debug;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, PersistentVolumeClaim, Pod};
use k8s_openapi::serde::de::DeserializeOwned;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use mainstay_crd::MySQLCluster;

use crate::namespace::Scope;
use crate::wait::yaml;
use crate::{operator, table};

/// Lines of each container's log.
const TAIL: i64 = 200;

/// Prints resources, states, events and logs of the scope's namespace, and the operator's log.
pub(crate) async fn print(scope: &Scope) {
    for cluster in list(&scope.api::<MySQLCluster>()).await {
        let name = cluster.name_any();
        section(&format!("MySQLCluster {name}"));
        eprint!("{}", yaml(cluster));
        match table::of(scope, &name).await {
            Ok(table) => eprint!("{table}"),
            Err(error) => eprintln!("no table of its instances: {error:#}"),
        }
    }
    for set in list(&scope.api::<StatefulSet>()).await {
        section(&format!("StatefulSet {}", set.name_any()));
        eprintln!("{:?}", set.status);
    }
    claims(scope).await;
    events(scope).await;
    for pod in list(&scope.api::<Pod>()).await {
        describe(&pod);
        logs(&scope.api(), &pod).await;
    }
    for pod in operator::pods(&scope.env.client).await.unwrap_or_default() {
        logs(&Api::namespaced(scope.client(), operator::NAMESPACE), &pod).await;
    }
}

fn section(title: &str) {
    eprintln!("──── {title}");
}

async fn list<K>(api: &Api<K>) -> Vec<K>
where
    K: Clone + DeserializeOwned + Debug,
{
    match api.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) => {
            eprintln!("can't be listed: {error}");
            Vec::new()
        }
    }
}

async fn claims(scope: &Scope) {
    section("claims");
    for claim in list(&scope.api::<PersistentVolumeClaim>()).await {
        let phase = claim.status.as_ref().and_then(|status| status.phase.clone());
        let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
        let going = if claim.metadata.deletion_timestamp.is_some() { ", being deleted" } else { "" };
        eprintln!("{} {:?} {phase:?} {volume:?}{going}", claim.name_any(), claim.uid());
    }
}

async fn events(scope: &Scope) {
    section("events");
    let mut events = list(&scope.api::<Event>()).await;
    let when = |event: &Event| {
        let exact = event.event_time.as_ref().map(|time| time.0);
        exact.or_else(|| event.last_timestamp.as_ref().map(|time| time.0))
    };
    events.sort_by_key(when);
    for event in events {
        let object = &event.involved_object;
        eprintln!(
            "{} {} {}/{} ×{}: {}",
            when(&event).map(|time| time.to_string()).unwrap_or_default(),
            event.reason.as_deref().unwrap_or_default(),
            object.kind.as_deref().unwrap_or_default(),
            object.name.as_deref().unwrap_or_default(),
            event.count.unwrap_or(1),
            event.message.as_deref().unwrap_or_default(),
        );
    }
}

fn describe(pod: &Pod) {
    section(&format!("pod {}", pod.name_any()));
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node");
    eprintln!("uid {:?} on {node}, labels {:?}", pod.uid(), pod.labels());
    let Some(status) = &pod.status else { return };
    let going = if pod.metadata.deletion_timestamp.is_some() { "being deleted, " } else { "" };
    eprintln!("{going}phase {:?} {:?} {:?}", status.phase, status.reason, status.message);
    for condition in status.conditions.iter().flatten() {
        eprintln!(
            "  {} {} {:?} {:?}",
            condition.type_, condition.status, condition.reason, condition.message
        );
    }
    for container in containers(pod) {
        eprintln!(
            "  {}: ready {}, restarts {}, now {:?}, before {:?}",
            container.name, container.ready, container.restart_count, container.state, container.last_state
        );
    }
}

fn containers(pod: &Pod) -> Vec<&ContainerStatus> {
    let Some(status) = &pod.status else { return Vec::new() };
    let inits = status.init_container_statuses.iter().flatten();
    inits.chain(status.container_statuses.iter().flatten()).collect()
}

async fn logs(pods: &Api<Pod>, pod: &Pod) {
    let name = pod.name_any();
    for container in containers(pod) {
        let runs = [(true, container.restart_count > 0), (false, container.started.is_some())];
        for (previous, _) in runs.into_iter().filter(|(_, exists)| *exists) {
            let how = LogParams {
                container: Some(container.name.clone()),
                previous,
                tail_lines: Some(TAIL),
                ..LogParams::default()
            };
            section(&format!(
                "log of {name}/{}{}",
                container.name,
                if previous { ", before its restart" } else { "" }
            ));
            match pods.logs(&name, &how).await {
                Ok(log) => eprintln!("{log}"),
                Err(error) => eprintln!("can't be read: {error}"),
            }
        }
    }
}

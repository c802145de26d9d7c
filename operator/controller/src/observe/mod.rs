//! From stores and agents to one observation. Reads only, and waits for nobody: what must be asked for calls for another
//! look once it is known.

mod surroundings;
mod trouble;

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use mainstay_core::{
    Agent, Claim, ClusterObject, Instance, Observation, Pod, Rival, StatefulSetSeen, on_demand,
};
use mainstay_crd::names::{
    ANNOTATION_TEMPLATE_HASH, GROUP, LABEL_ASIDE, LABEL_CLUSTER, LABEL_CLUSTER_ID, LABEL_ROLE, MAX_REPLICAS,
    Names,
};
use mainstay_crd::{MySQLCluster, quantity};
use mainstay_proto::pod::CONTAINER_MYSQL;

use crate::agents::Agents;
use crate::cluster_scope::ObjectEvents;
use crate::context::{Context, Scope};
use crate::watch::{self, Caller, ClusterKey, Stores, find};

/// Everything that is known about `cluster` now.
pub(crate) fn observe(cluster: &MySQLCluster, names: &Names, scope: &Scope) -> Observation {
    let Scope { context, stores, trigger } = scope;
    let caller = Caller::new(ClusterKey::named(&names.namespace, &names.cluster), trigger.clone());
    let now = Timestamp::now();
    let mut instances = instances(cluster, names, stores, &context.agents, now);
    listen(&context.object_events, &caller, names, stores, &mut instances, now);
    let secrets_cluster_id = secrets_cluster_id(names, stores);
    let surroundings =
        surroundings::of(context, &caller, cluster, names, &instances, secrets_cluster_id.as_deref(), now);
    Observation {
        now,
        // Of what is remembered, which is not here.
        seen_for: BTreeMap::new(),
        cluster: ClusterObject {
            namespace: names.namespace.clone(),
            name: names.cluster.clone(),
            uid: cluster.uid().unwrap_or_default(),
            generation: cluster.metadata.generation.unwrap_or_default(),
            created: cluster.metadata.creation_timestamp.as_ref().map(|at| at.0),
            deleting: cluster.metadata.deletion_timestamp.is_some(),
            annotations: ours(cluster.metadata.annotations.as_ref()),
            finalizers: cluster.finalizers().iter().filter(|f| f.starts_with(GROUP)).cloned().collect(),
            spec: cluster.spec.clone(),
            status: cluster.status.clone().unwrap_or_default(),
        },
        fresh_id: uuid::Uuid::new_v4().to_string(),
        secrets_cluster_id,
        instances,
        stateful_set: find(&stores.stateful_sets, &names.namespace, &names.base()).map(|set| {
            let annotation = set.metadata.annotations.as_ref().and_then(|a| a.get(ANNOTATION_TEMPLATE_HASH));
            let uid = set.metadata.uid.clone().unwrap_or_default();
            // What it refuses to change is remembered.
            StatefulSetSeen { template_hash: annotation.cloned(), uid, refused: None }
        }),
        pods_refused: pods_refused(context, &caller, cluster, names, stores),
        aside: aside(names, stores),
        rivals: rivals(cluster, names, stores),
        // Of what is remembered, too.
        unfit: Vec::new(),
        surroundings,
    }
}

/// Why pods that should be there can't be made, as far as that is known already.
fn pods_refused(
    context: &Context,
    caller: &Caller,
    cluster: &MySQLCluster,
    names: &Names,
    stores: &Stores,
) -> Option<String> {
    let set = find(&stores.stateful_sets, &names.namespace, &names.base())?;
    let wanted = u32::try_from(cluster.spec.replicas).unwrap_or(0);
    let missing = |ordinal: u32| find(&stores.pods, &names.namespace, &names.pod(ordinal)).is_none();
    let made = set.metadata.creation_timestamp.as_ref().map(|at| at.0);
    let asked = on_demand::is_old(made, Timestamp::now()) && (0..wanted).any(missing);
    asked.then(|| context.object_events.about_stateful_set(caller, set.metadata.uid.as_deref()?)).flatten()
}

/// Adds what Kubernetes says of claims and pods that are in trouble, as far as that is known already.
fn listen(
    object_events: &ObjectEvents,
    caller: &Caller,
    names: &Names,
    stores: &Stores,
    instances: &mut BTreeMap<u32, Instance>,
    now: Timestamp,
) {
    for (&ordinal, instance) in instances {
        if let Some(claim) = instance.claim.as_mut().filter(|claim| on_demand::events_of_claim(claim, now)) {
            claim.warning = object_events.about_claim(caller, &claim.uid);
        }
        let Some(pod) = find(&stores.pods, &names.namespace, &names.pod(ordinal)) else { continue };
        let made = pod.metadata.creation_timestamp.as_ref().map(|at| at.0);
        let asked = |seen: &&mut Pod| on_demand::events_of_pod(seen, made, has_begun(&pod), now);
        if let Some(seen) = instance.pod.as_mut().filter(asked) {
            seen.warning = object_events.about_pod(caller, &seen.uid);
        }
    }
}

/// One of its containers has run: its volumes are mounted.
fn has_begun(pod: &watch::Pod) -> bool {
    let containers = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    containers.filter_map(|c| c.state.as_ref()).any(|s| s.running.is_some() || s.terminated.is_some())
}

/// Mainstay's own of a map of labels or annotations.
fn ours(map: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let ours = map.into_iter().flatten().filter(|(key, _)| key.starts_with(GROUP));
    ours.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The first of the Secrets that say whose they are; they are made together and carry one id.
fn secrets_cluster_id(names: &Names, stores: &Stores) -> Option<String> {
    [names.credentials_secret(), names.ca_secret()].into_iter().find_map(|name| {
        let secret = find(&stores.secrets, &names.namespace, &name)?;
        secret.metadata.labels.as_ref()?.get(LABEL_CLUSTER_ID).cloned()
    })
}

/// Claims that keep what was set aside. They have names of their own, so they are no instance's.
fn aside(names: &Names, stores: &Stores) -> BTreeMap<String, Claim> {
    let is_ours = |claim: &watch::Claim| {
        let label = |key: &str| claim.metadata.labels.as_ref()?.get(key);
        label(LABEL_ASIDE).is_some()
            && label(LABEL_CLUSTER) == Some(&names.cluster)
            && claim.metadata.namespace.as_ref() == Some(&names.namespace)
    };
    let claims = stores.claims.state().into_iter().filter(|claim| is_ours(claim));
    claims.map(|claim| of_claim(&claim)).map(|claim| (claim.name.clone(), claim)).collect()
}

/// Clusters that would have a child of one of this one's names. Asked only before anything of it is made.
fn rivals(cluster: &MySQLCluster, names: &Names, stores: &Stores) -> Vec<Rival> {
    if cluster.status.as_ref().is_some_and(|status| status.cluster_id.is_some()) {
        return Vec::new();
    }
    let found = names.rivals().into_iter().filter_map(|rival| {
        let object = find(&stores.clusters, &names.namespace, &rival.cluster)?;
        // One that can't be read may have children all the same.
        let begun = object.0.as_ref().map_or(true, |cluster| {
            cluster.status.as_ref().is_some_and(|status| status.cluster_id.is_some())
        });
        Some(Rival {
            created: object.meta().creation_timestamp.as_ref().map(|at| at.0),
            begun,
            object: format!("{} {}", rival.kind, rival.object),
            name: rival.cluster,
        })
    });
    found.collect()
}

fn instances(
    cluster: &MySQLCluster,
    names: &Names,
    stores: &Stores,
    agents: &Agents,
    now: Timestamp,
) -> BTreeMap<u32, Instance> {
    let wanted = u32::try_from(cluster.spec.replicas).unwrap_or(0);
    (0..MAX_REPLICAS.max(wanted))
        .filter_map(|ordinal| {
            let pod = find(&stores.pods, &names.namespace, &names.pod(ordinal));
            let claim = find(&stores.claims, &names.namespace, &names.claim(ordinal));
            let agent = pod.as_ref().map_or(Agent::Unheard, |pod| heard(pod, agents));
            let uid = pod.as_ref().and_then(|pod| pod.metadata.uid.clone());
            let earlier = uid.as_ref().and_then(|uid| agents.earlier(uid, now));
            let dispatched = uid.as_ref().and_then(|uid| agents.dispatched(uid, Instant::now()));
            let (pod, claim) = (pod.as_deref().map(of_pod), claim.as_deref().map(of_claim));
            let instance = Instance { pod, claim, agent, earlier, dispatched };
            let exists = instance.pod.is_some() || instance.claim.is_some();
            (exists || ordinal < wanted).then_some((ordinal, instance))
        })
        .collect()
}

fn heard(pod: &watch::Pod, agents: &Agents) -> Agent {
    agents.heard(pod.metadata.uid.as_deref().unwrap_or_default())
}

fn of_pod(pod: &watch::Pod) -> Pod {
    let status = &pod.status;
    let label = |key: &str| pod.metadata.labels.as_ref()?.get(key).cloned();
    let initialised = condition(pod, "Initialized");
    let runs = |name: &str| {
        let mysql = status.container_statuses.iter().find(|c| c.name == name);
        mysql.is_some_and(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()))
    };
    Pod {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        node: pod.spec.node_name.clone(),
        ready: condition(pod, "Ready"),
        started: initialised && runs(CONTAINER_MYSQL),
        role: label(LABEL_ROLE),
        template_hash: pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(ANNOTATION_TEMPLATE_HASH))
            .cloned(),
        trouble: trouble::of(pod),
        warning: None,
    }
}

fn condition(pod: &watch::Pod, type_: &str) -> bool {
    pod.status.conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
}

fn of_claim(claim: &watch::Claim) -> Claim {
    let label = |key: &str| claim.metadata.labels.as_ref()?.get(key).cloned();
    Claim {
        name: claim.metadata.name.clone().unwrap_or_default(),
        uid: claim.metadata.uid.clone().unwrap_or_default(),
        deleting: claim.metadata.deletion_timestamp.is_some(),
        volume: claim.spec.volume_name.clone(),
        phase: claim.status.phase.clone(),
        cluster_id: label(LABEL_CLUSTER_ID),
        resource_version: claim.metadata.resource_version.clone(),
        class: claim.spec.storage_class_name.clone(),
        requested: claim.spec.resources.requests.storage.as_ref().and_then(quantity::whole),
        capacity: claim.status.capacity.storage.as_ref().and_then(quantity::whole),
        annotations: ours(claim.metadata.annotations.as_ref()),
        created: claim.metadata.creation_timestamp.as_ref().map(|at| at.0),
        resizing: claim.status.conditions.iter().find(|c| c.status == "True").map(
            |condition| match condition
                .message
                .as_deref()
                .map(str::trim)
                .filter(|message| !message.is_empty())
            {
                Some(message) => format!("{}: {message}", condition.type_),
                None => condition.type_.clone(),
            },
        ),
        warning: None,
    }
}

//! The pods' template: what `mainstay_proto::pod` promises to the agent.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Sysctl, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mainstay_crd::ImagePullPolicy;
use mainstay_crd::names::{ANNOTATION_CONFIG, ANNOTATION_TEMPLATE_HASH};
use mainstay_proto::pod::{
    CONTAINER_AGENT, CONTAINER_DONOR, CONTAINER_MYSQL, CONTAINER_PREPARE, CONTAINER_RECEIVE, env, paths,
    ports,
};

use super::{Blueprint, config, hash, meta, scheduling};

/// Name of MySQL's port.
pub(super) const PORT_MYSQL: &str = "mysql";
/// Name of MySQL's administrative port.
const PORT_ADMIN: &str = "admin";
/// Name of the agent's port.
pub(super) const PORT_AGENT: &str = "agent";
/// Name of the port of the container that gives copies.
const PORT_DONOR: &str = "donor";
/// CPU of the container that gives copies; it bounds how fast.
const DONOR_CPU: &str = "500m";
/// Memory of the container that gives copies: 32 MiB for the agent, the rest for the tool.
const DONOR_MEMORY: &str = "512Mi";
/// Name of the port for the kubelet's probes.
const PORT_PROBE: &str = "probe";

/// Seconds between SIGTERM and SIGKILL: to become read-only within a bound, and for InnoDB to shut down.
const GRACE_SECONDS: i64 = 60;
/// Mode of secret files: for the user's group (`fsGroup`) to read.
const MODE_SECRET: i32 = 0o440;
/// Bound of the emptyDir in memory; what it holds is a few kilobytes, and counts as the container's memory.
const RUN_SIZE: &str = "16Mi";

const VOLUME_BIN: &str = "bin";
const VOLUME_CONFIG: &str = "config";
const VOLUME_CREDENTIALS: &str = "credentials";
const VOLUME_TLS: &str = "tls";
const VOLUME_RUN: &str = "run";
const VOLUME_TMP: &str = "tmp";

/// The template.
pub(super) fn template(blueprint: &Blueprint<'_>) -> PodTemplateSpec {
    let theirs = blueprint.spec.pod_metadata.clone().unwrap_or_default();
    let hash = (ANNOTATION_TEMPLATE_HASH, hash::template_hash(blueprint));
    let told = config::told(blueprint).map(|files| (ANNOTATION_CONFIG, files));
    let ours = [Some(hash), told].into_iter().flatten().map(|(key, value)| (key.to_owned(), value)).collect();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(meta::merged(Some(&theirs.labels), meta::labels(blueprint))),
            annotations: Some(meta::merged(Some(&theirs.annotations), ours)),
            ..Default::default()
        }),
        spec: Some(pod_spec(blueprint)),
    }
}

fn pod_spec(blueprint: &Blueprint<'_>) -> PodSpec {
    let secrets = blueprint.spec.image_pull_secrets.clone();
    let mut spec = PodSpec {
        service_account_name: Some(blueprint.names().base()),
        automount_service_account_token: Some(false),
        // Variables for every Service of the namespace would be noise, and differ from start to start.
        enable_service_links: Some(false),
        image_pull_secrets: (!secrets.is_empty()).then_some(secrets),
        security_context: Some(pod_security(blueprint)),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        init_containers: Some(
            [Some(agent(blueprint)), receive(blueprint), Some(prepare(blueprint))]
                .into_iter()
                .flatten()
                .collect(),
        ),
        containers: [Some(mysql(blueprint)), donor(blueprint)].into_iter().flatten().collect(),
        volumes: Some(volumes(blueprint)),
        ..Default::default()
    };
    scheduling::apply(blueprint, &mut spec);
    spec
}

/// One user that is not root, for all containers: the `restricted` profile of the Pod Security Standards.
fn pod_security(blueprint: &Blueprint<'_>) -> PodSecurityContext {
    let security = blueprint.spec.pod_security.clone().unwrap_or_default();
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(security.run_as_user),
        run_as_group: Some(security.fs_group),
        fs_group: Some(security.fs_group),
        // Else the kubelet walks all of the data directory before every start.
        fs_group_change_policy: Some("OnRootMismatch".into()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..Default::default() }),
        // The administrative port is one that the kernel gives to outgoing connections too, and mysqld does not start
        // while one of these has it. A safe sysctl since Kubernetes 1.27 ("Using sysctls in a Kubernetes Cluster").
        sysctls: Some(vec![Sysctl {
            name: "net.ipv4.ip_local_reserved_ports".into(),
            value: ports::ADMIN.to_string(),
        }]),
        ..Default::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
        read_only_root_filesystem: Some(true),
        ..Default::default()
    }
}

/// Copies the agent's binary, from its own image, to where the server's image can run it.
fn agent(blueprint: &Blueprint<'_>) -> Container {
    Container {
        name: CONTAINER_AGENT.into(),
        image: Some(blueprint.agent_image.into()),
        command: Some(["/mainstay-agent", "install", paths::AGENT].map(String::from).into()),
        resources: Some(agent_resources()),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![mount(VOLUME_BIN, paths::BIN, false)]),
        ..Default::default()
    }
}

/// Limits equal to requests: so the pod is Guaranteed where the user's resources make it so, and is admitted where
/// a quota asks for limits.
fn agent_resources() -> ResourceRequirements {
    resources("100m", "64Mi")
}

fn resources(cpu: &str, memory: &str) -> ResourceRequirements {
    let amounts = BTreeMap::from([("cpu", cpu), ("memory", memory)]);
    let amounts: BTreeMap<String, Quantity> =
        amounts.into_iter().map(|(name, amount)| (name.into(), Quantity(amount.into()))).collect();
    ResourceRequirements { requests: Some(amounts.clone()), limits: Some(amounts), ..Default::default() }
}

/// Receives a copy where the spec asks for the copy tool; before it only an order could tell, and only the tool's
/// image has the tool.
fn receive(blueprint: &Blueprint<'_>) -> Option<Container> {
    copy_tool(blueprint, CONTAINER_RECEIVE, "receive")
}

/// Gives copies, beside the server, where the spec asks for the copy tool. The data directory is not mounted
/// read-only: XtraBackup asks for permission to write there (its manual, "Connection and privileges needed").
fn donor(blueprint: &Blueprint<'_>) -> Option<Container> {
    let port = ContainerPort {
        name: Some(PORT_DONOR.into()),
        container_port: i32::from(ports::DONOR),
        protocol: Some("TCP".into()),
        ..Default::default()
    };
    Some(Container {
        ports: Some(vec![port]),
        resources: Some(resources(DONOR_CPU, DONOR_MEMORY)),
        ..copy_tool(blueprint, CONTAINER_DONOR, "donor")?
    })
}

/// A container in the copy tool's image. It needs neither the accounts' passwords nor the server's configuration, and
/// has neither.
fn copy_tool(blueprint: &Blueprint<'_>, name: &str, subcommand: &str) -> Option<Container> {
    let image = blueprint.spec.copy_tool_image()?;
    let mut container = Container { image: Some(image), ..server(blueprint, name, subcommand) };
    let needed = |mount: &VolumeMount| mount.name != VOLUME_CREDENTIALS && mount.name != VOLUME_CONFIG;
    container.volume_mounts.iter_mut().for_each(|mounts| mounts.retain(needed));
    Some(container)
}

/// Sees to the data directory: goes on with a complete one, else waits for an order.
fn prepare(blueprint: &Blueprint<'_>) -> Container {
    server(blueprint, CONTAINER_PREPARE, "prepare")
}

/// Runs MySQL.
fn mysql(blueprint: &Blueprint<'_>) -> Container {
    let server = server(blueprint, CONTAINER_MYSQL, "serve");
    // `kubectl exec POD -c mysql -- mysql` logs in: the agent puts `.my.cnf` there.
    let home = EnvVar { name: "HOME".into(), value: Some(paths::RUN.into()), ..Default::default() };
    Container {
        env: server.env.map(|env| env.into_iter().chain([home]).collect()),
        // A server that stalls for half a minute is slow, not dead; a kill would make it slower.
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            timeout_seconds: Some(5),
            failure_threshold: Some(6),
            ..probe("/livez")
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(2),
            timeout_seconds: Some(2),
            failure_threshold: Some(3),
            ..probe("/readyz")
        }),
        ..server
    }
}

/// A container in the server's image with everything that the agent needs. `prepare` has the ports as well: agents
/// answer while they wait for an order, and an initialising server runs there.
fn server(blueprint: &Blueprint<'_>, name: &str, subcommand: &str) -> Container {
    let policy = blueprint.spec.image_pull_policy.map(|policy| match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    });
    Container {
        name: name.into(),
        image: Some(blueprint.spec.image.clone()),
        image_pull_policy: policy.map(String::from),
        command: Some(vec![paths::AGENT.into(), subcommand.into()]),
        env: Some(environment(blueprint)),
        ports: Some(container_ports()),
        resources: blueprint.spec.resources.clone(),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![
            mount(VOLUME_BIN, paths::BIN, true),
            mount(meta::CLAIM, paths::VOLUME, false),
            mount(VOLUME_CONFIG, paths::CONFIG, true),
            mount(VOLUME_CREDENTIALS, paths::CREDENTIALS, true),
            mount(VOLUME_TLS, paths::TLS, true),
            mount(VOLUME_RUN, paths::RUN, false),
            // For libraries that insist on it; MySQL's own temporary files go to the claim.
            mount(VOLUME_TMP, "/tmp", false),
        ]),
        ..Default::default()
    }
}

fn container_ports() -> Vec<ContainerPort> {
    [
        (PORT_MYSQL, ports::MYSQL),
        (PORT_ADMIN, ports::ADMIN),
        (PORT_AGENT, ports::AGENT),
        (PORT_PROBE, ports::PROBE),
    ]
    .map(|(name, port)| ContainerPort {
        name: Some(name.into()),
        container_port: i32::from(port),
        protocol: Some("TCP".into()),
        ..Default::default()
    })
    .into()
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String(PORT_PROBE.into()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What `mainstay_proto::pod::env` lists. Nothing here is secret.
fn environment(blueprint: &Blueprint<'_>) -> Vec<EnvVar> {
    let value =
        |name: &str, value: String| EnvVar { name: name.into(), value: Some(value), ..Default::default() };
    let field = |name: &str, path: &str| EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.into(), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    vec![
        value(env::NAMESPACE, blueprint.namespace.into()),
        value(env::CLUSTER, blueprint.name.into()),
        value(env::CLUSTER_ID, blueprint.cluster_id.into()),
        field(env::POD_NAME, "metadata.name"),
        field(env::POD_UID, "metadata.uid"),
        field(env::POD_IP, "status.podIP"),
        field(env::NODE, "spec.nodeName"),
        value(env::SERVER_ID_BASE, hash::server_id_base(blueprint.cluster_id).to_string()),
        value(env::GRACE_SECONDS, GRACE_SECONDS.to_string()),
    ]
}

/// All volumes but the claim's, which the StatefulSet adds.
fn volumes(blueprint: &Blueprint<'_>) -> Vec<Volume> {
    let names = blueprint.names();
    let secret = |name: &str, secret: String| Volume {
        name: name.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            default_mode: Some(MODE_SECRET),
            ..Default::default()
        }),
        ..Default::default()
    };
    let empty = |name: &str, source: EmptyDirVolumeSource| Volume {
        name: name.into(),
        empty_dir: Some(source),
        ..Default::default()
    };
    let memory =
        EmptyDirVolumeSource { medium: Some("Memory".into()), size_limit: Some(Quantity(RUN_SIZE.into())) };
    vec![
        empty(VOLUME_BIN, EmptyDirVolumeSource::default()),
        Volume {
            name: VOLUME_CONFIG.into(),
            config_map: Some(ConfigMapVolumeSource { name: config::name(blueprint), ..Default::default() }),
            ..Default::default()
        },
        secret(VOLUME_CREDENTIALS, names.credentials_secret()),
        secret(VOLUME_TLS, names.tls_secret()),
        empty(VOLUME_RUN, memory),
        empty(VOLUME_TMP, EmptyDirVolumeSource::default()),
    ]
}

fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..Default::default()
    }
}

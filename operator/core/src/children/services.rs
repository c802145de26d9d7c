//! Services.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mainstay_crd::ServiceType;
use mainstay_crd::names::{ROLE_PRIMARY, ROLE_REPLICA};
use mainstay_proto::pod::ports;

use super::{Blueprint, meta, pod};

/// `NAME`: gives every instance its DNS name, unready ones too, because replicas must find a primary that is not
/// Ready, and the operator agents that are waiting for orders.
pub(super) fn headless(blueprint: &Blueprint<'_>) -> Service {
    Service {
        metadata: meta::metadata(blueprint, blueprint.names().base()),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            publish_not_ready_addresses: Some(true),
            selector: Some(meta::selector_labels(blueprint)),
            ports: Some(vec![port(pod::PORT_MYSQL, ports::MYSQL), port(pod::PORT_AGENT, ports::AGENT)]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// `NAME-primary`.
pub(super) fn primary(blueprint: &Blueprint<'_>) -> Service {
    for_clients(blueprint, blueprint.names().primary_service(), ROLE_PRIMARY)
}

/// `NAME-read`.
pub(super) fn read(blueprint: &Blueprint<'_>) -> Service {
    for_clients(blueprint, blueprint.names().read_service(), ROLE_REPLICA)
}

fn for_clients(blueprint: &Blueprint<'_>, name: String, role: &str) -> Service {
    let template = blueprint.spec.service.clone().unwrap_or_default();
    let mut metadata = meta::metadata(blueprint, name);
    if let Some(theirs) = &template.metadata {
        metadata.labels = Some(meta::merged(Some(&theirs.labels), meta::labels(blueprint)));
        let annotations = meta::merged(Some(&theirs.annotations), Default::default());
        metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    }
    let type_ = match template.type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(type_.into()),
            selector: Some(meta::role_labels(blueprint, role)),
            ports: Some(vec![port(pod::PORT_MYSQL, ports::MYSQL)]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn port(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port: i32::from(port),
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::String(name.into())),
        ..Default::default()
    }
}

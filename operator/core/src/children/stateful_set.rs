//! The StatefulSet.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mainstay_crd::AccessMode;
use mainstay_crd::names::{ANNOTATION_TEMPLATE_CONTENT, ANNOTATION_TEMPLATE_HASH};

use super::{Blueprint, digest, hash, meta, pod};

/// Old revisions serve nobody: pods are replaced by the operator's order, never rolled back by the StatefulSet.
const REVISIONS: i32 = 2;

/// The instances. All start at once, and only the operator replaces one.
pub(crate) fn stateful_set(blueprint: &Blueprint<'_>) -> StatefulSet {
    let name = blueprint.names().base();
    let template = pod::template(blueprint);
    // Written together with the template, so that they say of which one the API server holds.
    let annotations = BTreeMap::from([
        (ANNOTATION_TEMPLATE_HASH.to_owned(), hash::template_hash(blueprint)),
        (ANNOTATION_TEMPLATE_CONTENT.to_owned(), digest::content(&template)),
    ]);
    let metadata = meta::metadata(blueprint, name.clone());
    StatefulSet {
        metadata: ObjectMeta { annotations: Some(annotations), ..metadata },
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::try_from(blueprint.replicas).unwrap_or(i32::MAX)),
            service_name: Some(name),
            selector: meta::selector(blueprint),
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                ..Default::default()
            }),
            // The operator alone deletes claims: only it knows who else holds the data (invariant I5).
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".into()),
                when_scaled: Some("Retain".into()),
            }),
            revision_history_limit: Some(REVISIONS),
            template,
            volume_claim_templates: Some(vec![claim(blueprint)]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// `set` with another template, which has `hash`.
pub fn set_template(mut set: StatefulSet, hash: &str, template: PodTemplateSpec) -> StatefulSet {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_TEMPLATE_HASH.to_owned(), hash.to_owned());
    annotations.insert(ANNOTATION_TEMPLATE_CONTENT.to_owned(), digest::content(&template));
    if let Some(spec) = &mut set.spec {
        spec.template = template;
    }
    set
}

/// The claim template. It can't be changed once the StatefulSet exists, so it carries no more labels than are
/// needed to find claims; the label with the cluster's id says that a directory was complete, and comes later.
fn claim(blueprint: &Blueprint<'_>) -> PersistentVolumeClaim {
    let storage = &blueprint.spec.storage;
    let modes = storage.access_modes.iter().map(|mode| match mode {
        AccessMode::ReadWriteOnce => "ReadWriteOnce",
        AccessMode::ReadWriteOncePod => "ReadWriteOncePod",
        AccessMode::ReadWriteMany => "ReadWriteMany",
    });
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(meta::CLAIM.into()),
            labels: Some(meta::selector_labels(blueprint)),
            ..Default::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(modes.map(String::from).collect()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".into(), storage.size.clone())])),
                ..Default::default()
            }),
            selector: storage.selector.clone(),
            storage_class_name: storage.class.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

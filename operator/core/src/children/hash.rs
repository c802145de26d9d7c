//! What a pod must be replaced for, and the ids that are made from a cluster's.

use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements};
use mainstay_crd::{ImagePullPolicy, Metadata, PodSecurity, Scheduling};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Blueprint, config};

/// Everything that the spec says about a pod, and nothing that a release of the operator decides.
///
/// The hash is made from this, not from the template: a newer operator may lay out pods differently, or use
/// another agent, and restarts none for it (invariant I12). A pod takes that up when it is replaced for something
/// else. Fields in this order, with this form, are the hash: a change here restarts every pod there is.
#[derive(Serialize)]
struct Inputs<'a> {
    cluster_id: &'a str,
    image: &'a str,
    image_pull_policy: Option<ImagePullPolicy>,
    image_pull_secrets: &'a [LocalObjectReference],
    resources: Option<&'a ResourceRequirements>,
    config: [std::collections::BTreeMap<String, String>; 3],
    scheduling: Scheduling,
    pod_metadata: Metadata,
    pod_security: PodSecurity,
    // Left out where there is none: the hashes of clusters without it stay what they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_tool_image: Option<String>,
}

/// Hash of all that needs a new pod when it changes: 16 hexadecimal digits.
///
/// A pod whose annotation `names::ANNOTATION_TEMPLATE_HASH` differs is to be replaced.
pub fn template_hash(blueprint: &Blueprint<'_>) -> String {
    let spec = blueprint.spec;
    let inputs = Inputs {
        cluster_id: blueprint.cluster_id,
        image: &spec.image,
        image_pull_policy: spec.image_pull_policy,
        image_pull_secrets: &spec.image_pull_secrets,
        resources: spec.resources.as_ref(),
        config: config::effective(&spec.config.clone().unwrap_or_default()),
        scheduling: spec.scheduling.clone().unwrap_or_default(),
        pod_metadata: spec.pod_metadata.clone().unwrap_or_default(),
        pod_security: spec.pod_security.clone().unwrap_or_default(),
        copy_tool_image: spec.copy_tool_image(),
    };
    // Maps with text as keys, and no floats: there is nothing that JSON can't say. The order is that of the
    // fields, whichever features serde_json was built with.
    let text = serde_json::to_string(&inputs).unwrap_or_else(|error| error.to_string());
    Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Base of a cluster's server ids: an instance's is this plus its ordinal.
///
/// Server ids are 1 to 4294967295 (MySQL manual, `server_id`). Each cluster has one of 2^28 ranges of 16, chosen by
/// its id, so that two clusters of which one replicates from the other rarely share an id. It must never change for
/// a cluster: replicas skip events that carry their own id.
pub fn server_id_base(cluster_id: &str) -> u32 {
    let digest = Sha256::digest(cluster_id.as_bytes());
    first_of_range(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

/// The first id of the range that a hash falls into; never 0.
fn first_of_range(hash: u32) -> u32 {
    (hash & !0xf) | 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mainstay_crd::names::MAX_REPLICAS;

    use super::*;

    #[test]
    fn server_ids_are_valid_and_clusters_rarely_share_one() {
        let mut ids = BTreeSet::new();
        for cluster in 0..1000u32 {
            let base = server_id_base(&format!("6f1c2a9e-{cluster:04}-4c55-9d3e-0b7f0c1d2e3f"));
            for ordinal in 0..MAX_REPLICAS {
                let id = base.checked_add(ordinal).unwrap();
                assert!(id >= 1);
                assert!(ids.insert(id), "{id} of cluster {cluster} is taken");
            }
        }
        for hash in [0, u32::MAX] {
            let base = first_of_range(hash);
            assert!(base >= 1 && base.checked_add(MAX_REPLICAS).is_some(), "{base}");
        }
    }

    #[test]
    fn server_ids_are_the_same_in_every_release() {
        assert_eq!(server_id_base("6f1c2a9e-7b1d-4c55-9d3e-0b7f0c1d2e3f"), 2_990_429_105);
    }
}

//! Whom the Secrets belong to: the object and every claim. Kubernetes removes them once all of these are gone, so
//! that whoever keeps a claim keeps the passwords and keys to its data too.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use mainstay_core::Observation;
use mainstay_crd::names::GROUP;

const CLAIM: &str = "PersistentVolumeClaim";
const CLUSTER: &str = "MySQLCluster";

/// The object and every claim that there is.
pub(super) fn of(observation: &Observation) -> Vec<OwnerReference> {
    let cluster = &observation.cluster;
    let object = reference(&format!("{GROUP}/v1alpha1"), CLUSTER, &cluster.name, &cluster.uid);
    let claims = observation.instances.values().filter_map(|instance| instance.claim.as_ref());
    let claims = claims.chain(observation.aside.values());
    let claims = claims.map(|claim| reference("v1", CLAIM, &claim.name, &claim.uid));
    std::iter::once(object).chain(claims).collect()
}

/// `wanted`, and of `present` those that are not ours to remove.
pub(super) fn merged(present: &[OwnerReference], wanted: &[OwnerReference]) -> Vec<OwnerReference> {
    let ours = |owner: &OwnerReference| {
        owner.kind == CLAIM || (owner.kind == CLUSTER && owner.api_version.starts_with(GROUP))
    };
    let others = present.iter().filter(|owner| !ours(owner));
    wanted.iter().chain(others).cloned().collect()
}

fn reference(api_version: &str, kind: &str, name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: api_version.into(),
        kind: kind.into(),
        name: name.into(),
        uid: uid.into(),
        controller: None,
        block_owner_deletion: Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::observation;
    use mainstay_core::{Claim, Instance};

    #[test]
    fn the_object_and_every_claim_own_the_secrets() {
        let mut observation = observation();
        let claim = Claim { name: "data-shop-4".into(), uid: "c4".into(), ..Claim::default() };
        observation.instances.insert(4, Instance { claim: Some(claim), ..Instance::default() });
        let aside = Claim { name: "data-shop-1-aside-0".into(), uid: "a1".into(), ..Claim::default() };
        observation.aside.insert(aside.name.clone(), aside);
        let owners = of(&observation);
        let uids: Vec<&str> = owners.iter().map(|owner| owner.uid.as_str()).collect();
        assert_eq!(uids, ["u", "c4", "a1"]);
        let backup = reference("backup.example/v1", "Vault", "v", "x");
        let gone = reference("v1", CLAIM, "data-shop-5", "c5");
        let merged = merged(&[gone, backup.clone()], &owners);
        assert_eq!(merged, [owners, vec![backup]].concat());
    }
}

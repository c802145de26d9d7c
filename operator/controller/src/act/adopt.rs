//! Claims that people made under an instance's name, to have it use a certain volume.
//!
//! They lack the label by which the operator sees claims, so that they are asked for by name where a pod has a claim
//! that was not seen: once they have the label, the watch brings them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mainstay_core::{Observation, claims_to_adopt};
use mainstay_crd::names::{LABEL_CLUSTER, MANAGER_CLUSTER, Names};
use serde_json::json;
use tracing::{debug, info};

use crate::api::is_gone;
use crate::context::Context;
use crate::telemetry::Metrics;

/// How long the watch is given to bring a claim that a StatefulSet made with its pod; then, and after as long again, it
/// is asked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Since when a pod, by its UID, is seen without its claim, or when that was last asked for.
#[derive(Debug, Default)]
pub(crate) struct Missed(HashMap<String, Instant>);

impl Missed {
    /// The ordinals whose claims are to be asked for.
    fn due(&mut self, observation: &Observation, now: Instant) -> Vec<u32> {
        let missing: HashMap<&str, u32> = claims_to_adopt(observation).collect();
        self.0.retain(|uid, _| missing.contains_key(uid.as_str()));
        let mut due = Vec::new();
        for (uid, ordinal) in missing {
            let since = self.0.entry(uid.to_owned()).or_insert(now);
            if now.duration_since(*since) >= PATIENCE {
                *since = now;
                due.push(ordinal);
            }
        }
        due
    }
}

/// Labels the claims that pods use and that were not seen. One that does not exist, or can't be labelled, is asked for
/// again later: nothing waits for it.
pub(super) async fn adopt(context: &Context, names: &Names, observation: &Observation, missed: &mut Missed) {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &names.namespace);
    for ordinal in missed.due(observation, Instant::now()) {
        let claim = names.claim(ordinal);
        let params = PatchParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PatchParams::default() };
        let label = Patch::Merge(json!({"metadata": {"labels": {LABEL_CLUSTER: names.cluster}}}));
        match claims.patch_metadata(&claim, &params, &label).await {
            Ok(_) => {
                Metrics::count(&context.metrics.writes, "PersistentVolumeClaim");
                info!(namespace = names.namespace, claim, "labelled: it was not made by the StatefulSet");
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => debug!(namespace = names.namespace, claim, %error, "not labelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    const CLAIM: &str = "/api/v1/namespaces/db/persistentvolumeclaims/data-shop-0";

    /// Its pod is there, and no claim was seen.
    fn observation() -> Observation {
        let mut observation = crate::act::tests::observation();
        let instance = json!({"pod": {"uid": "u"}, "agent": {"type": "unheard"}});
        observation.instances.insert(0, serde_json::from_value(instance).unwrap());
        observation
    }

    #[tokio::test]
    async fn a_claim_that_a_person_made_is_labelled_once_the_watch_has_not_brought_it() {
        let (rig, names) = (Rig::new(), Names::new("db", "shop"));
        let bare = json!({"name": "data-shop-0", "namespace": "db", "uid": "c"});
        rig.api.put(CLAIM, json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": bare}));
        let (observation, mut missed) = (observation(), Missed::default());
        let label = || rig.api.get(CLAIM).unwrap()["metadata"]["labels"][LABEL_CLUSTER].clone();
        adopt(&rig.context, &names, &observation, &mut missed).await;
        assert_eq!(label(), json!(null), "the watch may bring it yet");
        missed.0.values_mut().for_each(|since| *since = since.checked_sub(PATIENCE).unwrap());
        adopt(&rig.context, &names, &observation, &mut missed).await;
        assert_eq!(label(), json!("shop"));
    }

    #[test]
    fn a_claim_that_does_not_exist_is_asked_for_now_and_then() {
        let (mut observation, mut missed, start) = (observation(), Missed::default(), Instant::now());
        let due = |missed: &mut Missed, o: &Observation, after: Duration| missed.due(o, start + after);
        assert!(due(&mut missed, &observation, Duration::ZERO).is_empty());
        assert_eq!(due(&mut missed, &observation, PATIENCE), [0]);
        assert!(due(&mut missed, &observation, PATIENCE + Duration::from_secs(1)).is_empty());
        assert_eq!(due(&mut missed, &observation, PATIENCE * 2), [0]);
        observation.instances.clear();
        assert!(due(&mut missed, &observation, PATIENCE * 3).is_empty());
        assert!(missed.0.is_empty(), "a pod that is gone is forgotten");
    }
}

//! Whether the API server takes a template, asked by a dry run before anything is changed: of the StatefulSet, and of a pod
//! made from its template, which admission, quota and Pod Security judge too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, Volume};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mainstay_core::Observation;
use mainstay_crd::names::{ANNOTATION_TEMPLATE_CONTENT, MANAGER_CLUSTER, Names};
use mainstay_crd::quantity::nanos;
use tracing::debug;

use super::child_error::ChildError;
use crate::api::{is_final, said};
use crate::context::Context;
use crate::watch::Meta;

/// How long a refusal is good for: what refused it may have been changed meanwhile.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The last template that was tried.
#[derive(Debug, Default)]
pub(crate) struct Trials(Option<Trial>);

#[derive(Debug)]
struct Trial {
    content: String,
    /// What was refused, and the words.
    refused: Option<(&'static str, String)>,
    at: Instant,
}

impl Trials {
    /// Asks once for each template, and not for the one that the API server holds.
    ///
    /// # Errors
    /// If it is refused, or can't be asked.
    pub(super) async fn accepts(
        &mut self,
        context: &Context,
        observation: &Observation,
        wanted: &StatefulSet,
        held: Option<&Meta<StatefulSet>>,
    ) -> Result<(), ChildError> {
        let content = wanted.annotations().get(ANNOTATION_TEMPLATE_CONTENT).cloned().unwrap_or_default();
        if held.is_some_and(|held| held.annotations().get(ANNOTATION_TEMPLATE_CONTENT) == Some(&content)) {
            return Ok(());
        }
        let now = Instant::now();
        let known = self.0.as_ref().filter(|known| known.content == content);
        let known =
            known.filter(|known| known.refused.is_none() || now.duration_since(known.at) < REFUSED_FOR);
        if known.is_none() {
            let refused = try_out(context, observation, wanted).await?;
            self.0 = Some(Trial { content, refused, at: now });
        }
        match self.0.as_ref().and_then(|trial| trial.refused.clone()) {
            Some((kind, words)) => Err(ChildError::Refused { kind, words }),
            None => Ok(()),
        }
    }
}

/// What is refused, with the words.
async fn try_out(
    context: &Context,
    observation: &Observation,
    wanted: &StatefulSet,
) -> Result<Option<(&'static str, String)>, ChildError> {
    let namespace = &observation.cluster.namespace;
    let sets: Api<StatefulSet> = Api::namespaced(context.client.clone(), namespace);
    let params = PatchParams { dry_run: true, ..PatchParams::apply(MANAGER_CLUSTER).force() };
    let name = wanted.name_any();
    let set = sets.patch_metadata(&name, &params, &Patch::Apply(wanted)).await.map(|_| ());
    if let Some(words) = verdict("StatefulSet", &name, set, of_set)? {
        return Ok(Some(("StatefulSet", words)));
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let params = PostParams { dry_run: true, field_manager: Some(MANAGER_CLUSTER.into()) };
    let pod = pods
        .create(&params, &pod(wanted, &Names::new(namespace, &observation.cluster.name)))
        .await
        .map(|_| ());
    let some = observation.instances.values().any(|instance| instance.pod.is_some());
    let words = verdict("Pod", &name, pod, |words| of_pod(words, some))?;
    Ok(words.map(|words| ("Pod", words)))
}

/// The words of a refusal that counts.
fn verdict(
    kind: &'static str,
    name: &str,
    outcome: kube::Result<()>,
    counts: impl Fn(&str) -> bool,
) -> Result<Option<String>, ChildError> {
    match outcome {
        Ok(()) => Ok(None),
        Err(error) if is_final(&error) => {
            let words = said(&error);
            debug!(kind, name, words, "refused in a dry run");
            Ok(Some(words).filter(|words| counts(words)))
        }
        Err(source) => Err(ChildError::Api { kind, name: name.to_owned(), source }),
    }
}

/// That claims of another size can't be had in place is seen to when it is applied.
fn of_set(words: &str) -> bool {
    !words.contains("updates to statefulset spec")
}

/// An operator that may not make pods can't try one, and an account that was made a moment ago may not be known yet. While
/// there are pods (`some`), one makes room for the next, so that only a quota that has no room for even one counts.
fn of_pod(words: &str, some: bool) -> bool {
    let untold =
        words.contains("cannot create resource") || words.contains("error looking up service account");
    let full = words.contains("exceeded quota") && some && !is_beyond(words);
    !untold && !full
}

/// Whether a quota's words say that one pod alone asks for more than all may have: `requested: limits.memory=2Gi, used:
/// limits.memory=1Gi, limited: limits.memory=1536Mi`. Source: `pkg/quota/v1` and `plugin/pkg/admission/resourcequota`.
fn is_beyond(words: &str) -> bool {
    let list = |name: &str| -> BTreeMap<&str, i128> {
        let rest = words.split_once(name).map(|(_, rest)| rest).unwrap_or_default();
        let end = [", used: ", ", limited: "].iter().filter_map(|next| rest.find(next)).min();
        let amounts = rest[..end.unwrap_or(rest.len())].split(',');
        let pairs = amounts.filter_map(|amount| amount.trim().split_once('='));
        pairs.filter_map(|(key, value)| Some((key, nanos(&Quantity(value.into()))?))).collect()
    };
    let (requested, limited) = (list("requested: "), list("limited: "));
    requested.iter().any(|(key, amount)| limited.get(key).is_some_and(|limit| amount > limit))
}

/// A pod as the StatefulSet would make it, of a name of its own. It is never made.
fn pod(set: &StatefulSet, names: &Names) -> Pod {
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut spec = template.spec;
    if let Some(spec) = &mut spec {
        let claims = set.spec.as_ref().and_then(|set| set.volume_claim_templates.as_ref());
        let claims = claims.into_iter().flatten().map(|claim| Volume {
            name: claim.name_any(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: names.claim(0),
                ..Default::default()
            }),
            ..Default::default()
        });
        spec.volumes.get_or_insert_default().extend(claims);
    }
    let metadata = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            name: None,
            generate_name: Some(format!("{}-dry-run-", names.cluster)),
            namespace: Some(names.namespace.clone()),
            ..metadata
        },
        spec,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_counts_only_if_no_pod_that_goes_makes_room() {
        let words = |requested: &str| {
            format!(
                "pods \"shop-dry-run-x\" is forbidden: exceeded quota: q, requested: limits.memory={requested},pods=1, \
                 used: limits.memory=1536Mi,pods=3, limited: limits.memory=1536Mi,pods=3"
            )
        };
        assert!(!of_pod(&words("512Mi"), true));
        assert!(of_pod(&words("2Gi"), true));
        assert!(of_pod(&words("512Mi"), false), "there is none that could make room");
        assert!(of_pod("pods is forbidden: failed quota: q: must specify limits.cpu for: mysql", true));
        assert!(of_pod("pods is forbidden: violates PodSecurity \"restricted:latest\"", true));
        let rights = "pods is forbidden: User \"x\" cannot create resource \"pods\" in API group \"\"";
        assert!(!of_pod(rights, false), "that is no fault of the spec");
    }
}

//! What the API server refuses to change of a StatefulSet.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt};
use mainstay_core::StatefulSetSeen;
use mainstay_core::children::FixedFields;
use mainstay_crd::names::Names;

use super::outcome::{Outcome, StepError};
use crate::api::is_gone;
use crate::context::Context;

/// The StatefulSet that it refused to change last, and what of it that was. It lasts: what can't be changed does not change.
#[derive(Debug, Default)]
pub(crate) struct RefusedChange(Option<(String, FixedFields)>);

impl RefusedChange {
    /// Notes the StatefulSet that is there.
    pub(super) fn note(&mut self, live: Option<&StatefulSet>) {
        self.0 = live.and_then(|live| Some((live.uid()?, FixedFields::of(live)?)));
    }

    /// Whether the StatefulSet with this UID can only be had as `wanted` by replacing it.
    pub(super) fn is_to_be_replaced(&self, uid: Option<&str>, wanted: &StatefulSet) -> bool {
        let Some((_, held)) = self.0.as_ref().filter(|(of, _)| Some(of.as_str()) == uid) else {
            return false;
        };
        FixedFields::of(wanted).is_some_and(|wanted| held.differs_in_claims_only(&wanted))
    }

    /// What is known of `set`.
    fn of(&self, set: &StatefulSetSeen) -> Option<&FixedFields> {
        self.0.as_ref().filter(|(uid, _)| *uid == set.uid).map(|(_, held)| held)
    }

    /// Adds it to what was seen.
    pub(crate) fn tell(&self, seen: &mut Option<StatefulSetSeen>) {
        if let Some(set) = seen {
            set.refused = self.of(set).cloned();
        }
    }

    /// `seen` does not have what is known by now.
    pub(crate) fn is_news_to(&self, seen: Option<&StatefulSetSeen>) -> bool {
        seen.is_some_and(|set| set.refused.as_ref() != self.of(set))
    }
}

/// Deletes a StatefulSet and leaves its pods. Its end calls for the next look, which makes another.
pub(super) async fn replace_stateful_set(
    context: &Context,
    names: &Names,
    name: &str,
    uid: &str,
) -> Result<Outcome, StepError> {
    let api: Api<StatefulSet> = Api::namespaced(context.client.clone(), &names.namespace);
    let params =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    let params = params.preconditions(Preconditions { uid: Some(uid.into()), resource_version: None });
    match api.delete(name, &params).await {
        Ok(_) => Ok(Outcome::Told),
        Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
        Err(error) => Err(StepError::StatefulSet(name.into(), error)),
    }
}

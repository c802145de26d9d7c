//! The template that was proven last, from the StatefulSet's own history: a ControllerRevision holds each one that a pod
//! was made from.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::Api;
use kube::api::ListParams;
use mainstay_core::Hold;
use mainstay_core::children::set_template;
use mainstay_crd::names::{ANNOTATION_TEMPLATE_HASH, LABEL_CLUSTER, Names};
use serde::Deserialize;
use tracing::warn;

use crate::context::Context;

/// The template that was read last, by its hash. Kept only while it is held.
#[derive(Debug, Default)]
pub(crate) struct LastTemplate(Option<(String, PodTemplateSpec)>);

/// `data` of a StatefulSet's revision. Source: `getPatch` in `pkg/controller/statefulset`.
#[derive(Deserialize)]
struct Data {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    template: PodTemplateSpec,
}

impl LastTemplate {
    /// `wanted` with the template that it is to hold. `None`: the history does not have that.
    pub(super) async fn put_back(
        &mut self,
        context: &Context,
        names: &Names,
        wanted: StatefulSet,
        hold: &Hold,
    ) -> Result<Option<StatefulSet>, kube::Error> {
        let Hold::Proven(hash) = hold else {
            self.0 = None;
            return Ok(Some(wanted));
        };
        if self.0.as_ref().is_none_or(|(known, _)| known != hash) {
            self.0 = read(context, names, hash).await?.map(|template| (hash.clone(), template));
        }
        let Some((_, template)) = &self.0 else {
            warn!(
                cluster = names.cluster,
                hash, "the history of the StatefulSet has not the template that it is to hold"
            );
            return Ok(None);
        };
        Ok(Some(set_template(wanted, hash, template.clone())))
    }
}

/// All templates in the history, each with the number of its revision.
pub(super) async fn all(
    context: &Context,
    names: &Names,
) -> Result<Vec<(i64, PodTemplateSpec)>, kube::Error> {
    let api: Api<ControllerRevision> = Api::namespaced(context.client.clone(), &names.namespace);
    let of_cluster = ListParams::default().labels(&format!("{LABEL_CLUSTER}={}", names.cluster));
    let revisions = api.list(&of_cluster).await?.items.into_iter();
    Ok(revisions.filter_map(|revision| Some((revision.revision, template(revision)?))).collect())
}

async fn read(context: &Context, names: &Names, hash: &str) -> Result<Option<PodTemplateSpec>, kube::Error> {
    let mut found = all(context, names).await?;
    found.retain(|(_, template)| {
        let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
        annotations.and_then(|all| all.get(ANNOTATION_TEMPLATE_HASH)).is_some_and(|of| of == hash)
    });
    Ok(found.into_iter().max_by_key(|(revision, _)| *revision).map(|(_, template)| template))
}

fn template(revision: ControllerRevision) -> Option<PodTemplateSpec> {
    let data: Data = serde_json::from_value(revision.data?.0).ok()?;
    Some(data.spec.template)
}

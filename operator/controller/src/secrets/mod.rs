//! The cluster's Secrets: made once, kept as long as any claim is, looked into only when they changed.

mod certificates;
mod contents;
mod owners;

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mainstay_core::{Observation, UnfitPassword, unfit_passwords};
use mainstay_crd::SecretsStatus;
use mainstay_crd::names::{LABEL_CLUSTER, LABEL_CLUSTER_ID, MANAGER_CLUSTER, Names};
use serde_json::json;
use tracing::info;

use crate::api::{Applied, By, Version, digest, is_conflict, is_final};
use crate::context::Scope;
use crate::telemetry::Metrics;
use crate::watch::find;
use certificates::CertificateError;
use contents::{Content, Finding};

const KIND: &str = "Secret";
/// Of the authority's certificate, where clients find it. Before its name it tells it from the Secret of that name.
const MAP: &str = "ConfigMap";

/// Why a Secret is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The API server refused or did not answer.
    #[error("Secret {0}: {1}")]
    Api(String, kube::Error),
    /// It is not this cluster's.
    #[error(
        "Secret {name} exists, but is not of the cluster {cluster_id}: rename or delete it if nobody needs it, or, if it \
         is to be used: kubectl label --overwrite -n {namespace} secret {name} {LABEL_CLUSTER}={cluster} \
         {LABEL_CLUSTER_ID}={cluster_id}"
    )]
    Foreign {
        /// The Secret.
        name: String,
        /// Where it is.
        namespace: String,
        /// The cluster's name.
        cluster: String,
        /// The cluster's id.
        cluster_id: String,
    },
    /// Its contents can't be used, and are not replaced, because others may rely on them.
    #[error("Secret {0} can't be used: {1}. Restore it, or delete it to have it made anew")]
    Unusable(String, CertificateError),
    /// A key or certificate was not made.
    #[error("making Secret {0}: {1}")]
    Make(String, CertificateError),
    /// It can't be written as JSON.
    #[error("Secret {0}: {1}")]
    Json(String, serde_json::Error),
}

impl SecretError {
    /// A bounded name, for metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            SecretError::Api(..) => "Secret",
            SecretError::Foreign { .. } => "SecretForeign",
            SecretError::Unusable(..) => "SecretUnusable",
            SecretError::Make(..) | SecretError::Json(..) => "SecretMake",
        }
    }
    /// Whether a person must change something before it can work.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            SecretError::Api(_, error) => is_final(error),
            SecretError::Foreign { .. } | SecretError::Unusable(..) => true,
            SecretError::Make(..) | SecretError::Json(..) => false,
        }
    }
}

/// Which Secrets were looked into, and until when that holds.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    marks: Applied,
    renew_at: Option<Timestamp>,
    /// What the operator before this one told was taken over.
    learnt: bool,
    /// Passwords that no instance can take up.
    unfit: Vec<UnfitPassword>,
}

/// The authority's certificate, where clients may not find it yet.
pub(crate) struct Unpublished {
    /// PEM.
    pub(crate) certificate: String,
    /// A digest of what it is.
    wanted: u64,
}

impl Checked {
    /// Takes over, once, what the status says of what another operator has looked into.
    fn learn(&mut self, told: Option<&SecretsStatus>) {
        if std::mem::replace(&mut self.learnt, true) {
            return;
        }
        let Some(told) = told else { return };
        self.renew_at = told.renew_at.as_ref().map(|at| at.0);
        for (name, seen) in &told.seen {
            let map = name.strip_prefix(MAP).and_then(|name| name.strip_prefix(' '));
            let (kind, name) = map.map_or((KIND, name.as_str()), |name| (MAP, name));
            self.marks.learn(kind, name, seen, Instant::now());
        }
    }

    /// Passwords in the Secret that no instance can take up, when it was last looked into.
    pub(crate) fn unfit(&self) -> &[UnfitPassword] {
        &self.unfit
    }

    /// Clients find the authority's certificate in the ConfigMap of this state.
    pub(crate) fn published(&mut self, names: &Names, what: &Unpublished, applied: &Applied) {
        let name = names.ca_config_map();
        if let Some(version) = applied.version(MAP, &name) {
            self.marks.note(MAP, &name, what.wanted, version, Instant::now());
        }
    }

    /// What the status is to say of it; none if nothing was looked into.
    pub(crate) fn told(&self, names: &Names) -> Option<SecretsStatus> {
        let map = names.ca_config_map();
        let names =
            [names.credentials_secret(), names.ca_secret(), names.tls_secret(), names.operator_tls_secret()];
        // What is wrong with a Secret is told by nothing else, so that the next operator looks into it too.
        let well = names.into_iter().filter(|name| self.unfit.is_empty() || !name.ends_with("-credentials"));
        let secrets = well.filter_map(|name| Some((self.marks.told(KIND, &name)?, name)));
        let map = self.marks.told(MAP, &map).map(|told| (told, format!("{MAP} {map}")));
        let seen: BTreeMap<String, String> = secrets.chain(map).map(|(told, name)| (name, told)).collect();
        (!seen.is_empty()).then(|| SecretsStatus { renew_at: self.renew_at.map(Time), seen })
    }
}

/// Sees to all Secrets of the cluster. Returns the authority's certificate if clients may not find it yet.
///
/// # Errors
/// The first; those that come after it hang on it.
pub(crate) async fn ensure(
    scope: &Scope,
    observation: &Observation,
    cluster_id: &str,
    checked: &mut Checked,
) -> Result<Option<Unpublished>, SecretError> {
    let cluster = &observation.cluster;
    let names = Names::new(&cluster.namespace, &cluster.name);
    let owners = owners::of(observation);
    checked.learn(cluster.status.secrets.as_ref());
    if checked.renew_at.is_some_and(|at| observation.now >= at) {
        *checked = Checked { learnt: true, unfit: std::mem::take(&mut checked.unfit), ..Checked::default() };
    }
    let api = Api::namespaced(scope.context.client.clone(), &names.namespace);
    let mut keeper =
        SecretKeeper { scope, names: &names, cluster_id, owners, api, now: observation.now, checked };
    keeper.see_to(&names.credentials_secret(), &Content::Credentials, "").await?;
    keeper.see_to(&names.ca_secret(), &Content::Authority, "").await?;
    let authority = keeper.authority_version();
    let instances = Content::Certificate { names: certificates::instance_names(&names) };
    keeper.see_to(&names.tls_secret(), &instances, &authority).await?;
    let operator = Content::Certificate { names: certificates::operator_names() };
    keeper.see_to(&names.operator_tls_secret(), &operator, &authority).await?;
    keeper.unpublished(&cluster.uid).await
}

struct SecretKeeper<'a> {
    scope: &'a Scope,
    names: &'a Names,
    cluster_id: &'a str,
    owners: Vec<OwnerReference>,
    api: Api<Secret>,
    now: Timestamp,
    checked: &'a mut Checked,
}

impl SecretKeeper<'_> {
    /// What certificates hang on: they are looked at again when the authority's Secret has changed.
    fn authority_version(&self) -> String {
        self.checked.marks.uid(KIND, &self.names.ca_secret()).unwrap_or_default()
    }

    async fn see_to(&mut self, name: &str, content: &Content, hangs_on: &str) -> Result<(), SecretError> {
        let owners: Vec<&str> = self.owners.iter().map(|owner| owner.uid.as_str()).collect();
        let wanted = digest(&(self.cluster_id, owners, content.names(), hangs_on))
            .map_err(|error| SecretError::Json(name.into(), error))?;
        let live = find(&self.scope.stores.secrets, &self.names.namespace, name)
            .map(|live| Version::of(&live.metadata, By::ResourceVersion));
        if self.checked.marks.is_current(KIND, name, wanted, live, Instant::now()) {
            return Ok(());
        }
        let secret = match self.read(name).await? {
            Some(secret) => self.correct(name, content, secret).await?,
            None => self.create(name, content).await?,
        };
        let version = Version::of(&secret.metadata, By::ResourceVersion);
        self.checked.marks.note(KIND, name, wanted, version, Instant::now());
        if let Content::Credentials = content {
            let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.as_slice()));
            self.checked.unfit = unfit_passwords(&data.collect());
        }
        Ok(())
    }

    /// The authority's certificate, unless the ConfigMap in which clients find it is as it was left, of the same Secret.
    async fn unpublished(&mut self, owner: &str) -> Result<Option<Unpublished>, SecretError> {
        let (secret, name) = (self.names.ca_secret(), self.names.ca_config_map());
        let wanted = digest(&(owner, self.cluster_id, self.checked.marks.told(KIND, &secret)))
            .map_err(|error| SecretError::Json(secret.clone(), error))?;
        let live = find(&self.scope.stores.config_maps, &self.names.namespace, &name)
            .map(|live| Version::of(&live.metadata, By::ResourceVersion));
        if self.checked.marks.is_current(MAP, &name, wanted, live, Instant::now()) {
            return Ok(None);
        }
        let data = self.read(&secret).await?.and_then(|secret| secret.data).unwrap_or_default();
        let certificate = contents::certificate_in(&data);
        Ok(certificate.map(|certificate| Unpublished { certificate, wanted }))
    }

    async fn read(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        self.api.get_opt(name).await.map_err(|error| SecretError::Api(name.into(), error))
    }

    async fn create(&mut self, name: &str, content: &Content) -> Result<Secret, SecretError> {
        let authority = self.authority(content).await?;
        let finding = content.look(&Default::default(), authority.as_ref(), &self.names.cluster, self.now);
        let data = self.settle(name, finding)?.unwrap_or_default();
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some(self.names.namespace.clone()),
                labels: Some(
                    [
                        (LABEL_CLUSTER, self.names.cluster.as_str()),
                        (LABEL_CLUSTER_ID, self.cluster_id),
                        ("app.kubernetes.io/managed-by", "mainstay"),
                    ]
                    .map(|(key, value)| (key.into(), value.into()))
                    .into(),
                ),
                owner_references: Some(self.owners.clone()),
                ..ObjectMeta::default()
            },
            type_: Some(content.type_().into()),
            data: Some(data),
            ..Secret::default()
        };
        // Created, not applied: of two operators the second fails here, instead of replacing keys in use.
        let params = PostParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PostParams::default() };
        let created = self.api.create(&params, &secret).await;
        let created = created.map_err(|error| SecretError::Api(name.into(), error))?;
        self.wrote(name, "made");
        Ok(created)
    }

    /// Adds what lacks and renews what ends; whatever is of use stays.
    async fn correct(
        &mut self,
        name: &str,
        content: &Content,
        secret: Secret,
    ) -> Result<Secret, SecretError> {
        if secret.labels().get(LABEL_CLUSTER_ID).map(String::as_str) != Some(self.cluster_id) {
            let (name, cluster_id) = (name.into(), self.cluster_id.into());
            let (namespace, cluster) = (self.names.namespace.clone(), self.names.cluster.clone());
            return Err(SecretError::Foreign { name, namespace, cluster, cluster_id });
        }
        let authority = self.authority(content).await?;
        let present = secret.data.clone().unwrap_or_default();
        let finding = content.look(&present, authority.as_ref(), &self.names.cluster, self.now);
        let data = self.settle(name, finding)?;
        let owners = owners::merged(secret.owner_references(), &self.owners);
        let labelled = secret.labels().get(LABEL_CLUSTER) == Some(&self.names.cluster);
        if data.is_none() && owners == secret.owner_references() && labelled {
            return Ok(secret);
        }
        let patch = json!({
            "metadata": {
                "uid": secret.metadata.uid,
                "resourceVersion": secret.metadata.resource_version,
                "labels": {LABEL_CLUSTER: self.names.cluster},
                "ownerReferences": owners,
            },
            "data": data.unwrap_or_default(),
        });
        let params = PatchParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PatchParams::default() };
        match self.api.patch(name, &params, &Patch::Merge(patch)).await {
            Ok(written) => {
                self.wrote(name, "corrected");
                Ok(written)
            }
            // Looked into again with the next change that the watch brings.
            Err(error) if is_conflict(&error) => Ok(secret),
            Err(error) => Err(SecretError::Api(name.into(), error)),
        }
    }

    fn settle(
        &mut self,
        name: &str,
        finding: Result<Finding, CertificateError>,
    ) -> Result<Option<contents::Data>, SecretError> {
        let finding = finding.map_err(|error| SecretError::Unusable(name.into(), error))?;
        let (data, renew_at) = match finding {
            Finding::Good { renew_at } => (None, renew_at),
            Finding::Make(make) => {
                let (data, renew_at) = make().map_err(|error| SecretError::Make(name.into(), error))?;
                (Some(data), renew_at)
            }
        };
        self.checked.renew_at = [self.checked.renew_at, renew_at].into_iter().flatten().min();
        Ok(data)
    }

    /// The authority's contents, if `content` needs it.
    async fn authority(&self, content: &Content) -> Result<Option<contents::Data>, SecretError> {
        match content {
            Content::Certificate { .. } => {
                Ok(Some(self.read(&self.names.ca_secret()).await?.and_then(|s| s.data).unwrap_or_default()))
            }
            Content::Credentials | Content::Authority => Ok(None),
        }
    }

    fn wrote(&self, name: &str, what: &str) {
        info!(namespace = self.names.namespace, name, "Secret {what}");
        Metrics::count(&self.scope.context.metrics.writes, KIND);
    }
}

fn bytes(text: impl Into<String>) -> ByteString {
    ByteString(text.into().into_bytes())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::certificates;
    pub(crate) use super::certificates::Pair;

    /// A new authority.
    pub(crate) fn authority() -> Pair {
        certificates::make_authority("shop", jiff::Timestamp::now()).unwrap()
    }

    /// A certificate of `authority` for `names`.
    pub(crate) fn issued(authority: &Pair, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        certificates::issue(authority, "shop", &names, jiff::Timestamp::now()).unwrap()
    }

    /// What the Secret with the instances' certificate would hold that was issued 70 days ago by the authority in `ca`.
    pub(crate) fn ending(ca: &serde_json::Value) -> serde_json::Value {
        let ca: super::contents::Data = serde_json::from_value(ca.clone()).unwrap();
        let text = |key: &str| String::from_utf8(ca[key].0.clone()).unwrap();
        let authority = Pair { certificate: text("tls.crt"), key: text("tls.key") };
        let names = certificates::instance_names(&mainstay_crd::names::Names::new("db", "shop"));
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(70 * 24);
        let pair = certificates::issue(&authority, "shop", &names, then).unwrap();
        let data = [("tls.crt", pair.certificate), ("tls.key", pair.key), ("ca.crt", authority.certificate)];
        serde_json::json!(std::collections::BTreeMap::from(data.map(|(key, text)| (key, super::bytes(text)))))
    }
}

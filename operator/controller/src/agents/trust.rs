//! The keys by which operator and agents know each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use mainstay_crd::names::{MAX_REPLICAS, Names};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use super::AgentError;
use crate::api::said;
use crate::watch::ClusterKey;

/// Secrets that are read at the same time.
const READERS: usize = 16;
/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tickets that rustls keeps of each server.
const TICKETS: usize = 8;

/// TLS settings by cluster, read from its Secret once and again when that changes.
#[derive(Clone)]
pub(crate) struct Trust(Arc<Inner>);

struct Inner {
    client: Client,
    provider: Arc<rustls::crypto::CryptoProvider>,
    reading: Semaphore,
    known: Mutex<HashMap<ClusterKey, Arc<OnceCell<Arc<Keys>>>>>,
}

/// TLS settings for one cluster's agents.
pub(crate) struct Keys {
    known: Arc<ClientConfig>,
    resuming: OnceLock<Arc<ClientConfig>>,
}

impl Keys {
    fn new(config: ClientConfig) -> Self {
        Keys { known: Arc::new(config), resuming: OnceLock::new() }
    }

    /// For streams: each is an identity that was looked at, and none is remembered.
    pub(crate) fn known(&self) -> Arc<ClientConfig> {
        self.known.clone()
    }

    /// For orders: one that was looked at goes on where it was left, by a secret that only it has, until the keys change.
    /// Only who is given orders is remembered.
    pub(crate) fn resuming(&self) -> Arc<ClientConfig> {
        let resuming = || {
            let mut config = (*self.known).clone();
            config.resumption = Resumption::in_memory_sessions(MAX_REPLICAS as usize * TICKETS);
            Arc::new(config)
        };
        self.resuming.get_or_init(resuming).clone()
    }
}

impl Trust {
    pub(crate) fn new(client: Client) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Trust(Arc::new(Inner { client, provider, reading: Semaphore::new(READERS), known: Mutex::default() }))
    }

    /// TLS settings for connections to the agents of `cluster`.
    ///
    /// # Errors
    /// [`AgentError::Trust`] if the Secret is missing or its contents can't be used.
    pub(crate) async fn keys(&self, cluster: &ClusterKey) -> Result<Arc<Keys>, AgentError> {
        let cell = self.known().entry(cluster.clone()).or_default().clone();
        cell.get_or_try_init(|| self.read(cluster)).await.cloned()
    }

    /// Has them read again: the cluster's Secrets have changed.
    pub(crate) fn forget(&self, cluster: &ClusterKey) {
        self.known().remove(cluster);
    }

    /// Takes `config` for what the Secret of `cluster` holds.
    #[cfg(test)]
    pub(super) fn know(&self, cluster: &ClusterKey, config: ClientConfig) {
        self.known().insert(cluster.clone(), Arc::new(OnceCell::new_with(Some(Arc::new(Keys::new(config))))));
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<ClusterKey, Arc<OnceCell<Arc<Keys>>>>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, cluster: &ClusterKey) -> Result<Arc<Keys>, AgentError> {
        let name = Names::new(&cluster.namespace, &cluster.name).operator_tls_secret();
        let secrets: Api<Secret> = Api::namespaced(self.0.client.clone(), &cluster.namespace);
        let no_answer = |what: &str| AgentError::Trust(format!("reading Secret {name}: {what}"));
        // After a start all clusters' keys are wanted at once.
        let _turn = self.0.reading.acquire().await.map_err(|_| no_answer("the operator is ending"))?;
        let secret = timeout(PATIENCE, secrets.get_opt(&name))
            .await
            .map_err(|_| no_answer("the API server does not answer"))?
            .map_err(|error| no_answer(&said(&error)))?
            .ok_or_else(|| AgentError::Trust(format!("there is no Secret {name}")))?;
        let data = secret.data.unwrap_or_default();
        let part = |key: &str| data.get(key).map(|bytes| bytes.0.as_slice()).unwrap_or_default();
        client_config(self.0.provider.clone(), part("ca.crt"), part("tls.crt"), part("tls.key"))
            .map(|config| Arc::new(Keys::new(config)))
            .map_err(|error| AgentError::Trust(format!("Secret {name}: {error}")))
    }
}

/// Why keys can't be used. Says nothing of their contents.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// Not PEM.
    #[error("{0} is not in the PEM format")]
    Pem(&'static str),
    /// Not accepted.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// TLS settings that trust `ca` alone and show `certificate`.
///
/// # Errors
/// If one of them can't be read or they do not belong together.
pub(crate) fn client_config(
    provider: Arc<rustls::crypto::CryptoProvider>,
    ca: &[u8],
    certificate: &[u8],
    key: &[u8],
) -> Result<ClientConfig, KeyError> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(ca) {
        roots.add(root.map_err(|_| KeyError::Pem("ca.crt"))?)?;
    }
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| KeyError::Pem("tls.crt"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| KeyError::Pem("tls.key"))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    // Each cluster's cache of sessions would cost memory.
    config.resumption = Resumption::disabled();
    Ok(config)
}

//! How the API server is asked.

use anyhow::Context as _;
use axum::http::{HeaderValue, header};
use kube::{Client, Config};

/// Who asks, in the API server's logs and metrics.
const USER_AGENT: &str = concat!("mainstay-controller/", env!("CARGO_PKG_VERSION"));

/// Where the API server is, and who asks.
///
/// # Errors
/// If neither a pod's account nor a kubeconfig says where.
pub(crate) async fn config() -> anyhow::Result<Config> {
    Ok(named(Config::infer().await.context("no way to the API server")?))
}

/// A client with connections of its own: what is asked through one waits for nothing that is asked through another.
///
/// # Errors
/// If the configuration can't be used.
pub(crate) fn client(config: &Config) -> anyhow::Result<Client> {
    Client::try_from(config.clone()).context("no way to the API server")
}

/// Every request says who it comes from.
fn named(mut config: Config) -> Config {
    config.headers.retain(|(name, _)| *name != header::USER_AGENT);
    config.headers.push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    config
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;

    use super::*;

    #[tokio::test]
    async fn every_request_says_who_it_comes_from() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        let answer = async move |headers: HeaderMap| {
            noted.lock().unwrap().extend(headers.get_all(header::USER_AGENT).iter().cloned());
            StatusCode::NOT_FOUND
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer)).await });
        let client = client(&named(Config::new(url.parse().unwrap()))).unwrap();
        let pods: Api<Pod> = Api::default_namespaced(client);
        let _ = pods.get("x").await;
        let expected = format!("mainstay-controller/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(*seen.lock().unwrap(), [expected.as_str()]);
    }
}

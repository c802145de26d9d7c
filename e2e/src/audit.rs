//! What the API server was asked, by whom: its audit log.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::Value;

use crate::cluster::script;
use crate::exec::here;
use crate::operator;

/// The log from a certain moment on.
pub struct Audit {
    log: File,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `get`, `patch`, `delete` and so on.
    pub verb: String,
    /// `pods`, `leases` and so on.
    pub resource: String,
    /// The object's namespace; empty for what is in none.
    pub namespace: String,
    /// The object's name; empty for lists and the like.
    pub name: String,
}

impl Audit {
    /// The log from now on.
    ///
    /// # Errors
    /// If the cluster is not the local one.
    pub fn begin() -> Result<Audit> {
        let mut log = File::open(here(&mut script("audit-log"))?)?;
        log.seek(SeekFrom::End(0))?;
        Ok(Audit { log })
    }

    /// The requests of a user since then.
    ///
    /// # Errors
    /// If the log can't be read.
    pub fn requests(self, user: &str) -> Result<Vec<Request>> {
        let mut requests = Vec::new();
        for line in BufReader::new(self.log).lines() {
            let Ok(event) = serde_json::from_str::<Value>(&line?) else { continue };
            // A watch is told of twice: when it begins and when it ends.
            if event["user"]["username"] == user && event["stage"] == "ResponseComplete" {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                requests.push(Request {
                    verb: text(&event["verb"]),
                    resource: text(&event["objectRef"]["resource"]),
                    namespace: text(&event["objectRef"]["namespace"]),
                    name: text(&event["objectRef"]["name"]),
                });
            }
        }
        Ok(requests)
    }
}

/// The operator, as the API server knows it.
///
/// # Errors
/// If none runs.
pub async fn operator(client: &kube::Client) -> Result<String> {
    let pod: Pod = operator::pods(client).await?.into_iter().next().context("no operator")?;
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let account = account.with_context(|| format!("{} has no account", pod.name_any()))?;
    Ok(format!("system:serviceaccount:{}:{account}", operator::NAMESPACE))
}

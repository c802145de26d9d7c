//! The instances as Kubernetes and MySQL see them, side by side with what status says: a table for people, and the
//! identity of each instance for tests.

use std::fmt::Write;

use anyhow::{Context, Result};
use kube::ResourceExt;

use crate::database::Database;
use crate::namespace::Scope;
use crate::sql::Sql;
use crate::told::ordinal;

/// Who an instance is: read from the API server and from MySQL, not from status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The ordinal.
    pub ordinal: u32,
    /// UID of its claim.
    pub claim_uid: String,
    /// Name of the volume bound to its claim.
    pub volume: String,
    /// `@@server_uuid`.
    pub server_uuid: String,
}

/// Who the instance is now.
///
/// # Errors
/// If it has no bound claim, or its server does not answer.
pub async fn identity(database: &Database<'_>, ordinal: u32) -> Result<Identity> {
    let mut sql = database.sql(ordinal).await?;
    identity_by(database, ordinal, &mut sql).await
}

/// Who the instances `0..replicas` are now.
///
/// # Errors
/// As for [`identity`].
pub async fn identities(database: &Database<'_>, replicas: u32) -> Result<Vec<Identity>> {
    let mut all = Vec::new();
    for ordinal in 0..replicas {
        all.push(identity(database, ordinal).await?);
    }
    Ok(all)
}

async fn identity_by(database: &Database<'_>, ordinal: u32, sql: &mut Sql) -> Result<Identity> {
    let claim = database.claim(ordinal).await?;
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
    Ok(Identity {
        ordinal,
        claim_uid: claim.uid().context("a claim without a UID")?,
        volume: volume.with_context(|| format!("claim {} is not bound", claim.name_any()))?,
        server_uuid: sql.one("SELECT @@server_uuid").await?,
    })
}

/// A table of the instances in the status of cluster `name`.
///
/// # Errors
/// If there is no such cluster.
pub async fn of(scope: &Scope, name: &str) -> Result<String> {
    let database = scope.database(name);
    let status = database.status().await?;
    let mut table = String::new();
    for instance in &status.instances {
        let number = ordinal(instance);
        write!(table, "{:<12} {:?}", instance.name, instance.state)?;
        write!(table, " node={}", instance.node.as_deref().unwrap_or("-"))?;
        match database.sql(number).await {
            Ok(mut sql) => {
                let gtid = sql.gtid_executed().await.unwrap_or_else(|error| format!("{error:#}"));
                match identity_by(&database, number, &mut sql).await {
                    Ok(Identity { claim_uid, volume, server_uuid, .. }) => {
                        writeln!(
                            table,
                            " claim={claim_uid} volume={volume} server={server_uuid} gtid={gtid}"
                        )?;
                    }
                    Err(error) => writeln!(table, " {error:#}")?,
                }
            }
            Err(error) => writeln!(table, " {error:#}")?,
        }
    }
    Ok(table)
}

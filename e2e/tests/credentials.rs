//! Passwords that are changed.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, wait};
use mainstay_proto::pod::credentials;
use serde_json::json;

/// Importance 1: root's password is changed in the Secret: every instance comes to take it, and at no time is there
/// nobody to read from.
#[tokio::test]
async fn password_of_root() -> Result<(), Failed> {
    scope::run("password_of_root", wait::LONG * 3, async |scope| {
        let database = scope.database("rotate");
        database.start(3).await?;
        let writer = Writer::start(&database, "rotate", Duration::from_millis(20)).await?;
        set(&database, credentials::ROOT, "another-password-of-root").await?;
        let service = database.names.read_service();
        wait::poll("every instance to take the new password", wait::LONG, || async {
            let readers = database.endpoints(&service).await?;
            // Not an error of this look: it is what the test is about.
            assert!(!readers.is_empty(), "nobody can be read from");
            for ordinal in 0..3 {
                database.sql(ordinal).await?;
            }
            Ok(Some(()))
        })
        .await?;
        note!("all took it");
        database.healthy(3, wait::LONG).await?;
        ensure!(database.endpoints(&service).await?.len() == 2, "a replica is missing");
        writer.verify().await?;
        Ok(())
    })
    .await
}

async fn set(database: &Database<'_>, key: &str, value: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"stringData": {key: value}}));
    let secrets = database.scope.api::<Secret>();
    secrets.patch(&database.names.credentials_secret(), &PatchParams::default(), &patch).await?;
    Ok(())
}

//! Clusters deleted and created again under the same name.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::sql::{Sql, error_code};
use mainstay_e2e::table::Identity;
use mainstay_e2e::{checksum, load, note, table, wait};

/// Rows that are written.
const ROWS: u32 = 1000;
/// `ER_ACCESS_DENIED_ERROR`.
const ACCESS_DENIED: u16 = 1045;

/// Importance 1: deleting the object keeps claims and Secrets, and creating it again finds them.
#[tokio::test]
async fn recreated() -> Result<(), Failed> {
    scope::run("recreated", wait::LONG * 3, async |scope| {
        let (database, before) = filled(scope, "again").await?;
        let login = database.login().await?;
        database.delete().await?;
        ensure!(claims(&database).await? == before.len(), "claims went with the cluster");
        for secret in secrets(&database) {
            scope.api::<Secret>().get(&secret).await.with_context(|| format!("Secret {secret} went too"))?;
        }
        database.start(3).await?;
        same_data(&database, &before).await?;
        ensure!(database.login().await?.password == login.password, "the password has changed");
        Ok(())
    })
    .await
}

/// Importance 1: as before, but its Secrets were deleted too. The data is found, and new passwords work.
#[tokio::test]
async fn recreated_without_secrets() -> Result<(), Failed> {
    scope::run("recreated_without_secrets", wait::LONG * 3, async |scope| {
        let (database, before) = filled(scope, "keyless").await?;
        let old = database.login().await?;
        database.delete().await?;
        for secret in secrets(&database) {
            scope.api::<Secret>().delete(&secret, &DeleteParams::default()).await?;
            wait::gone(&scope.api::<Secret>(), &secret, None, wait::SHORT).await?;
        }
        database.start(3).await?;
        same_data(&database, &before).await?;
        let mut stale = database.login().await?;
        ensure!(stale.password != old.password, "the new Secret has the old password");
        stale.password = old.password;
        for ordinal in 0..3 {
            let refused = Sql::connect(scope.api(), &database.names.pod(ordinal), &stale).await.err();
            let refused = refused.context("the old password still opens it")?;
            ensure!(error_code(&refused) == Some(ACCESS_DENIED), "refused otherwise: {refused:#}");
        }
        Ok(())
    })
    .await
}

/// Importance 1: one claim is gone while others are full. The instance is cloned, whichever it is; nothing is
/// initialised.
#[tokio::test]
async fn recreated_without_a_replicas_claim() -> Result<(), Failed> {
    scope::run("recreated_without_a_replicas_claim", wait::LONG * 3, async |scope| {
        without_claim(scope, "lame", |primary| (primary + 1) % 3).await
    })
    .await
}

/// Importance 1: the claim that is gone is that of the last primary. A replica that holds everything leads.
#[tokio::test]
async fn recreated_without_the_primarys_claim() -> Result<(), Failed> {
    scope::run("recreated_without_the_primarys_claim", wait::LONG * 3, async |scope| {
        without_claim(scope, "headless", |primary| primary).await
    })
    .await
}

async fn without_claim(scope: &Scope, name: &str, victim: impl Fn(u32) -> u32) -> Result<()> {
    let (database, before) = filled(scope, name).await?;
    let victim = victim(database.primary().await?);
    database.delete().await?;
    let claims = scope.api::<PersistentVolumeClaim>();
    let claim = database.names.claim(victim);
    claims.delete(&claim, &DeleteParams::default()).await?;
    wait::gone(&claims, &claim, None, wait::LONG).await?;
    note!("deleted {claim}");
    database.start(3).await?;
    let survivors: Vec<Identity> = before.into_iter().filter(|identity| identity.ordinal != victim).collect();
    same_data(&database, &survivors).await?;
    let leader = database.primary().await?;
    ensure!(leader != victim, "the instance that had lost its data leads");
    ensure!(
        !survivors.contains(&table::identity(&database, victim).await?),
        "instance {victim} is another's twin"
    );
    Ok(())
}

/// A cluster of three with rows on all of them, and who its instances are.
async fn filled<'a>(scope: &'a Scope, name: &str) -> Result<(Database<'a>, Vec<Identity>)> {
    let database = scope.database(name);
    database.start(3).await?;
    load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;
    checksum::compare(&database, &[0, 1, 2]).await?;
    let identities = table::identities(&database, 3).await?;
    Ok((database, identities))
}

/// The rows are on all instances, and those of `before` are who they were: initialising would have made them others.
async fn same_data(database: &Database<'_>, before: &[Identity]) -> Result<()> {
    for ordinal in 0..3 {
        load::check_rows(&mut database.sql(ordinal).await?, ROWS).await?;
    }
    for known in before {
        let now = table::identity(database, known.ordinal).await?;
        ensure!(*known == now, "instance {} is another one now: {known:?}, {now:?}", known.ordinal);
    }
    let mut sql = database.sql_through(&database.names.primary_service()).await?;
    sql.exec("INSERT INTO app.items VALUES (0, SHA2(0, 256))").await?;
    sql.exec("DELETE FROM app.items WHERE id = 0").await?;
    checksum::compare(database, &[0, 1, 2]).await
}

async fn claims(database: &Database<'_>) -> Result<usize> {
    let claims = database.scope.api::<PersistentVolumeClaim>().list(&ListParams::default()).await?.items;
    Ok(claims.iter().filter(|claim| database.names.ordinal_of_claim(&claim.name_any()).is_some()).count())
}

fn secrets(database: &Database<'_>) -> [String; 4] {
    let names = &database.names;
    [names.credentials_secret(), names.ca_secret(), names.tls_secret(), names.operator_tls_secret()]
}

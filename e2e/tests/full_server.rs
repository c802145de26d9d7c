//! A server whose connections are used up.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use mainstay_e2e::exec::in_pod;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::sql::{Login, Sql, error_code};
use mainstay_e2e::{note, wait};
use mainstay_proto::pod::CONTAINER_MYSQL;
use serde_json::json;

/// Connections that the server takes, one more being kept for those who may administer it.
const CONNECTIONS: usize = 15;
/// The server's error for one too many.
const TOO_MANY: u16 = 1040;

/// Importance 1: an application takes every connection there is: root gets in, again and again, the cluster is
/// judged Healthy all the same, and it hands over.
#[tokio::test]
async fn full_server() -> Result<(), Failed> {
    scope::run("full_server", wait::LONG * 3, async |scope| {
        let database = scope.database("full");
        let options = json!({"config": {"common": {"max_connections": CONNECTIONS.to_string()}}});
        database.create(2, options).await?;
        database.healthy(2, wait::LONG).await?;
        let primary = database.primary().await?;
        let pod = database.names.pod(primary);
        let mut root = database.sql(primary).await?;
        root.exec("CREATE USER app IDENTIFIED BY 'app-password-1'").await?;
        drop(root);
        let app =
            Login { user: "app".into(), password: "app-password-1".into(), ca: database.login().await?.ca };
        let mut taken = Vec::new();
        let refusal = loop {
            ensure!(taken.len() <= CONNECTIONS, "the server takes more than it was told");
            match Sql::connect(scope.api(), &pod, &app).await {
                Ok(connection) => taken.push(connection),
                Err(error) => break error,
            }
        };
        ensure!(error_code(&refusal) == Some(TOO_MANY), "{refusal:#}");
        note!("{} connections are taken", taken.len());
        // One is the replica's, and what the agent has counts too, though it is never refused.
        ensure!(taken.len() >= CONNECTIONS - 2, "the operator takes the application's connections");

        let ask = ["mysql", "-NBe", "SELECT 'in'"];
        // Over several looks of the agent's.
        for _ in 0..20 {
            let said =
                in_pod(&scope.api::<Pod>(), &pod, CONTAINER_MYSQL, &ask).await.context("root's way in")?;
            ensure!(said.trim() == "in", "{said}");
        }
        database.hand_over_to(1 - primary).await?;
        Ok(())
    })
    .await
}

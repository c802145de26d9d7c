//! Fewer instances and more again, while clients write and the operator is killed at every step.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use mainstay_crd::MySQLClusterStatus;
use mainstay_crd::conditions::ConditionType;
use mainstay_crd::names::ANNOTATION_GTID_SET;
use mainstay_e2e::database::{Database, is_healthy};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{checksum, note, operator, table, wait};

/// Importance 1 (I7, row 14 of the faults): whatever was begun is ended by the next operator.
#[tokio::test]
async fn scaling_with_the_operator_killed() -> Result<(), Failed> {
    scope::run("scaling_killed", wait::LONG * 4, async |scope| {
        let database = scope.database("worn");
        database.start(3).await?;
        let before = table::identities(&database, 3).await?;
        let writer = Writer::start(&database, "worn", Duration::from_millis(5)).await?;
        writer.acknowledged(50).await?;

        let up = scale(&database, 5).await?;
        ensure!(up > 2, "the operator was killed {up} times only");
        let five = table::identities(&database, 5).await?;
        ensure!(five[..3] == before[..], "an instance is another one now: {before:?}, {five:?}");
        writer.acknowledged(50).await?;

        let down = scale(&database, 3).await?;
        ensure!(down > 1, "the operator was killed {down} times only");
        ensure!(table::identities(&database, 3).await? == before, "an instance is another one now");
        for gone in &five[3..] {
            let claim = database.claim(gone.ordinal).await?;
            ensure!(claim.uid().as_ref() == Some(&gone.claim_uid), "{} is another one", claim.name_any());
            ensure!(
                claim.annotations().contains_key(ANNOTATION_GTID_SET),
                "{} has no note",
                claim.name_any()
            );
        }
        writer.acknowledged(50).await?;
        writer.verify().await?;
        checksum::compare(&database, &[0, 1, 2]).await
    })
    .await
}

/// Scales, and kills the operator whenever status shows a step that it has not shown before. Returns how often.
async fn scale(database: &Database<'_>, replicas: i32) -> Result<usize> {
    let (mut seen, mut kills) = (BTreeSet::new(), 0);
    database.ask_for(replicas).await?;
    loop {
        let mut new = None;
        let what = format!("a step towards {replicas} instances");
        let cluster = database
            .until(&what, wait::LONG, |status| {
                new = step(status).filter(|step| !seen.contains(step));
                new.is_some() || (is_healthy(status, replicas) && status.replicas == replicas)
            })
            .await?;
        let Some(step) = new else {
            let record = cluster.status.and_then(|status| status.replication).context("no record")?;
            ensure!(record.operations.is_empty() && record.target.is_none(), "left over: {record:?}");
            return Ok(kills);
        };
        note!("killing the operator: {step}");
        // What was written right before the last kill is seen after it: then the next operator is not there yet.
        kills += usize::from(operator::kill(&database.scope.env).await? > 0);
        seen.insert(step);
    }
}

/// What is being done, in the words of status; `None` while nothing is.
fn step(status: &MySQLClusterStatus) -> Option<String> {
    let progressing = status.conditions.iter().find(|c| c.type_ == ConditionType::Progressing.as_str())?;
    let announced = status.replication.iter().flat_map(|record| &record.operations);
    let announced: Vec<String> = announced.map(|o| format!("{:?} of {}", o.kind, o.ordinal)).collect();
    let doing = progressing.status == "True" || !announced.is_empty();
    doing.then(|| format!("{}; announced: {announced:?}; {} pods", progressing.message, status.replicas))
}

//! The API server away, and with it the operator's eyes and hands.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::Nodes;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::tools::Tool;
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{checksum, note, wait};

/// How long the API server is away.
const AWAY: Duration = Duration::from_secs(60);
/// Part of it before a replica's server is killed.
const BEFORE_KILL: Duration = Duration::from_secs(10);

/// Writes `TIME COUNT` for each look at a replica, or `TIME -` while it does not answer.
const LOOK: &str = r#"
while [[ ! -e stop ]]; do
  count=$(mysql --defaults-extra-file=client.cnf -N -B -e 'SELECT COUNT(*) FROM ledger.away' 2>/dev/null) || count=-
  echo "$EPOCHREALTIME $count" | tee -a looks
  sleep 0.5
done
"#;

/// Importance 1 (I8): the database serves on without the API server, a replica that restarts meanwhile follows again
/// by itself, and afterwards all is as it should be.
#[tokio::test]
async fn api_away() -> Result<(), Failed> {
    scope::run("api_away", wait::LONG * 3, async |scope| {
        let Some(nodes) = Nodes::of(&scope.env) else { return Ok(()) };
        let database = scope.database("alone");
        database.start(3).await?;
        let replica = (database.primary().await? + 1) % 3;
        let pod = database.pod(replica).await?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("not scheduled")?;
        let uid = pod.uid().context("a pod without a UID")?;
        let writer = Writer::start(&database, "away", Duration::from_millis(10)).await?;
        let looks = look_at(&database, replica).await?;

        let fault = nodes.take_api_away()?;
        let away = now();
        tokio::time::sleep(BEFORE_KILL).await;
        ensure!(scope.client().apiserver_version().await.is_err(), "the API server answers");
        note!("killing mysqld of instance {replica}");
        Nodes::kill_in_pod(&node, &uid, "mysqld")?;
        let killed = now();
        tokio::time::sleep(AWAY - BEFORE_KILL).await;
        let back = now();
        fault.end();

        scope.env.answers(wait::LONG).await?;
        database.healthy(3, wait::LONG).await?;
        writer.acknowledged(50).await?;
        let ledger = writer.verify().await?;
        checksum::compare(&database, &[0, 1, 2]).await?;
        let meanwhile = ledger.acks.iter().filter(|ack| (away..back).contains(&ack.at)).count();
        ensure!(meanwhile > 0, "nothing was acknowledged while the API server was away");
        note!("{meanwhile} rows acknowledged while the API server was away");
        followed_alone(&looks.exec(&["cat", "/work/looks"]).await?, killed, back)
    })
    .await
}

/// A pod that looks at the replica again and again, by its own DNS name.
async fn look_at<'a>(database: &Database<'a>, replica: u32) -> Result<Tool<'a>> {
    let host = format!("{}.{}", database.names.pod(replica), database.names.base());
    let tool = Tool::start_for(database, "look", &host, LOOK, &[]).await?;
    tool.running().await?;
    let what = "the replica to answer";
    wait::poll(what, wait::SHORT, || async {
        Ok(tool.log().await?.contains(|c: char| c.is_ascii_digit()).then_some(()))
    })
    .await?;
    Ok(tool)
}

/// Between the kill and the API server's return the replica must have been seen to have more rows than before it.
fn followed_alone(looks: &str, killed: f64, back: f64) -> Result<()> {
    let looks: Vec<(f64, Option<u64>)> = looks
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(at, count)| Some((at.parse().ok()?, count.parse().ok())))
        .collect();
    let before = looks.iter().filter(|(at, _)| *at < killed).filter_map(|(_, count)| *count).max();
    let before = before.context("the replica never answered before it was killed")?;
    let after = looks.iter().filter(|(at, _)| (killed..back).contains(at));
    let silent = after.clone().filter(|(_, count)| count.is_none()).count();
    let most = after.filter_map(|(_, count)| *count).max().unwrap_or_default();
    note!(
        "the replica had {before} rows when it was killed, was silent {silent} times, and had {most} in the end"
    );
    ensure!(silent > 0, "the replica was never seen down: was it killed?");
    ensure!(
        most > before,
        "the replica did not follow again without the API server: {before} rows, then {most}"
    );
    Ok(())
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

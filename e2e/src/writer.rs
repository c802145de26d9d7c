//! The ledger: rows written throughout a test, and the proof that each acknowledged one is there in the end.
//!
//! The writer is a pod of its own, so that it goes through the Service as clients do and needs no API server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::database::Database;
use crate::sql::Sql;
use crate::tools::Tool;
use crate::wait;

/// A writer at work.
pub struct Writer<'a> {
    database: &'a Database<'a>,
    tool: Tool<'a>,
    table: String,
}

/// An acknowledged row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ack {
    /// When its acknowledgement was read, in seconds of the writer's clock.
    pub at: f64,
    /// Its id.
    pub id: u64,
}

/// What was acknowledged, in order.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The rows.
    pub acks: Vec<Ack>,
}

impl<'a> Writer<'a> {
    /// Starts a writer `name` that tries a row each `pause` through `NAME-primary`, and waits for its first
    /// acknowledgement.
    ///
    /// # Errors
    /// If none comes.
    pub async fn start(database: &'a Database<'a>, name: &str, pause: Duration) -> Result<Writer<'a>> {
        let variables = [("TABLE", name.replace('-', "_")), ("PAUSE", pause.as_secs_f64().to_string())];
        let service = database.names.primary_service();
        let script = include_str!("writer.sh");
        let tool = Tool::start_for(database, &format!("writer-{name}"), &service, script, &variables).await?;
        tool.running().await?;
        let writer = Writer { database, tool, table: name.replace('-', "_") };
        writer.acknowledged(1).await?;
        note!("writer {name}: first acknowledgement");
        Ok(writer)
    }

    /// What has been acknowledged so far.
    ///
    /// # Errors
    /// If the writer's pod is out of reach.
    pub async fn ledger(&self) -> Result<Ledger> {
        Ledger::parse(&self.tool.exec(&["bash", "-c", "[[ ! -e /work/ledger ]] || cat /work/ledger"]).await?)
    }

    /// Waits until `more` rows are acknowledged that are not yet now: so, writes go on.
    ///
    /// # Errors
    /// If no row is within [`wait::SHORT`] of another; with the client's last errors.
    pub async fn acknowledged(&self, more: usize) -> Result<()> {
        let count = async || -> Result<usize> {
            let lines = self.tool.exec(&["bash", "-c", "cat /work/ledger 2>/dev/null | wc -l"]).await?;
            Ok(lines.trim().parse()?)
        };
        let mut now = count().await?;
        let goal = now + more;
        while now < goal {
            let what = format!("one more acknowledged row, of {} that are to come", goal - now);
            let next = wait::poll(&what, wait::SHORT, || async {
                let found = count().await?;
                Ok((found > now).then_some(found))
            });
            now = match next.await {
                Ok(next) => next,
                Err(error) => {
                    let errors = self.tool.exec(&["bash", "-c", "tail -n 5 /work/errors"]).await;
                    let errors = errors.unwrap_or_default();
                    return Err(error.context(format!("the writer's client said: {errors}")));
                }
            };
        }
        Ok(())
    }

    /// Stops writing.
    ///
    /// # Errors
    /// If it does not stop.
    pub async fn stop(&self) -> Result<()> {
        self.tool.exec(&["touch", "/work/stop"]).await?;
        wait::poll("the writer to stop", wait::SHORT, || async {
            self.tool.exec(&["test", "-e", "/work/stopped"]).await.map(Some)
        })
        .await
        .map(drop)
    }

    /// Stops writing, and proves that each acknowledged row is on every instance that status calls Ready, none
    /// twice, and that these instances have executed the same transactions.
    ///
    /// # Errors
    /// If that is not so.
    pub async fn verify(self) -> Result<Ledger> {
        self.stop().await?;
        let ledger = self.ledger().await?;
        let acknowledged: BTreeSet<u64> = ledger.acks.iter().map(|ack| ack.id).collect();
        ensure!(acknowledged.len() == ledger.acks.len(), "the ledger names an id twice");
        let ready = self.database.ready().await?;
        ensure!(!ready.is_empty(), "no instance is Ready");
        same_transactions(self.database, &ready).await?;
        for ordinal in &ready {
            let mut sql = self.database.sql(*ordinal).await?;
            check_rows(&mut sql, &self.table, &acknowledged).await?;
        }
        let (gap, at) = ledger.gap();
        note!(
            "writer {}: {} rows acknowledged, all of them on instances {ready:?}; write gap {:.3} s after {:.1} s",
            self.table,
            ledger.acks.len(),
            gap.as_secs_f64(),
            at.as_secs_f64()
        );
        Ok(ledger)
    }
}

/// Waits until the instances `ordinals` have executed what the primary has, and proves that none has more.
///
/// # Errors
/// If one stays behind or holds what the primary does not.
pub async fn same_transactions(database: &Database<'_>, ordinals: &[u32]) -> Result<()> {
    let mut primary = database.sql(database.primary().await?).await?;
    let executed = primary.gtid_executed().await?;
    for ordinal in ordinals {
        let mut sql = database.sql(*ordinal).await?;
        let caught_up = sql.has_executed(&executed, wait::SHORT).await?;
        let here = sql.gtid_executed().await?;
        ensure!(caught_up, "{} has not executed {executed}, only {here}", sql.pod());
        let ahead: String = primary.one(&format!("SELECT GTID_SUBTRACT('{here}', @@gtid_executed)")).await?;
        ensure!(ahead.is_empty(), "{} has executed what {} has not: {ahead}", sql.pod(), primary.pod());
    }
    Ok(())
}

async fn check_rows(sql: &mut Sql, table: &str, acknowledged: &BTreeSet<u64>) -> Result<()> {
    let ids: Vec<u64> = sql.rows(&format!("SELECT id FROM ledger.{table}")).await?;
    let mut found: BTreeMap<u64, usize> = BTreeMap::new();
    for id in ids {
        *found.entry(id).or_default() += 1;
    }
    let missing: Vec<_> = acknowledged.iter().filter(|id| !found.contains_key(id)).collect();
    let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).map(|(id, _)| id).collect();
    let some = missing.len().min(10);
    if !missing.is_empty() {
        bail!("{}: {} acknowledged rows are LOST, such as {:?}", sql.pod(), missing.len(), &missing[..some]);
    }
    ensure!(twice.is_empty(), "{}: rows are there twice: {twice:?}", sql.pod());
    Ok(())
}

impl Ledger {
    fn parse(text: &str) -> Result<Ledger> {
        let line = |line: &str| {
            let (at, id) = line.split_once(' ')?;
            Some(Ack { at: at.parse().ok()?, id: id.parse().ok()? })
        };
        let acks = text.lines().map(|text| line(text).with_context(|| format!("ledger: {text:?}")));
        Ok(Ledger { acks: acks.collect::<Result<_>>()? })
    }

    /// The longest time between two acknowledgements, and when it began, counted from the first.
    pub fn gap(&self) -> (Duration, Duration) {
        let first = self.acks.first().map_or(0.0, |ack| ack.at);
        let gaps = self.acks.windows(2).map(|pair| (pair[1].at - pair[0].at, pair[0].at - first));
        let (gap, at) = gaps.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default();
        (Duration::from_secs_f64(gap.max(0.0)), Duration::from_secs_f64(at.max(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_time_without_an_acknowledgement() {
        let ledger = Ledger::parse("100.000000 1\n100.500000 2\n103.000000 9\n103.250000 10\n").unwrap();
        assert_eq!(ledger.gap(), (Duration::from_millis(2500), Duration::from_millis(500)));
        assert_eq!(ledger.acks[2].id, 9);
        assert!(Ledger::parse("100.0 1\n101.").is_err(), "a torn line is not an acknowledgement");
    }
}

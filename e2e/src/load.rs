//! Amounts of data, and load.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::database::Database;
use crate::sql::Sql;
use crate::tools::Tool;

/// Bytes of a row of filler; its pages are its own.
const ROW: u64 = 64 * 1024;
/// Rows of one statement, so that no transaction is too large for the binary log's cache.
const ROWS: u64 = 512;
/// One statement writes 32 MiB twice.
const FILL: Duration = Duration::from_secs(120);

/// Writes `mebibytes` MiB of data that can't be compressed into InnoDB, as fast as that goes.
///
/// # Errors
/// What the server says.
pub async fn fill(sql: &mut Sql, mebibytes: u64) -> Result<()> {
    let began = Instant::now();
    sql.exec("CREATE DATABASE IF NOT EXISTS filler").await?;
    sql.exec("CREATE TABLE filler.data (id BIGINT AUTO_INCREMENT PRIMARY KEY, data MEDIUMBLOB NOT NULL)")
        .await?;
    let random = vec!["RANDOM_BYTES(1024)"; 64].join(",");
    let seed = format!(
        "INSERT INTO filler.data (data) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         SELECT CONCAT({random}) FROM n"
    );
    for _ in 0..(mebibytes * 1024 * 1024).div_ceil(ROW * ROWS) {
        sql.exec_within(FILL, &seed).await?;
    }
    note!("filled {mebibytes} MiB after {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Makes a table with `count` rows.
///
/// # Errors
/// What the server says.
pub async fn rows(sql: &mut Sql, count: u32) -> Result<()> {
    sql.exec("CREATE DATABASE IF NOT EXISTS app").await?;
    sql.exec("CREATE TABLE app.items (id INT PRIMARY KEY, name VARCHAR(80) NOT NULL)").await?;
    sql.exec("SET SESSION cte_max_recursion_depth = 1000000").await?;
    let insert = format!(
        "INSERT INTO app.items WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         SELECT i, SHA2(i, 256) FROM n"
    );
    sql.exec(&insert).await
}

/// Proves that the rows of [`rows`] are here as they were written.
///
/// # Errors
/// If one is missing or differs.
pub async fn check_rows(sql: &mut Sql, count: u32) -> Result<()> {
    let right: u32 = sql.one("SELECT COUNT(*) FROM app.items WHERE name = SHA2(id, 256)").await?;
    let all: u32 = sql.one("SELECT COUNT(*) FROM app.items").await?;
    ensure!((right, all) == (count, count), "{}: {right} right rows of {all}, not {count}", sql.pod());
    Ok(())
}

/// Bytes of the server's tables on disk.
///
/// # Errors
/// What the server says.
pub async fn bytes(sql: &mut Sql) -> Result<u64> {
    sql.one("SELECT CAST(SUM(file_size) AS UNSIGNED) FROM information_schema.innodb_tablespaces").await
}

/// Runs sysbench's `oltp_write_only` against `NAME-primary` until its pod is told to stop by a file, at most
/// `per_second` transactions a second.
///
/// # Errors
/// If the API server refuses the pod.
pub async fn sysbench<'a>(database: &Database<'a>, per_second: u32) -> Result<Sysbench<'a>> {
    let rate = [("RATE", per_second.to_string())];
    let service = database.names.primary_service();
    let tool = Tool::start_for(database, "sysbench", &service, SYSBENCH, &rate).await?;
    Ok(Sysbench { tool })
}

/// sysbench has no other way to be told a password than its arguments or this file.
const SYSBENCH: &str = r#"
# root may come only with TLS, which not every build of sysbench can.
mysql --defaults-extra-file=client.cnf <<SQL
CREATE USER IF NOT EXISTS sysbench@'%' IDENTIFIED BY '$(</credentials/root)';
GRANT ALL ON sbtest.* TO sysbench@'%';
SQL
printf 'mysql-host=%s\nmysql-user=sysbench\nmysql-password=%s\nmysql-db=sbtest\n' \
  "$HOST" "$(</credentials/root)" >sysbench.cnf
options=(--config-file=sysbench.cnf --tables=4 --table-size=20000 --threads=4 --report-interval=1)
mysql --defaults-extra-file=client.cnf -e 'CREATE DATABASE IF NOT EXISTS sbtest'
sysbench "${options[@]}" oltp_write_only prepare
sysbench "${options[@]}" --time=0 --rate="$RATE" oltp_write_only run &
running=$!
until [[ -e stop ]]; do
  sleep 0.2
  kill -0 "$running"
done
kill -TERM "$running"
"#;

/// sysbench at work.
pub struct Sysbench<'a> {
    tool: Tool<'a>,
}

impl Sysbench<'_> {
    /// Waits until its tables are made and it writes.
    ///
    /// # Errors
    /// If that does not come; with what it says.
    pub async fn writes(&self) -> Result<()> {
        self.tool.running().await?;
        let written = crate::wait::poll("sysbench to write", crate::wait::LONG, || async {
            let log = self.tool.log().await?;
            Ok((log.contains("FATAL") || log.contains("tps:")).then_some(log))
        });
        let log = written.await?;
        ensure!(!log.contains("FATAL"), "sysbench failed: {log}");
        Ok(())
    }

    /// Stops it, and proves that it wrote until then.
    ///
    /// # Errors
    /// If it ended by itself: then something refused its writes.
    pub async fn stop(self) -> Result<()> {
        self.tool.exec(&["touch", "/work/stop"]).await?;
        let log = self.tool.finished(crate::wait::SHORT).await?;
        note!("sysbench: {}", log.lines().rfind(|line| line.contains("tps:")).unwrap_or("no report"));
        Ok(())
    }
}

//! Checksums of all user tables of an instance.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::database::Database;
use crate::sql::Sql;
use crate::writer;

/// A gigabyte is read in seconds, on a disk that others use in minutes.
const READ: Duration = Duration::from_secs(300);

/// `CHECKSUM TABLE` of every user table, by `schema.table`.
///
/// # Errors
/// If a table can't be read.
pub async fn of(sql: &mut Sql) -> Result<BTreeMap<String, u64>> {
    let tables: Vec<String> = sql
        .rows(
            "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables \
             WHERE table_type = 'BASE TABLE' \
             AND table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')",
        )
        .await?;
    let mut sums = BTreeMap::new();
    for table in tables {
        let (name, sum): (String, Option<u64>) = sql
            .rows_within(READ, &format!("CHECKSUM TABLE {table}"))
            .await?
            .pop()
            .unwrap_or_else(|| (table.clone(), None));
        ensure!(sum.is_some(), "{}: {table} can't be read", sql.pod());
        sums.insert(name, sum.unwrap_or_default());
    }
    Ok(sums)
}

/// Proves that the instances hold the same rows as the primary. Nobody may be writing.
///
/// # Errors
/// If a table differs, is missing, or is one too many.
pub async fn compare(database: &Database<'_>, ordinals: &[u32]) -> Result<()> {
    writer::same_transactions(database, ordinals).await?;
    let primary = database.primary().await?;
    let expected = of(&mut database.sql(primary).await?).await?;
    ensure!(!expected.is_empty(), "there is no table to compare");
    for ordinal in ordinals.iter().filter(|ordinal| **ordinal != primary) {
        let sums = of(&mut database.sql(*ordinal).await?).await?;
        ensure!(sums == expected, "instance {ordinal} differs from primary {primary}: {sums:?} {expected:?}");
    }
    note!("{} tables are the same on instances {ordinals:?}", expected.len());
    Ok(())
}

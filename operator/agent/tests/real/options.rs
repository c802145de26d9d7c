//! Options that people set on a server that runs, or persist.

use mainstay_proto::{Action, Server, ServerState};
use mysql_async::prelude::Queryable;

use crate::cluster::Cluster;

/// What hides that copies differ, or loses commits; and as what it is read when it was set back.
const HARMFUL: [(&str, &str, &str); 12] = [
    ("replica_exec_mode", "IDEMPOTENT", "STRICT"),
    ("replica_type_conversions", "ALL_LOSSY", ""),
    ("binlog_error_action", "IGNORE_ERROR", "ABORT_SERVER"),
    ("binlog_order_commits", "OFF", "1"),
    ("binlog_checksum", "NONE", "CRC32"),
    ("replica_sql_verify_checksum", "OFF", "1"),
    ("default_storage_engine", "MyISAM", "InnoDB"),
    ("init_connect", "'SET sql_log_bin = 0'", ""),
    ("init_replica", "'SET sql_log_bin = 0'", ""),
    ("innodb_doublewrite", "DETECT_ONLY", "ON"),
    ("binlog_expire_logs_seconds", "1", "3600"),
    ("sync_binlog", "0", "1"),
];

/// A change of role looks at once.
#[tokio::test]
async fn what_hides_a_difference_or_loses_a_commit_is_set_back() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(false).await;
    let mut client = primary.client().await;
    for (name, value, _) in HARMFUL {
        // This one can't be persisted.
        let how = if name == "innodb_doublewrite" { "GLOBAL" } else { "PERSIST" };
        client.query_drop(format!("SET {how} {name} = {value}")).await.unwrap();
    }
    drop(client);
    primary.order(2, 3, Action::StandDown).await;
    primary.state("it stands down", |state| state.super_read_only).await;
    primary.order(2, 4, Action::Lead { alone: false }).await;
    primary.state("it leads", |state| !state.super_read_only).await;
    for (name, _, wanted) in HARMFUL {
        let is = primary.text(&format!("SELECT CAST(@@GLOBAL.{name} AS CHAR)")).await;
        assert_eq!(is, wanted, "{name}");
        let left = primary
            .number(&format!(
                "SELECT COUNT(*) FROM performance_schema.persisted_variables WHERE variable_name = '{name}'"
            ))
            .await;
        assert_eq!(left, 0, "{name} is persisted");
    }
}

/// More than a process can address, in one piece: in small pieces mysqld would take all memory of the machine first, and
/// everything on it would be killed (it happened).
const TOO_LARGE: &str = "SET PERSIST_ONLY innodb_buffer_pool_size = 1152921504606846976, \
    PERSIST_ONLY innodb_buffer_pool_chunk_size = 1152921504606846976";

#[tokio::test]
async fn what_was_persisted_and_keeps_a_server_from_starting_is_left_out_and_told() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(true).await;
    primary.sql("SET PERSIST max_connections = 77").await;
    primary.stop();
    primary.start("serve");
    primary.state("it leads with that", |state| !state.super_read_only).await;
    primary.sql(TOO_LARGE).await;
    primary.stop();
    primary.start("serve");
    let told =
        |s: &ServerState| s.setting_errors.iter().any(|error| error.contains("innodb_buffer_pool_size"));
    primary.state("it leads, and says without what", |s| !s.super_read_only && told(s)).await;
    assert_eq!(primary.number("SELECT @@max_connections").await, 77, "what it has come up with stays");
    assert!(primary.volume().join("data/mysqld-auto.cnf.left-out").exists());
}

#[tokio::test]
async fn where_nothing_can_be_left_out_the_way_out_is_told_and_works() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(true).await;
    primary.sql(TOO_LARGE).await;
    primary.stop();
    // As if no start had been seen.
    std::fs::remove_file(primary.volume().join("data/mysqld-auto.cnf.proven")).unwrap();
    primary.start("serve");
    let file = primary.volume().join("data/mysqld-auto.cnf");
    let report = primary
        .report("it says what is persisted", |report| {
            matches!(&report.server, Server::Stopped { last_exit: Some(why) } if why.contains("mysqld-auto.cnf sets"))
        })
        .await;
    let Server::Stopped { last_exit: Some(why) } = report.server else { unreachable!() };
    assert!(why.contains("innodb_buffer_pool_size") && why.contains(" -c mysql -- mv "), "{why}");
    std::fs::rename(&file, file.with_extension("aside")).unwrap();
    primary.state("it leads again", |state| !state.super_read_only).await;
}

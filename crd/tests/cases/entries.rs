//! Configuration, labels and annotations.

use serde_json::{Value, json};

use super::Verdict::{Accepted, Misshapen, Refused};
use super::{Case, Change, Verdict, field, nest, object};

/// Options that are the operator's.
const TAKEN: &[&str] = &[
    "server_id",
    "gtid_mode",
    "log_bin",
    "skip_log_bin",
    "disable_log_bin",
    "loose_server_id",
    "loose_skip_log_bin",
    "maximum_loose_sync_binlog",
    "innodb_flush_log_at_trx_commit",
    "enable_super_read_only",
    "ssl_ca",
    "skip_ssl",
    "mysqlx_port",
    "plugin_load_add",
    "replicate_do_db",
    "rpl_semi_sync_source_timeout",
    "datadir",
    "skip_grant_tables",
    "replica_exec_mode",
    "slave_exec_mode",
    "loose_replica_type_conversions",
    "sql_slave_skip_counter",
    "replica_skip_errors",
    "innodb_force_recovery",
    "binlog_error_action",
    "binlog_checksum",
    "skip_binlog_order_commits",
    "init_connect",
    "init_replica",
];

pub(super) fn config_keys() -> Vec<Case> {
    let owned = Refused("the operator sets these options");
    let spelling = Refused("options are written in lower case with underscores");
    let free = [
        "max_connections",
        "log_bin_trust_function_creators",
        "validate_password.policy",
        "loose_validate_password.policy",
        "skip_name_resolve",
        "innodb_buffer_pool_size",
        "tls_version",
        "require_secure_transport",
        "replica_parallel_workers",
    ];
    let misspelt =
        ["server-id", "Max_Connections", "", "1st", "max connections", "a=b", "a\nserver_id", "#x", "a.b.c"];
    let case = |part: &str, key: &str, verdict| Case {
        name: format!("spec.config.{part}.{key:?}"),
        object: object(&json!({"spec": {"config": {part: {key: "1"}}}})),
        verdict,
    };
    let mut cases = Vec::new();
    cases.extend(free.iter().map(|key| case("common", key, Accepted)));
    cases.extend(TAKEN.iter().map(|key| case("common", key, owned)));
    cases.extend(misspelt.iter().map(|key| case("common", key, spelling)));
    for part in ["primary", "replica"] {
        cases.push(case(part, "max_connections", Accepted));
        cases.push(case(part, "read_only", owned));
        cases.push(case(part, "max-connections", spelling));
    }
    cases
}

pub(super) fn config_values() -> Vec<Case> {
    let refused = Refused("values must be on one line");
    let values = [
        ("", Accepted),
        ("ON", Accepted),
        ("STRICT_TRANS_TABLES,NO_ZERO_DATE", Accepted),
        ("'quoted # and [not] a group'", Accepted),
        ("1\nserver_id=7", refused),
        ("1\r", refused),
        ("a\tb", refused),
        ("[client]", refused),
        ("\u{7f}", refused),
    ];
    let mut cases = field(
        "config.common.ft_stopword_file",
        values.into_iter().map(|(value, verdict)| (json!(value), verdict)).collect(),
    );
    cases.extend(field(
        "config.common.ft_stopword_file",
        vec![
            (json!("x".repeat(2048)), Accepted),
            (json!("x".repeat(2049)), Misshapen("Too long")),
            (json!(5), Misshapen("spec.config.common.ft_stopword_file")),
        ],
    ));
    cases
}

pub(super) fn fatal_values() -> Vec<Case> {
    let packet = Refused("max_allowed_packet must be at least 2M");
    let zone = Refused("default_time_zone must be SYSTEM or an offset");
    let values = |option: &str, values: &[(&str, Verdict)]| {
        field(
            &format!("config.common.{option}"),
            values.iter().map(|(value, verdict)| (json!(value), *verdict)).collect(),
        )
    };
    let enough = [
        "2097152", "2097160", "2098000", "2200000", "10000000", "2048K", "2050k", "9999k", "2M", "64M", "1G",
    ];
    let short = ["2097151", "1", "1048576", "2047K", "1M", "01M", "", "many"];
    let mut cases = values("max_allowed_packet", &enough.map(|value| (value, Accepted)));
    cases.extend(values("max_allowed_packet", &short.map(|value| (value, packet))));
    cases.extend(values("loose_max_allowed_packet", &[("1M", packet), ("2M", Accepted)]));
    cases.extend(values(
        "default_time_zone",
        &[
            ("SYSTEM", Accepted),
            ("+02:00", Accepted),
            ("-3:30", Accepted),
            ("Europe/Berlin", zone),
            ("UTC", zone),
        ],
    ));
    cases
}

/// Values with which a commit that was acknowledged would be lost, or a replica be without the logs that it needs.
pub(super) fn unsafe_values() -> Vec<Case> {
    let expiry = Refused("binlog_expire_logs_seconds must be at least 3600");
    let engine = Refused("default_storage_engine must be InnoDB");
    let method = Refused("innodb_flush_method must be");
    let cases = [
        ("binlog_expire_logs_seconds", "1", expiry),
        ("binlog_expire_logs_seconds", "3599", expiry),
        ("binlog_expire_logs_seconds", "01", expiry),
        ("binlog_expire_logs_seconds", "1h", expiry),
        ("binlog_expire_logs_seconds", "", expiry),
        ("loose_binlog_expire_logs_seconds", "60", expiry),
        ("binlog_expire_logs_seconds", "3600", Accepted),
        ("binlog_expire_logs_seconds", "3999", Accepted),
        ("binlog_expire_logs_seconds", "4000", Accepted),
        ("binlog_expire_logs_seconds", "259200", Accepted),
        ("binlog_expire_logs_seconds", "0", Accepted),
        ("default_storage_engine", "MyISAM", engine),
        ("default_storage_engine", "", engine),
        ("loose_default_storage_engine", "MEMORY", engine),
        ("default_storage_engine", "innodb", Accepted),
        ("disabled_storage_engines", "MyISAM,InnoDB", engine),
        ("disabled_storage_engines", "MyISAM,BLACKHOLE", Accepted),
        ("innodb_flush_method", "nosync", method),
        ("innodb_flush_method", "littlesync", method),
        ("innodb_flush_method", "3", method),
        ("innodb_flush_method", "O_DIRECT", Accepted),
        ("innodb_flush_method", "o_direct_no_fsync", Accepted),
        ("innodb_flush_method", "fsync", Accepted),
    ];
    let case = |(option, value, verdict): &(&str, &str, Verdict)| {
        field(&format!("config.common.{option}"), vec![(json!(value), *verdict)])
    };
    cases.iter().flat_map(case).collect()
}

/// Options that a data directory was made with.
pub(super) fn changes() -> Vec<Change> {
    let refused = Refused("can't change once there is data");
    let config = |part: &str, value: Value| object(&json!({"spec": {"config": {part: value}}}));
    let (none, one) = (json!({}), json!({"lower_case_table_names": "1"}));
    let two = json!({"lower_case_table_names": "0"});
    let other = json!({"lower_case_table_names": "1", "max_connections": "7"});
    let bare = object(&json!({}));
    let change = |name: &str, from: &Value, to: &Value, verdict| Change {
        name: format!("an option for good: {name}"),
        from: from.clone(),
        to: to.clone(),
        verdict,
    };
    vec![
        change("changed", &config("common", one.clone()), &config("common", two), refused),
        change("added", &config("common", none.clone()), &config("common", one.clone()), refused),
        change("added to nothing", &bare, &config("common", one.clone()), refused),
        change("taken away", &config("common", one.clone()), &bare, refused),
        change("for a role", &config("common", none), &config("replica", one.clone()), refused),
        change("kept", &config("common", one.clone()), &config("common", other), Accepted),
        change("page size", &bare, &config("common", json!({"innodb_page_size": "8K"})), refused),
    ]
}

pub(super) fn metadata() -> Vec<Case> {
    let label_owned =
        Refused("labels under mysql.mainstay.dev/ and app.kubernetes.io/ are set by the operator");
    let label_form = Refused("labels need a key of letters");
    let annotation_owned = Refused("annotations under mysql.mainstay.dev/ are set by the operator");
    let annotation_form = Refused("annotations need a key of letters");
    let long = "x".repeat(64);
    let entries = [
        ("labels", "team", "payments", Accepted),
        ("labels", "example.com/cost-centre", "", Accepted),
        ("labels", "mysql.mainstay.dev/role", "primary", label_owned),
        ("labels", "app.kubernetes.io/name", "shop", label_owned),
        ("labels", "-team", "payments", label_form),
        ("labels", "Example.com/team", "payments", label_form),
        ("labels", "a/b/c", "payments", label_form),
        ("labels", long.as_str(), "payments", label_form),
        ("labels", "team", "pay ments", label_form),
        ("labels", "team", long.as_str(), Misshapen("Too long")),
        ("annotations", "app.kubernetes.io/owner", "Ann & Bob, 2nd floor", Accepted),
        ("annotations", "prometheus.io/scrape", "true", Accepted),
        ("annotations", "mysql.mainstay.dev/template-hash", "0", annotation_owned),
        ("annotations", "no spaces", "x", annotation_form),
    ];
    let mut cases = Vec::new();
    for (kind, key, value, verdict) in entries {
        for path in ["podMetadata", "service.metadata"] {
            cases.push(Case {
                name: format!("spec.{path}.{kind}: {key}={value}"),
                object: object(&json!({"spec": nest(path, json!({kind: {key: value}}))})),
                verdict,
            });
        }
    }
    cases
}

//! Configuration, labels and annotations.

use serde_json::json;

use super::Verdict::{Accepted, Misshapen, Refused};
use super::{Case, field, nest, object};

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
    let taken = [
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
    cases.extend(taken.iter().map(|key| case("common", key, owned)));
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
        "config.common.init_connect",
        values.into_iter().map(|(value, verdict)| (json!(value), verdict)).collect(),
    );
    cases.extend(field(
        "config.common.init_connect",
        vec![
            (json!("x".repeat(2048)), Accepted),
            (json!("x".repeat(2049)), Misshapen("Too long")),
            (json!(5), Misshapen("spec.config.common.init_connect")),
        ],
    ));
    cases
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

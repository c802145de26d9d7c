//! Option files.

use mainstay_proto::options;
use serde_json::json;

use super::*;

fn file(children: &Children, key: &str) -> String {
    children.config_map.data.as_ref().unwrap()[key].clone()
}

/// The values that an option is given, in order.
fn values<'a>(file: &'a str, option: &str) -> Vec<&'a str> {
    file.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| *name == option)
        .map(|(_, v)| v)
        .collect()
}

#[test]
fn acknowledged_commits_are_on_disk_and_servers_start_read_only() {
    let common = file(&children(json!({})), "common.cnf");
    for (option, value) in [
        ("sync_binlog", "1"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("gtid_mode", "ON"),
        ("enforce_gtid_consistency", "ON"),
        ("super_read_only", "ON"),
        ("skip_replica_start", "ON"),
        ("relay_log_recovery", "OFF"),
    ] {
        assert_eq!(values(&common, option), [value], "{option}");
    }
}

#[test]
fn the_users_entries_take_the_place_of_defaults() {
    let common = file(
        &children(json!({"config": {"common": {
            "replica-net-timeout": "10",
            "max_connections": "500",
            "sql_mode": "",
            "loose_innodb_dedicated_server": "ON",
        }}})),
        "common.cnf",
    );
    assert_eq!(values(&common, "replica_net_timeout"), ["10"]);
    assert_eq!(values(&common, "max_connections"), ["500"]);
    assert_eq!(values(&common, "sql_mode"), [""]);
    assert_eq!(values(&common, "loose_innodb_dedicated_server"), ["ON"]);
    assert!(values(&common, "innodb_dedicated_server").is_empty());
    assert!(!common.contains("replica-net-timeout"));
}

#[test]
fn what_the_operator_relies_on_is_not_the_users_to_change() {
    let theirs = json!({"super-read-only": "OFF", "loose_gtid_mode": "OFF", "relay_log_recovery": "ON"});
    let children = children(json!({"config": {"common": theirs, "primary": theirs, "replica": theirs}}));
    let common = file(&children, "common.cnf");
    assert_eq!(values(&common, "super_read_only"), ["ON"]);
    assert_eq!(values(&common, "relay_log_recovery"), ["OFF"]);
    assert!(!common.contains("loose_gtid_mode"));
    for key in ["primary.cnf", "replica.cnf"] {
        assert_eq!(file(&children, key).lines().last(), Some("[mysqld]"), "{key}");
    }
}

#[test]
fn what_the_operator_writes_is_on_the_list_and_as_it_must_be() {
    let common = file(&children(json!({})), "common.cnf");
    let text = |option: &str| [option, &format!("loose_{option}")].map(|name| values(&common, name)).concat();
    for option in super::super::config::owned().into_keys() {
        assert!(options::is_refused(&option), "{option}");
        let must_be = options::required().find(|(required, _)| required.name == option);
        assert!(must_be.is_none_or(|(_, must_be)| text(&option).iter().all(|v| must_be.met(v))), "{option}");
    }
}

#[test]
fn a_user_is_told_that_an_option_is_the_operators() {
    for option in super::super::config::owned().into_keys() {
        let spec = spec(json!({"config": {"common": {&option: "1"}}}));
        let violations = mainstay_crd::rules::validate(&spec);
        assert!(
            violations.iter().any(|v| v.field.starts_with("spec.config.common")),
            "{option}: {violations:?}"
        );
    }
}

#[test]
fn the_operators_options_come_after_all_others() {
    // A spelling that is not seen through loses all the same: of two lines, MySQL takes the last.
    let common = file(
        &children(json!({"config": {"common": {"skip_super_read_only": "1", "zzz": "1"}}})),
        "common.cnf",
    );
    assert!(common.find("\nskip_super_read_only=").unwrap() < common.find("\nsuper_read_only=ON").unwrap());
    assert!(common.find("\nzzz=").unwrap() < common.find("\nadmin_port=").unwrap());
}

#[test]
fn an_entry_is_one_line() {
    let children = children(json!({"config": {"common": {
        "sql_mode": "ANSI\nskip_grant_tables=1",
        "a=1\n[client]\nb": "c",
        "max_connections": "7",
    }}}));
    let common = file(&children, "common.cnf");
    assert!(!common.contains("skip_grant_tables") && !common.contains("[client]"), "{common}");
    assert_eq!(values(&common, "max_connections"), ["7"]);
}

#[test]
fn the_buffer_pool_follows_the_memory_limit_unless_the_user_says_otherwise() {
    let resources = json!({"limits": {"memory": "4Gi"}});
    let common = file(&children(json!({"resources": resources})), "common.cnf");
    assert_eq!(values(&common, "innodb_buffer_pool_size"), ["2952790016"]);
    assert_eq!(values(&common, "innodb_buffer_pool_instances"), ["2"]);

    let config = json!({"common": {"innodb_buffer_pool_size": "1G"}});
    let common = file(&children(json!({"resources": resources, "config": config})), "common.cnf");
    assert_eq!(values(&common, "innodb_buffer_pool_size"), ["1G"]);
    assert!(values(&common, "innodb_buffer_pool_instances").is_empty());

    for unlimited in [json!({}), json!({"resources": {"requests": {"memory": "4Gi"}}})] {
        let common = file(&children(unlimited), "common.cnf");
        assert!(values(&common, "innodb_buffer_pool_size").is_empty());
    }
}

#[test]
fn roles_have_settings_of_their_own() {
    let children = children(json!({"config": {
        "primary": {"innodb_io_capacity": "1000"},
        "replica": {"innodb_io_capacity": "200"},
    }}));
    assert_eq!(values(&file(&children, "primary.cnf"), "innodb_io_capacity"), ["1000"]);
    assert_eq!(values(&file(&children, "replica.cnf"), "innodb_io_capacity"), ["200"]);
    assert!(values(&file(&children, "common.cnf"), "innodb_io_capacity").is_empty());
}

/// A change of a mounted ConfigMap reaches servers that restart in place, the primary's too.
#[test]
fn a_configuration_is_never_changed_and_its_template_mounts_it() {
    let (plain, changed) =
        (children(json!({})), children(json!({"config": {"common": {"max_connections": "500"}}})));
    let name = |children: &Children| children.config_map.metadata.name.clone().unwrap();
    assert_ne!(name(&plain), name(&changed));
    for children in [plain, changed] {
        assert_eq!(children.config_map.immutable, Some(true));
        let template = children.stateful_set.spec.as_ref().unwrap().template.spec.clone().unwrap();
        let mounted = template.volumes.unwrap().into_iter().find_map(|volume| Some(volume.config_map?.name));
        assert_eq!(mounted, Some(name(&children)));
    }
}

#[test]
fn only_a_configuration_of_this_cluster_that_no_pod_mounts_is_unused() {
    let names = mainstay_crd::names::Names::new("db", "shop");
    let there = ["shop-config", "shop-config-0a1b2c3d", "shop-config-11111111", "shop-config-new", "theirs"];
    let unused = |mounted: &[&str]| {
        let mounted = mounted.iter().map(|name| (*name).to_owned()).collect();
        unused_config_maps(&names, "shop-config-11111111", there.into_iter(), &mounted)
    };
    assert_eq!(unused(&[]), ["shop-config", "shop-config-0a1b2c3d"]);
    assert_eq!(unused(&["shop-config", "shop-config-0a1b2c3d"]), [] as [&str; 0]);
}

/// Where somebody deletes the ConfigMap, whatever the spec says by then.
#[test]
fn a_template_tells_the_configuration_that_it_mounts() {
    let old = children(json!({"config": {"common": {"max_connections": "500"}}}));
    let name = old.config_map.metadata.name.clone().unwrap();
    let now = spec(json!({"config": {"common": {"max_connections": "9"}}}));
    let mut template = old.stateful_set.spec.unwrap().template;
    assert_eq!(config_map_told(&blueprint(&now), &template, &name), Some(old.config_map));
    assert_eq!(config_map_told(&blueprint(&now), &template, "shop-config-00000000"), None);
    let told = template.metadata.as_mut().unwrap().annotations.as_mut().unwrap();
    let files = told.get_mut(mainstay_crd::names::ANNOTATION_CONFIG).unwrap();
    *files = files.replace("500", "501");
    assert_eq!(config_map_told(&blueprint(&now), &template, &name), None, "it was changed");
    let large = json!({"config": {"common": {"init_connect": "x".repeat(200 << 10)}}});
    let template = children(large).stateful_set.spec.unwrap().template;
    let annotations = template.metadata.unwrap().annotations.unwrap();
    assert!(
        annotations.values().map(String::len).sum::<usize>() < 256 << 10,
        "the API server would refuse it"
    );
}

#[test]
fn only_a_configuration_that_a_pod_mounts_is_missed() {
    let names = mainstay_crd::names::Names::new("db", "shop");
    let mounted = ["shop-config-0a1b2c3d", "shop-config-11111111", "shop-config", "theirs"];
    let mounted = mounted.map(String::from).into();
    let missing = missing_config_maps(&names, &mounted, |name| name == "shop-config-11111111");
    assert_eq!(missing, ["shop-config-0a1b2c3d"]);
}

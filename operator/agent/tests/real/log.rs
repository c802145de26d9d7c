//! What a server's log says: nothing that nobody can act upon.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::cluster::Cluster;
use crate::pair;

/// Warnings that are left in the life of an instance, and why.
const LEFT: [(&str, &str); 3] = [
    (
        "MY-010897",
        "a replica's password is kept in its server's tables: the agent compares it with the Secret's",
    ),
    ("MY-013460", "a clone begins with an empty directory, which the server calls removing all user data"),
    ("MY-010909", "a clone ends with a restart, and the session that waits for it is closed"),
];

/// The server's own lines; the agent's are JSON.
fn of_server(log: &str) -> Vec<&str> {
    log.lines().filter(|line| !line.starts_with('{')).collect()
}

#[tokio::test]
async fn a_fresh_instance_warns_of_nothing_but_what_is_listed() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    for instance in [&primary, &replica] {
        // As an emptyDir is.
        fs::set_permissions(instance.run_directory(), fs::Permissions::from_mode(0o777)).unwrap();
    }
    primary.primary(false).await;
    pair::follow(&mut replica, &primary).await;
    let query = "SELECT VARIABLE_VALUE FROM performance_schema.global_variables \
                 WHERE VARIABLE_NAME = 'innodb_numa_interleave'";
    assert_ne!(primary.own_text(query).await, "ON", "a container may not, and says so five times");
    for instance in [&mut primary, &mut replica] {
        let log = instance.log();
        let start = log.rfind("\"message\":\"mysqld started\"").unwrap();
        println!("instance {}: {} lines of a start", instance.ordinal, of_server(&log[start..]).len());
        let warnings: Vec<&str> = of_server(&log)
            .into_iter()
            .filter(|line| line.contains("[Warning]") || line.contains("[ERROR]"))
            .collect();
        let unlisted: Vec<&&str> =
            warnings.iter().filter(|line| !LEFT.iter().any(|(number, _)| line.contains(number))).collect();
        assert!(unlisted.is_empty(), "{unlisted:#?}");
    }
}

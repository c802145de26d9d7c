//! Rules of the server's for accounts, and what people do to accounts, lock nobody out and open nothing.

use mainstay_proto::{Action, ServerState};
use mysql_async::prelude::Queryable;

use crate::cluster::{Cluster, PASSWORDS};
use crate::instance::Instance;
use crate::pair;

const HISTORY: &str = "[mysqld]\ninnodb_buffer_pool_size=64M\npassword_history=5\npassword_reuse_interval=365\n\
                       default_password_lifetime=1\npassword_require_current=ON\n";

/// Locks, expires or drops one of the accounts, on this server alone.
async fn meddle(instance: &Instance<'_>, statements: &[&str]) {
    let mut client = instance.own_client().await;
    // Kept: a session whose own account expires can do nothing more.
    let mut other = instance.own_client().await;
    let read_only: Option<bool> = client.query_first("SELECT @@GLOBAL.super_read_only").await.unwrap();
    if read_only == Some(true) {
        client.query_drop("SET GLOBAL super_read_only = OFF").await.unwrap();
    }
    for statement in statements {
        client.query_drop(*statement).await.unwrap();
    }
    if read_only == Some(true) {
        other.query_drop("SET GLOBAL super_read_only = ON").await.unwrap();
    }
}

/// It comes back read-only, lets the agent in, and leads.
async fn comes_back(instance: &mut Instance<'_>, revision: u64) {
    instance.stop();
    instance.start("serve");
    let state = instance.state("it is up", |_| true).await;
    assert!(state.super_read_only, "{state:?}");
    assert_eq!(state.setting_errors, Vec::<String>::new());
    instance.order(1, revision, Action::Lead { alone: false }).await;
    instance.state("it leads", |state| !state.super_read_only).await;
}

#[tokio::test]
async fn a_history_of_passwords_stops_neither_a_new_cluster_nor_a_start() {
    let cluster = Cluster::new();
    cluster.mount("config", &[("common.cnf", HISTORY)]);
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    comes_back(&mut primary, 3).await;
    comes_back(&mut primary, 4).await;
    replica.provision(5, Some(&primary)).await;
    replica.order(1, 6, Action::Follow { source: primary.endpoint() }).await;
    replica.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
}

#[tokio::test]
async fn a_check_of_passwords_stops_no_start_and_no_new_password() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(false).await;
    primary.sql("INSTALL COMPONENT 'file://component_validate_password'").await;
    primary.sql("SET PERSIST validate_password.policy = STRONG").await;
    comes_back(&mut primary, 3).await;
    cluster.mount("credentials", &[("root", "weak")]);
    primary.until("it works", || async { primary.log_in("root", "weak").await.is_ok() }).await;
}

#[tokio::test]
async fn what_is_done_to_the_agents_account_is_undone_by_the_next_start() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(false).await;
    for (revision, statement) in [
        (3, "ALTER USER mainstay_agent@localhost PASSWORD EXPIRE"),
        (4, "ALTER USER mainstay_agent@localhost ACCOUNT LOCK"),
        (5, "ALTER USER mainstay_agent@localhost IDENTIFIED BY 'another'"),
        (6, "DROP USER mainstay_agent@localhost"),
    ] {
        meddle(&primary, &[statement]).await;
        comes_back(&mut primary, revision).await;
    }
}

#[tokio::test]
async fn a_start_touches_no_account_that_is_as_it_should_be() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(false).await;
    primary.own_client().await.query_drop("ALTER USER root@'%' COMMENT 'mine'").await.unwrap();
    let query = "SELECT GROUP_CONCAT(User, password_last_changed, authentication_string ORDER BY User) FROM mysql.user";
    let before = primary.own_text(query).await;
    let starts = primary.log().matches("mysqld started").count();
    comes_back(&mut primary, 3).await;
    assert_eq!(primary.own_text(query).await, before);
    assert_eq!(primary.log().matches("mysqld started").count(), starts + 1, "one start is enough");
}

#[tokio::test]
async fn what_is_done_to_an_account_of_ours_is_undone_while_it_runs() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    pair::follow(&mut replica, &primary).await;
    let locked = "SELECT COUNT(*) FROM mysql.user WHERE User = 'mainstay_repl' AND account_locked = 'Y'";
    meddle(&replica, &["ALTER USER mainstay_repl@'%' ACCOUNT LOCK"]).await;
    replica.until("it is unlocked", || async { replica.own_text(locked).await == "0" }).await;
    // It was writable for the moment of the statement.
    replica.state("it is read-only", |state| state.super_read_only).await;
    // And on the primary, where the statement reaches the replica too.
    primary.sql("ALTER USER mainstay_repl@'%' ACCOUNT LOCK").await;
    primary.until("it is unlocked", || async { primary.own_text(locked).await == "0" }).await;
    replica.until("it is unlocked", || async { replica.own_text(locked).await == "0" }).await;
}

#[tokio::test]
async fn what_a_person_did_to_root_stays() {
    let cluster = Cluster::new();
    // As in a pod: else this machine's address is `localhost`.
    cluster
        .mount("config", &[("common.cnf", "[mysqld]\ninnodb_buffer_pool_size=64M\nskip_name_resolve=ON\n")]);
    let mut primary = cluster.instance(0);
    primary.primary(false).await;
    let only = "SELECT GROUP_CONCAT(Host, ssl_type) FROM mysql.user WHERE User = 'root'";
    assert_eq!(primary.own_text(only).await, "%ANY", "one root, over the network only with TLS");
    let mut client = primary.own_client().await;
    for statement in [
        "CREATE USER root@localhost IDENTIFIED BY 'mine'",
        "ALTER USER root@'%' ACCOUNT LOCK",
        "REVOKE SUPER ON *.* FROM root@'%'",
    ] {
        client.query_drop(statement).await.unwrap();
    }
    drop(client);
    comes_back(&mut primary, 3).await;
    let query = "SELECT GROUP_CONCAT(Host, account_locked, Super_priv ORDER BY Host) FROM mysql.user WHERE User = 'root'";
    assert_eq!(primary.own_text(query).await, "%YN,localhostNN");
    // Its password follows the Secret all the same, and it stays locked.
    cluster.mount("credentials", &[("root", "another")]);
    primary.own_client().await.query_drop("ALTER USER root@'%' ACCOUNT UNLOCK").await.unwrap();
    primary.until("the new password", || async { primary.log_in("root", "another").await.is_ok() }).await;
    primary.own_client().await.query_drop("DROP USER root@'%'").await.unwrap();
    comes_back(&mut primary, 4).await;
    assert_eq!(
        primary.own_text("SELECT GROUP_CONCAT(Host) FROM mysql.user WHERE User = 'root'").await,
        "localhost"
    );
}

#[tokio::test]
async fn a_replication_password_that_can_not_work_is_not_adopted() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    pair::follow(&mut replica, &primary).await;
    let long = "x".repeat(40);
    cluster.mount("credentials", &[("replication", &long)]);
    let says = |errors: &[String]| errors.iter().any(|error| error.contains("3056"));
    primary.state("it says so", |state| says(&state.setting_errors)).await;
    replica.stop();
    replica.start("serve");
    let follows = |s: &mainstay_proto::ServerState| {
        s.channel.as_ref().is_some_and(|c| c.receiver_running && c.applier_running) && says(&s.setting_errors)
    };
    replica.state("it follows with the old one", follows).await;
    cluster.mount("credentials", &[("replication", "x".repeat(32).as_str())]);
    let query = "SELECT User_password FROM mysql.slave_master_info";
    replica.until("the channel has it", || async { replica.own_text(query).await == "x".repeat(32) }).await;
    replica.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
}

/// What may be done to the agent's accounts: with each of these it gets no new session, or one that is of little use.
const SHUT_OUT: [&[&str]; 5] = [
    &["DROP USER mainstay_agent@localhost, mainstay_agent@'127.0.0.1'"],
    &["ALTER USER mainstay_agent@localhost, mainstay_agent@'127.0.0.1' ACCOUNT LOCK"],
    &["ALTER USER mainstay_agent@localhost IDENTIFIED BY 'x', mainstay_agent@'127.0.0.1' IDENTIFIED BY 'x'"],
    &["ALTER USER mainstay_agent@localhost, mainstay_agent@'127.0.0.1' PASSWORD EXPIRE"],
    &[
        "REVOKE ALL, GRANT OPTION FROM mainstay_agent@localhost",
        "REVOKE ALL, GRANT OPTION FROM mainstay_agent@'127.0.0.1'",
    ],
];

/// Does it as root, outside the binary log.
async fn done(instance: &Instance<'_>, statements: &[&str]) -> Result<(), mysql_async::Error> {
    let mut root = instance.log_in("root", PASSWORDS[0].1).await?;
    root.query_drop("SET SESSION sql_log_bin = 0").await?;
    if instance.ordinal == 1 {
        root.query_drop("SET GLOBAL super_read_only = OFF").await?;
    }
    for statement in statements {
        root.query_drop(*statement).await?;
    }
    if instance.ordinal == 1 {
        root.query_drop("SET GLOBAL super_read_only = ON").await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_that_is_shut_out_gets_in_again_by_itself_on_a_primary_and_on_a_replica() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(true).await;
    pair::follow(&mut replica, &primary).await;
    let follows =
        |s: &ServerState| s.super_read_only && s.channel.as_ref().is_some_and(|c| c.receiver_running);
    let right = "SELECT COUNT(*) FROM mysql.user WHERE User = 'mainstay_agent' AND account_locked = 'N' AND \
                 password_expired = 'N' AND Super_priv = 'Y' AND Grant_priv = 'Y'";
    for instance in [&primary, &replica] {
        for statements in SHUT_OUT {
            // On a replica the agent may make the server read-only in between, after it has seen to its accounts.
            instance.until("it is done", || async { done(instance, statements).await.is_ok() }).await;
            instance
                .until("the accounts are as they should be", || async {
                    let Ok(mut root) = instance.log_in("root", PASSWORDS[0].1).await else { return false };
                    let found: Result<Option<u64>, _> = root.query_first(right).await;
                    matches!(found, Ok(Some(2)))
                })
                .await;
        }
    }
    primary.state("it leads", |s| !s.super_read_only && s.agent_denied.is_none()).await;
    replica.state("it follows", |s| follows(s) && s.agent_denied.is_none()).await;
}

#[tokio::test]
async fn another_password_of_the_operators_shuts_no_agent_out() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(true).await;
    let before = primary.mysqld_pid();
    cluster.mount("credentials", &[("operator", "another-operator")]);
    primary
        .until("the new one works", || async {
            primary.log_in("mainstay_operator", "another-operator").await.is_ok()
        })
        .await;
    // With the password that the file for people has, and by a new session.
    assert_eq!(primary.own_text("SELECT @@GLOBAL.super_read_only").await, "0");
    cluster.mount("credentials", &[("root", "another-root")]);
    primary
        .until("it still sees to accounts", || async { primary.log_in("root", "another-root").await.is_ok() })
        .await;
    assert_eq!(primary.mysqld_pid(), before, "without a restart");
    primary.stop();
    primary.start("serve");
    primary.state("it leads again", |state| !state.super_read_only).await;
}

#[tokio::test]
async fn a_password_of_roots_that_is_undone_is_told() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(true).await;
    primary.own_client().await.query_drop("ALTER USER root@'%' IDENTIFIED BY 'mine'").await.unwrap();
    assert!(primary.log_in("root", "mine").await.is_ok());
    primary.stop();
    primary.start("serve");
    let told = |s: &ServerState| s.setting_errors.iter().any(|error| error.contains("root@'%'"));
    primary.state("it leads again, and says so", |s| !s.super_read_only && told(s)).await;
    assert!(primary.log_in("root", PASSWORDS[0].1).await.is_ok());
}

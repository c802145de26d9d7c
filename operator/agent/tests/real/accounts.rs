//! Rules of the server's for accounts, and what people do to accounts, lock nobody out and open nothing.

use mainstay_proto::Action;
use mysql_async::prelude::Queryable;

use crate::cluster::Cluster;
use crate::instance::Instance;

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
    replica.provision(3, Some(&primary)).await;
    replica.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    replica.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
    let locked = "SELECT COUNT(*) FROM mysql.user WHERE User = 'mainstay_repl' AND account_locked = 'Y'";
    meddle(&replica, &["ALTER USER mainstay_repl@'%' ACCOUNT LOCK"]).await;
    replica.until("it is unlocked", || async { replica.own_text(locked).await == "0" }).await;
    assert!(replica.state("it is up", |_| true).await.super_read_only);
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
    replica.provision(3, Some(&primary)).await;
    replica.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    replica.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
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

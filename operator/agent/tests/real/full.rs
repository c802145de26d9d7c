//! A server with as many clients as it takes: there is a way in for a person, and for the agent.

use mainstay_proto::{Action, TaskState};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};

use crate::cluster::{Cluster, PASSWORDS};
use crate::instance::Instance;
use crate::pair;

/// `ER_CON_COUNT_ERROR`.
const FULL: u16 = 1040;

fn is_full(outcome: &Result<Conn, Error>) -> bool {
    matches!(outcome, Err(Error::Server(error)) if error.code == FULL)
}

/// Clients without privileges, until the server takes no more.
async fn fill(instance: &Instance<'_>) -> Vec<Conn> {
    instance.sql("CREATE USER app@'%' IDENTIFIED BY 'app-Passw0rd'").await;
    let mut clients = Vec::new();
    loop {
        let outcome = instance.log_in("app", "app-Passw0rd").await;
        if is_full(&outcome) {
            return clients;
        }
        clients.push(outcome.unwrap());
    }
}

#[tokio::test]
async fn with_all_connections_in_use_a_person_gets_in_and_the_agent_goes_on() {
    let cluster = Cluster::new();
    cluster.mount("config", &[("common.cnf", "[mysqld]\ninnodb_buffer_pool_size=64M\nmax_connections=8\n")]);
    let mut instance = cluster.instance(0);
    instance.primary(false).await;
    let clients = fill(&instance).await;
    assert!(clients.len() >= 4, "the server is full of clients, not of the agent: {}", clients.len());
    let root = || instance.log_in("root", PASSWORDS[0].1);
    instance.until("root gets in", || async { root().await.is_ok() }).await;
    let mut person = None;
    while person.is_none() {
        person = root().await.ok();
    }
    assert!(is_full(&root().await), "and takes the last connection");
    // The agent has none of them.
    let query = "SELECT COUNT(*) FROM performance_schema.threads \
                 WHERE PROCESSLIST_USER = 'mainstay_agent' AND CONNECTION_TYPE = 'Socket'";
    let on_socket: Option<u64> = person.as_mut().unwrap().query_first(query).await.unwrap();
    assert_eq!(on_socket, Some(0));
    let then = instance.state("it is read", |state| state.read_at.is_some()).await.read_at;
    instance.state("it is read again", |state| state.read_at > then).await;
    instance.order(1, 3, Action::StandDown).await;
    let done = |report: &mainstay_proto::Report| {
        report.task.as_ref().is_some_and(|task| task.term.revision == 3 && task.state == TaskState::Done)
    };
    instance.report("an order is carried out", done).await;
    assert!(instance.state("it is read-only", |_| true).await.super_read_only);
}

#[tokio::test]
async fn options_that_keep_people_out_keep_neither_the_agent_nor_replicas_out() {
    let cluster = Cluster::new();
    let options = "[mysqld]\ninnodb_buffer_pool_size=64M\nmax_user_connections=1\nrequire_secure_transport=ON\n\
                   tls_version=TLSv1.3\nskip_name_resolve=ON\n";
    cluster.mount("config", &[("common.cnf", options)]);
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    pair::follow(&mut replica, &primary).await;
    for instance in [&primary, &replica] {
        let log = instance.log();
        assert!(!log.contains("it uses the socket"), "{log}");
        let root = || instance.log_in("root", PASSWORDS[0].1);
        let mut person = None;
        // The one before may not have left yet.
        instance.until("root gets in", || async { root().await.is_ok() }).await;
        while person.is_none() {
            person = root().await.ok();
        }
        assert!(root().await.is_err(), "the option holds for people");
    }
}

//! Copies that are not given.

use mainstay_proto::{Action, History};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, NAMESPACE};
use crate::mariadb;
use crate::pki::{Pair, Pki};
use crate::proxy::{Fault, Proxy};
use crate::rig::{Donor, fails, recipient, succeeds, tool};

/// MiB of rows.
const MIB: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_recipient_is_told_who_the_first_is_and_has_its_turn_after_it() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, MIB).await;
    let mut first = recipient(&cluster, 1).await;
    let mut second = recipient(&cluster, 2).await;
    let mut proxy = Proxy::new(donor.port(), Fault::Hold(8 << 20)).await;
    first.order(1, 1, donor.action("of-first", proxy.port)).await;
    proxy.held().await;
    second.order(1, 1, donor.action("of-second", donor.port())).await;
    fails(&second, 1, "Busy): it gives to instance 1 (operation of-first)").await;
    proxy.release();
    assert!(first.ended(), "{}", first.log());
    succeeds(&mut second, 2, donor.action("of-second", donor.port())).await;
    donor.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_no_instance_of_this_cluster_gets_nothing() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, MIB).await;
    let expired = cluster.pki.expired(NAMESPACE, &cluster.name);
    let stranger = Pki::new(NAMESPACE, &cluster.name);
    let Pair { certificate, key } = &cluster.pki.operator;
    let table = [
        ("expired", &expired.certificate, &expired.key),
        ("stranger", &stranger.instance.certificate, &stranger.instance.key),
        ("operator", certificate, key),
    ];
    for (name, certificate, key) in table {
        let answer = ask(&cluster, &donor, Some((certificate, key))).await;
        assert!(answer.is_none(), "{name}: {answer:?}");
    }
    assert!(ask(&cluster, &donor, None).await.is_none(), "no certificate");
    let Pair { certificate, key } = &cluster.pki.instance;
    let answer = ask(&cluster, &donor, Some((certificate, key))).await.expect("an instance gets an answer");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    donor.unharmed().await;
    let mut to = recipient(&cluster, 1).await;
    succeeds(&mut to, 1, donor.action("op", donor.port())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_taken_from_a_donor_that_can_not_show_the_clusters_certificate() {
    let cluster = Cluster::in_root(mariadb::root());
    let mut donor = Donor::new(&cluster, MIB).await;
    let mut to = recipient(&cluster, 1).await;
    let stranger = Pki::new(NAMESPACE, &cluster.name).instance;
    let expired = cluster.pki.expired(NAMESPACE, &cluster.name);
    let mut revision = 0;
    for (name, pair) in [("donor-stranger", stranger), ("donor-expired", expired)] {
        revision += 1;
        let files = [
            ("ca.crt", cluster.pki.authority.as_str()),
            ("tls.crt", pair.certificate.as_str()),
            ("tls.key", pair.key.as_str()),
        ];
        cluster.mount(name, &files);
        donor.kill();
        donor.instance.flags = vec![("tls", cluster.inside(&cluster.directory.join(name)))];
        donor.start().await;
        to.order(1, revision, donor.action(name, donor.port())).await;
        fails(&to, revision, "invalid peer certificate").await;
        donor.unharmed().await;
    }
    donor.kill();
    donor.instance.flags.clear();
    donor.start().await;
    succeeds(&mut to, revision + 1, donor.action("op", donor.port())).await;
}

/// What the donor answers to a request that says nothing; none if it does not even read it.
async fn ask(cluster: &Cluster, donor: &Donor<'_>, who: Option<(&String, &String)>) -> Option<String> {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cluster.pki.authority.as_bytes()).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = match who {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", donor.port())).await.unwrap();
    let name = ServerName::try_from(mainstay_proto::pod::host(NAMESPACE, &cluster.name, 0)).unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(name, stream).await.ok()?;
    let request = "POST /v1/copy HTTP/1.1\r\nhost: donor\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned()).filter(|answer| !answer.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_of_another_series_is_refused_before_anything_is_sent() {
    let cluster = Cluster::in_root(mariadb::root());
    let mut donor = Donor::new(&cluster, MIB).await;
    let old = "#!/bin/sh\necho 'mariadb-backup based on MariaDB server 10.11.3-MariaDB'\n";
    let old = tool(&cluster, "old", "mariadb-backup", old);
    let mut to = cluster.instance(1);
    to.path = Some(old.clone());
    to.start("receive");
    to.report("it is empty", |r| r.directory == mainstay_proto::Directory::Empty).await;
    let proxy = Proxy::new(donor.port(), Fault::None).await;
    to.order(1, 1, donor.action("first", proxy.port)).await;
    fails(&to, 1, "the recipient's mariadb-backup 10.11.3 does not fit a server of the version 11.").await;
    assert!(proxy.passed() < 16 << 10, "nothing was sent");
    to.stop();
    // The donor's own tool likewise.
    donor.kill();
    donor.instance.path = Some(old);
    donor.start().await;
    to.path = None;
    to.start("receive");
    to.report("it waits", |r| r.task.is_none()).await;
    to.order(1, 2, donor.action("second", donor.port())).await;
    fails(&to, 2, "Version): mariadb-backup 10.11.3 does not fit").await;
    donor.kill();
    donor.instance.path = None;
    donor.start().await;
    succeeds(&mut to, 3, donor.action("third", donor.port())).await;
    donor.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_gives_only_when_it_is_told_to_and_one_that_becomes_primary_stops() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, MIB).await;
    let mut to = recipient(&cluster, 1).await;
    let mut proxy = Proxy::new(donor.port(), Fault::Hold(8 << 20)).await;
    to.order(1, 1, donor.action("first", proxy.port)).await;
    proxy.held().await;
    donor.mark(Some("primary"));
    crate::rig::logged(&donor.instance, "no copy was given").await;
    proxy.release();
    fails(&to, 1, "the donor gave up: it leads").await;
    donor.unharmed().await;
    to.order(1, 2, donor.action("second", donor.port())).await;
    fails(&to, 2, "Primary): it leads").await;
    let told = match donor.action("third", donor.port()) {
        Action::Receive { operation, donor, donor_ordinal, compress, max_mib_per_second, .. } => {
            Action::Receive {
                operation,
                donor,
                donor_ordinal,
                compress,
                max_mib_per_second,
                from_primary: true,
                history: History::default(),
            }
        }
        other => other,
    };
    succeeds(&mut to, 3, told).await;
    donor.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_donor_that_is_stopped_says_so_and_ends_its_tool() {
    let cluster = Cluster::in_root(mariadb::root());
    let mut donor = Donor::new(&cluster, MIB).await;
    let mut to = recipient(&cluster, 1).await;
    let mut proxy = Proxy::new(donor.port(), Fault::Hold(8 << 20)).await;
    to.order(1, 1, donor.action("first", proxy.port)).await;
    proxy.held().await;
    donor.instance.stop();
    proxy.release();
    fails(&to, 1, "").await;
    donor.unharmed().await;
    donor.start().await;
    succeeds(&mut to, 2, donor.action("second", donor.port())).await;
}

//! A donor with its server, and a recipient.

use std::fs;
use std::io::{Read, Seek};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mainstay_proto::{Action, Directory, Endpoint, History, Report, TaskState, pod};

use crate::cluster::{Cluster, NAMESPACE, USER};
use crate::instance::Instance;
use crate::mariadb::{self, Server, kill};

/// Nothing in these tests takes longer unless it never comes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A donor: its server, and the agent beside it.
pub(crate) struct Donor<'a> {
    cluster: &'a Cluster,
    pub(crate) instance: Instance<'a>,
    pub(crate) server: Server,
    /// Where in its log the agent that runs now began.
    began: usize,
}

impl<'a> Donor<'a> {
    /// Ordinal 0, with about `mib` MiB of rows.
    pub(crate) async fn new(cluster: &'a Cluster, mib: u64) -> Self {
        let instance = cluster.instance(0);
        mariadb::load(cluster, &instance, mib).await;
        let server = Server::start(cluster, &instance).await;
        let mut donor = Donor { cluster, instance, server, began: 0 };
        donor.mark(None);
        donor.start().await;
        donor
    }

    /// Writes the marker of a complete directory, as the agent would.
    pub(crate) fn mark(&self, role: Option<&str>) {
        let grant = role.map(|role| {
            serde_json::json!({"fence": {"epoch": 1, "revision": 1}, "role": {"type": role, "alone": false}})
        });
        let marker = serde_json::json!({
            "version": 1, "clusterId": self.cluster.id, "ordinal": 0, "state": "complete",
            "kind": "initialize", "operation": "op", "serverUuid": "u", "grant": grant,
        });
        let path = self.instance.volume().join("mainstay.json");
        let temporary = path.with_extension("new");
        fs::write(&temporary, marker.to_string()).unwrap();
        chown(&temporary, Some(USER), Some(USER)).unwrap();
        fs::rename(temporary, path).unwrap();
    }

    /// Starts the agent and waits until it listens.
    pub(crate) async fn start(&mut self) {
        self.instance.start("donor");
        self.began = self.instance.log().len();
        let port = self.instance.ports()[4];
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < deadline, "{}", self.instance.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills the agent, as the kernel or the kubelet would.
    pub(crate) fn kill(&mut self) {
        kill("KILL", self.pid());
        assert!(!self.instance.ended());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.instance.agent.as_ref().unwrap().id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.instance.ports()[4]
    }

    /// The order for a recipient that reaches the donor by this port.
    pub(crate) fn action(&self, operation: &str, port: u16) -> Action {
        Action::Receive {
            operation: operation.into(),
            donor: Endpoint { host: pod::host(NAMESPACE, &self.cluster.name, 0), port },
            donor_ordinal: 0,
            compress: false,
            max_mib_per_second: None,
            from_primary: false,
            history: History::default(),
        }
    }

    /// The server serves, and no tool is left that works on its data.
    pub(crate) async fn unharmed(&self) {
        self.server.sql("INSERT INTO d.w (b) VALUES ('after')").await;
        let deadline = Instant::now() + PATIENCE;
        let data = self.cluster.inside(&self.instance.volume().join("data"));
        while let Some(tool) = processes("mariadb-backup").into_iter().find(|(_, line)| line.contains(&data))
        {
            assert!(Instant::now() < deadline, "a tool is left: {tool:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // What the agent began it has ended: it is free for the next recipient.
        let count = |text: &str| self.instance.log()[self.began..].matches(text).count();
        let ends = ["a copy was given", "no copy was given", "the recipient is gone"];
        while self.instance.agent.is_some()
            && count("giving a copy") > ends.iter().map(|end| count(end)).sum()
        {
            assert!(Instant::now() < deadline, "{}", self.instance.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (threads,): (u64,) = self
            .server
            .row("SELECT COUNT(*) FROM information_schema.processlist WHERE USER = 'mainstay_backup'")
            .await;
        assert_eq!(threads, 0, "a session of the tool is left");
    }
}

/// Processes with this in their command lines: id and command line.
pub(crate) fn processes(name: &str) -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(name).then_some((pid, line))
        })
        .collect()
}

/// A recipient with an empty volume that waits for its order.
pub(crate) async fn recipient(cluster: &Cluster, ordinal: u32) -> Instance<'_> {
    let mut recipient = cluster.instance(ordinal);
    recipient.start("receive");
    recipient.report("it is empty", |report| report.directory == Directory::Empty).await;
    recipient
}

/// What the marker says was received; none unless the whole of it is in place.
pub(crate) fn received(recipient: &Instance<'_>) -> Option<String> {
    let marker = fs::read_to_string(recipient.volume().join("mainstay.json")).ok()?;
    let marker: serde_json::Value = serde_json::from_str(&marker).unwrap();
    assert_eq!(marker["state"], "partial", "until its first start");
    Some(marker["received"]["gtidSet"].as_str()?.to_owned())
}

/// Orders a copy and waits until it is there and the init container makes way.
pub(crate) async fn succeeds(recipient: &mut Instance<'_>, revision: u64, action: Action) {
    recipient.order(1, revision, action).await;
    assert!(recipient.ended(), "{}", recipient.log());
    assert!(received(recipient).is_some(), "{}", recipient.log());
}

/// Waits until the order of this revision has failed, and everything that it brought is gone.
pub(crate) async fn fails(recipient: &Instance<'_>, revision: u64, expected: &str) {
    let failed = |report: &Report| {
        let task = report.task.as_ref().filter(|task| task.term.revision == revision)?;
        match &task.state {
            TaskState::Failed { error } => Some(error.clone()),
            _ => None,
        }
    };
    let report = recipient.report("it fails", |report| failed(report).is_some()).await;
    let error = failed(&report).unwrap();
    assert!(error.contains(expected), "{error}\n{}", recipient.log());
    assert!(matches!(report.directory, Directory::Partial { .. } | Directory::Empty), "{report:?}");
    nothing_is_left(recipient);
}

/// Neither a copy nor a part of one.
pub(crate) fn nothing_is_left(recipient: &Instance<'_>) {
    assert_eq!(received(recipient), None);
    for name in ["data", "incoming"] {
        let entries =
            fs::read_dir(recipient.volume().join(name)).map(|entries| entries.count()).unwrap_or_default();
        assert_eq!(entries, 0, "{name}");
    }
}

/// The agent that runs servers is started on what a crash left: it reports the directory partial, and starts none.
pub(crate) async fn no_server_starts(cluster: &Cluster, recipient: &mut Instance<'_>) {
    let started = cluster.directory.join("started");
    let script = format!("#!/bin/sh\necho $0 > {}\nsleep 1000\n", cluster.inside(&started));
    recipient.path = Some(tool(cluster, "server", "mysqld", &script));
    recipient.start("serve");
    let before = recipient.log().matches("mysqld started").count();
    recipient.report("it is partial", |r| matches!(r.directory, Directory::Partial { .. })).await;
    recipient.stop();
    assert_eq!(recipient.log().matches("mysqld started").count(), before, "{}", recipient.log());
    assert!(!started.exists(), "a server was started on a partial directory");
    recipient.path = None;
}

/// After a failed attempt: a server is started on nothing of it. The recipient waits for its order again.
pub(crate) async fn starts_no_server(cluster: &Cluster, recipient: &mut Instance<'_>) {
    recipient.stop();
    no_server_starts(cluster, recipient).await;
    recipient.start("receive");
    recipient.report("it waits", |report| report.task.is_none()).await;
}

/// A program of this name, in a directory of its own that is to be searched first.
pub(crate) fn tool(cluster: &Cluster, directory: &str, name: &str, script: &str) -> String {
    let directory = cluster.directory.join(directory);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), script).unwrap();
    fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    cluster.inside(&directory)
}

/// A directory in which a script of the tests may leave a word.
pub(crate) fn words(cluster: &Cluster) -> PathBuf {
    let directory = cluster.directory.join("words");
    fs::create_dir_all(&directory).unwrap();
    chown(&directory, Some(USER), Some(USER)).unwrap();
    directory
}

/// Waits for a file, and reads it.
pub(crate) async fn word(path: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = fs::read_to_string(path)
            && text.ends_with('\n')
        {
            return text.trim().to_owned();
        }
        assert!(Instant::now() < deadline, "{} never came", path.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the agent's log holds a text.
pub(crate) async fn logged(instance: &Instance<'_>, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !instance.log().contains(text) {
        assert!(Instant::now() < deadline, "{text:?} was never logged:\n{}", instance.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Kills a recipient.
pub(crate) fn kill_recipient(recipient: &mut Instance<'_>) {
    kill("KILL", recipient.agent.as_ref().unwrap().id());
    assert!(!recipient.ended());
}

/// Bytes of the agent's own memory now: without the pages of its (unoptimised) binary.
pub(crate) fn memory(pid: u32) -> Option<u64> {
    let mut file = fs::File::open(format!("/proc/{pid}/status")).ok()?;
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

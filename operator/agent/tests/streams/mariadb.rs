//! A real mariadbd on an instance's data directory, in place of the agent's `serve`, which runs MySQL.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder};

use crate::cluster::{Cluster, USER, free_port};
use crate::instance::Instance;

/// Password of the copy tool's account.
pub(crate) const PASSWORD: &str = "tool-Passw0rd";

pub(crate) fn root() -> PathBuf {
    let root = std::env::var_os("MAINSTAY_MARIADB_ROOT").map(PathBuf::from).unwrap_or_default();
    assert!(
        root.join("usr/sbin/mariadbd").exists() && root.join("usr/bin/mariadb-backup").exists(),
        "these tests run a real MariaDB and mariadb-backup: `make test-tools` makes a directory with them, and \
         MAINSTAY_MARIADB_ROOT names it; they need root"
    );
    root
}

/// A running mariadbd.
pub(crate) struct Server {
    child: Child,
    socket: PathBuf,
    pub(crate) port: u16,
}

impl Server {
    /// Starts on an instance's data directory, which must be there.
    pub(crate) async fn start(cluster: &Cluster, instance: &Instance<'_>) -> Server {
        let data = instance.volume().join("data");
        Server::on(cluster, &data, &instance.run_directory(), instance.ordinal, &[]).await
    }

    /// Likewise, but whoever asks it for its version hears this one.
    pub(crate) async fn of_version(cluster: &Cluster, instance: &Instance<'_>, version: &str) -> Server {
        let (data, run) = (instance.volume().join("data"), instance.run_directory());
        Server::on(cluster, &data, &run, instance.ordinal, &[format!("--version={version}")]).await
    }

    async fn on(cluster: &Cluster, data: &Path, run: &Path, ordinal: u32, more: &[String]) -> Server {
        let (port, socket) = (free_port(), run.join("mysql.sock"));
        let log = fs::File::options().create(true).append(true).open(run.join("mariadb.log")).unwrap();
        let child = chroot(cluster, "/usr/sbin/mariadbd")
            .arg("--no-defaults")
            .args([
                format!("--datadir={}", cluster.inside(data)),
                format!("--socket={}", cluster.inside(&socket)),
                format!("--port={port}"),
                format!("--server-id={}", 100 + ordinal),
                format!("--tmpdir={}", cluster.inside(&temporary(run))),
            ])
            .args(["--bind-address=127.0.0.1", "--log-bin=binlog", "--innodb-buffer-pool-size=64M"])
            .args(["--pid-file=/dev/null", "--innodb-log-file-size=32M", "--max-allowed-packet=64M"])
            .args(more)
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Server { child, socket, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.try_client().await.is_err() {
            let log = fs::read_to_string(run.join("mariadb.log")).unwrap_or_default();
            assert!(server.child.try_wait().unwrap().is_none(), "mariadbd ended:\n{log}");
            assert!(Instant::now() < deadline, "mariadbd does not answer:\n{log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        server
    }

    async fn try_client(&self) -> Result<Conn, mysql_async::Error> {
        let socket = self.socket.to_string_lossy().into_owned();
        let options = OptsBuilder::default().socket(Some(socket)).user(Some("root")).prefer_socket(false);
        Conn::new(options).await
    }

    pub(crate) async fn client(&self) -> Conn {
        self.try_client().await.unwrap()
    }

    pub(crate) async fn sql(&self, statement: &str) {
        self.client().await.query_drop(statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }

    pub(crate) async fn row<T: FromRow + Send + 'static>(&self, query: &str) -> T {
        self.client().await.query_first(query).await.unwrap().unwrap()
    }

    /// Of every table that the tests have.
    pub(crate) async fn checksums(&self) -> Vec<(String, u64)> {
        self.client().await.query("CHECKSUM TABLE d.t, d.w EXTENDED").await.unwrap()
    }

    /// Ends it as the kernel would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it cleanly.
    pub(crate) fn stop(mut self) {
        kill("TERM", self.child.id());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap().success());
}

/// A directory for temporary files, for one server: each removes the others' from a common one when it starts.
fn temporary(run: &Path) -> PathBuf {
    let temporary = run.join("tmp");
    fs::create_dir_all(&temporary).unwrap();
    chown(&temporary, Some(USER), Some(USER)).unwrap();
    temporary
}

pub(crate) fn chroot(cluster: &Cluster, program: &str) -> Command {
    let mut command = Command::new("chroot");
    command
        .arg(format!("--userspec={USER}:{USER}"))
        .arg(&cluster.root)
        .arg(program)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Data directories that were loaded once, by their size: loading takes longer than copying.
static TEMPLATE: Mutex<Option<(u64, PathBuf)>> = Mutex::new(None);

/// Puts a data directory with about `mib` MiB of rows into the instance's volume, and the account's option file
/// beside it. Half of each row can't be compressed.
pub(crate) async fn load(cluster: &Cluster, instance: &Instance<'_>, mib: u64) {
    let template = cluster.root.join("t").join(format!("template-{}-{mib}", std::process::id()));
    // Held while it is made: the others wait for it.
    {
        let mut made = TEMPLATE.lock().unwrap_or_else(|e| e.into_inner());
        remove_old(&cluster.root.join("t"));
        if made.as_ref().is_none_or(|(size, _)| *size != mib) {
            if let Some((_, old)) = made.take() {
                let _ = fs::remove_dir_all(old);
            }
            let (cluster_root, target) = (Cluster::in_root(cluster.root.clone()), template.clone());
            // A runtime of its own: the lock must not be held over an await of the test's.
            let make = std::thread::spawn(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(make_template(&cluster_root, &target, mib));
            });
            make.join().unwrap();
            *made = Some((mib, template.clone()));
        }
        let data = instance.volume().join("data");
        let copied = Command::new("cp").arg("-a").arg(&template).arg(&data).status().unwrap();
        assert!(copied.success());
    }
    let account = format!(
        "[client]\nuser=mainstay_backup\npassword=\"{PASSWORD}\"\nsocket={}\n",
        cluster.inside(&instance.run_directory().join("mysql.sock"))
    );
    let path = instance.run_directory().join("backup.cnf");
    let mut file =
        fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, account.as_bytes()).unwrap();
    chown(&path, Some(USER), Some(USER)).unwrap();
}

/// Removes what earlier runs have left.
fn remove_old(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let maker = name.strip_prefix("template-").and_then(|rest| rest.split('-').next()).map(str::to_owned);
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

async fn make_template(cluster: &Cluster, target: &Path, mib: u64) {
    let _ = fs::remove_dir_all(target);
    fs::create_dir_all(target).unwrap();
    chown(target, Some(USER), Some(USER)).unwrap();
    let run = cluster.directory.join("run-template");
    fs::create_dir_all(&run).unwrap();
    chown(&run, Some(USER), Some(USER)).unwrap();
    let installed = chroot(cluster, "/usr/bin/mariadb-install-db")
        // It looks for the host's name, which nobody needs.
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--force"])
        .arg(format!("--datadir={}", cluster.inside(target)))
        .arg(format!("--tmpdir={}", cluster.inside(&temporary(&run))))
        .output()
        .unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let server = Server::on(cluster, target, &run, 0, &[]).await;
    for statement in [
        "SET GLOBAL innodb_flush_log_at_trx_commit = 2",
        &format!("CREATE USER mainstay_backup@localhost IDENTIFIED BY '{PASSWORD}'"),
        "GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, REPLICATION CLIENT, SELECT ON *.* \
         TO mainstay_backup@localhost",
        "CREATE USER repl@'%' IDENTIFIED BY 'repl-Passw0rd'",
        "GRANT REPLICATION SLAVE ON *.* TO repl@'%'",
        "CREATE DATABASE d",
        "CREATE TABLE d.t (id INT PRIMARY KEY, b BLOB)",
        "CREATE TABLE d.w (id INT AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6), \
         b VARCHAR(500))",
    ] {
        server.sql(statement).await;
    }
    // 7 MiB a statement.
    let mut client = server.client().await;
    client.query_drop("SET sql_log_bin = 0").await.unwrap();
    // 1024 bytes at once are the most.
    let random = ["RANDOM_BYTES(1000)"; 4].join(", ");
    for part in 0..mib.div_ceil(7) {
        let from = part * 900;
        let insert = format!(
            "INSERT INTO d.t SELECT seq + {from}, CONCAT({random}, REPEAT('x', 4000)) FROM d.seq_1_to_900"
        );
        client.query_drop(insert).await.unwrap();
    }
    drop(client);
    server.stop();
}

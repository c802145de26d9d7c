//! What the instances of one test share.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use mainstay_proto::pod;

use crate::instance::Instance;
use crate::pki::Pki;

pub(crate) const NAMESPACE: &str = "db";
/// The user that everything runs as; the root directory has it as `mysql`.
pub(crate) const USER: u32 = 999;
pub(crate) const PASSWORDS: [(&str, &str); 4] = [
    ("root", "root-Passw0rd'\\x"),
    ("operator", "operator-Passw0rd"),
    ("replication", "replication-Passw0rd"),
    ("clone", "clone-Passw0rd"),
];

/// One test's directory in the root, removed with it.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) root: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) pki: Pki,
}

impl Cluster {
    pub(crate) fn new() -> Cluster {
        let root = std::env::var_os("MAINSTAY_MYSQL_ROOT").map(PathBuf::from).unwrap_or_default();
        assert!(
            root.join("usr/sbin/mysqld").exists(),
            "these tests run a real MySQL: `make test-tools` makes a directory with one, and MAINSTAY_MYSQL_ROOT \
             names it; they need root"
        );
        Cluster::in_root(root)
    }

    /// A cluster in a root directory with a server.
    pub(crate) fn in_root(root: PathBuf) -> Cluster {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let id = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("c{}", &id[..8]);
        let directory = root.join("t").join(&name);
        fs::create_dir_all(&directory).unwrap();
        // A link, where it can be: a file that was open for writing while another test forked is "busy" for a moment.
        let (program, place) = (env!("CARGO_BIN_EXE_mainstay-agent"), directory.join("agent"));
        fs::hard_link(program, &place).or_else(|_| fs::copy(program, &place).map(drop)).unwrap();
        let cluster = Cluster { pki: Pki::new(NAMESPACE, &name), name, id, root, directory };
        cluster.resolve();
        cluster.mount(
            "config",
            &[
                ("common.cnf", "[mysqld]\ninnodb_buffer_pool_size=64M\n"),
                ("primary.cnf", ""),
                ("replica.cnf", ""),
            ],
        );
        cluster.mount("credentials", &PASSWORDS);
        let pki = &cluster.pki;
        cluster.mount(
            "tls",
            &[
                ("ca.crt", &pki.authority),
                ("tls.crt", &pki.instance.certificate),
                ("tls.key", &pki.instance.key),
            ],
        );
        cluster
    }

    /// A directory as a ConfigMap or Secret would be mounted.
    pub(crate) fn mount(&self, name: &str, files: &[(&str, &str)]) {
        let path = self.directory.join(name);
        fs::create_dir_all(&path).unwrap();
        for (key, text) in files {
            fs::write(path.join(key), text).unwrap();
            chown(path.join(key), Some(USER), Some(USER)).unwrap();
            fs::set_permissions(path.join(key), fs::Permissions::from_mode(0o640)).unwrap();
        }
    }

    /// The instances' names, which their certificates are for, lead to this machine.
    fn resolve(&self) {
        let names = (0..4).map(|i| format!("127.0.0.1 {}\n", pod::host(NAMESPACE, &self.name, i)));
        // Appended in one write: other tests do the same at this moment.
        let mut hosts =
            fs::File::options().create(true).append(true).open(self.root.join("etc/hosts")).unwrap();
        hosts.write_all(names.collect::<String>().as_bytes()).unwrap();
    }

    /// An instance with an empty volume; nothing runs yet.
    pub(crate) fn instance(&self, ordinal: u32) -> Instance<'_> {
        let volume = self.directory.join(format!("volume-{ordinal}"));
        let run = self.directory.join(format!("run-{ordinal}"));
        for path in [&volume, &run] {
            fs::create_dir_all(path).unwrap();
            chown(path, Some(USER), Some(USER)).unwrap();
        }
        Instance::new(self, ordinal)
    }

    /// A path as the agent sees it.
    pub(crate) fn inside(&self, path: &Path) -> String {
        format!("/{}", path.strip_prefix(&self.root).unwrap().display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A port that nobody listens on, below those that the kernel gives to outgoing connections: one of these would be
/// taken again before its server starts.
pub(crate) fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(uuid::Uuid::new_v4().as_fields().1));
    loop {
        let port = 12_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 18_000;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

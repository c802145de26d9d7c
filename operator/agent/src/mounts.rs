//! What changes in the mounted Secrets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::credentials::Credentials;
use crate::settings::Settings;

/// What was last seen in the mounts.
pub(crate) struct Mounts {
    credentials: PathBuf,
    tls: PathBuf,
    every: Duration,
    last_credentials: Option<Credentials>,
    last_tls: Option<Certificates>,
}

/// The files of the mounted certificate.
pub(crate) type Certificates = [Vec<u8>; 3];

/// What changed since the last look.
pub(crate) struct Changed {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) tls: bool,
}

impl Mounts {
    pub(crate) fn new(settings: &Settings) -> Self {
        Mounts {
            credentials: settings.credentials.clone(),
            tls: settings.tls.clone(),
            every: Duration::from_secs(settings.mounts_seconds.max(1)),
            last_credentials: Credentials::read(&settings.credentials).ok(),
            last_tls: certificates(&settings.tls).ok(),
        }
    }

    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// Looks again. What can't be read at the moment has not changed.
    pub(crate) fn look(&mut self) -> Changed {
        let credentials = Credentials::read(&self.credentials).ok();
        let credentials = credentials.filter(|now| self.last_credentials.as_ref() != Some(now));
        if credentials.is_some() {
            self.last_credentials.clone_from(&credentials);
        }
        let tls = certificates(&self.tls).ok().filter(|now| self.last_tls.as_ref() != Some(now));
        let changed = tls.is_some();
        if changed {
            self.last_tls = tls;
        }
        Changed { credentials, tls: changed }
    }
}

/// Reads the mounted certificate.
pub(crate) fn certificates(directory: &Path) -> std::io::Result<Certificates> {
    let read = |name| std::fs::read(directory.join(name));
    Ok([read("ca.crt")?, read("tls.crt")?, read("tls.key")?])
}

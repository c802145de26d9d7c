//! Passwords: read from the mounted Secret, shown to nobody.

use std::fmt;
use std::io;
use std::path::Path;

use mainstay_proto::pod::credentials as keys;
use rand::RngExt;
use rand::distr::Alphanumeric;

/// A password. Its `Debug` does not show it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(String);

impl Password {
    /// A password that is known elsewhere.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Password(text.into())
    }

    /// A new random one with about 190 bits.
    pub(crate) fn random() -> Self {
        Password(rand::rng().sample_iter(Alphanumeric).take(32).map(char::from).collect())
    }

    /// The password itself: only for the server's protocol, the init file and `client.cnf`.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A password can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// The file can't be read.
    #[error("can't read the password {key:?} of the credentials: {source}")]
    Read {
        /// Key in the Secret.
        key: &'static str,
        /// The error.
        source: io::Error,
    },
    /// The file is empty: an account without a password is never made.
    #[error("the password {0:?} of the credentials is empty")]
    Empty(&'static str),
}

/// The passwords in the mounted Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// `root@'%'`.
    pub(crate) root: Password,
    /// `mainstay_operator@'%'`.
    pub(crate) operator: Password,
    /// `mainstay_repl@'%'`.
    pub(crate) replication: Password,
    /// `mainstay_clone@'%'`.
    pub(crate) clone: Password,
}

impl Credentials {
    /// Reads the mounted Secret.
    pub(crate) fn read(directory: &Path) -> Result<Self, CredentialsError> {
        let read = |key: &'static str| {
            let text = std::fs::read_to_string(directory.join(key))
                .map_err(|source| CredentialsError::Read { key, source })?;
            // Secrets made by hand often end in a newline, which nobody means.
            let text = text.trim_end_matches(['\n', '\r']);
            if text.is_empty() { Err(CredentialsError::Empty(key)) } else { Ok(Password::new(text)) }
        };
        Ok(Credentials {
            root: read(keys::ROOT)?,
            operator: read(keys::OPERATOR)?,
            replication: read(keys::REPLICATION)?,
            clone: read(keys::CLONE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", Some(Password::new("hidden"))), "Some(***)");
    }

    #[test]
    fn an_empty_password_is_an_error_and_a_trailing_newline_is_not_part_of_one() {
        let directory = crate::testing::directory();
        for key in [keys::ROOT, keys::OPERATOR, keys::REPLICATION, keys::CLONE] {
            std::fs::write(directory.join(key), format!("{key}-pw\n")).unwrap();
        }
        let credentials = Credentials::read(&directory).unwrap();
        assert_eq!(credentials.root.reveal(), "root-pw");
        std::fs::write(directory.join(keys::CLONE), "\n").unwrap();
        assert!(matches!(Credentials::read(&directory), Err(CredentialsError::Empty("clone"))));
    }
}

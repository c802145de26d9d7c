//! Passwords: read from the mounted Secret, shown to nobody.

use std::fmt;
use std::io;
use std::path::Path;

use mainstay_proto::password::{REPLICATION_LONGEST, Unfit, trimmed, unfit};
use mainstay_proto::pod::credentials as keys;
use sha2::{Digest, Sha256};

/// A password. Its `Debug` does not show it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(String);

impl Password {
    /// A password that is known elsewhere.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Password(text.into())
    }

    /// One that only who knows `secret` can know, without characters that would need quoting: the same after every
    /// start, so that the account that has it need not be touched.
    fn derived(secret: &Password, purpose: &str) -> Self {
        let digest = Sha256::new().chain_update(purpose).chain_update([0]).chain_update(&secret.0).finalize();
        Password(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The password itself: only for the server's protocol, for what is kept of it, and for `client.cnf`.
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
    /// A replica can't be given it.
    #[error(
        "the replication password of the mounted Secret is longer than {REPLICATION_LONGEST} characters, which MySQL \
         does not take (error 3056)"
    )]
    TooLong,
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

/// The passwords of accounts that are reached from within the pod alone. They are in no Secret: they follow from the
/// operator's password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    /// The agent's.
    pub(crate) agent: Password,
    /// The copy tools'.
    pub(crate) backup: Password,
}

impl Own {
    /// Those of a cluster with these passwords.
    pub(crate) fn of(credentials: &Credentials) -> Self {
        Own {
            agent: Password::derived(&credentials.operator, "mainstay agent"),
            backup: Password::derived(&credentials.operator, "mainstay backup"),
        }
    }
}

impl Credentials {
    /// Whether the replication password is one that a replica can be given. One that is not is not adopted: replicas
    /// and source stay with the one that they have.
    pub(crate) fn replication_fits(&self) -> bool {
        self.replication.0.chars().count() <= REPLICATION_LONGEST
    }

    /// The first that is not to be adopted by a server that has others, and why. The replication password's length is not
    /// asked for: the others are adopted all the same.
    pub(crate) fn unfit(&self) -> Option<(&'static str, Unfit)> {
        let all = [
            (keys::ROOT, &self.root),
            (keys::OPERATOR, &self.operator),
            (keys::REPLICATION, &self.replication),
            (keys::CLONE, &self.clone),
        ];
        let judged =
            all.into_iter().filter_map(|(key, password)| Some((key, unfit(key, password.0.as_bytes())?)));
        judged.into_iter().find(|(_, why)| *why != Unfit::TooLongForReplication)
    }

    /// Reads the mounted Secret.
    pub(crate) fn read(directory: &Path) -> Result<Self, CredentialsError> {
        let read = |key: &'static str| {
            let text = std::fs::read_to_string(directory.join(key))
                .map_err(|source| CredentialsError::Read { key, source })?;
            let text = trimmed(&text);
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
        std::fs::write(directory.join(keys::CLONE), "two\nlines").unwrap();
        let credentials = Credentials::read(&directory).unwrap();
        assert_eq!(
            credentials.unfit(),
            Some(("clone", Unfit::Control)),
            "it can start, but adopts nothing new"
        );
    }
}

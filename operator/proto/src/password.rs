//! What a password of the mounted Secret must be: the operator says it of the Secret, and the agent adopts no other.

use std::fmt;

use crate::pod::credentials::REPLICATION;

/// Most characters of the replication password. Source: MySQL manual, "CHANGE REPLICATION SOURCE TO Statement",
/// `SOURCE_PASSWORD`; more are refused with error 3056.
pub const REPLICATION_LONGEST: usize = 32;
/// Most bytes of any password: `caching_sha2_password` lets nobody log in with more. Source: MySQL's
/// `MAX_PLAINTEXT_LENGTH`.
pub const LONGEST: usize = 256;

/// Why a password can't be adopted. It never shows the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Some of it is no UTF-8.
    NotUtf8,
    /// There is nothing but line breaks at most: an account without a password is never made.
    Empty,
    /// A control character, such as a line break, is within it: a NUL ends it for the server, a line break for an option
    /// file.
    Control,
    /// It is longer than [`LONGEST`].
    TooLong,
    /// It is for replication and longer than [`REPLICATION_LONGEST`].
    TooLongForReplication,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NotUtf8 => f.write_str("is not UTF-8"),
            Unfit::Empty => f.write_str("is empty"),
            Unfit::Control => f.write_str("has a control character in it, such as a line break"),
            Unfit::TooLong => write!(f, "has more than {LONGEST} bytes, which MySQL does not take"),
            Unfit::TooLongForReplication => write!(
                f,
                "has more than {REPLICATION_LONGEST} characters, which MySQL does not take for replication (error 3056)"
            ),
        }
    }
}

/// The password in a value of the Secret: those made by hand often end in a newline, which nobody means.
pub fn trimmed(value: &str) -> &str {
    value.trim_end_matches(['\n', '\r'])
}

/// Why the value of `key` is no password that could be adopted, if it is none.
pub fn unfit(key: &str, value: &[u8]) -> Option<Unfit> {
    let Ok(text) = std::str::from_utf8(value) else { return Some(Unfit::NotUtf8) };
    let text = trimmed(text);
    if text.is_empty() {
        Some(Unfit::Empty)
    } else if text.contains(char::is_control) {
        Some(Unfit::Control)
    } else if key == REPLICATION && text.chars().count() > REPLICATION_LONGEST {
        Some(Unfit::TooLongForReplication)
    } else {
        (text.len() > LONGEST).then_some(Unfit::TooLong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mysql_or_an_option_file_would_not_take_is_unfit() {
        let (most, for_replication) = ("x".repeat(LONGEST), "\u{e4}".repeat(REPLICATION_LONGEST));
        let more = |text: &str| format!("{text}x").into_bytes();
        let cases: [(&str, Vec<u8>, Option<Unfit>); 12] = [
            ("root", b"secret".to_vec(), None),
            ("root", b"with 'quotes' \\ and \xc3\xa4".to_vec(), None),
            ("root", b"made by hand\r\n".to_vec(), None),
            ("root", b"".to_vec(), Some(Unfit::Empty)),
            ("root", b"\n".to_vec(), Some(Unfit::Empty)),
            ("root", b"\xff\xfe".to_vec(), Some(Unfit::NotUtf8)),
            ("root", b"two\nlines".to_vec(), Some(Unfit::Control)),
            ("operator", b"nul\0".to_vec(), Some(Unfit::Control)),
            ("clone", more(&most), Some(Unfit::TooLong)),
            ("clone", most.clone().into_bytes(), None),
            ("replication", more(&for_replication), Some(Unfit::TooLongForReplication)),
            ("replication", for_replication.clone().into_bytes(), None),
        ];
        for (key, value, expected) in cases {
            assert_eq!(unfit(key, &value), expected, "{key}: {value:?}");
        }
    }
}

//! What `caching_sha2_password` keeps of a password (`mysql.user.authentication_string`).
//!
//! An account that is given this instead of the password asks neither a password-checking component nor
//! `password_history`, and no statement holds the password. It is SHA-crypt (Drepper, "Unix crypt using SHA-256 and
//! SHA-512") with 5000 rounds, but with a salt of 20 bytes: crates cut it to the 16 of the specification.

use sha2::{Digest, Sha256};

/// The plugin.
pub(crate) const PLUGIN: &str = "caching_sha2_password";
/// Digest (`A`: SHA-256) and thousands of rounds, in hexadecimal.
const PREFIX: &str = "$A$005$";
const ROUNDS: usize = 5000;
/// Bytes of the salt.
const SALT: usize = 20;
/// SHA-crypt's own alphabet.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The order in which SHA-crypt encodes the digest's bytes, three at a time.
const ORDER: [[usize; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

/// What the server keeps of `password`. The salt is made of the password and `purpose`, so that the same password of
/// the same account is always kept the same, and an account that has it already is left alone.
pub(crate) fn hash(password: &str, purpose: &str) -> String {
    let seed = Sha256::new()
        .chain_update(purpose.as_bytes())
        .chain_update([0])
        .chain_update(password.as_bytes())
        .finalize();
    let salt: Vec<u8> = seed.iter().take(SALT).map(|byte| ALPHABET[usize::from(byte & 0x3f)]).collect();
    with_salt(password, &salt)
}

/// Whether `kept` was made of `password`, with whatever salt.
pub(crate) fn matches(kept: &str, password: &str) -> bool {
    let salt = kept.strip_prefix(PREFIX).and_then(|rest| rest.as_bytes().get(..SALT));
    salt.is_some_and(|salt| with_salt(password, salt) == kept)
}

fn with_salt(password: &str, salt: &[u8]) -> String {
    format!("{PREFIX}{}{}", String::from_utf8_lossy(salt), encode(&digest(password.as_bytes(), salt)))
}

/// SHA-crypt's digest; the numbers are the specification's steps.
fn digest(password: &[u8], salt: &[u8]) -> [u8; 32] {
    // 4 to 8.
    let other = Sha256::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    // 1 to 3, 9 to 12.
    let mut first = Sha256::new().chain_update(password).chain_update(salt);
    first.update(repeated(&other, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            first.update(other);
        } else {
            first.update(password);
        }
        bits >>= 1;
    }
    let mut digest: [u8; 32] = first.finalize().into();
    // 13 to 20.
    let passwords = times(password, password.len());
    let p = repeated(&passwords, password.len());
    let s = repeated(&times(salt, 16 + usize::from(digest[0])), salt.len());
    // 21.
    for round in 0..ROUNDS {
        let mut next = Sha256::new();
        let odd = round % 2 == 1;
        next.update(if odd { p.as_slice() } else { digest.as_slice() });
        if round % 3 != 0 {
            next.update(&s);
        }
        if round % 7 != 0 {
            next.update(&p);
        }
        next.update(if odd { digest.as_slice() } else { p.as_slice() });
        digest = next.finalize().into();
    }
    digest
}

/// The digest of `text`, so many times.
fn times(text: &[u8], count: usize) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for _ in 0..count {
        hasher.update(text);
    }
    hasher.finalize().into()
}

/// So many bytes of `block`, again and again.
fn repeated(block: &[u8], length: usize) -> Vec<u8> {
    block.iter().copied().cycle().take(length).collect()
}

fn encode(digest: &[u8; 32]) -> String {
    let mut text = String::with_capacity(43);
    let mut push = |value: u32, characters: u32| {
        for place in 0..characters {
            text.push(char::from(ALPHABET[(value >> (6 * place) & 0x3f) as usize]));
        }
    };
    for [a, b, c] in ORDER {
        push(u32::from(digest[a]) << 16 | u32::from(digest[b]) << 8 | u32::from(digest[c]), 4);
    }
    push(u32::from(digest[31]) << 8 | u32::from(digest[30]), 3);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_specifications() {
        // `openssl passwd -5 -salt saltstring 'Hello world!'`.
        let found = encode(&digest(b"Hello world!", b"saltstring"));
        assert_eq!(found, "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
    }

    #[test]
    fn the_same_password_of_the_same_account_is_kept_the_same() {
        let kept = hash("pw", "root");
        assert_eq!(kept.len(), 70);
        assert_eq!(kept, hash("pw", "root"));
        assert_ne!(kept, hash("pw", "clone"));
        assert!(
            matches(&kept, "pw")
                && !matches(&kept, "other")
                && !matches("", "pw")
                && !matches("$A$005$x", "pw")
        );
    }
}

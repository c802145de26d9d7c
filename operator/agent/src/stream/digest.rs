//! The digest of a stream: what arrived is what the tool wrote, byte for byte.
//!
//! XXH3 with 128 bits. It guards against faults (a buffer lost or doubled, a decompressor gone wrong), not against
//! attackers, whom TLS keeps out; and it costs nothing beside TLS: on one core of the machine that this was
//! measured on, 20 GiB/s, where BLAKE3 came to 5 GiB/s and SHA-256, in hardware, to 0.8 GiB/s, which would have
//! been the slowest part of the path.

use xxhash_rust::xxh3::Xxh3;

/// Digest and length of what has passed.
#[derive(Clone, Default)]
pub(crate) struct Digest {
    hasher: Xxh3,
    bytes: u64,
}

impl Digest {
    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }

    /// Bytes that have passed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest with the length, as text that both sides compare.
    pub(crate) fn text(&self) -> String {
        format!("xxh3:{:032x}:{}", self.hasher.digest128(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(parts: &[&[u8]]) -> String {
        let mut digest = Digest::default();
        for part in parts {
            digest.update(part);
        }
        digest.text()
    }

    #[test]
    fn it_tells_a_flipped_bit_a_lost_and_a_doubled_part_and_not_how_it_was_cut() {
        let whole = digest(&[b"one", b"two", b"three"]);
        assert_eq!(digest(&[b"onetwo", b"three"]), whole);
        for other in [
            digest(&[b"one", b"two", b"thref"]),
            digest(&[b"one", b"three"]),
            digest(&[b"one", b"two", b"two", b"three"]),
        ] {
            assert_ne!(other, whole);
        }
    }
}

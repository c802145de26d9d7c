//! Body of the fuzz target `marker`.

// It is in no binary but those that are to fail.
#![allow(clippy::expect_used)]

use super::marker::{VERSION, parse, render};

/// Reads a marker.
///
/// Whatever it holds: what is accepted is written and read back as it was, and cut short it is none. Tells whether it
/// was accepted.
pub fn marker(input: &[u8]) -> bool {
    let Ok(marker) = parse(input) else { return false };
    assert!(marker.version <= VERSION);
    let written = render(&marker).expect("what was read can be written");
    assert_eq!(parse(&written).expect("what was written can be read"), marker);
    let whole = written.trim_ascii_end();
    for cut in [0, whole.len() / 2, whole.len() - 1] {
        assert!(parse(&whole[..cut]).is_err(), "cut at {cut}");
    }
    true
}

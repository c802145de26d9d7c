//! What the fuzz targets in `fuzz/` call. Each takes any bytes, fails by a panic, and tells whether the bytes were
//! accepted for what they claim to be. The committed seeds go through them in every run of the unit tests too, so that
//! neither can rot.

pub use crate::stream::fuzzing::{frame, information};
pub use crate::volume::fuzzing::marker;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Seeds of a target: those named `ok-…` are accepted, those named `bad-…` are not.
    fn seeds(target: &str, body: fn(&[u8]) -> bool) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut accepted = [0, 0];
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let expected = match name.split_once('-') {
                Some(("ok", _)) => true,
                Some(("bad", _)) => false,
                _ => panic!("{name} says neither ok nor bad"),
            };
            assert_eq!(body(&std::fs::read(path).unwrap()), expected, "{target}: {name}");
            accepted[usize::from(expected)] += 1;
        }
        assert!(accepted.iter().all(|count| *count > 2), "{target} has hardly any seeds: {accepted:?}");
    }

    #[test]
    fn the_seeds_are_read_as_their_names_say() {
        seeds("frame", frame);
        seeds("information", information);
        seeds("marker", marker);
    }
}

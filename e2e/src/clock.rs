//! What a test prints, with the time since it began.

use std::fmt::Arguments;
use std::sync::LazyLock;
use std::time::Instant;

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Prints a line with the seconds since the first one; use [`crate::note!`].
pub fn note(what: Arguments<'_>) {
    eprintln!("[{:7.1}] {what}", BEGAN.elapsed().as_secs_f64());
}

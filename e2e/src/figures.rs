//! Figures that benchmarks print.

use std::time::Duration;

/// A line of the table: what, and how much.
pub type Figure = (String, String);

/// Prints a table.
#[allow(clippy::print_stdout, reason = "the table is what a benchmark is for")]
pub fn print(figures: &[Figure]) {
    println!();
    for (what, figure) in figures {
        println!("{what:<60} {figure}");
    }
}

/// With one digit after the point.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Bytes in a time.
pub fn rate(bytes: u64, took: Duration) -> String {
    let mib = bytes as f64 / 1024.0 / 1024.0;
    format!("{:.0} MiB/s ({mib:.0} MiB in {})", mib / took.as_secs_f64(), seconds(took))
}

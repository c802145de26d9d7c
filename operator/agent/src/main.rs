//! The agent in each MySQL pod.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstay_agent::main()
}

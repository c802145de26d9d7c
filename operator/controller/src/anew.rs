//! Beginning anew once the Lease is lost.
//!
//! Everything of the old term must have ended before anything of the next begins: so the process is replaced by itself,
//! with all its threads and connections, and stands by as it did at first. Kubernetes sees no container end, and does
//! not make it wait longer each time, as it does with one that ends again and again.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;

/// The Lease is lost, and another operator may act.
#[derive(Debug, thiserror::Error)]
#[error("this operator no longer leads")]
pub(crate) struct NoLongerLeads;

/// Whether that is why the operator ended.
pub(crate) fn is_due(outcome: &anyhow::Result<()>) -> bool {
    outcome.as_ref().is_err_and(|error| error.downcast_ref::<NoLongerLeads>().is_some())
}

/// Replaces the process by itself. Returns only if that fails.
pub(crate) fn begin() -> anyhow::Error {
    let program = match std::env::current_exe().context("beginning anew") {
        Ok(program) => program,
        Err(error) => return error,
    };
    let error = Command::new(program).args(std::env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context("beginning anew")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_lease_calls_for_it() {
        let lost = anyhow::anyhow!("it could not be renewed").context(NoLongerLeads);
        assert!(is_due(&Err(lost)));
        assert!(!is_due(&Err(anyhow::anyhow!("the watches ended"))));
        assert!(!is_due(&Ok(())));
    }
}

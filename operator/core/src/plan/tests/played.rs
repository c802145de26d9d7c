//! The names of steps, as the tables of `docs/design.md` have them; and those that there are.

use std::collections::BTreeSet;

use strum::VariantNames;

use crate::step::StepKind;
use crate::{ClaimStep, Step, Unneeded};

/// The name of a step, down to why a claim goes: that decides what guards it.
pub(super) fn name(step: &Step) -> String {
    match step {
        Step::Claim { step: ClaimStep::Delete { unneeded, .. }, .. } => {
            format!("{} ({})", step.kind(), <&str>::from(unneeded))
        }
        _ => step.kind().to_owned(),
    }
}

/// The names of all steps.
pub(super) fn all() -> BTreeSet<String> {
    let delete = <&str>::from(StepKind::DeleteClaim);
    let plain = StepKind::VARIANTS.iter().filter(|kind| **kind != delete).map(ToString::to_string);
    plain.chain(Unneeded::VARIANTS.iter().map(|why| format!("{delete} ({why})"))).collect()
}

//! The steps that were played, by name; and those that there are.

use std::collections::BTreeSet;

use strum::VariantNames;

use crate::{ClaimStep, NodeStep, ObjectStep, PodStep, Step, Unneeded, VolumeStep};

/// The name of a step, down to why a claim goes.
pub(super) fn name(step: &Step) -> String {
    let of = |inner: &str| format!("{} {inner}", step.as_ref());
    match step {
        Step::Record { .. } | Step::Order { .. } | Step::AskReport { .. } => step.as_ref().to_owned(),
        Step::Pod { step, .. } => of(step.as_ref()),
        Step::Claim { step: ClaimStep::Delete { unneeded, .. }, .. } => {
            of(&format!("Delete {}", unneeded.as_ref()))
        }
        Step::Claim { step, .. } => of(step.as_ref()),
        Step::Volume { step, .. } => of(step.as_ref()),
        Step::Node { step, .. } => of(step.as_ref()),
        Step::Object(step) => of(step.as_ref()),
    }
}

/// The names of all steps.
pub(super) fn all() -> BTreeSet<String> {
    let each = |outer: &str, inner: &[&str]| inner.iter().map(|name| format!("{outer} {name}")).collect();
    let of = |outer: &&str| -> Vec<String> {
        match *outer {
            "Record" | "Order" | "AskReport" => vec![(*outer).to_owned()],
            "Pod" => each(outer, PodStep::VARIANTS),
            "Claim" => {
                let but_delete = ClaimStep::VARIANTS.iter().copied().filter(|name| *name != "Delete");
                let mut all: Vec<String> = each(outer, &but_delete.collect::<Vec<_>>());
                all.extend(each("Claim Delete", Unneeded::VARIANTS));
                all
            }
            "Volume" => each(outer, VolumeStep::VARIANTS),
            "Node" => each(outer, NodeStep::VARIANTS),
            "Object" => each(outer, ObjectStep::VARIANTS),
            other => panic!("nobody says what there is of {other}"),
        }
    };
    Step::VARIANTS.iter().flat_map(of).collect()
}

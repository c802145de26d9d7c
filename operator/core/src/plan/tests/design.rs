//! `docs/design.md` has each step with what guards it, and says which steps come of which state. What it says is held
//! against the code here, and against every turn of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use strum::VariantNames;

use super::played::{all, name};
use super::well::with_facts;
use crate::state::{self, ClusterState};
use crate::{Observation, Plan};

const DESIGN: &str = include_str!("../../../../../docs/design.md");

/// The rows of the table whose first column is headed so.
fn table(head: &str) -> Vec<Vec<&'static str>> {
    let head = format!("| {head} |");
    let rows = DESIGN.lines().skip_while(|line| !line.starts_with(&head));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The names in a cell: each `A`, or `A` (`B`).
fn names(cell: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let parts: Vec<&str> = cell.split('`').collect();
    for pair in parts.chunks_exact(2) {
        match names.last_mut().filter(|_| pair[0] == " (") {
            Some(last) => *last = format!("{last} ({})", pair[1]),
            None => names.push(pair[1].to_owned()),
        }
    }
    names
}

/// Steps by state: those that are its own, and those that come before them in every state that has them.
static BY_STATE: LazyLock<BTreeMap<String, BTreeSet<String>>> = LazyLock::new(|| {
    let mut by_state = BTreeMap::new();
    let mut before: BTreeSet<String> = BTreeSet::new();
    for row in table("state") {
        let steps: BTreeSet<String> = names(row[2]).into_iter().collect();
        match names(row[0]).into_iter().next() {
            // "Every other", from here on.
            None => before = steps,
            Some(state) => drop(by_state.insert(state, steps.union(&before).cloned().collect())),
        }
    }
    by_state
});

/// The step that a plan comes to is one of those that `docs/design.md` tells of the state.
pub(super) fn tells_of(o: &Observation, plan: &Plan) {
    let Some(step) = plan.step.as_ref().map(name) else { return };
    let state = with_facts(o, |facts| <&str>::from(state::classify(facts)));
    assert!(BY_STATE[state].contains(&step), "docs/design.md does not say that {step} comes of {state}");
}

#[test]
fn every_step_is_told_once_with_what_guards_it() {
    let rows = table("step");
    let mut told: Vec<String> = rows.iter().flat_map(|row| names(row[0])).collect();
    told.sort_unstable();
    assert_eq!(told, all().into_iter().collect::<Vec<_>>());
    for row in rows {
        assert!(row.len() == 3 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}

#[test]
fn every_state_is_told_and_every_step_comes_of_one() {
    let states: BTreeSet<String> = ClusterState::VARIANTS.iter().map(ToString::to_string).collect();
    assert_eq!(BY_STATE.keys().cloned().collect::<BTreeSet<_>>(), states);
    let come: BTreeSet<String> = BY_STATE.values().flatten().cloned().collect();
    assert_eq!(come, all());
}

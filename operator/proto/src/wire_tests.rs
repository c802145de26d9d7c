//! Recorded bytes of agents and operators that were released: they are read still, and what is said to them is what they
//! know.

use serde_json::Value;

use crate::{Action, Answer, Directory, Order, Refusal, Report, Server, Task, TaskState, Term};

/// Every recorded message of a kind, by its file.
macro_rules! recorded {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../tests/wire/0.1.0/", $name, ".json")))),*]
    };
}

const REPORTS: [(&str, &str); 5] =
    recorded!["report-primary", "report-replica", "report-stopped", "report-cloning", "report-foreign"];
const ORDERS: [(&str, &str); 6] = recorded![
    "order-initialize",
    "order-clone",
    "order-receive",
    "order-lead",
    "order-follow",
    "order-standdown",
];
const ANSWERS: [(&str, &str); 2] = recorded!["answer-accepted", "answer-refused"];

fn report(name: &str) -> Report {
    let (_, text) = REPORTS.into_iter().find(|(recorded, _)| *recorded == name).unwrap();
    serde_json::from_str(text).unwrap()
}

fn order(name: &str) -> Order {
    let (_, text) = ORDERS.into_iter().find(|(recorded, _)| *recorded == name).unwrap();
    serde_json::from_str(text).unwrap()
}

/// Everything in `old` is in `new` too, and is the same there.
fn holds(new: &Value, old: &Value, at: &str) {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            for (key, value) in old.iter().filter(|(_, value)| !value.is_null()) {
                holds(
                    new.get(key).unwrap_or_else(|| panic!("{at}.{key} is gone")),
                    value,
                    &format!("{at}.{key}"),
                );
            }
        }
        _ => assert_eq!(new, old, "{at}"),
    }
}

/// What is read from `text` and written again still says all that it said.
fn survives<T: serde::de::DeserializeOwned + serde::Serialize>(name: &str, text: &str) {
    let read: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    holds(&serde_json::to_value(read).unwrap(), &serde_json::from_str(text).unwrap(), name);
}

#[test]
fn reports_of_earlier_agents_are_read_and_nothing_of_them_is_lost() {
    REPORTS.into_iter().for_each(|(name, text)| survives::<Report>(name, text));
    ANSWERS.into_iter().for_each(|(name, text)| survives::<Answer>(name, text));
}

#[test]
fn what_an_earlier_agent_is_ordered_is_what_it_knows() {
    ORDERS.into_iter().for_each(|(name, text)| survives::<Order>(name, text));
}

#[test]
fn reports_of_earlier_agents_mean_what_they_meant() {
    let primary = report("report-primary");
    assert_eq!(primary.highest, Term { epoch: 3, revision: 41 });
    let Server::Running { state } = primary.server else { panic!() };
    assert!(state.read_at.is_some() && state.channel.is_none());
    assert!(matches!(report("report-cloning").directory, Directory::Partial { copied: true, .. }));
    assert!(report("report-stopped").ending);
    let refused: Answer = serde_json::from_str(ANSWERS[1].1).unwrap();
    assert!(matches!(refused, Answer::Refused { reason: Refusal::Outdated, .. }));
}

#[test]
fn a_task_of_an_earlier_agent_is_told_by_its_record_and_one_of_today_by_its_id() {
    let old = report("report-cloning").task.unwrap();
    assert_eq!((old.id.as_str(), &old.state), ("", &TaskState::Running));
    let clone = Order { id: "3.41-Clone-a".into(), ..order("order-clone") };
    assert!(old.is_of(&clone));
    assert!(!old.is_of(&Order { revision: 42, ..clone.clone() }));
    assert!(!old.is_of(&Order { action: Action::StandDown, ..clone.clone() }));
    let new = Task { id: clone.id.clone(), ..old };
    assert!(new.is_of(&clone));
    assert!(!new.is_of(&Order { id: "3.41-Clone-b".into(), ..clone }));
}

#[test]
fn an_earlier_operators_order_is_one_without_an_id() {
    assert_eq!(order("order-lead").id, "");
    assert!(order("order-lead").disabled_events.is_some());
}

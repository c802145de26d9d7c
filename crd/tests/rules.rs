//! The rules in both their forms, over the same cases.

#![allow(clippy::expect_used, reason = "a test that can't go on says why")]

mod cases;

use std::collections::BTreeSet;

use cases::{Verdict, changes, creations};
use kube::core::cel::Validator;
use mainstay_crd::rules::{validate, validate_name};
use mainstay_crd::{MySQLCluster, manifest};
use serde_json::Value;

fn schema() -> Value {
    let crd = manifest::crd();
    let schema = crd.spec.versions[0].schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
    serde_json::to_value(schema.expect("the version has a schema")).expect("it serialises")
}

/// What the CEL rules of the CRD say.
fn refusals(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(schema, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => vec![errors.to_string()],
    }
}

/// What is wrong with `messages` as an answer, if anything.
fn judge(name: &str, verdict: Verdict, messages: &[String]) -> Option<String> {
    let right = match verdict {
        Verdict::Accepted => messages.is_empty(),
        Verdict::Refused(why) => messages.iter().any(|message| message.contains(why)),
        Verdict::Misshapen(_) => true,
    };
    (!right).then(|| format!("{name} should be {verdict:?}, but: {messages:?}\n"))
}

#[test]
fn the_rust_form_judges_every_case_as_it_should() {
    let mut wrong = String::new();
    for case in creations() {
        // What has not the shape can't be read, so that nothing is left to judge.
        let Ok(cluster) = serde_json::from_value::<MySQLCluster>(case.object.clone()) else {
            assert!(matches!(case.verdict, Verdict::Misshapen(_)), "{} can't be read", case.name);
            continue;
        };
        let name = cluster.metadata.name.as_deref().and_then(validate_name);
        let found = name.into_iter().chain(validate(&cluster.spec)).map(|violation| violation.message);
        wrong.extend(judge(&case.name, case.verdict, &found.collect::<Vec<_>>()));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_cel_form_judges_every_case_as_it_should() {
    let schema = schema();
    let judged = creations()
        .into_iter()
        .filter_map(|c| judge(&c.name, c.verdict, &refusals(&schema, &defaulted(&c.object), None)));
    let wrong: String = judged.collect();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_cel_form_judges_every_change_as_it_should() {
    let schema = schema();
    let judged = changes().into_iter().filter_map(|change| {
        let (from, to) = (defaulted(&change.from), defaulted(&change.to));
        judge(&change.name, change.verdict, &refusals(&schema, &to, Some(&from)))
    });
    let wrong: String = judged.collect();
    assert!(wrong.is_empty(), "{wrong}");
}

/// The API server fills defaults in before it asks the rules; here the types do.
fn defaulted(object: &Value) -> Value {
    match serde_json::from_value::<MySQLCluster>(object.clone()) {
        Ok(cluster) => serde_json::to_value(cluster).expect("a cluster serialises"),
        Err(_) => object.clone(),
    }
}

#[test]
fn every_rule_refuses_something_in_the_cases() {
    let verdicts = creations().into_iter().map(|c| c.verdict).chain(changes().into_iter().map(|c| c.verdict));
    let reasons: BTreeSet<&str> = verdicts
        .filter_map(|verdict| match verdict {
            Verdict::Refused(why) => Some(why),
            _ => None,
        })
        .collect();
    let mut messages = BTreeSet::new();
    collect_messages(&schema(), &mut messages);
    assert!(messages.len() >= 20, "{messages:?}");
    for message in messages {
        assert!(
            reasons.iter().any(|why| why.contains(&message) || message.contains(why)),
            "no case for: {message}"
        );
    }
}

fn collect_messages(schema: &Value, messages: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for rule in map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                messages.insert(rule["message"].as_str().expect("every rule has a message").to_owned());
            }
            map.values().for_each(|value| collect_messages(value, messages));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_messages(value, messages)),
        _ => {}
    }
}

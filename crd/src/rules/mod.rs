//! What a spec must obey beyond its shape.
//!
//! Each rule stands in one table, twice: as a CEL expression, which goes into the CRD so that the API server refuses
//! what can't work, and as a Rust function, which [`validate`] applies to objects that an older CRD let through.
//! Rules about changes exist in CEL only: the operator never sees the old spec.
//!
//! The tests run both forms over the same cases (`tests/cases`); `e2e/tests/api.rs` runs those against an API server.

mod config;
mod entries;
mod node_loss;
mod pattern;
mod pod;
mod retention;
mod storage;

use std::borrow::Cow;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use schemars::Schema;
use serde_json::{Map, Value, json};

use crate::names::MAX_REPLICAS;
use crate::spec::{CloneCompression, CloneMethod, MySQLClusterSpec};
use pattern::Pattern;

/// What adds rules to a schema.
type AddRules = fn(&mut Schema);

/// The rules about each part of the object, by its path.
pub(crate) const BY_PATH: &[(&str, AddRules)] = &[
    ("spec", spec),
    ("spec.clone.limits", pod::clone_limits),
    ("spec.config.common", config::config_entries),
    ("spec.config.primary", config::config_entries),
    ("spec.config.replica", config::config_entries),
    ("spec.nodeLoss.whenProven", node_loss::when_proven),
    ("spec.podMetadata.annotations", entries::annotations),
    ("spec.podMetadata.labels", entries::labels),
    ("spec.podSecurity", pod::pod_security),
    ("spec.resources", pod::resources),
    ("spec.service.metadata.annotations", entries::annotations),
    ("spec.service.metadata.labels", entries::labels),
    ("spec.storage", storage::storage),
    ("spec.storage.local", node_loss::local_volumes),
    ("spec.storage.retention", retention::retention),
    ("spec.storage.retention.whenDeleted", retention::keep_or_delete),
    ("spec.storage.retention.whenScaled", retention::keep_or_delete),
];

/// A DNS label of at most 40 characters, which leaves room for the children's suffixes.
static NAME: Pattern = Pattern::new("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$");
/// What is said of another name.
const NAME_MESSAGE: &str = "name must be at most 40 lower-case letters, digits and dashes, begin with a letter and \
                            not end with a dash: the names of pods and Services are made from it";

/// Part of a spec that the operator can't carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, as in `spec.storage.size`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// What is wrong with `name` as a cluster's name, if anything.
pub fn validate_name(name: &str) -> Option<Violation> {
    (!NAME.matches(name)).then(|| Violation { field: "metadata.name".into(), message: NAME_MESSAGE.into() })
}

/// The rules about the whole object, for [`crate::manifest::crd`]: its name, and changes that hang on the status.
pub(crate) fn root_rules() -> Vec<ValidationRule> {
    let name = ValidationRule {
        rule: format!("self.metadata.name.{}", NAME.cel()),
        message: Some(NAME_MESSAGE.into()),
        ..ValidationRule::default()
    };
    let changes = storage::root_transitions().map(|change| ValidationRule {
        rule: change.cel.into_owned(),
        message: Some(change.message.into()),
        field_path: Some(format!(".{}", change.field)),
        ..ValidationRule::default()
    });
    [name].into_iter().chain(changes).collect()
}

/// Everything in `spec` that can't be carried out; empty if all can.
pub fn validate(spec: &MySQLClusterSpec) -> Vec<Violation> {
    let mut found = Vec::new();
    check(&spec_rules(), spec, "spec", &mut found);
    check(&storage::rules(), &spec.storage, "spec.storage", &mut found);
    if let Some(retention) = &spec.storage.retention {
        let path = "spec.storage.retention";
        check(&retention::rules(), retention, path, &mut found);
        let parts = [("whenScaled", &retention.when_scaled), ("whenDeleted", &retention.when_deleted)];
        for (name, part) in parts {
            part.iter()
                .for_each(|p| check(&retention::keep_rules(), p, &format!("{path}.{name}"), &mut found));
        }
    }
    if let Some(proof) = spec.node_loss.as_ref().and_then(|loss| loss.when_proven.as_ref()) {
        check(&node_loss::proof_rules(), proof, "spec.nodeLoss.whenProven", &mut found);
    }
    if let Some(local) = &spec.storage.local {
        check(&node_loss::local_rules(), local, "spec.storage.local", &mut found);
    }
    if let Some(resources) = &spec.resources {
        check(&pod::resource_rules(), resources, "spec.resources", &mut found);
    }
    if let Some(security) = &spec.pod_security {
        check(&pod::security_rules(), security, "spec.podSecurity", &mut found);
    }
    if let Some(limits) = spec.clone.as_ref().and_then(|c| c.limits.as_ref()) {
        check(&pod::clone_rules(), limits, "spec.clone.limits", &mut found);
    }
    if let Some(config) = &spec.config {
        let parts = [("common", &config.common), ("primary", &config.primary), ("replica", &config.replica)];
        for (name, part) in parts {
            entries::check(&config::rules(), part, &format!("spec.config.{name}"), &mut found);
        }
    }
    let service = spec.service.as_ref().and_then(|s| s.metadata.as_ref());
    for (path, metadata) in
        [("spec.service.metadata", service), ("spec.podMetadata", spec.pod_metadata.as_ref())]
    {
        if let Some(metadata) = metadata {
            entries::check(&entries::label_rules(), &metadata.labels, &format!("{path}.labels"), &mut found);
            let annotations = &metadata.annotations;
            entries::check(
                &entries::annotation_rules(),
                annotations,
                &format!("{path}.annotations"),
                &mut found,
            );
        }
    }
    found
}

/// A rule about one value.
pub(crate) struct Rule<T> {
    /// The field that it is about, below `self`.
    pub(crate) field: &'static str,
    /// What must be, and what to do.
    pub(crate) message: &'static str,
    /// The rule in CEL; `self` is a `T`.
    pub(crate) cel: String,
    /// The same rule in Rust.
    pub(crate) holds: fn(&T) -> bool,
}

/// A rule about a change, in CEL; `self` is the new value and `oldSelf` the old one.
pub(crate) struct Transition {
    pub(crate) field: &'static str,
    pub(crate) message: &'static str,
    pub(crate) cel: Cow<'static, str>,
}

fn check<T>(rules: &[Rule<T>], value: &T, path: &str, found: &mut Vec<Violation>) {
    let broken = rules.iter().filter(|rule| !(rule.holds)(value));
    found.extend(
        broken.map(|r| Violation { field: format!("{path}.{}", r.field), message: r.message.into() }),
    );
}

impl<T> Rule<T> {
    fn to_json(&self) -> Value {
        json!({"rule": self.cel, "message": self.message, "fieldPath": format!(".{}", self.field)})
    }
}

impl Transition {
    fn to_json(&self) -> Value {
        json!({"rule": self.cel, "message": self.message, "fieldPath": format!(".{}", self.field)})
    }
}

/// Adds rules to a schema; the key is that of Kubernetes' extension.
fn add(schema: &mut Schema, rules: impl IntoIterator<Item = Value>) {
    let list = schema.ensure_object().entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    if let Value::Array(list) = list {
        list.extend(rules);
    }
}

/// The schema of a property, if there is one of that name.
fn property<'a>(schema: &'a mut Schema, name: &str) -> Option<&'a mut Map<String, Value>> {
    schema.ensure_object().get_mut("properties")?.get_mut(name)?.as_object_mut()
}

fn spec_rules() -> Vec<Rule<MySQLClusterSpec>> {
    vec![
        Rule {
            field: "replicas",
            message: "replicas must be from 1 to 9: one primary, the others replicas",
            cel: format!("self.replicas >= 1 && self.replicas <= {MAX_REPLICAS}"),
            holds: |spec| u32::try_from(spec.replicas).is_ok_and(|n| (1..=MAX_REPLICAS).contains(&n)),
        },
        Rule {
            field: "image",
            message: "image must be an image's name with an optional tag or digest, such as mysql:9.7",
            cel: format!("self.image.{}", pod::IMAGE.cel()),
            holds: |spec| pod::IMAGE.matches(&spec.image),
        },
        Rule {
            field: "clone",
            message: "clone.image must be an image's name with an optional tag or digest",
            cel: format!(
                "!has(self.clone) || !has(self.clone.image) || self.clone.image.{}",
                pod::IMAGE.cel()
            ),
            holds: |spec| {
                spec.clone
                    .as_ref()
                    .and_then(|c| c.image.as_ref())
                    .is_none_or(|image| pod::IMAGE.matches(image))
            },
        },
        Rule {
            field: "clone",
            message: "clone.image must be given for the method XtraBackup if the tag of image does not begin with \
                      a version, as in mysql:9.7: the tool must be of the server's series",
            cel: format!(
                "!has(self.clone) || has(self.clone.image) || !({STREAMED}) || self.image.{}",
                pod::VERSIONED_IMAGE.cel()
            ),
            holds: |spec| {
                let asked = spec.clone.as_ref().is_some_and(|c| c.chosen() == CloneMethod::XtraBackup);
                !asked || spec.copy_tool_image().is_some()
            },
        },
        Rule {
            field: "clone",
            message: "clone.compress is for the method XtraBackup: the plugin's clones go as they are",
            cel: format!("!has(self.clone) || self.clone.compress == 'None' || ({STREAMED})"),
            holds: |spec| {
                spec.clone.as_ref().is_none_or(|c| {
                    c.chosen() == CloneMethod::XtraBackup || c.compress == CloneCompression::None
                })
            },
        },
        Rule {
            field: "adopt",
            message: "adopt must be a cluster's id, as in its status.clusterId and on its volumes' label \
                      mysql.mainstay.dev/cluster-id; leave it out to adopt nothing",
            cel: format!("!has(self.adopt) || self.adopt.{}", pod::CLUSTER_ID.cel()),
            holds: |spec| spec.adopt.as_ref().is_none_or(|id| pod::CLUSTER_ID.matches(id)),
        },
    ]
}

/// Whether `self.clone` asks for the method XtraBackup: [`crate::spec::CloneSpec::chosen`] in CEL.
const STREAMED: &str = "has(self.clone.method) ? self.clone.method == 'XtraBackup' : has(self.clone.image)";

/// Schema transform of [`MySQLClusterSpec`].
fn spec(schema: &mut Schema) {
    for (field, length) in [("image", 512), ("adopt", 63)] {
        if let Some(schema) = property(schema, field) {
            schema.insert("maxLength".into(), json!(length));
        }
    }
    if let Some(Value::Object(clone)) =
        property(schema, "clone").and_then(|clone| clone.get_mut("properties"))
        && let Some(Value::Object(image)) = clone.get_mut("image")
    {
        image.insert("maxLength".into(), json!(512));
    }
    add(schema, spec_rules().iter().map(Rule::to_json));
    add(schema, config::transitions().iter().map(Transition::to_json));
}

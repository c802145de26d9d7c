//! The CustomResourceDefinition as it is applied: generated from the types, without what only fills space.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use schemars::Schema;

use crate::rules;
use crate::spec::MySQLCluster;

/// Fields whose types are Kubernetes' own: it describes what is below them, in many times the space.
const KUBERNETES_TYPES: &[&str] = &[
    "affinity",
    "conditions",
    "imagePullSecrets",
    "resources",
    "selector",
    "tolerations",
    "topologySpreadConstraints",
];

/// The definition of `MySQLCluster`.
///
/// No field is `nullable`: the API server then drops a null, so that null and absent are one, for CEL's `has()` too.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = MySQLCluster::crd();
    // Helm leaves it, and with it all clusters, when the chart is uninstalled.
    let keep = ("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    crd.metadata.annotations = Some(BTreeMap::from([keep]));
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            add_rules(schema);
            tidy(schema, false);
            schema.x_kubernetes_validations = Some(rules::root_rules());
        }
    }
    crd
}

/// [`crd`] as YAML.
///
/// # Errors
/// If it can't be serialised.
pub fn yaml() -> Result<String, serde_norway::Error> {
    let header = "# Generated from crd/src by crdgen: `make generate`.\n";
    Ok(format!("{header}{}", serde_norway::to_string(&crd())?))
}

/// Adds the rules to the schemas of what they are about.
fn add_rules(schema: &mut JSONSchemaProps) {
    for (path, add) in rules::BY_PATH {
        let at =
            path.split('.').try_fold(&mut *schema, |schema, name| schema.properties.as_mut()?.get_mut(name));
        let Some(at) = at else { continue };
        let Ok(mut value) = serde_json::to_value(&*at).and_then(serde_json::from_value::<Schema>) else {
            continue;
        };
        add(&mut value);
        if let Ok(with_rules) = serde_json::from_value(value.to_value()) {
            *at = with_rules;
        }
    }
}

fn tidy(schema: &mut JSONSchemaProps, strip_descriptions: bool) {
    schema.nullable = None;
    schema.default.take_if(|default| default.0.is_null());
    if strip_descriptions {
        schema.description = None;
    }
    for (name, property) in schema.properties.iter_mut().flatten() {
        let description = property.description.clone();
        let foreign = KUBERNETES_TYPES.contains(&name.as_str());
        tidy(property, strip_descriptions || foreign);
        if foreign && !strip_descriptions {
            property.description = description;
        }
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items, strip_descriptions),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => {
            all.iter_mut().for_each(|s| tidy(s, strip_descriptions))
        }
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values, strip_descriptions);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn visit(schema: &JSONSchemaProps, path: &str, found: &mut Vec<(String, JSONSchemaProps)>) {
        found.push((path.to_owned(), schema.clone()));
        for (name, property) in schema.properties.iter().flatten() {
            visit(property, &format!("{path}.{name}"), found);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            visit(items, &format!("{path}[]"), found);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            visit(values, &format!("{path}{{}}"), found);
        }
    }

    fn schemas() -> Vec<(String, JSONSchemaProps)> {
        let crd = crd();
        let schema = crd.spec.versions[0].schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
        let mut found = Vec::new();
        visit(schema.expect("the version has a schema"), "", &mut found);
        found
    }

    #[test]
    fn the_committed_manifest_is_what_the_types_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../charts/mainstay-crds/templates/mysqlclusters.yaml");
        let committed = std::fs::read_to_string(path).expect("the manifest can be read");
        let generated = yaml().expect("the CRD serialises");
        // Not assert_eq: both are some thousand lines.
        assert!(committed == generated, "the manifest differs from the types: run `make generate`");
    }

    #[test]
    fn the_manifest_is_no_template_to_helm() {
        assert!(!yaml().expect("the CRD serialises").contains("{{"));
    }

    #[test]
    fn every_schema_is_structural() {
        for (path, schema) in schemas() {
            let typed = schema.type_.is_some() || schema.x_kubernetes_int_or_string == Some(true);
            assert!(typed, "{path} has neither a type nor int-or-string: {schema:?}");
            assert!(
                schema.any_of.is_none() && schema.one_of.is_none(),
                "{path} has alternatives: {schema:?}"
            );
        }
    }

    #[test]
    fn what_people_write_is_described() {
        for (path, schema) in schemas() {
            let ours = path.starts_with(".spec") && !path.ends_with(['}', ']']);
            let foreign = KUBERNETES_TYPES.iter().any(|name| path.contains(&format!(".{name}")));
            assert!(!ours || foreign || schema.description.is_some(), "{path} has no description");
        }
    }

    #[test]
    fn sizes_may_be_numbers_or_strings() {
        for field in [".spec.storage.size", ".spec.clone.limits.bytesPerSecond", ".spec.resources.limits{}"] {
            let (_, schema) = schemas().into_iter().find(|(path, _)| path == field).expect(field);
            assert_eq!(schema.x_kubernetes_int_or_string, Some(true), "{field}");
        }
    }

    #[test]
    fn conditions_are_a_map_by_type_and_instances_by_name() {
        for (field, key) in [(".status.conditions", "type"), (".status.instances", "name")] {
            let (_, schema) = schemas().into_iter().find(|(path, _)| path == field).expect(field);
            assert_eq!(schema.x_kubernetes_list_type.as_deref(), Some("map"), "{field}");
            assert_eq!(schema.x_kubernetes_list_map_keys, Some(vec![key.to_owned()]), "{field}");
        }
    }
}

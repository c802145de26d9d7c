//! Objects by path, with uid, resourceVersion and generation as the real one keeps them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use kube::Client;
use serde_json::{Value, json};

use super::fields;

/// A request that was made, without reads of single objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The part of the path after the namespace: `secrets/shop-ca`.
    pub(crate) what: String,
}

/// The API server.
#[derive(Clone, Default)]
pub(crate) struct Api(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    objects: BTreeMap<String, Value>,
    version: u64,
    requests: Vec<Request>,
    /// Answers with this status to writes of what ends like this.
    refused: Option<(String, u16)>,
    absent: Option<String>,
    /// Dry runs that were asked for, and what ends those that are refused.
    dry_runs: Vec<String>,
    no_dry_run: Option<String>,
    /// Requests that are not answered, ever.
    swallowed: usize,
}

impl Api {
    pub(crate) fn client(&self) -> Client {
        Client::new(Router::new().fallback(answer).with_state(self.clone()), "db")
    }

    /// Puts an object there, as somebody else would.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut world = self.world();
        world.version += 1;
        let version = world.version;
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(version.to_string());
        if meta["uid"].is_null() {
            meta["uid"] = json!(format!("uid-{version}"));
        }
        if meta["generation"].is_null() {
            meta["generation"] = json!(1);
        }
        world.objects.insert(path.into(), object);
    }

    /// Changes an object, as somebody else would.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let before = self.get(path).unwrap();
        let mut object = before.clone();
        edit(&mut object);
        fields::take(&before, &mut object);
        self.put(path, object);
    }

    /// Removes an object, as somebody else would.
    pub(crate) fn remove(&self, path: &str) {
        let mut world = self.world();
        world.version += 1;
        world.objects.remove(path);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.world().objects.get(path).cloned()
    }

    /// All objects of a kind, by its plural.
    pub(crate) fn list(&self, plural: &str) -> Vec<Value> {
        let of_kind = |path: &str| path.rsplit('/').nth(1) == Some(plural);
        self.world().objects.iter().filter(|(path, _)| of_kind(path)).map(|(_, o)| o.clone()).collect()
    }

    /// The requests since the last call, without events.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.world().requests)
    }

    /// Counts every change, but for events.
    pub(crate) fn version(&self) -> u64 {
        self.world().version
    }

    /// From now on answers with `status` to writes of what ends like `what`.
    pub(crate) fn refuse(&self, what: &str, status: u16) {
        self.world().refused = Some((what.into(), status));
    }

    /// From now on refuses dry runs of what ends like `what`.
    pub(crate) fn refuse_dry_runs(&self, what: &str) {
        self.world().no_dry_run = Some(what.into());
    }

    /// All dry runs that were ever asked for.
    pub(crate) fn dry_runs(&self) -> Vec<String> {
        self.world().dry_runs.clone()
    }

    /// Does not answer the next `number` requests, ever.
    pub(crate) fn swallow(&self, number: usize) {
        self.world().swallowed = number;
    }

    /// There is no such API group.
    pub(crate) fn without(&self, group: &str) {
        self.world().absent = Some(format!("/apis/{group}/"));
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

async fn answer(
    State(api): State<Api>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let swallowed = {
        let mut world = api.world();
        let swallows = world.swallowed > 0;
        world.swallowed = world.swallowed.saturating_sub(1);
        swallows
    };
    if swallowed {
        return std::future::pending().await;
    }
    answer_at_once(&api, method, &uri, &headers, &body)
}

fn answer_at_once(api: &Api, method: Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
    let mut world = api.world();
    let path = uri.path().to_owned();
    let what = path.split("/namespaces/db/").nth(1).unwrap_or(&path).to_owned();
    if uri.query().is_some_and(|query| query.contains("dryRun=All")) {
        world.dry_runs.push(what.clone());
        let refused = world.no_dry_run.as_ref().is_some_and(|refused| what.ends_with(refused.as_str()));
        let sent = || success(&serde_json::from_slice::<Value>(body).unwrap_or_default());
        return if refused { failure(422, "refused by the test") } else { sent() };
    }
    let event = what.starts_with("events");
    if !event {
        world.requests.push(Request { method: method.clone(), what: what.clone() });
    }
    if world.absent.as_ref().is_some_and(|group| path.starts_with(group)) {
        // No status, as an API server answers then.
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    }
    if let Some((refused, status)) = &world.refused
        && method != Method::GET
        && what.ends_with(refused.as_str())
    {
        return failure(*status, "refused by the test");
    }
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    match method {
        Method::GET if path.ends_with("/controllerrevisions") || path.ends_with("/events") => {
            let within = format!("{path}/");
            let items: Vec<&Value> =
                world.objects.iter().filter(|(at, _)| at.starts_with(&within)).map(|(_, o)| o).collect();
            success(&json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
        }
        Method::GET => world.objects.get(&path).map_or_else(|| failure(404, "not found"), success),
        Method::POST => world.create(&path, sent, event),
        Method::PATCH if event => world.count(&path, &sent),
        Method::PATCH => {
            let applies = headers[header::CONTENT_TYPE].to_str().unwrap().contains("apply");
            world.patch(&path, sent, applies)
        }
        Method::PUT => world.replace(&path, sent),
        Method::DELETE => world.delete(&path, &sent["preconditions"]),
        other => panic!("nobody asks for {other}"),
    }
}

impl World {
    fn create(&mut self, collection: &str, object: Value, event: bool) -> Response {
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = format!("{collection}/{name}");
        if event {
            // Written when there is time for it: no test shall depend on when that is.
            self.objects.insert(path, object.clone());
            return success(&object);
        }
        if self.objects.contains_key(&path) {
            return failure(409, "already exists");
        }
        self.store(path, object, None)
    }

    /// An event that has occurred again.
    fn count(&mut self, path: &str, patch: &Value) -> Response {
        let Some(event) = self.objects.get_mut(path) else { return failure(404, "not found") };
        merge(event, patch);
        success(event)
    }

    fn patch(&mut self, path: &str, patch: Value, applies: bool) -> Response {
        let (path, status) = path.strip_suffix("/status").map_or((path, false), |path| (path, true));
        let patch = if applies { fields::manage(patch) } else { patch };
        let Some(old) = self.objects.get(path).cloned() else {
            if patch["metadata"]["uid"].is_string() {
                return failure(409, "uid mismatch: no existing object was found");
            }
            return if applies { self.store(path.into(), patch, None) } else { failure(404, "not found") };
        };
        for precondition in ["uid", "resourceVersion"] {
            let asked = &patch["metadata"][precondition];
            if !asked.is_null() && *asked != old["metadata"][precondition] {
                return failure(409, "the object has been modified");
            }
        }
        let mut new = old.clone();
        if status {
            merge(&mut new["status"], &patch["status"])
        } else {
            merge(&mut new, &patch)
        }
        // As of every StatefulSet.
        let claims = |set: &Value| set["spec"]["volumeClaimTemplates"].clone();
        if path.contains("/statefulsets/") && claims(&new) != claims(&old) {
            return failure(422, "updates to statefulset spec are forbidden");
        }
        if new == old { success(&old) } else { self.store(path.into(), new, Some(&old)) }
    }

    fn replace(&mut self, path: &str, object: Value) -> Response {
        let Some(old) = self.objects.get(path).cloned() else { return failure(404, "not found") };
        if object["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
            return failure(409, "the object has been modified");
        }
        self.store(path.into(), object, Some(&old))
    }

    fn delete(&mut self, path: &str, preconditions: &Value) -> Response {
        let Some(old) = self.objects.get(path) else { return failure(404, "not found") };
        if !preconditions["uid"].is_null() && preconditions["uid"] != old["metadata"]["uid"] {
            return failure(409, "another object");
        }
        let version = &preconditions["resourceVersion"];
        if !version.is_null() && *version != old["metadata"]["resourceVersion"] {
            return failure(409, "the object has been modified");
        }
        let old = old.clone();
        self.objects.remove(path);
        self.version += 1;
        success(&old)
    }

    fn store(&mut self, path: String, mut object: Value, old: Option<&Value>) -> Response {
        self.version += 1;
        let version = self.version;
        let generation = match old {
            Some(old) if old["spec"] == object["spec"] => old["metadata"]["generation"].clone(),
            Some(old) => json!(old["metadata"]["generation"].as_i64().unwrap() + 1),
            None => json!(1),
        };
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(version.to_string());
        meta["generation"] = generation;
        if meta["uid"].is_null() {
            meta["uid"] = json!(format!("uid-{version}"));
        }
        self.objects.insert(path, object.clone());
        success(&object)
    }
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}

fn success(object: &Value) -> Response {
    axum::Json(object).into_response()
}

fn failure(code: u16, message: &str) -> Response {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "Invalid",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code});
    (StatusCode::from_u16(code).unwrap(), axum::Json(status)).into_response()
}

//! Writes what a plan wants, by server-side apply under one field manager. Nothing else in the controller writes objects
//! (but the Lease and the Secrets, which one replica must win).

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource};
use serde_json::Value;
use tokio::time::Instant;

use super::lead::Leading;

/// Who we are in `managedFields`.
pub const FIELD_MANAGER: &str = "agent-waypoint";
/// The same object is not applied again sooner, however much its live form differs from the plan.
const AGAIN: Duration = Duration::from_secs(10);
/// Objects of which is remembered what was applied.
const REMEMBERED: usize = 65_536;

/// One object, or its status, as a plan wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its API.
    pub resource: ApiResource,
    /// `None` for cluster-wide kinds.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Whole object or status.
    pub part: Part,
    /// `metadata`, `spec`, .., or `status`; apiVersion, kind and name are added.
    pub body: Value,
    /// Under which manager; [`FIELD_MANAGER`], or one of its own for what is released by itself.
    pub manager: &'static str,
}

/// What of an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// All but the status.
    Object,
    /// The `status` subresource.
    Status,
}

impl Wanted {
    /// An object of a kind that is known when compiling.
    pub fn object<K: Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str, body: Value) -> Self {
        Self::dynamic(ApiResource::erase::<K>(&()), namespace, name, Part::Object, body)
    }

    /// The status of an object of a kind that is known when compiling.
    pub fn status<K: Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str, status: &Value) -> Self {
        let body = serde_json::json!({"status": status});
        Self::dynamic(ApiResource::erase::<K>(&()), namespace, name, Part::Status, body)
    }

    /// Anything.
    pub fn dynamic(resource: ApiResource, namespace: Option<&str>, name: &str, part: Part, body: Value) -> Self {
        let namespace = namespace.map(str::to_owned);
        Self { resource, namespace, name: name.to_owned(), part, body, manager: FIELD_MANAGER }
    }

    /// `Kind namespace/name`
    pub fn title(&self) -> String {
        let namespace = self.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{} {namespace}{}", self.resource.kind, self.name)
    }

    /// The whole patch.
    fn patch(&self) -> Value {
        let mut body = self.body.clone();
        if let Value::Object(fields) = &mut body {
            fields.insert("apiVersion".to_owned(), self.resource.api_version.clone().into());
            fields.insert("kind".to_owned(), self.resource.kind.clone().into());
            let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Value::Object(metadata) = metadata {
                metadata.insert("name".to_owned(), self.name.clone().into());
                if let Some(namespace) = &self.namespace {
                    metadata.insert("namespace".to_owned(), namespace.clone().into());
                }
            }
        }
        body
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.body.to_string().hash(&mut hasher);
        hasher.finish()
    }
}

/// Writes, as long as this replica leads.
pub struct Applier {
    client: Client,
    leading: Leading,
    done: HashMap<(String, Part), Done>,
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applier").field("leading", &self.leading.is_leading()).finish_non_exhaustive()
    }
}

/// What was applied last.
#[derive(Debug, Clone, Copy)]
struct Done {
    hash: u64,
    at: Instant,
}

impl Applier {
    /// One for each planner.
    pub fn new(client: Client, leading: Leading) -> Self {
        Self { client, leading, done: HashMap::new() }
    }

    /// Whether this replica may write now.
    pub fn is_leading(&self) -> bool {
        self.leading.is_leading()
    }

    /// Tells when that changes.
    pub fn leading(&self) -> Leading {
        self.leading.clone()
    }

    /// Applies what is wanted and not there. `live` is the object as the view has it. Failures are logged, and tried
    /// again with the next plan. Whether all that is wanted is there now.
    pub async fn apply(&mut self, wanted: &[(Wanted, Option<Value>)]) -> bool {
        let mut whole = true;
        for (want, live) in wanted {
            if self.leading.is_leading() && self.is_due(want, live.as_ref()) {
                whole &= self.write(want).await;
            }
        }
        whole
    }

    /// Whether it changed since we applied it, or the live object no longer holds it.
    fn is_due(&self, want: &Wanted, live: Option<&Value>) -> bool {
        match self.done.get(&(want.title(), want.part)) {
            Some(done) if done.hash == want.hash() => {
                done.at.elapsed() >= AGAIN && !live.is_some_and(|live| holds(live, &want.body))
            }
            Some(_) => true,
            // A status has nobody else's leftovers in it: what is there need not be written once more at every start.
            None => want.part == Part::Object || !live.is_some_and(|live| holds(live, &want.body)),
        }
    }

    async fn write(&mut self, want: &Wanted) -> bool {
        let api: Api<DynamicObject> = match &want.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &want.resource),
            None => Api::all_with(self.client.clone(), &want.resource),
        };
        let (params, patch) = (PatchParams::apply(want.manager).force(), Patch::Apply(want.patch()));
        let written = match want.part {
            Part::Object => api.patch(&want.name, &params, &patch).await,
            Part::Status => api.patch_status(&want.name, &params, &patch).await,
        };
        match written {
            Ok(_) => {
                tracing::info!(object = want.title(), part = ?want.part, "applied");
                if self.done.len() >= REMEMBERED {
                    // What is forgotten is applied once more, and no harm done.
                    self.done.clear();
                }
                self.done.insert((want.title(), want.part), Done { hash: want.hash(), at: Instant::now() });
                true
            }
            Err(error) => {
                tracing::warn!(object = want.title(), part = ?want.part, %error, "not applied; tried again");
                false
            }
        }
    }
}

/// Whether `live` has everything that `wanted` has. Lists are compared entry by entry: where the API server adds entries
/// of its own, they are applied once more and no harm is done.
pub fn holds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| live.get(key).is_some_and(|live| holds(live, wanted)))
        }
        // Conditions are a map by their type: those of others stand between them.
        (Value::Array(live), Value::Array(wanted)) if wanted.iter().all(is_condition) && !wanted.is_empty() => {
            let same = |one: &Value, other: &Value| one.get("type") == other.get("type");
            wanted.iter().all(|wanted| live.iter().any(|live| same(live, wanted) && holds(live, wanted)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| holds(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

fn is_condition(value: &Value) -> bool {
    ["type", "status", "reason"].iter().all(|field| value.get(field).is_some_and(Value::is_string))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::super::fake;
    use super::*;

    #[test]
    fn what_others_add_does_not_matter() {
        let wanted = json!({"spec": {"ports": [{"port": 1}], "x": {"y": true}}});
        let rows = [
            (
                json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "x": {"y": true, "z": 1}}, "status": {}}),
                true,
            ),
            (json!({"spec": {"ports": [{"port": 2}], "x": {"y": true}}}), false),
            (json!({"spec": {"ports": [{"port": 1}, {"port": 2}], "x": {"y": true}}}), false),
            (json!({"spec": {"x": {"y": true}}}), false),
        ];
        for (live, held) in rows {
            assert_eq!(holds(&live, &wanted), held, "{live}");
        }
    }

    #[test]
    fn conditions_of_others_do_not_matter() {
        let one = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "R"});
        let wanted = json!([one("A", "True"), one("B", "True")]);
        assert!(holds(&json!([one("X", "False"), one("B", "True"), one("A", "True")]), &wanted));
        assert!(!holds(&json!([one("A", "True"), one("B", "False")]), &wanted));
        assert!(!holds(&json!([one("A", "True")]), &wanted));
    }

    #[tokio::test]
    async fn an_object_is_applied_once_again_when_the_plan_changes_and_after_a_while_when_it_was_tampered_with() {
        let server = fake::Server::start();
        let mut applier = Applier::new(server.client(), Leading::always());
        let want = |port: u16| {
            Wanted::object::<Service>(Some("tools"), "waypoint", json!({"spec": {"ports": [{"port": port}]}}))
        };
        assert!(applier.apply(&[(want(1), None)]).await);
        assert!(applier.apply(&[(want(1), None)]).await);
        assert_eq!(server.writes(), ["apply services tools/waypoint agent-waypoint"]);
        assert_eq!(server.get("services", "tools/waypoint").unwrap()["spec"]["ports"][0]["port"], 1);
        assert!(applier.apply(&[(want(2), None)]).await);
        assert_eq!(server.writes().len(), 2);
        tokio::time::pause();
        tokio::time::advance(AGAIN).await;
        tokio::time::resume();
        let whole = server.get("services", "tools/waypoint");
        assert!(applier.apply(&[(want(2), whole)]).await);
        assert_eq!(server.writes().len(), 2, "the live object holds it");
        assert!(applier.apply(&[(want(2), Some(json!({"spec": {"ports": []}})))]).await);
        assert_eq!(server.writes().len(), 3);
    }

    #[tokio::test]
    async fn nobody_else_writes() {
        let server = fake::Server::start();
        let (_candidate, leading) = super::super::lead::Candidate::new(&server.client(), "system", "x");
        let mut applier = Applier::new(server.client(), leading);
        applier.apply(&[(Wanted::object::<Service>(Some("tools"), "waypoint", json!({})), None)]).await;
        assert!(server.writes().is_empty());
    }
}

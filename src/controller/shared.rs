//! Lists in a status to which several controllers write.
//!
//! Istio's CRDs do not say how `status.conditions` merges, and those of the Gateway API that `status.parents` and
//! `status.ancestors` do not: to
//! server-side apply both are one value, and whoever applies his entries takes everybody else's away (Kubernetes, "Merge
//! strategy"). So ours are put among the others, which stay as they were read, under the version that was read: with any
//! other the write fails, and is planned anew.

use std::fmt;

use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::events::{About, Events};
use super::lead::Leading;
use super::provision::CONTROLLER_NAME;

/// Who we are in `managedFields`.
const MANAGER: &str = "agent-waypoint-status";
/// Types of our conditions begin so.
const OUR_TYPES: &str = "agent-waypoint.dev/";

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `status.conditions`, of which ours are those of our types.
    Conditions,
    /// `status.parents` of a route, of which ours name our controller.
    Parents,
    /// `status.ancestors` of a policy of the Gateway API, of which ours name our controller.
    Ancestors,
}

impl List {
    fn field(self) -> &'static str {
        match self {
            Self::Conditions => "conditions",
            Self::Parents => "parents",
            Self::Ancestors => "ancestors",
        }
    }

    /// Whether an entry is ours.
    pub fn is_ours(self, entry: &Value) -> bool {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        match self {
            Self::Conditions => text("type").starts_with(OUR_TYPES),
            Self::Parents | Self::Ancestors => text("controllerName") == CONTROLLER_NAME,
        }
    }

    /// The entries of a live object.
    pub fn of(self, live: &Value) -> &[Value] {
        let list = live.get("status").and_then(|status| status.get(self.field()));
        list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Whether a live object has any of ours.
    pub fn has_ours(self, live: &Value) -> bool {
        self.of(live).iter().any(|one| self.is_ours(one))
    }
}

/// What our entries in one list should be.
#[derive(Debug, Clone)]
pub struct Entries {
    /// The API of the object.
    pub resource: ApiResource,
    /// The object as it was read, with its `metadata`.
    pub live: Value,
    /// Which list.
    pub list: List,
    /// Ours; none: there should be none.
    pub ours: Vec<Value>,
}

impl Entries {
    /// The whole list, others' entries as they are; none where it holds ours already.
    fn merged(&self) -> Option<Vec<Value>> {
        let before = self.list.of(&self.live);
        if before.iter().filter(|one| self.list.is_ours(one)).eq(&self.ours) {
            return None;
        }
        let others = before.iter().filter(|one| !self.list.is_ours(one));
        Some(others.chain(&self.ours).cloned().collect())
    }

    fn meta(&self, field: &str) -> &str {
        self.live.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Writes entries, as long as this replica leads.
pub struct Sharer {
    client: Client,
    leading: Leading,
    events: Events,
}

impl fmt::Debug for Sharer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharer").field("leading", &self.leading.is_leading()).finish_non_exhaustive()
    }
}

impl Sharer {
    /// One for each planner.
    pub fn new(client: Client, leading: Leading) -> Self {
        let events = Events::new(client.clone(), leading.clone());
        Self { client, leading, events }
    }

    /// Writes what is not there, and says what somebody must act on. Failures are logged, and tried again with the next
    /// plan.
    pub async fn write(&mut self, wanted: &[Entries]) {
        for entries in wanted {
            let Some(merged) = entries.merged().filter(|_| self.leading.is_leading()) else { continue };
            self.tell(entries).await;
            let (namespace, name) = (entries.meta("namespace"), entries.meta("name"));
            let (kind, list) = (&entries.resource.kind, entries.list.field());
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &entries.resource);
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            let version = entries.meta("resourceVersion");
            let patch = json!({"metadata": {"resourceVersion": version}, "status": {list: merged}});
            match api.patch_status(name, &params, &Patch::Merge(patch)).await {
                Ok(_) => tracing::info!(kind, namespace, name, list, "said"),
                // Somebody was quicker: what he wrote comes by the watch.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    tracing::debug!(kind, namespace, name, list, "changed meanwhile; tried again");
                }
                Err(error) => tracing::warn!(kind, namespace, name, list, %error, "not said; tried again"),
            }
        }
    }

    async fn tell(&mut self, entries: &Entries) {
        let about = About {
            resource: &entries.resource,
            namespace: Some(entries.meta("namespace")),
            name: entries.meta("name"),
            live: Some(&entries.live),
        };
        let before = entries.list.of(&entries.live);
        match entries.list {
            List::Conditions => self.events.conditions(&about, before, &entries.ours).await,
            list @ (List::Parents | List::Ancestors) => {
                let conditions = |entries: &[Value]| -> Vec<Value> {
                    let ours = entries.iter().filter(|one| list.is_ours(one));
                    ours.filter_map(|one| one.get("conditions")?.as_array()).flatten().cloned().collect()
                };
                self.events.conditions(&about, &conditions(before), &conditions(&entries.ours)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster::DocumentKind;
    use super::super::fake::Server;
    use super::*;

    const THEIRS: &str = "WaypointAccepted";

    fn condition(kind: &str, status: &str) -> Value {
        json!({"type": kind, "status": status, "reason": "R", "message": "", "observedGeneration": "7"})
    }

    fn live(server: &Server) -> Value {
        server.get("authorizationpolicies", "tools/p").unwrap()
    }

    fn entries(live: Value, ours: &[Value]) -> Entries {
        let resource = DocumentKind::AuthorizationPolicy.resource();
        Entries { resource, live, list: List::Conditions, ours: ours.to_vec() }
    }

    #[tokio::test]
    async fn ours_stand_among_others_which_nobody_touches() {
        let server = Server::start();
        let conditions = [condition(THEIRS, "True"), condition("Other", "False")];
        server.put(
            "authorizationpolicies",
            json!({"metadata": {"namespace": "tools", "name": "p"}, "status": {"conditions": conditions}}),
        );
        let mut sharer = Sharer::new(server.client(), Leading::always());
        let ours = condition("agent-waypoint.dev/Enforced", "True");
        let stale = live(&server);
        sharer.write(&[entries(stale.clone(), std::slice::from_ref(&ours))]).await;
        assert_eq!(live(&server)["status"]["conditions"], json!([conditions[0], conditions[1], ours]));
        assert_eq!(server.writes(), ["merge authorizationpolicies/status tools/p agent-waypoint-status"]);
        // It is there: nothing to write.
        sharer.write(&[entries(live(&server), std::slice::from_ref(&ours))]).await;
        assert_eq!(server.writes().len(), 1);
        // They write meanwhile: what we read is not what is there, and is not put back.
        let theirs = condition(THEIRS, "False");
        let mut changed = live(&server);
        changed["status"]["conditions"] = json!([theirs]);
        server.put("authorizationpolicies", changed);
        sharer.write(&[entries(stale, std::slice::from_ref(&ours))]).await;
        assert_eq!(live(&server)["status"]["conditions"], json!([theirs]));
        sharer.write(&[entries(live(&server), std::slice::from_ref(&ours))]).await;
        assert_eq!(live(&server)["status"]["conditions"], json!([theirs, ours]));
        // Nothing of ours is left where there should be nothing.
        sharer.write(&[entries(live(&server), &[])]).await;
        assert_eq!(live(&server)["status"]["conditions"], json!([theirs]));
    }

    #[test]
    fn of_parents_ours_are_those_that_name_our_controller() {
        let theirs = json!({"controllerName": "istio.io/mesh-controller", "parentRef": {"name": "a"}});
        let ours = json!({"controllerName": CONTROLLER_NAME, "parentRef": {"name": "a"}});
        let live = json!({"status": {"parents": [ours, theirs]}});
        let resource = DocumentKind::HttpRoute.resource();
        let entries = Entries { resource, live, list: List::Parents, ours: Vec::new() };
        assert_eq!(entries.merged().unwrap(), [theirs]);
    }
}

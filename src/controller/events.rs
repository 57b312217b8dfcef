//! Events for what somebody must act on: one for each change, however often it is planned.
//!
//! A change is a condition that says other than the live object does. So what was said once is not said again by another
//! replica, or after a restart.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::api::core::v1::Event;
use kube::api::PostParams;
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::apply::{FIELD_MANAGER, Part, Wanted};
use super::condition;
use super::lead::Leading;
use super::standing::FED;
use super::status::{ENFORCED, HONOURED, SERVED};

/// Objects of which is remembered what was said.
const REMEMBERED: usize = 16_384;
/// Longest message of an Event that the API server takes, bytes.
const MAX_MESSAGE: usize = 1_024;

/// Conditions that say by one of these values that somebody must act.
const BAD: [(&str, &str); 7] = [
    ("Accepted", "False"),
    ("Conflicted", "True"),
    ("ResolvedRefs", "False"),
    (ENFORCED, "False"),
    (FED, "False"),
    (SERVED, "False"),
    (HONOURED, "False"),
];
/// `Enforced` is False for many reasons that pass by themselves; these do not.
const STUCK: [&str; 3] = ["NoWaypoint", "NotAccepted", "TargetClosed"];

/// An object that an Event is about.
#[derive(Debug, Clone)]
pub struct About<'a> {
    /// Its API.
    pub resource: &'a ApiResource,
    /// Its namespace; `default` for Events on what has none.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// The object as it lives, of which the uid is read.
    pub live: Option<&'a Value>,
}

/// Writes Events, as long as this replica leads.
pub struct Events {
    client: Client,
    leading: Leading,
    said: HashMap<String, u64>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("said", &self.said.len()).finish_non_exhaustive()
    }
}

impl Events {
    /// One for each planner.
    pub fn new(client: Client, leading: Leading) -> Self {
        Self { client, leading, said: HashMap::new() }
    }

    /// Says what is news among statuses that are to be written, each with the live object.
    pub async fn tell(&mut self, wanted: &[(Wanted, Option<Value>)]) {
        for (want, live) in wanted.iter().filter(|(want, _)| want.part == Part::Status) {
            let about = About {
                resource: &want.resource,
                namespace: want.namespace.as_deref(),
                name: &want.name,
                live: live.as_ref(),
            };
            let before = condition::live(live.as_ref().and_then(|live| live.get("status")));
            self.conditions(&about, before, condition::live(want.body.get("status"))).await;
        }
    }

    /// Says what `after` says otherwise than `before` and somebody must act on.
    pub async fn conditions(&mut self, about: &About<'_>, before: &[Value], after: &[Value]) {
        for condition in after.iter().filter(|one| is_bad(one)) {
            if self.leading.is_leading() && !before.iter().any(|one| says_the_same(one, condition)) {
                self.say(about, condition).await;
            }
        }
    }

    async fn say(&mut self, about: &About<'_>, condition: &Value) {
        let text = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default();
        let namespace = about.namespace.unwrap_or("default");
        // The status may not be written, or not seen yet: that is no reason to say it twice.
        let key = format!("{} {namespace}/{} {}", about.resource.kind, about.name, text("type"));
        let mut hasher = DefaultHasher::new();
        [text("status"), text("reason"), text("message")].hash(&mut hasher);
        let hash = hasher.finish();
        if self.said.get(&key) == Some(&hash) {
            return;
        }
        if self.said.len() >= REMEMBERED {
            self.said.clear();
        }
        self.said.insert(key, hash);
        let now = condition::now();
        let event = json!({
            "metadata": {"generateName": format!("{}-", shortened(about.name, 200)), "namespace": namespace},
            "involvedObject": {
                "apiVersion": about.resource.api_version, "kind": about.resource.kind,
                "namespace": about.namespace, "name": about.name,
                "uid": about.live.and_then(|live| live.pointer("/metadata/uid")),
            },
            "type": "Warning",
            "reason": text("reason"),
            "message": shortened(text("message"), MAX_MESSAGE),
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": FIELD_MANAGER},
        });
        let Ok(event) = serde_json::from_value::<Event>(event) else { return };
        let (kind, name, reason) = (&about.resource.kind, about.name, text("reason"));
        tracing::warn!(kind, namespace, name, reason, "{}", text("message"));
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if let Err(error) = events.create(&PostParams::default(), &event).await {
            tracing::warn!(kind, namespace, name, %error, "event not written");
        }
    }
}

fn is_bad(condition: &Value) -> bool {
    let text = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, status) = (text("type"), text("status"));
    BAD.contains(&(kind, status)) && (!kind.ends_with("/Enforced") || STUCK.contains(&text("reason")))
        || (kind, status) == ("Enforced", "False") && STUCK.contains(&text("reason"))
}

fn says_the_same(one: &Value, other: &Value) -> bool {
    ["type", "status", "reason", "message"].iter().all(|field| one.get(field) == other.get(field))
}

fn shortened(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Server;
    use super::*;

    fn policy(conditions: &Value) -> Value {
        json!({"metadata": {"uid": "u", "name": "p", "namespace": "tools"}, "status": {"conditions": conditions}})
    }

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "now"})
    }

    fn wanted(conditions: &[Value]) -> Wanted {
        let resource = super::super::cluster::DocumentKind::AgentPolicy.resource();
        Wanted::dynamic(resource, Some("tools"), "p", Part::Status, json!({"status": {"conditions": conditions}}))
    }

    #[tokio::test]
    async fn each_change_that_somebody_must_act_on_is_said_once() {
        let server = Server::start();
        let mut events = Events::new(server.client(), Leading::always());
        let invalid = condition("Accepted", "False", "Invalid", "spec.allow: no");
        let said = || server.writes().len();
        events.tell(&[(wanted(std::slice::from_ref(&invalid)), Some(policy(&json!([]))))]).await;
        assert_eq!(server.writes(), ["create events tools/p-"]);
        let event = server.get("events", "tools/p-").unwrap();
        assert_eq!((event["reason"].as_str(), event["involvedObject"]["uid"].as_str()), (Some("Invalid"), Some("u")));
        assert_eq!((event["type"].as_str(), event["message"].as_str()), (Some("Warning"), Some("spec.allow: no")));
        server.delete("events", "tools/p-");
        // Planned again before the status is written, and after.
        events.tell(&[(wanted(std::slice::from_ref(&invalid)), Some(policy(&json!([]))))]).await;
        events.tell(&[(wanted(std::slice::from_ref(&invalid)), Some(policy(&json!([invalid]))))]).await;
        // Another replica begins.
        let mut other = Events::new(server.client(), Leading::always());
        other.tell(&[(wanted(std::slice::from_ref(&invalid)), Some(policy(&json!([invalid]))))]).await;
        assert_eq!(said(), 1);
        // What is well, or passes by itself, is nobody's concern.
        let fine = [
            condition("Accepted", "True", "Accepted", ""),
            condition("Enforced", "False", "Pending", "waiting"),
            condition("Enforced", "False", "NoReadyReplica", ""),
            condition("agent-waypoint.dev/Enforced", "False", "Pending", ""),
            condition("Conflicted", "False", "NoConflict", ""),
        ];
        events.tell(&[(wanted(&fine), Some(policy(&json!([]))))]).await;
        assert_eq!(said(), 1);
        let mended_otherwise = condition("Accepted", "False", "Invalid", "spec.deny: no");
        events.tell(&[(wanted(&[mended_otherwise]), Some(policy(&json!([invalid]))))]).await;
        server.delete("events", "tools/p-");
        events.tell(&[(wanted(&[condition("Enforced", "False", "NoWaypoint", "label it")]), None)]).await;
        assert_eq!(said(), 3);
        // Nobody else says anything.
        let (_candidate, leading) = super::super::lead::Candidate::new(&server.client(), "system", "x");
        let mut follower = Events::new(server.client(), leading);
        follower.tell(&[(wanted(std::slice::from_ref(&invalid)), None)]).await;
        assert_eq!(said(), 3);
    }
}

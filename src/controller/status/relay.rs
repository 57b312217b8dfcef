//! What waypoints say to one replica, told to the one that writes: a ConfigMap for each replica, in our own namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::apply::{Applier, Wanted};
use super::super::cluster::{Cluster, View, key};
use super::super::feed::{Ack, Acks};
use super::super::lead::Leading;

const PREFIX: &str = "agent-waypoint-acks-";
const LABEL: &str = "agent-waypoint.dev/acks";
const KEY: &str = "acks.json";
/// Written at most so often.
const PAUSE: Duration = Duration::from_millis(300);
/// Looked at again so often even where nothing changed.
const RESYNC: Duration = Duration::from_secs(30);

/// Writes what this replica (namespace and name of its pod) heard, until `stop`.
pub async fn relay(cluster: Cluster, acks: Acks, client: Client, replica: (String, String), stop: CancellationToken) {
    let mut applier = Applier::new(client, Leading::always());
    let mut heard = acks.subscribe();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = heard.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RESYNC) => {}
        }
        let view = cluster.view();
        let all = acks.all();
        let live = view.config_maps.get(&replica.0, &name(&replica.1));
        if all.is_empty() && live.is_none() {
            continue;
        }
        let live = live.and_then(|live| serde_json::to_value(&**live).ok());
        applier.apply(&[(wanted(&view, &all, &replica), live)]).await;
        tokio::time::sleep(PAUSE).await;
    }
}

fn name(replica: &str) -> String {
    format!("{PREFIX}{replica}")
}

fn wanted(view: &View, acks: &BTreeMap<(String, String), Ack>, (namespace, replica): &(String, String)) -> Wanted {
    let said: BTreeMap<String, Value> = acks
        .iter()
        .map(|((namespace, pod), ack)| {
            let said = match ack {
                Ack::InForce(digest) => json!({"inForce": digest}),
                Ack::Refused(why) => json!({"refused": why}),
            };
            (format!("{namespace}/{pod}"), said)
        })
        .collect();
    let mut body = json!({
        "metadata": {"labels": {LABEL: "true"}},
        "data": {KEY: json!(said).to_string()},
    });
    // It goes with the pod whose words it holds.
    if let Some(uid) = view.pods.get(namespace, replica).and_then(|pod| pod.uid())
        && let Some(Value::Object(metadata)) = body.get_mut("metadata")
    {
        let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": replica, "uid": uid}]);
        metadata.insert("ownerReferences".to_owned(), owner);
    }
    Wanted::object::<ConfigMap>(Some(namespace), &name(replica), body)
}

/// What the other replicas that live have heard.
pub(super) fn relayed(view: &View, (namespace, own): &(String, String)) -> Vec<((String, String), Ack)> {
    let maps = view.config_maps.within(namespace).filter(|map| map.labels().contains_key(LABEL));
    let mut heard = Vec::new();
    for map in maps {
        let Some(replica) = key(&**map).1.strip_prefix(PREFIX).filter(|replica| replica != own) else { continue };
        if view.pods.get(namespace, replica).is_none() {
            continue;
        }
        let text = map.data.as_ref().and_then(|data| data.get(KEY)).map(String::as_str).unwrap_or_default();
        let said: BTreeMap<String, Value> = serde_json::from_str(text).unwrap_or_default();
        heard.extend(said.into_iter().filter_map(|(pod, said)| {
            let (namespace, pod) = pod.split_once('/')?;
            let text = |field: &str| said.get(field).and_then(Value::as_str).map(str::to_owned);
            let ack = text("inForce").map(Ack::InForce).or_else(|| text("refused").map(Ack::Refused))?;
            Some(((namespace.to_owned(), pod.to_owned()), ack))
        }));
    }
    heard
}

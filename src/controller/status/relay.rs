//! What waypoints say to one replica, told to the one that writes: a ConfigMap for each replica, in our own namespace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::apply::{Applier, Wanted};
use super::super::cluster::{Cluster, View, key};
use super::super::feed::{Ack, Acks};
use super::super::lead::Leading;
use crate::control::feed::{More, Report};

const PREFIX: &str = "agent-waypoint-acks-";
const LABEL: &str = "agent-waypoint.dev/acks";
const KEY: &str = "acks.json";
const REPORTS: &str = "reports.json";
/// Of all reports together, bytes: the API server takes no ConfigMap over 1 MiB.
const MAX_REPORTS: usize = 512 << 10;
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
    let mut reports = Reports::default();
    let said: BTreeMap<String, Value> = acks
        .iter()
        .map(|((namespace, pod), ack)| {
            let said = match ack {
                Ack::InForce { digest, report: None } => json!({"inForce": digest}),
                Ack::InForce { digest, report: Some(report) } => {
                    json!({"inForce": digest, "report": reports.place(report)})
                }
                Ack::Refused(why) => json!({"refused": why}),
            };
            (format!("{namespace}/{pod}"), said)
        })
        .collect();
    let mut body = json!({
        "metadata": {"labels": {LABEL: "true"}},
        "data": {KEY: json!(said).to_string(), REPORTS: json!(reports.written).to_string()},
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

/// The reports of pods, of which most are the same: each is written once.
#[derive(Default)]
struct Reports {
    written: Vec<Value>,
    size: usize,
}

impl Reports {
    /// Where it is written. One for which there is no room is one that vouches for nothing.
    fn place(&mut self, report: &Report) -> usize {
        let mut value = written(report);
        if let Some(place) = self.written.iter().position(|one| *one == value) {
            return place;
        }
        if self.size + value.to_string().len() > MAX_REPORTS {
            value = written(&Report { more: More::Anywhere, ..Report::default() });
            if let Some(place) = self.written.iter().position(|one| *one == value) {
                return place;
            }
        }
        self.size += value.to_string().len();
        self.written.push(value);
        self.written.len() - 1
    }
}

fn written(report: &Report) -> Value {
    let within = if let More::Within(all) = &report.more { Some(all) } else { None };
    json!({"unenforced": report.unenforced, "more": report.more != More::No, "within": within})
}

fn read(value: &Value) -> Option<Arc<Report>> {
    let all = value.get("unenforced")?.as_object()?;
    let all = all.iter().map(|(name, why)| (name.as_str(), why.as_str().unwrap_or_default()));
    let within = value.get("within").filter(|within| !within.is_null());
    let within = within.map(|within| serde_json::from_value(within.clone()).ok());
    Some(Arc::new(Report::told(all, *value.get("more")? != Value::Bool(false), within)))
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
        let text = map.data.as_ref().and_then(|data| data.get(REPORTS)).map(String::as_str).unwrap_or_default();
        let reports: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
        let reports: Vec<Option<Arc<Report>>> = reports.iter().map(read).collect();
        heard.extend(said.into_iter().filter_map(|(pod, said)| {
            let (namespace, pod) = pod.split_once('/')?;
            let text = |field: &str| said.get(field).and_then(Value::as_str).map(str::to_owned);
            let place = said.get("report").and_then(Value::as_u64).and_then(|place| usize::try_from(place).ok());
            let report = place.and_then(|place| reports.get(place).cloned()).flatten();
            let in_force = text("inForce").map(|digest| Ack::InForce { digest, report });
            let ack = in_force.or_else(|| text("refused").map(Ack::Refused))?;
            Some(((namespace.to_owned(), pod.to_owned()), ack))
        }));
    }
    heard
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::view;
    use super::*;

    fn told(acks: &[(&str, Ack)]) -> BTreeMap<(String, String), Ack> {
        acks.iter().map(|(pod, ack)| (("tools".to_owned(), (*pod).to_owned()), ack.clone())).collect()
    }

    /// What another replica reads of what one wrote.
    fn read_again(acks: &BTreeMap<(String, String), Ack>) -> (BTreeMap<(String, String), Ack>, usize) {
        let body = wanted(&View::default(), acks, &("system".to_owned(), "one".to_owned())).body;
        let size = body.to_string().len();
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: one, namespace: system}, spec: {containers: []}}";
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name("one"), "namespace": "system", "labels": {LABEL: "true"}}, "data": body["data"]});
        let there = view(&format!("{pod}\n---\n{map}"));
        (relayed(&there, &("system".to_owned(), "other".to_owned())).into_iter().collect(), size)
    }

    fn in_force(report: Option<Report>) -> Ack {
        Ack::InForce { digest: "d".to_owned(), report: report.map(Arc::new) }
    }

    #[test]
    fn what_one_replica_heard_another_knows() {
        let closed = || Report::new([("agent-waypoint.dev/AgentPolicy/tools/p", "closed")]);
        let acks = told(&[
            ("wp-1", in_force(Some(closed()))),
            ("wp-2", in_force(Some(closed()))),
            ("wp-3", in_force(Some(Report::default()))),
            ("wp-4", in_force(None)),
            ("wp-5", Ack::Refused("no".to_owned())),
            ("wp-6", in_force(Some(Report { more: More::within(["tools".to_owned()].into()), ..Report::default() }))),
            ("wp-7", in_force(Some(Report { more: More::Anywhere, ..Report::default() }))),
        ]);
        assert_eq!(read_again(&acks).0, acks);
    }

    #[test]
    fn reports_that_have_no_room_vouch_for_nothing() {
        let long = "x".repeat(200);
        let report = |n: usize| {
            let names: Vec<String> = (0..1_000).map(|doc| format!("g/K/ns-{n}/{doc}")).collect();
            Report::new(names.iter().map(|name| (name.as_str(), long.as_str())))
        };
        let pods: Vec<String> = (0..10).map(|n| format!("wp-{n}")).collect();
        let acks: Vec<(&str, Ack)> =
            pods.iter().enumerate().map(|(n, pod)| (pod.as_str(), in_force(Some(report(n))))).collect();
        let (read, size) = read_again(&told(&acks));
        assert!(size < 1 << 20, "{size}");
        let vouched = read.values().filter(|ack| match ack {
            Ack::InForce { report: Some(report), .. } => report.of("g/K/ns-9/1").is_ok(),
            Ack::InForce { .. } | Ack::Refused(_) => panic!("{ack:?}"),
        });
        assert!((1..9).contains(&vouched.count()), "those that have room say what they said");
    }
}

//! Whether waypoints are fed, said on their Gateways: a kind of document that may not be read keeps all of them back, as
//! one policy that is missing may be the DENY that counts.

use gateway_api::apis::standard::gateways::Gateway;
use kube::Client;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::apply::{Applier, Wanted};
use super::cluster::{Cluster, Standing, View, key};
use super::condition::{self, Condition, Holds};
use super::events::Events;
use super::provision::is_ours;

/// Our condition on a Gateway.
pub const FED: &str = "agent-waypoint.dev/Fed";
/// Who writes it: a manager of its own, as a manager that leaves a condition out takes it back.
const MANAGER: &str = "agent-waypoint-feed";
/// What has to be known to say it.
const NEEDED: [&str; 2] = ["Gateway", "GatewayClass"];

/// The condition of every Gateway of ours, each with the live object.
pub fn plan(view: &View, now: &str) -> Vec<(Wanted, Option<Value>)> {
    let fed = fed(view);
    let ours = view.gateways.iter().filter(|gateway| is_ours(view, gateway));
    let one = |gateway: &Gateway| {
        let (namespace, name) = key(gateway);
        let live = serde_json::to_value(gateway).unwrap_or_default();
        let before = condition::live(live.get("status"));
        let conditions = [fed.json(before, gateway.metadata.generation, now)];
        let wanted = Wanted::status::<Gateway>(Some(namespace), name, &json!({"conditions": conditions}));
        (Wanted { manager: MANAGER, ..wanted }, Some(live))
    };
    ours.map(|gateway| one(gateway)).collect()
}

fn fed(view: &View) -> Condition {
    let unknown = view.unknown();
    let refused: Vec<String> = unknown
        .iter()
        .filter_map(|(kind, standing)| match standing {
            Standing::Refused(why) => Some(format!("{kind}: {why}")),
            Standing::Pending | Standing::Listed | Standing::Lost(_) | Standing::Absent => None,
        })
        .collect();
    if !refused.is_empty() {
        let message = format!(
            "not known: {}. Waypoints keep the documents that they have, and new pods refuse every call. Bind the ClusterRole agent-waypoint-controller of manifests/ to the controller's ServiceAccount; the controller's log says more",
            refused.join(", ")
        );
        return Condition::new(FED, false, "NotPermitted", message);
    }
    let lost: Vec<String> = view.lost().map(|(kind, why)| format!("{kind}: {why}")).collect();
    if !lost.is_empty() {
        let message = format!(
            "may be read no more: {}. Waypoints go on with the documents that were known before, and no change of them is in force. Bind the ClusterRole agent-waypoint-controller of manifests/ to the controller's ServiceAccount",
            lost.join(", ")
        );
        return Condition::new(FED, false, "NotPermitted", message);
    }
    let absent = |kind: &str| view.standing(kind) == Standing::Absent;
    if absent("AgentPolicy") {
        let message = "the API server serves no AgentPolicy: apply manifests/crds; until then every port that is declared MCP or A2A is closed";
        return Condition::new(FED, false, "NotInstalled", message);
    }
    if absent("AuthorizationPolicy") {
        let message =
            "the API server serves no AuthorizationPolicy: install Istio's CRDs; until then no Service is guarded";
        return Condition::new(FED, false, "NotInstalled", message);
    }
    match unknown.first() {
        Some((kind, _)) => Condition::new(FED, Holds::Unknown, "Pending", format!("{kind} is not listed yet")),
        None => Condition::new(FED, true, "Fed", "every kind of document is known"),
    }
}

/// Says it at every change until `stop`.
pub async fn keep(cluster: Cluster, client: Client, mut applier: Applier, stop: CancellationToken) {
    let mut views = cluster.subscribe();
    let mut leading = applier.leading();
    let mut events = Events::new(client, applier.leading());
    let mut said: Option<Condition> = None;
    loop {
        let view = std::sync::Arc::clone(&views.borrow_and_update());
        if applier.is_leading() && NEEDED.iter().all(|kind| view.standing(kind).is_known()) {
            // A start is no news: kinds are listed one after the other.
            let now = fed(&view);
            if now.holds != Holds::Unknown || said.is_some() {
                let wanted = plan(&view, &condition::now());
                events.tell(&wanted).await;
                applier.apply(&wanted).await;
                said = Some(now);
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = views.changed() => if changed.is_err() { return },
            () = leading.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::view;
    use super::*;

    #[test]
    fn a_kind_that_may_not_be_read_is_said_on_every_gateway_of_ours() {
        let mut view = view(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: tools}
spec: {gatewayClassName: agent-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: other, namespace: tools}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
",
        );
        let told = |view: &View| {
            let wanted = plan(view, "now");
            assert_eq!(wanted.len(), 1, "others' Gateways are theirs");
            let (wanted, live) = &wanted[0];
            assert_eq!((wanted.name.as_str(), wanted.manager), ("wp", "agent-waypoint-feed"));
            assert!(live.is_some());
            let one = &wanted.body["status"]["conditions"][0];
            ["type", "status", "reason"].map(|field| one[field].as_str().unwrap().to_owned()).join(" ")
        };
        assert_eq!(told(&view), "agent-waypoint.dev/Fed True Fed");
        view.set_standing("meshConfig", Standing::Refused("forbidden".to_owned()));
        assert_eq!(told(&view), "agent-waypoint.dev/Fed False NotPermitted");
        let message = plan(&view, "now")[0].0.body["status"]["conditions"][0]["message"].to_string();
        assert!(message.contains("meshConfig: forbidden") && message.contains("ClusterRole"), "{message}");
        view.set_standing("meshConfig", Standing::Lost("forbidden".to_owned()));
        assert_eq!(told(&view), "agent-waypoint.dev/Fed False NotPermitted");
        assert!(view.is_whole(), "what was known stays in force");
        view.set_standing("meshConfig", Standing::Pending);
        assert_eq!(told(&view), "agent-waypoint.dev/Fed Unknown Pending");
        view.set_standing("meshConfig", Standing::Listed);
        view.set_standing("AgentPolicy", Standing::Absent);
        assert_eq!(told(&view), "agent-waypoint.dev/Fed False NotInstalled");
    }
}

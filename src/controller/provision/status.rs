//! What a Gateway says of itself.

use gateway_api::apis::standard::gateways::{Gateway, GatewayListeners};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::super::apply::Wanted;
use super::super::cluster::{View, key};
use super::super::condition::{self, Condition};
use super::Template;
use super::objects::{Fault, GATEWAY_NAME, HBONE, HBONE_PORT};

/// The status, whole.
pub(super) fn plan(
    view: &View,
    gateway: &Gateway,
    fault: Option<&Fault>,
    template: &Template,
    now: &str,
) -> (Wanted, Option<Value>) {
    let (namespace, name) = key(gateway);
    let live = serde_json::to_value(gateway).unwrap_or_default();
    let before = condition::live(live.get("status"));
    let ready = ready_pods(view, gateway);
    let addresses = addresses(view, gateway, ready, template);
    let accepted = match fault {
        None => Condition::new("Accepted", true, "Accepted", "a waypoint is provisioned"),
        Some(fault) => Condition::new("Accepted", false, fault.reason, fault.message.clone()),
    };
    let programmed = programmed(ready, &addresses, fault);
    let generation = gateway.metadata.generation;
    let conditions: Vec<Value> = [accepted, programmed].iter().map(|one| one.json(before, generation, now)).collect();
    let empty = Vec::new();
    let listeners_before = live.pointer("/status/listeners").and_then(Value::as_array).unwrap_or(&empty);
    let listeners: Vec<Value> =
        gateway.spec.listeners.iter().map(|one| listener(one, listeners_before, fault, generation, now)).collect();
    let mut status = json!({"conditions": conditions, "listeners": listeners});
    if let (false, Value::Object(fields)) = (addresses.is_empty(), &mut status) {
        fields.insert("addresses".to_owned(), json!(addresses));
    }
    (Wanted::status::<Gateway>(Some(namespace), name, &status), Some(live))
}

/// Pods of the Gateway that take calls.
fn ready_pods(view: &View, gateway: &Gateway) -> usize {
    let (namespace, name) = key(gateway);
    let own = |pod: &Pod| pod.labels().get(GATEWAY_NAME).is_some_and(|of| of == name);
    view.pods.within(namespace).filter(|pod| own(pod) && is_ready(pod)).count()
}

/// Whether a pod takes calls: ready, and not on its way out.
pub(in super::super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Host name and cluster addresses, from the first ready pod on. Once they are there they stay, whatever becomes of the
/// pods: a waypoint without an address is one that calls go past.
fn addresses(view: &View, gateway: &Gateway, ready: usize, template: &Template) -> Vec<Value> {
    let (namespace, name) = key(gateway);
    let status = gateway.status.as_ref();
    let announced = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let known = view.services.get(namespace, name).map(|service| cluster_ips(service)).unwrap_or_default();
    if known.is_empty() || (ready == 0 && announced.is_empty()) {
        return announced.iter().map(|address| json!(address)).collect();
    }
    let host = format!("{name}.{namespace}.svc.{}", template.cluster_domain);
    let host = json!({"type": "Hostname", "value": host});
    std::iter::once(host).chain(known.into_iter().map(|ip| json!({"type": "IPAddress", "value": ip}))).collect()
}

fn cluster_ips(service: &Service) -> Vec<&str> {
    let spec = service.spec.as_ref();
    let ips = spec.and_then(|spec| spec.cluster_ips.as_deref()).unwrap_or_default();
    ips.iter().map(String::as_str).filter(|ip| !ip.is_empty() && *ip != "None").collect()
}

fn programmed(ready: usize, addresses: &[Value], fault: Option<&Fault>) -> Condition {
    match (fault, ready, addresses.is_empty()) {
        (Some(_), _, _) => Condition::new("Programmed", false, "Invalid", "see condition Accepted"),
        (None, 0, true) => Condition::new(
            "Programmed",
            false,
            "AddressNotAssigned",
            "no pod was ready yet: the waypoint is not announced to the mesh until one is; where that lasts, the logs of its pods say what to mend (istiod, its root, the token, the controller)",
        ),
        (None, 0, false) => Condition::new(
            "Programmed",
            false,
            "NoResources",
            "no pod is ready: calls to what uses this waypoint are refused, not sent past it; see the Deployment of this name, and the logs of its pods",
        ),
        (None, _, true) => {
            Condition::new("Programmed", false, "AddressNotAssigned", "the Service has no cluster IP yet")
        }
        (None, ready, false) => Condition::new("Programmed", true, "Programmed", format!("{ready} pods are ready")),
    }
}

fn listener(
    listener: &GatewayListeners,
    before: &[Value],
    fault: Option<&Fault>,
    generation: Option<i64>,
    now: &str,
) -> Value {
    let before = before.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(&listener.name));
    let before = condition::live(before);
    let accepted = match (listener.protocol == HBONE, listener.port == HBONE_PORT) {
        (true, true) => Condition::new("Accepted", true, "Accepted", "HBONE is taken here"),
        (false, _) => {
            let message = format!("a waypoint takes HBONE only, not {}: write protocol: HBONE", listener.protocol);
            Condition::new("Accepted", false, "UnsupportedProtocol", message)
        }
        (true, false) => {
            let message = format!("a waypoint takes HBONE on 15008, not on {}: write port: 15008", listener.port);
            Condition::new("Accepted", false, "PortUnavailable", message)
        }
    };
    let works = fault.is_none() && accepted.holds == condition::Holds::True;
    let programmed = match works {
        true => Condition::new("Programmed", true, "Programmed", "served by the pods of this Gateway"),
        false => Condition::new("Programmed", false, "Invalid", "see condition Accepted"),
    };
    let resolved = Condition::new("ResolvedRefs", true, "ResolvedRefs", "it refers to nothing");
    let conditions: Vec<Value> =
        [accepted, programmed, resolved].iter().map(|one| one.json(before, generation, now)).collect();
    json!({"name": listener.name, "attachedRoutes": 0, "supportedKinds": [], "conditions": conditions})
}

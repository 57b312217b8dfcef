//! A view of the cluster, reduced to what the planner goes by.

mod due;
mod gateways;
mod services;

use std::sync::Arc;

pub use due::Due;
use k8s_openapi::api::core::v1 as core;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde_json::Value;

use super::super::cluster::{DocumentKind, View, key};
use super::input::{Capture, ContainerPort, External, Found, Mesh, Name, Pod, Sent};
use super::policy::{MANAGED_BY, MANAGER, NAME_PREFIX, SERVICES};
use crate::id::TrustDomain;

/// ConfigMap in the controller's namespace by which all guards are switched off.
pub const SWITCH: &str = "agent-waypoint-guards";
/// Its key.
pub const SWITCH_KEY: &str = "guards";
/// Its value.
pub const OFF: &str = "Off";
/// Annotation by which what comes in to a pod is not redirected to its ztunnel.
const BYPASS: &str = "ambient.istio.io/bypass-inbound-capture";
/// What says yes in it (Go's `strconv.ParseBool`).
const TRUE: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];
/// Kinds without which nothing can be planned: what is not seen would be taken to have left.
const NEEDED: [&str; 10] = [
    "ConfigMap",
    "meshConfig",
    "Gateway",
    "GatewayClass",
    "Namespace",
    "Service",
    "Pod",
    "Deployment",
    "AuthorizationPolicy",
    "ServiceEntry",
];

/// Whether the view has all that a plan needs.
pub fn is_whole(view: &View) -> bool {
    NEEDED.iter().all(|kind| view.standing(kind).is_known())
}

/// The mesh in a view, with what istiod sends to ztunnel.
///
/// `own` is the controller's namespace.
pub fn read(view: &View, own: &str, trust_domain: &TrustDomain, sent: Option<Arc<Sent>>) -> Mesh {
    Mesh {
        trust_domain: trust_domain.clone(),
        root_namespace: view.root_namespace().into(),
        waypoints: gateways::waypoints(view),
        services: view.services.iter().filter_map(|one| services::service(view, one)).collect(),
        pods: view.pods.iter().filter_map(|one| pod(view, one)).collect(),
        externals: externals(view),
        ingresses: gateways::ingresses(view),
        found: view.documents(DocumentKind::AuthorizationPolicy).iter().filter_map(|one| found(one)).collect(),
        off: is_off(view, own),
        sent,
    }
}

fn is_off(view: &View, own: &str) -> bool {
    let switch = view.config_maps.get(own, SWITCH).and_then(|switch| switch.data.as_ref()?.get(SWITCH_KEY));
    switch.is_some_and(|guards| guards == OFF)
}

fn pod(view: &View, object: &core::Pod) -> Option<Pod> {
    let (spec, status) = (object.spec.as_ref()?, object.status.as_ref());
    if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return None;
    }
    let started = status.and_then(|status| status.pod_ip.as_deref()).is_some_and(|ip| !ip.is_empty());
    let annotation = |name: &str| object.annotations().get(name).map(String::as_str);
    // The annotation is written by Istio's CNI when it has set up redirection. What the pod asks to have left out of it
    // (Istio 1.24) comes in past ztunnel; a pod that speaks HBONE itself (label `networking.istio.io/tunnel`) has none.
    let bypassed = annotation(BYPASS).is_some_and(|said| TRUE.contains(&said));
    let captured = annotation("ambient.istio.io/redirection") == Some("enabled") && !bypassed;
    let capture = match (spec.host_network == Some(true), started, captured) {
        (true, _, _) => Capture::HostNetwork,
        (false, false, _) => Capture::NotStarted,
        (false, true, true) => Capture::Captured,
        (false, true, false) => Capture::Uncaptured,
    };
    let scraped = annotation("prometheus.io/port").filter(|_| annotation("prometheus.io/scrape") == Some("true"));
    let (namespace, name) = key(object);
    Some(Pod {
        name: name.into(),
        namespace: namespace.into(),
        labels: object.labels().clone(),
        ports: ports(spec),
        capture,
        waypoint: services::of_workload(view, object),
        sidecar: annotation("sidecar.istio.io/status").is_some(),
        scraped: scraped.and_then(|port| port.parse().ok()),
    })
}

/// As Kubernetes and istiod look for a port's name: in the containers, then in those of `initContainers` that go on running.
fn ports(spec: &core::PodSpec) -> Vec<ContainerPort> {
    let runs_on = |container: &&core::Container| container.restart_policy.as_deref() == Some("Always");
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(runs_on));
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    let one = |port: &core::ContainerPort| {
        let number = u16::try_from(port.container_port).ok()?;
        Some(ContainerPort { name: port.name.as_deref().unwrap_or("").into(), number })
    };
    tcp.filter_map(one).collect()
}

fn found(object: &DynamicObject) -> Option<Found> {
    let (namespace, name) = key(object);
    if !name.starts_with(NAME_PREFIX) {
        return None;
    }
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let rules = list(object.data.pointer("/spec/rules"));
    let to = rules.iter().flat_map(|rule| list(rule.get("to")));
    let ports = to.flat_map(|to| list(to.pointer("/operation/ports")));
    let services = object.annotations().get(SERVICES).map(String::as_str).unwrap_or_default();
    Some(Found {
        name: Name::new(namespace, name),
        ours: object.labels().get(MANAGED_BY).is_some_and(|by| by == MANAGER),
        ports: ports.filter_map(|port| port.as_str()?.parse().ok()).collect(),
        services: services.split(',').filter(|name| !name.is_empty()).map(Arc::from).collect(),
    })
}

fn externals(view: &View) -> Vec<External> {
    let entries = view.documents(DocumentKind::ServiceEntry);
    let fronted = entries.iter().filter(|entry| {
        let used = services::waypoints(view, &***entry);
        used.iter().any(|name| gateways::is_ours_by_name(view, name))
    });
    let one = |entry: &DynamicObject| {
        let (namespace, name) = key(entry);
        let endpoints = entry.data.pointer("/spec/endpoints").and_then(Value::as_array).map_or(1, Vec::len);
        External { name: Name::new(namespace, name), endpoints }
    };
    fronted.map(|entry| one(entry)).collect()
}

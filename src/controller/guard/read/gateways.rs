//! Gateways: waypoints of ours, waypoints of others, and those that let traffic in.

use std::collections::{BTreeMap, BTreeSet};

use gateway_api::apis::standard::gateways::Gateway;
use k8s_openapi::api::core::v1::PodSpec;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde_json::Value;

use super::super::super::cluster::{DocumentKind, View, key};
use super::super::super::provision;
use super::super::super::scope::{DROP_IN_CLASS, HBONE, admits, is_for};
use super::super::input::{Ingress, Name, Waypoint};

/// Label of a waypoint's pods, by which istiod knows them too.
pub(in super::super) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Names the image of a drop-in.
const DROP_IN_IMAGE: &str = "gateway.istio.io/agentgatewayImage";
/// What our image is called.
const IMAGE: &str = "agent-waypoint";

pub(super) fn waypoints(view: &View) -> BTreeMap<Name, Waypoint> {
    let all = view.gateways.iter().filter(|gateway| is_waypoint(gateway));
    all.map(|gateway| (name(gateway), waypoint(view, gateway))).collect()
}

fn name(gateway: &Gateway) -> Name {
    let (namespace, name) = key(gateway);
    Name::new(namespace, name)
}

fn is_waypoint(gateway: &Gateway) -> bool {
    gateway.spec.listeners.iter().any(|listener| listener.protocol == HBONE)
}

fn waypoint(view: &View, gateway: &Gateway) -> Waypoint {
    let (namespace, name) = key(gateway);
    let pods = || view.pods.within(namespace).filter(|pod| pod.labels().get(GATEWAY_NAME).is_some_and(|of| of == name));
    let deployments = view.deployments.within(namespace).filter_map(|deployment| {
        let template = &deployment.spec.as_ref()?.template;
        let labels = template.metadata.as_ref()?.labels.as_ref()?;
        if labels.get(GATEWAY_NAME)? == name { template.spec.as_ref() } else { None }
    });
    let account = |spec: &PodSpec| spec.service_account_name.as_deref().unwrap_or("default").into();
    // Those that we make run as the account that we gave them: a pod, or a template, of another that somebody labelled as the
    // waypoint's lets nobody past the guard.
    let accounts = match provision::is_ours(view, gateway) {
        true => BTreeSet::from([name.into()]),
        false => pods().filter_map(|pod| pod.spec.as_ref()).chain(deployments).map(account).collect(),
    };
    let addresses = pods().filter_map(|pod| pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()).collect();
    let status = gateway.status.as_ref();
    let was_ready = status.and_then(|status| status.addresses.as_ref()).is_some_and(|addresses| !addresses.is_empty());
    Waypoint { ours: is_ours(view, gateway), was_ready, accounts, addresses }
}

/// The waypoints of ours.
pub(super) fn ours(view: &View) -> BTreeSet<Name> {
    view.gateways.iter().filter(|gateway| is_waypoint(gateway) && is_ours(view, gateway)).map(|one| name(one)).collect()
}

pub(super) fn is_ours_by_name(view: &View, name: &Name) -> bool {
    view.gateways.get(&name.namespace, &name.name).is_some_and(|gateway| is_ours(view, gateway))
}

/// Of our class; or of istiod's, with our image by annotation or in its pods.
fn is_ours(view: &View, gateway: &Gateway) -> bool {
    if provision::is_ours(view, gateway) {
        return true;
    }
    let (namespace, name) = key(gateway);
    let by_annotation = gateway.annotations().get(DROP_IN_IMAGE).is_some_and(|image| image.contains(IMAGE));
    let pods = view.pods.within(namespace).filter(|pod| pod.labels().get(GATEWAY_NAME).is_some_and(|of| of == name));
    let mut containers = pods.filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| &spec.containers);
    gateway.spec.gateway_class_name == DROP_IN_CLASS
        && (by_annotation || containers.any(|one| one.image.as_deref().is_some_and(|image| image.contains(IMAGE))))
}

/// Whether a Gateway can be in front of what is in `namespace`. One that is gone could when it was there.
pub(super) fn may_front(view: &View, waypoint: &Name, namespace: &str) -> bool {
    let Some(gateway) = view.gateways.get(&waypoint.namespace, &waypoint.name) else { return true };
    is_waypoint(gateway) && is_for(view, gateway, "service") && admits(view, gateway, namespace)
}

/// Whether a Gateway is in front of the own addresses of workloads of `namespace`.
pub(super) fn fronts_workloads(view: &View, waypoint: &Name, namespace: &str) -> bool {
    let gateway = view.gateways.get(&waypoint.namespace, &waypoint.name).filter(|gateway| is_waypoint(gateway));
    gateway.is_some_and(|gateway| is_for(view, gateway, "workload") && admits(view, gateway, namespace))
}

/// Gateways that are no waypoints with the Services that their routes lead to; and Istio's older ingress gateways, whose
/// routes stand in kinds that are not read.
pub(super) fn ingresses(view: &View) -> Vec<Ingress> {
    let mut all: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
    for gateway in view.gateways.iter().filter(|gateway| !is_waypoint(gateway)) {
        all.insert(name(gateway), BTreeSet::new());
    }
    for kind in DocumentKind::ROUTES {
        for route in view.documents(kind).iter() {
            let services = backends(route);
            for parent in parents(route) {
                if let Some(known) = all.get_mut(&parent) {
                    known.extend(services.iter().cloned());
                }
            }
        }
    }
    let routed = all.into_iter().map(|(name, services)| Ingress { name, services: Some(services) });
    let is_older = |labels: &BTreeMap<String, String>| {
        labels.get("istio").is_some_and(|kind| kind.contains("ingressgateway")) && !labels.contains_key(GATEWAY_NAME)
    };
    let older = view.deployments.iter().filter(|deployment| is_older(deployment.labels()));
    let older = older.map(|deployment| key(&**deployment)).map(|(namespace, name)| Name::new(namespace, name));
    routed.chain(older.map(|name| Ingress { name, services: None })).collect()
}

fn parents(route: &DynamicObject) -> Vec<Name> {
    references(route.data.pointer("/spec/parentRefs"), route, "Gateway", "Gateway")
}

fn backends(route: &DynamicObject) -> Vec<Name> {
    let rules = route.data.pointer("/spec/rules").and_then(Value::as_array);
    let backends = rules.into_iter().flatten().map(|rule| rule.get("backendRefs"));
    backends.flat_map(|backends| references(backends, route, "Service", "Service")).collect()
}

fn references(list: Option<&Value>, route: &DynamicObject, kind: &str, default: &str) -> Vec<Name> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    let of_kind = list.filter(|one| one.get("kind").and_then(Value::as_str).unwrap_or(default) == kind);
    let named = of_kind.filter_map(|one| {
        let namespace = one.get("namespace").and_then(Value::as_str).unwrap_or_else(|| key(route).0);
        Some(Name::new(namespace, one.get("name")?.as_str()?))
    });
    named.collect()
}

//! Services and their labels, read as istiod reads them.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt as _};

use super::super::super::cluster::{View, key};
use super::super::super::scope::{USE_CANARY, USE_WAYPOINT, WAYPOINT_BOUND, used};
use super::super::input::{GuardScope, Mode, Name, Service, ServiceKind, ServicePort, TargetPort};
use super::gateways;

/// Label or annotation, on a Service or its Namespace.
const GUARD: &str = "agent-waypoint.dev/guard";
/// Label or annotation, on a Service or its Namespace.
const GUARD_SCOPE: &str = "agent-waypoint.dev/guard-scope";

pub(super) fn service(view: &View, object: &core::Service) -> Option<Service> {
    let spec = object.spec.as_ref()?;
    let (namespace, name) = key(object);
    let kind = match spec.type_.as_deref() {
        Some("ExternalName") => ServiceKind::ExternalName,
        Some("NodePort" | "LoadBalancer") => ServiceKind::Published,
        _ if spec.cluster_ip.as_deref() == Some("None") => ServiceKind::Headless,
        _ => ServiceKind::ClusterIp,
    };
    let conditions = object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    // Only these two words are known; with any other one meant something, and what is closed can be opened.
    let report = said(view, object, GUARD) == Some("Report");
    let whole = said(view, object, GUARD_SCOPE) == Some("Workload");
    Some(Service {
        name: Name::new(namespace, name),
        kind,
        selector: spec.selector.clone().unwrap_or_default(),
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        waypoints: waypoints(view, object),
        bound: conditions.iter().any(|condition| condition.type_ == WAYPOINT_BOUND && condition.status == "True"),
        ingress_uses_waypoint: label(view, object, "istio.io/ingress-use-waypoint") == Some("true"),
        mode: if report { Mode::Report } else { Mode::Enforce },
        scope: if whole { GuardScope::Workload } else { GuardScope::Ports },
    })
}

fn port(port: &core::ServicePort) -> Option<ServicePort> {
    if port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
        return None;
    }
    let number = u16::try_from(port.port).ok()?;
    let target = match &port.target_port {
        None => TargetPort::Number(number),
        // Zero stands for the port itself.
        Some(IntOrString::Int(0)) => TargetPort::Number(number),
        Some(IntOrString::Int(target)) => TargetPort::Number(u16::try_from(*target).ok()?),
        Some(IntOrString::String(name)) => match name.parse() {
            Ok(target) => TargetPort::Number(target),
            Err(_name) => TargetPort::Named(name.as_str().into()),
        },
    };
    Some(ServicePort { port: number, target })
}

/// The waypoints that an object is labelled to use, primary and canary. One that exists and does not admit the namespace is
/// none; one that does not exist may be one that is gone.
pub(super) fn waypoints<K: Resource>(view: &View, object: &K) -> Vec<Name> {
    let (namespace, _) = key(object);
    let named = [USE_WAYPOINT, USE_CANARY].into_iter().filter_map(|label| used(view, object, label));
    let named = named.map(|(namespace, name)| Name::new(&namespace, &name));
    let mut all: Vec<Name> = Vec::new();
    for name in named.filter(|name| gateways::may_front(view, name, namespace)) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// The waypoint that calls to a pod's own address go through. The waypoints' own pods have none.
pub(super) fn of_workload(view: &View, pod: &core::Pod) -> Option<Name> {
    let (namespace, _) = key(pod);
    if pod.labels().contains_key(gateways::GATEWAY_NAME) {
        return None;
    }
    let (there, name) = used(view, pod, USE_WAYPOINT)?;
    Some(Name::new(&there, &name)).filter(|name| gateways::fronts_workloads(view, name, namespace))
}

fn label<'a, K: Resource>(view: &'a View, object: &'a K, name: &str) -> Option<&'a str> {
    let namespace = || view.namespaces.get("", key(object).0)?.labels().get(name);
    object.labels().get(name).or_else(namespace).map(String::as_str)
}

fn said<'a, K: Resource>(view: &'a View, object: &'a K, name: &str) -> Option<&'a str> {
    let own = object.annotations().get(name).or_else(|| object.labels().get(name));
    let namespace = || {
        let namespace = view.namespaces.get("", key(object).0)?;
        namespace.annotations().get(name).or_else(|| namespace.labels().get(name))
    };
    own.or_else(namespace).map(String::as_str)
}

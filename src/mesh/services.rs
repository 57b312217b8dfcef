//! Services: virtual IPs, names, ports, and the endpoints behind them (EndpointSlices and selected WorkloadEntries).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::TargetKind;
use super::attached::PortName;
use super::endpoint::{Endpoint, Via};
use super::found::Found;
use super::fronted::{Fronted, Places, Port, unique};
use super::protocol::{Spoken, of_app_protocol, of_port_name};
use super::workloads::{Holder, Host, Workload};
use crate::document::Document;
use crate::document::service::{EndpointSlice, PortRef, ServicePort, ServiceSpec, SessionAffinity, Transport};

/// Kubernetes' default cluster domain.
pub(super) const CLUSTER_DOMAIN: &str = "cluster.local";

type Service = Document<ServiceSpec>;

/// Fronts a Service; `None` for kinds of Service that have no ports of their own.
pub(super) fn front<'a>(service: &'a Service, places: &Places<'a>, found: &mut Found<'a>) -> Option<Fronted<'a>> {
    if service.spec.r#type.as_deref() == Some("ExternalName") {
        found.warn(&service.origin, "spec.type", "ExternalName is not fronted; use a ServiceEntry");
        return None;
    }
    let (name, namespace) = (&service.meta.name, &service.meta.namespace);
    let hosts = vec![
        format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}"),
    ];
    let mut numbers = BTreeSet::new();
    let mut ports = Vec::new();
    for (index, port) in service.spec.ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        if port.protocol != Transport::Tcp {
            found.warn(&service.origin, format!("{field}.protocol"), "only TCP is carried; the port is passed over");
            continue;
        }
        if !numbers.insert(port.port) {
            found.refuse(&service.origin, format!("{field}.port"), format!("port {} stands twice", port.port));
            continue;
        }
        ports.push(front_port(service, (port, &field), places, found));
    }
    Some(Fronted {
        kind: TargetKind::Service,
        namespace: &service.meta.namespace,
        name: &service.meta.name,
        created: &service.meta.created,
        origin: Some(&service.origin),
        at: None,
        hosts,
        vips: vips(service, found),
        selector: Some(&service.spec.selector),
        external: false,
        affine: service.spec.session_affinity == SessionAffinity::ClientIp,
        ports,
    })
}

fn vips<'a>(service: &'a Service, found: &mut Found<'a>) -> Vec<IpAddr> {
    let one = service.spec.cluster_ip.iter().map(|text| (text, "spec.clusterIP".to_owned()));
    let all = service.spec.cluster_ips.iter().enumerate().map(|(i, text)| (text, format!("spec.clusterIPs[{i}]")));
    let mut out = BTreeSet::new();
    for (text, field) in one.chain(all).filter(|(text, _)| !matches!(text.as_str(), "" | "None")) {
        match text.parse() {
            Ok(ip) => {
                out.insert(ip);
            }
            Err(_) => found.refuse(&service.origin, field, format!("{text:?} is neither an IP address nor None")),
        }
    }
    out.into_iter().collect()
}

fn front_port<'a>(
    service: &'a Service,
    (port, field): (&'a ServicePort, &str),
    places: &Places<'a>,
    found: &mut Found<'a>,
) -> Port<'a> {
    let spoken = match (&port.app_protocol, &port.name) {
        (Some(text), _) => of_app_protocol(text).unwrap_or_else(|reason| {
            found.refuse(&service.origin, format!("{field}.appProtocol"), reason);
            Spoken::Nothing
        }),
        (None, Some(name)) => of_port_name(name),
        (None, None) => Spoken::Nothing,
    };
    let mut endpoints = Vec::new();
    let key = (service.meta.namespace.as_str(), service.meta.name.as_str());
    for slice in places.slices.get(&key).into_iter().flatten() {
        endpoints.extend(of_slice(slice, port, places, found));
    }
    let selected = places.workloads.selected(&service.meta.namespace, &service.spec.selector);
    let from_slices = !endpoints.is_empty();
    let reachable = selected.iter().filter_map(|workload| Some(workload.endpoint(target_port(workload, port)?, &[])));
    endpoints.extend(reachable);
    if let (Some(PortRef::Name(name)), false, false) = (&port.target_port, from_slices, selected.is_empty())
        && endpoints.is_empty()
    {
        let reason = format!("no selected WorkloadEntry has a port of the name {name:?}");
        found.warn(&service.origin, format!("{field}.targetPort"), reason);
    }
    Port {
        port: PortName { number: port.port.get(), name: port.name.as_deref() },
        spoken,
        field: format!("{field}.appProtocol"),
        endpoints: unique(endpoints),
        traffic: None,
        held: Vec::new(),
        documented: true,
    }
}

/// A workload's port for a Service port: by the name in `targetPort`, else by the Service port's own name, else the
/// number (as Istio does for workloads that a Service selects).
fn target_port(workload: &Workload<'_>, port: &ServicePort) -> Option<u16> {
    let named = |name: &str| workload.ports.get(name).copied();
    let own = || port.name.as_deref().and_then(named);
    let number = match &port.target_port {
        Some(PortRef::Name(name)) => named(name).or_else(own)?,
        Some(PortRef::Number(number)) => own().unwrap_or(*number),
        None => own().unwrap_or(port.port),
    };
    Some(number.get())
}

fn of_slice<'a>(
    slice: &'a Document<EndpointSlice>,
    port: &ServicePort,
    places: &Places<'a>,
    found: &mut Found<'a>,
) -> Vec<Endpoint> {
    if slice.spec.address_type.as_deref() == Some("FQDN") {
        found.warn(&slice.origin, "addressType", "FQDN endpoints are not dialled; use a ServiceEntry");
        return Vec::new();
    }
    let name = port.name.as_deref().unwrap_or("");
    let here = slice.spec.ports.iter().find(|port| port.name == name && port.protocol == Transport::Tcp);
    let Some(number) = here.and_then(|port| port.port) else { return Vec::new() };
    let mut out = Vec::new();
    for (index, endpoint) in slice.spec.endpoints.iter().enumerate() {
        if endpoint.conditions.ready == Some(false) {
            continue;
        }
        // The addresses are one workload's, and interchangeable (API reference of EndpointSlice): the first will do.
        let Some(text) = endpoint.addresses.first() else { continue };
        let field = || format!("endpoints[{index}].addresses[0]");
        let Ok(ip) = text.parse::<IpAddr>() else {
            found.refuse(&slice.origin, field(), format!("{text:?} is no IP address"));
            continue;
        };
        match places.workloads.holder(ip, &slice.meta.namespace) {
            Holder::One(workload) => out.push(workload.endpoint(number.get(), &[])),
            Holder::Nobody => out.push(Host::Ip(ip).endpoint(number.get(), Via::Plain)),
            Holder::Several => {
                let reason = format!("several WorkloadEntries with different identities have the address {ip}");
                found.refuse(&slice.origin, field(), reason);
            }
        }
    }
    out
}

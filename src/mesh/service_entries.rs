//! ServiceEntries: hosts, addresses, ports, and their endpoints, listed, selected or resolved.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::TargetKind;
use super::attached::PortName;
use super::endpoint::{Endpoint, Via};
use super::found::Found;
use super::fronted::{Fronted, Places, Port, unique};
use super::protocol::{Spoken, of_istio, of_port_name};
use super::workloads::{Host, Own, Workload, is_dns_name};
use crate::document::Document;
use crate::document::service_entry::{EntryPort, Location, Resolution, ServiceEntrySpec};
use crate::id::WorkloadId;

type Entry = Document<ServiceEntrySpec>;

/// Fronts a ServiceEntry.
pub(super) fn front<'a>(entry: &'a Entry, places: &Places<'a>, found: &mut Found<'a>) -> Fronted<'a> {
    let spec = &entry.spec;
    let hosts = hosts(entry, found);
    if let Resolution::None | Resolution::DynamicDns = spec.resolution {
        let reason = "NONE (the default) and DYNAMIC_DNS are not served yet; write STATIC or DNS";
        found.refuse(&entry.origin, "spec.resolution", reason);
    }
    if spec.workload_selector.is_some() && !spec.endpoints.is_empty() {
        found.refuse(&entry.origin, "spec.workloadSelector", "stands beside endpoints; keep one of them");
    }
    let workloads = listed(entry, places, found);
    let more = identities(entry, found);
    let mut numbers = BTreeSet::new();
    let mut ports = Vec::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let said = port.protocol.as_deref().filter(|text| !text.is_empty());
        let spoken = said.map_or_else(|| of_port_name(&port.name), of_istio);
        if let (Some(text), Spoken::Nothing) = (said, spoken) {
            let reason = format!("{text:?} is no protocol of Istio's; MCP is declared by an AgentPolicy's protocol");
            found.refuse(&entry.origin, format!("{field}.protocol"), reason);
        }
        if spoken == Spoken::Udp {
            found.warn(&entry.origin, format!("{field}.protocol"), "UDP is not carried; the port is passed over");
            continue;
        }
        if !numbers.insert(port.number) {
            found.refuse(&entry.origin, format!("{field}.number"), format!("port {} stands twice", port.number));
            continue;
        }
        ports.push(Port {
            port: PortName { number: port.number.get(), name: Some(&port.name) },
            spoken,
            field: format!("{field}.protocol"),
            endpoints: endpoints(entry, (port, &hosts), &workloads, &more),
            traffic: None,
            held: Vec::new(),
            documented: true,
        });
    }
    let dns = matches!(spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    Fronted {
        kind: TargetKind::ServiceEntry,
        namespace: &entry.meta.namespace,
        name: &entry.meta.name,
        created: &entry.meta.created,
        origin: Some(&entry.origin),
        at: None,
        vips: vips(entry, found),
        hosts,
        selector: spec.workload_selector.as_ref().map(|selector| &selector.labels),
        affine: false,
        external: dns || spec.location == Location::MeshExternal,
        ports,
    }
}

fn hosts<'a>(entry: &'a Entry, found: &mut Found<'a>) -> Vec<String> {
    let mut out = Vec::new();
    if entry.spec.hosts.is_empty() {
        found.refuse(&entry.origin, "spec.hosts", "names no host; at least one is required");
    }
    for (index, text) in entry.spec.hosts.iter().enumerate() {
        let host = text.to_ascii_lowercase();
        if is_dns_name(&host) {
            out.push(host);
            continue;
        }
        let what = if host.contains('*') { "wildcard hosts are not served yet" } else { "is no DNS name" };
        found.refuse(&entry.origin, format!("spec.hosts[{index}]"), format!("{text:?}: {what}"));
    }
    out
}

/// The one address that a ServiceEntry's `spec.addresses` names, by itself or as a prefix of its whole length.
fn one_address(text: &str) -> Option<IpAddr> {
    let single = |net: ipnet::IpNet| (net.prefix_len() == net.max_prefix_len()).then(|| net.addr());
    text.parse().ok().or_else(|| single(text.parse().ok()?))
}

/// Whether it names more than one there, which is not served.
pub fn is_prefix(text: &str) -> bool {
    text.contains('/') && one_address(text).is_none()
}

fn vips<'a>(entry: &'a Entry, found: &mut Found<'a>) -> Vec<IpAddr> {
    let mut out = BTreeSet::new();
    for (index, text) in entry.spec.addresses.iter().enumerate() {
        match one_address(text) {
            Some(ip) => {
                out.insert(ip);
            }
            None => {
                let reason = format!("{text:?} is no single IP address; prefixes are not served yet");
                found.refuse(&entry.origin, format!("spec.addresses[{index}]"), reason);
            }
        }
    }
    out.into_iter().collect()
}

/// The entry's own endpoints.
fn listed<'a>(entry: &'a Entry, places: &Places<'a>, found: &mut Found<'a>) -> Vec<Workload<'a>> {
    let mut out = Vec::new();
    for (index, spec) in entry.spec.endpoints.iter().enumerate() {
        let at = format!("spec.endpoints[{index}]");
        match Workload::of(spec, Own::of_service_entry(&entry.meta), places.trust_domain) {
            Ok(Workload { host: Host::Name(_), .. }) if entry.spec.resolution == Resolution::Static => {
                let reason = "must be an IP address where resolution is STATIC";
                found.refuse(&entry.origin, format!("{at}.address"), reason);
            }
            Ok(workload) => out.push(workload),
            Err((field, reason)) => found.refuse(&entry.origin, format!("{at}.{field}"), reason),
        }
    }
    if let Some(selector) = &entry.spec.workload_selector {
        out.extend(places.workloads.selected(&entry.meta.namespace, &selector.labels).into_iter().cloned());
    }
    out
}

/// `subjectAltNames` that are SPIFFE IDs; others would be names for TLS, which BackendTLSPolicy says.
fn identities<'a>(entry: &'a Entry, found: &mut Found<'a>) -> Vec<WorkloadId> {
    let mut out = Vec::new();
    for (index, text) in entry.spec.subject_alt_names.iter().enumerate() {
        match WorkloadId::parse(text) {
            Ok(id) => out.push(id),
            Err(fault) => {
                let reason = format!("{text:?} is no SPIFFE ID ({fault}) and is never accepted");
                found.warn(&entry.origin, format!("spec.subjectAltNames[{index}]"), reason);
            }
        }
    }
    out
}

fn endpoints(
    entry: &Entry,
    (port, hosts): (&EntryPort, &[String]),
    workloads: &[Workload<'_>],
    more: &[WorkloadId],
) -> Vec<Arc<Endpoint>> {
    let target = port.target_port.unwrap_or(port.number);
    let of = |workload: &Workload<'_>| {
        workload.endpoint(workload.ports.get(&port.name).copied().unwrap_or(target).get(), more)
    };
    let named = || {
        let names = hosts.iter().filter_map(|host| Host::parse(host).ok());
        unique(names.map(|host| host.endpoint(target.get(), Via::Plain)))
    };
    let lists = !entry.spec.endpoints.is_empty() || entry.spec.workload_selector.is_some();
    match entry.spec.resolution {
        Resolution::None | Resolution::DynamicDns => Vec::new(),
        Resolution::Dns | Resolution::DnsRoundRobin if !lists => named(),
        Resolution::Static | Resolution::Dns | Resolution::DnsRoundRobin => unique(workloads.iter().map(of)),
    }
}

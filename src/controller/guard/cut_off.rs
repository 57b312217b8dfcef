//! Who a guard cuts off: to be read before it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::input::{Mesh, ServiceKind};
use super::members::{Member, Members};

/// What sort of client is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A gateway that sends to pods directly.
    Ingress,
    /// Sidecars, which never use a waypoint.
    Sidecar,
    /// Clients that resolve the addresses of pods.
    Headless,
    /// Traffic from outside through nodes.
    NodePort,
    /// Prometheus, on a guarded port.
    Scraper,
    /// Clients of another Service of the same pods and port.
    OtherService,
}

/// One who is cut off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CutOff {
    /// What sort.
    pub kind: Kind,
    /// Which.
    pub name: String,
    /// Of which target port, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl CutOff {
    /// What to do so that it is not.
    pub fn remedy(&self) -> &'static str {
        match self.kind {
            Kind::Ingress => "label the Service istio.io/ingress-use-waypoint=true",
            Kind::Sidecar => "move these pods to ambient",
            Kind::Headless => "call a Service that has an address and uses the waypoint",
            Kind::NodePort => "let traffic in by a Gateway, with istio.io/ingress-use-waypoint=true on the Service",
            Kind::Scraper => "serve metrics on a port of their own",
            Kind::OtherService => "label that Service to use the waypoint too",
        }
    }
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Ingress => "gateway",
            Kind::Sidecar => "sidecars in namespace",
            Kind::Headless => "clients of pod addresses, by headless Service",
            Kind::NodePort => "traffic through nodes, by Service",
            Kind::Scraper => "scrapers of pod",
            Kind::OtherService => "clients of Service",
        };
        write!(f, "{kind} {}", self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ", port {port}"))
    }
}

/// Pods or namespaces of one sort beyond these are not listed one by one.
const LISTED: usize = 50;

/// Who is cut off when `ports` (none: all) of the pods of `member` are guarded. Clients outside the mesh, and those who
/// dial pod addresses of their own accord, are cut off as well, and no object names them.
pub(super) fn of(
    mesh: &Mesh,
    members: &Members<'_>,
    member: &Member<'_>,
    ports: Option<&BTreeSet<u16>>,
) -> Vec<CutOff> {
    let guarded = |port: u16| ports.is_none_or(|ports| ports.contains(&port));
    let mut list = ingresses(mesh, member);
    list.extend(sidecars(mesh));
    let own = |kind: Kind| CutOff { kind, name: member.service.name.to_string(), port: None };
    match member.service.kind {
        ServiceKind::Headless => list.push(own(Kind::Headless)),
        ServiceKind::Published => list.push(own(Kind::NodePort)),
        ServiceKind::ClusterIp | ServiceKind::ExternalName => {}
    }
    let scraped = member.pods.iter().filter_map(|(_, pod)| Some((pod, pod.scraped.filter(|port| guarded(*port))?)));
    let scraped =
        scraped.map(|(pod, port)| CutOff { kind: Kind::Scraper, name: pod.name.to_string(), port: Some(port) });
    list.extend(scraped.take(LISTED));
    list.extend(others(members, member, guarded));
    list.sort();
    list
}

fn ingresses(mesh: &Mesh, member: &Member<'_>) -> Vec<CutOff> {
    if member.service.ingress_uses_waypoint {
        return Vec::new();
    }
    let leads_here =
        |services: &Option<BTreeSet<_>>| services.as_ref().is_none_or(|all| all.contains(&member.service.name));
    let leading = mesh.ingresses.iter().filter(|ingress| leads_here(&ingress.services));
    leading.map(|ingress| CutOff { kind: Kind::Ingress, name: ingress.name.to_string(), port: None }).collect()
}

fn sidecars(mesh: &Mesh) -> Vec<CutOff> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| pod.sidecar) {
        *count.entry(&pod.namespace).or_default() += 1;
    }
    let name = |(namespace, pods): (&str, usize)| format!("{namespace} ({pods})");
    let all = count.into_iter().take(LISTED);
    all.map(|one| CutOff { kind: Kind::Sidecar, name: name(one), port: None }).collect()
}

/// Services that share a pod and a guarded port, and that no waypoint fronts.
fn others(members: &Members<'_>, member: &Member<'_>, guarded: impl Fn(u16) -> bool) -> Vec<CutOff> {
    let own: BTreeSet<usize> = member.pods.iter().map(|(at, _)| *at).collect();
    let mut list = BTreeSet::new();
    for other in members.all.iter().filter(|other| other.fronts.is_empty()) {
        let kind = if other.service.kind == ServiceKind::Headless { Kind::Headless } else { Kind::OtherService };
        for (_, pod) in other.pods.iter().filter(|(at, _)| own.contains(at)) {
            let ports = other.ports_on(pod).into_iter().filter(|port| guarded(*port));
            list.extend(ports.map(|port| CutOff { kind, name: other.service.name.to_string(), port: Some(port) }));
        }
    }
    list.into_iter().take(LISTED).collect()
}

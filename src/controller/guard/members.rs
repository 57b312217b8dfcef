//! Which pods and numbers a Service comes to, and who fronts what of a pod.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::input::{Found, Mesh, Name, Pod, Service, ServiceKind, TargetPort};
use crate::id::WorkloadId;

/// Principals, without `spiffe://`: the form that ztunnel compares.
pub(super) type Principals = BTreeSet<Arc<str>>;

/// One Service with its pods.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) service: &'a Service,
    pub(super) pods: Vec<(usize, &'a Pod)>,
    /// Identities of the waypoints that front it; empty: none does.
    pub(super) fronts: Principals,
}

impl Member<'_> {
    /// The numbers that the Service's ports have on this pod.
    pub(super) fn ports_on(&self, pod: &Pod) -> BTreeSet<u16> {
        let targets = self.service.ports.iter().map(|port| &port.target);
        targets.filter_map(|target| number(target, pod)).collect()
    }

    /// All the numbers that its ports have, on any pod.
    pub(super) fn ports(&self) -> BTreeSet<u16> {
        let fixed = self.service.ports.iter().filter_map(|port| match port.target {
            TargetPort::Number(number) => Some(number),
            TargetPort::Named(_) => None,
        });
        fixed.chain(self.pods.iter().flat_map(|(_, pod)| self.ports_on(pod))).collect()
    }

    /// Names of target ports that no pod resolves.
    pub(super) fn unresolved(&self) -> Vec<&str> {
        let names = self.service.ports.iter().filter_map(|port| match &port.target {
            TargetPort::Named(name) => Some(&**name),
            TargetPort::Number(_) => None,
        });
        names.filter(|name| !self.pods.iter().any(|(_, pod)| pod.named(name).is_some())).collect()
    }

    /// Whether it can be guarded by selecting its pods.
    pub(super) fn selects(&self) -> bool {
        !self.service.selector.is_empty() && self.service.kind != ServiceKind::ExternalName
    }
}

fn number(target: &TargetPort, pod: &Pod) -> Option<u16> {
    match target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Named(name) => pod.named(name),
    }
}

/// The Services of one namespace.
#[derive(Debug)]
pub(super) struct Members<'a> {
    pub(super) all: Vec<Member<'a>>,
    /// Who fronts a port of a pod (by its place in the mesh).
    fronts: BTreeMap<(usize, u16), Principals>,
    /// Who is in front of a pod's own address, whatever the port.
    addressed: BTreeMap<usize, Principals>,
}

impl<'a> Members<'a> {
    fn of(mesh: &Mesh, services: &[&'a Service], pods: &[(usize, &'a Pod)]) -> Self {
        let member = |service: &&'a Service| {
            let own = |pod: &&(usize, &'a Pod)| !service.selector.is_empty() && selects(&service.selector, pod.1);
            let fronts = service.waypoints.iter().flat_map(|name| identities(mesh, service, name)).collect();
            Member { service, pods: pods.iter().filter(own).copied().collect(), fronts }
        };
        let all: Vec<Member<'a>> = services.iter().map(member).collect();
        let mut fronts: BTreeMap<(usize, u16), Principals> = BTreeMap::new();
        for member in all.iter().filter(|member| !member.fronts.is_empty()) {
            for (at, pod) in &member.pods {
                for port in member.ports_on(pod) {
                    fronts.entry((*at, port)).or_default().extend(member.fronts.iter().cloned());
                }
            }
        }
        let addressed = pods.iter().filter_map(|(at, pod)| {
            let waypoint = pod.waypoint.as_ref()?;
            Some((*at, accounts(mesh, waypoint).into_iter().collect()))
        });
        Self { all, fronts, addressed: addressed.collect() }
    }

    /// Who is in front of this pod's own address.
    pub(super) fn addressing(&self, pod: usize) -> impl Iterator<Item = &Arc<str>> {
        self.addressed.get(&pod).into_iter().flatten()
    }

    /// Who fronts this port of this pod.
    pub(super) fn fronting(&self, pod: usize, port: u16) -> Option<&Principals> {
        self.fronts.get(&(pod, port))
    }

    /// Who fronts any port of this pod.
    pub(super) fn fronting_any(&self, pod: usize) -> impl Iterator<Item = &Arc<str>> {
        self.fronts.range((pod, 0)..=(pod, u16::MAX)).flat_map(|(_, who)| who)
    }
}

/// The Services of each namespace in which a waypoint fronts one.
pub(super) fn by_namespace(mesh: &Mesh) -> BTreeMap<&str, Members<'_>> {
    let mut services: BTreeMap<&str, Vec<&Service>> = BTreeMap::new();
    for service in &mesh.services {
        services.entry(&service.name.namespace).or_default().push(service);
    }
    services.retain(|_, all| all.iter().any(|service| !service.waypoints.is_empty()));
    let mut pods: BTreeMap<&str, Vec<(usize, &Pod)>> = BTreeMap::new();
    for (at, pod) in mesh.pods.iter().enumerate() {
        if services.contains_key(&*pod.namespace) {
            pods.entry(&pod.namespace).or_default().push((at, pod));
        }
    }
    let mut all = BTreeMap::new();
    for (namespace, services) in services {
        let pods = pods.remove(namespace).unwrap_or_default();
        all.insert(namespace, Members::of(mesh, &services, &pods));
    }
    all
}

pub(super) fn selects(selector: &BTreeMap<String, String>, pod: &Pod) -> bool {
    selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

/// The identities of a waypoint. One that has no pods, or whose Gateway is gone from under a guard that stands, is taken to
/// run as the ServiceAccount of its own name, as Istio and we both have it: a guard must not cut off a waypoint that is only
/// away. A Gateway that nobody has seen names nobody.
fn identities(mesh: &Mesh, service: &Service, waypoint: &Name) -> Vec<Arc<str>> {
    let known = mesh.waypoints.get(waypoint);
    let guarded = |found: &Found| {
        found.ours && found.name.namespace == service.name.namespace && found.services.contains(&service.name.name)
    };
    if known.is_none() && !mesh.found.iter().any(guarded) {
        return Vec::new();
    }
    accounts(mesh, waypoint)
}

/// What a waypoint's pods run as.
fn accounts(mesh: &Mesh, waypoint: &Name) -> Vec<Arc<str>> {
    let known = mesh.waypoints.get(waypoint);
    let known = known.map(|known| &known.accounts).filter(|accounts| !accounts.is_empty());
    let principal = |account: &Arc<str>| {
        let id = WorkloadId::of_istio(&mesh.trust_domain, &waypoint.namespace, account);
        id.ok().map(|id| Arc::from(id.principal()))
    };
    match known {
        Some(accounts) => accounts.iter().filter_map(principal).collect(),
        None => principal(&waypoint.name).into_iter().collect(),
    }
}

//! Workloads that this waypoint fronts by their own addresses (`istio.io/waypoint-for: workload` or `all`).
//!
//! Whoever is addressed past a Service is still the Service's: a call to a workload's port needs the permission of every
//! fronted Service that leads to it. Ports to which none leads are decided on by what is attached to the Gateway and to the
//! namespace.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::reach::{target_port, via};
use super::rows::WorkloadRow;
use super::state::World;
use crate::mesh::endpoint::{Endpoint, Via};
use crate::mesh::held::{Held, Hold};
use crate::mesh::ruled::Ruled;
use crate::mesh::target::{PortProtocol, Target, TargetKey, TargetKind, TargetRevision};
use crate::mesh::workloads::Host;
use crate::policy::{Destination, Rules};
use crate::wire::path::Normalization;

/// Ports of a node proxy in an ambient mesh (outbound, plaintext in, HBONE): never an application's.
const NODE_PROXY: [u16; 3] = [15001, 15006, 15008];

/// One address of a fronted workload.
#[derive(Debug)]
pub(in crate::mesh) struct Addressed {
    ip: IpAddr,
    namespace: Arc<str>,
    name: Arc<str>,
    via: Via,
    /// Ports to which fronted Services lead.
    ports: Vec<(u16, Arc<Target>)>,
    other: Ruled,
}

impl Addressed {
    /// What a call to `port` is addressed to; none where no application can be.
    pub(in crate::mesh) fn target(&self, port: u16) -> Option<Arc<Target>> {
        if let Some((_, target)) = self.ports.iter().find(|(number, _)| *number == port) {
            return Some(Arc::clone(target));
        }
        (!NODE_PROXY.contains(&port)).then(|| {
            let Ruled { protocol, paths, routes, bytes, rules, tokens, closed, unenforced, revision } =
                self.other.clone();
            let destination = Destination {
                service: Arc::clone(&self.name),
                namespace: Arc::clone(&self.namespace),
                port,
                addresses: [self.ip].into(),
            };
            let upstream_h2 = false;
            let (key, endpoints, held) = (self.key(port), self.endpoint(port), Vec::new());
            let target = Target {
                key,
                destination,
                protocol,
                paths,
                routes,
                bytes,
                leads_to: None,
                rules,
                tokens,
                endpoints,
                held,
                affine: false,
                traffic: None,
                upstream_h2,
                closed,
                unenforced,
                revision,
            };
            Arc::new(target)
        })
    }

    /// The ports to which fronted Services lead.
    pub(in crate::mesh) fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.ports.iter().map(|(_, target)| target)
    }

    fn key(&self, port: u16) -> TargetKey {
        let (namespace, name) = (Arc::clone(&self.namespace), Arc::clone(&self.name));
        TargetKey { kind: TargetKind::Workload, namespace, name, port, at: Some(self.ip.to_string().into()) }
    }

    fn endpoint(&self, port: u16) -> Vec<Arc<Endpoint>> {
        vec![Arc::new(Host::Ip(self.ip).endpoint(port, self.via.clone()))]
    }
}

/// The addresses of a fronted workload. `target` gives what a Service's port is; `other` decides for ports to which none
/// leads.
pub(in crate::mesh) fn workload(
    world: &World,
    row: &WorkloadRow,
    target: impl Fn(&str, u16) -> Option<Arc<Target>>,
    other: &Ruled,
) -> Vec<(IpAddr, Arc<Addressed>)> {
    let mut parts: BTreeMap<u16, Vec<Arc<Target>>> = BTreeMap::new();
    let mut more = Vec::new();
    for member in &row.parts.services {
        let Some(service) = world.service(&member.service) else { continue };
        let before = parts.values().map(Vec::len).sum::<usize>();
        for port in &service.parts.ports {
            if let (Some(own), Some(found)) = (target_port(service, port, row), target(&member.service, port.port)) {
                parts.entry(own).or_default().push(found);
            }
        }
        if parts.values().map(Vec::len).sum::<usize>() > before {
            more.extend(service.parts.more_ids.iter().cloned());
        }
    }
    let Some(via) = via(row, &more) else { return Vec::new() };
    let mut out = Vec::new();
    for ip in &row.parts.ips {
        let (namespace, name): (Arc<str>, Arc<str>) = (Arc::clone(&row.parts.namespace), row.parts.name().into());
        // It is not found at an address that it has not by right.
        let Ok(via) = world.way(row, *ip, via.clone(), &more) else { continue };
        let mut one = Addressed { ip: *ip, namespace, name, via, ports: Vec::new(), other: other.clone() };
        for (port, of) in &parts {
            // Who gets no calls by a Service's name gets none by its own, unless the name alone prefers others.
            let (mut endpoints, mut held) = (one.endpoint(*port), Vec::new());
            let both = endpoints.iter().find_map(|own| {
                let mut all = of.iter().flat_map(|target| &target.held);
                all.find(|held| held.id == own.id && held.why != Hold::Elsewhere).cloned()
            });
            if let Some(both) = both {
                (endpoints, held) = (Vec::new(), vec![both]);
            }
            let target = joined(of, one.key(*port), (endpoints, held));
            one.ports.push((*port, Arc::new(target)));
        }
        out.push((*ip, Arc::new(one)));
    }
    out
}

/// One port of a workload from the Services' ports that lead to it, of which there is at least one.
fn joined(of: &[Arc<Target>], key: TargetKey, (endpoints, held): (Vec<Arc<Endpoint>>, Vec<Held>)) -> Target {
    let reasons: Vec<&str> = of.iter().filter_map(|one| one.closed()).collect();
    let tokens = of.iter().find_map(|one| one.tokens.clone());
    // Nor does a Service whose rules read tokens, and that takes none, believe those of another.
    let apart = tokens.as_ref().is_some_and(|first| {
        of.iter().any(|one| match &one.tokens {
            Some(other) => !Arc::ptr_eq(first, other),
            None => one.rules.reads_jwt(),
        })
    });
    let (protocol, closed) = match (reasons.first(), protocol(of)) {
        (Some(_), protocol) => (protocol.unwrap_or(PortProtocol::Undeclared), Some(reasons.join("; "))),
        (None, None) => {
            let reason = "the Services that lead to it do not agree on what it speaks; call one of them by its name";
            (PortProtocol::Undeclared, Some(reason.to_owned()))
        }
        (None, Some(protocol)) if apart => {
            let reason = "the Services that lead to it take different tokens; call one of them by its name";
            (protocol, Some(reason.to_owned()))
        }
        (None, Some(protocol)) => (protocol, None),
    };
    let rules = match &closed {
        Some(reason) => Arc::new(Rules::closed(reason.clone())),
        None if of.len() == 1 => {
            of.iter().map(|one| Arc::clone(&one.rules)).next().unwrap_or_else(|| Arc::new(Rules::closed("no rules")))
        }
        None => Arc::new(Rules::all(of.iter().map(|one| (one.destination.clone(), Arc::clone(&one.rules))).collect())),
    };
    let destination = of.first().map_or_else(
        || Destination {
            service: Arc::clone(&key.name),
            namespace: Arc::clone(&key.namespace),
            port: key.port,
            addresses: [].into(),
        },
        |one| one.destination.clone(),
    );
    Target {
        destination,
        protocol,
        revision: TargetRevision::joined(of.iter().map(|one| one.revision), &rules),
        rules,
        tokens,
        endpoints,
        held,
        paths: paths(of),
        routes: None,
        bytes: None,
        leads_to: None,
        affine: false,
        traffic: None,
        upstream_h2: of.iter().any(|one| one.upstream_h2),
        closed: closed.map(Into::into),
        unenforced: Arc::default(),
        key,
    }
}

/// How they agree that paths are normalised, strictly where they do not.
fn paths(of: &[Arc<Target>]) -> Normalization {
    let first = of.first().map(|one| one.paths);
    first.filter(|first| of.iter().all(|one| one.paths == *first)).unwrap_or(Normalization::Strict)
}

/// What they agree the port speaks: what is declared holds over what is not, as it says more.
fn protocol(of: &[Arc<Target>]) -> Option<PortProtocol> {
    let mut all: Vec<PortProtocol> = of.iter().map(|one| one.protocol).collect();
    if all.iter().any(|one| one.is_declared()) {
        all.retain(|one| one.is_declared());
    } else if all.iter().any(|one| *one != PortProtocol::Undeclared) {
        all.retain(|one| *one != PortProtocol::Undeclared);
    }
    let first = *all.first()?;
    all.iter().all(|one| *one == first).then_some(first)
}

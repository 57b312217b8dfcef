//! How the workloads behind a service are reached.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::rows::{PortRow, Reach, ServiceRow, WorkloadRow};
use super::state::{World, same_network};
use crate::id::WorkloadId;
use crate::mesh::endpoint::{At, Endpoint, Via};
use crate::mesh::held::{Held, Hold};
use crate::mesh::workloads::{Host, is_dns_name};

/// Where calls to a port can go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::mesh) struct Reached {
    /// In order of their ids.
    pub(in crate::mesh) endpoints: Vec<Arc<Endpoint>>,
    /// Those that are named and get no calls, in order of their ids.
    pub(in crate::mesh) held: Vec<Held>,
}

/// Where calls to `port` of `service` can go: its ready workloads on our network that have the port. An address that two
/// workloads claim with different identities is left out, as nobody can say whom to expect there.
/// A workload that is to be guarded gets no calls until it is.
pub(super) fn endpoints(world: &World, service: &ServiceRow, port: &PortRow, guard: Option<Guard<'_>>) -> Reached {
    let mut by_id: BTreeMap<Arc<str>, Option<Endpoint>> = BTreeMap::new();
    let mut held = BTreeSet::new();
    let mut last: Option<Arc<[WorkloadId]>> = None;
    for workload in world.behind(&service.parts.key) {
        let mut found = endpoint(world, service, port, workload);
        if let Some(Ok(endpoint)) = &mut found {
            share(endpoint, &mut last);
        }
        let endpoint = match found {
            Some(Ok(endpoint)) if guard.is_some_and(|guard| !guard.admits(world, port, workload, &endpoint)) => {
                held.insert(Held { id: endpoint.id, why: Hold::Unguarded });
                continue;
            }
            Some(Ok(endpoint)) => endpoint,
            Some(Err(one)) => {
                held.insert(one);
                continue;
            }
            None => continue,
        };
        match by_id.get_mut(&endpoint.id) {
            None => drop(by_id.insert(Arc::clone(&endpoint.id), Some(endpoint))),
            Some(known) if known.as_ref().is_some_and(|known| known.via != endpoint.via) => *known = None,
            Some(_) => {}
        }
    }
    held.retain(|one: &Held| !by_id.contains_key(&one.id));
    let endpoints = by_id.into_values().flatten().map(Arc::new).collect();
    Reached { endpoints, held: held.into_iter().collect() }
}

/// Pods of one Service have one identity, nearly always: it is held once.
fn share(endpoint: &mut Endpoint, last: &mut Option<Arc<[WorkloadId]>>) {
    let Via::Hbone { expect } = &mut endpoint.via else { return };
    match last {
        Some(last) if *last == *expect => *expect = Arc::clone(last),
        Some(_) | None => *last = Some(Arc::clone(expect)),
    }
}

/// The guard that is to stand before the workloads of a Service.
#[derive(Debug, Clone, Copy)]
pub(in crate::mesh) struct Guard<'g> {
    /// Its name.
    pub(in crate::mesh) name: &'g str,
    /// Endpoints that got calls under it before: one whose guard is taken away under way is the controller's to mend, and
    /// no reason to end the sessions that live there.
    pub(in crate::mesh) known: &'g [(u16, Reached)],
}

impl Guard<'_> {
    /// Whether a workload may get calls. Before what has no ztunnel there can be no guard.
    fn admits(&self, world: &World, port: &PortRow, workload: &WorkloadRow, endpoint: &Endpoint) -> bool {
        let (Via::Hbone { .. }, At::Addr(at)) = (&endpoint.via, &endpoint.at) else { return true };
        let before = self.known.iter().filter(|(number, _)| *number == port.port).flat_map(|(_, all)| &all.endpoints);
        world.is_guarded(workload, self.name, at.port())
            || before.into_iter().any(|one| one.id == endpoint.id && one.via == endpoint.via)
    }
}

fn endpoint(
    world: &World,
    service: &ServiceRow,
    port: &PortRow,
    workload: &WorkloadRow,
) -> Option<Result<Endpoint, Held>> {
    let parts = &workload.parts;
    let usable = (parts.healthy || service.parts.any_health) && parts.weight > 0 && !parts.is_waypoint;
    if !usable || !same_network(&parts.network, &world.here().network) {
        return None;
    }
    let target = target_port(service, port, workload)?;
    let host = host(workload, service.parts.v6_only)?;
    let more = &service.parts.more_ids;
    let planned = via(workload, more)?;
    let preference = &service.parts.preference;
    let Some(distance) = preference.distance(world.place(), &parts.place) else {
        return Some(Err(Held { id: host.endpoint(target, planned).id, why: Hold::Elsewhere }));
    };
    let way = match &host {
        Host::Ip(ip) => world.way(workload, *ip, planned.clone(), more),
        // What a name leads to is looked at when it is dialled.
        Host::Name(_) => Ok(planned.clone()),
    };
    let weight = parts.weight;
    Some(match way {
        Ok(via) => Ok(Endpoint { weight, distance, ..host.endpoint(target, via) }),
        Err(why) => Err(Held { id: host.endpoint(target, planned).id, why }),
    })
}

/// The workload's own port for a Service's; none where it has none of the name.
pub(super) fn target_port(service: &ServiceRow, port: &PortRow, workload: &WorkloadRow) -> Option<u16> {
    let member = workload.parts.services.iter().find(|member| member.service == service.parts.key)?;
    let own = member.ports.iter().find(|pair| pair.port == port.port).map(|pair| pair.target);
    own.or(Some(port.target)).filter(|target| *target != 0)
}

/// How it is reached; none where that is not spoken here.
pub(super) fn via(workload: &WorkloadRow, more: &[Arc<WorkloadId>]) -> Option<Via> {
    match workload.parts.reach {
        Reach::Plain => Some(Via::Plain),
        Reach::Hbone => {
            let own = std::iter::once(&workload.parts.id);
            Some(Via::Hbone { expect: own.chain(more).map(|id| WorkloadId::clone(id)).collect() })
        }
        Reach::Not => None,
    }
}

/// An address of the family that the service uses, else any, else its name.
fn host(workload: &WorkloadRow, v6_only: bool) -> Option<Host> {
    let ips = &workload.parts.ips;
    let ip: Option<&IpAddr> = ips.iter().find(|ip| ip.is_ipv6() == v6_only).or_else(|| ips.first());
    let named =
        || workload.parts.hostname.as_ref().filter(|name| is_dns_name(name)).map(|name| Host::Name(Arc::clone(name)));
    ip.map(|ip| Host::Ip(*ip)).or_else(named)
}

//! How the workloads behind a service are reached.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::rows::{PortRow, Reach, ServiceRow, WorkloadRow};
use super::state::{World, same_network};
use crate::id::WorkloadId;
use crate::mesh::endpoint::{Endpoint, Via};
use crate::mesh::workloads::{Host, is_dns_name};

/// Where calls to `port` of `service` can go: its ready workloads on our network that have the port. An address that two
/// workloads claim with different identities is left out, as nobody can say whom to expect there.
pub(super) fn endpoints(world: &World, service: &ServiceRow, port: &PortRow) -> Vec<Arc<Endpoint>> {
    let mut by_id: BTreeMap<Arc<str>, Option<Endpoint>> = BTreeMap::new();
    for workload in world.behind(&service.parts.key) {
        let Some(endpoint) = endpoint(world, service, port, workload) else { continue };
        match by_id.get_mut(&endpoint.id) {
            None => drop(by_id.insert(Arc::clone(&endpoint.id), Some(endpoint))),
            Some(known) if known.as_ref().is_some_and(|known| known.via != endpoint.via) => *known = None,
            Some(_) => {}
        }
    }
    by_id.into_values().flatten().map(Arc::new).collect()
}

fn endpoint(world: &World, service: &ServiceRow, port: &PortRow, workload: &WorkloadRow) -> Option<Endpoint> {
    let parts = &workload.parts;
    let usable = (parts.healthy || service.parts.any_health) && parts.weight > 0 && !parts.is_waypoint;
    if !usable || !same_network(&parts.network, &world.here().network) {
        return None;
    }
    let target = target_port(service, port, workload)?;
    let host = host(workload, service.parts.v6_only)?;
    let via = via(workload, &service.parts.more_ids)?;
    Some(Endpoint { weight: parts.weight, ..host.endpoint(target, via) })
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

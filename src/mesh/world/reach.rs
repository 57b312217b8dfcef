//! How the workloads behind a service are reached.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::holders::is_pod;
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
    /// Under a guard: uids of the workloads at each endpoint, with the endpoint's id before, in order.
    admitted: Vec<(Arc<str>, Arc<str>)>,
}

/// Where calls to `port` of `service` can go: its ready workloads on our network that have the port. A workload that is to
/// be guarded gets no calls until it is.
pub(super) fn endpoints(world: &World, service: &ServiceRow, port: &PortRow, guard: Option<Guard<'_>>) -> Reached {
    let mut by_id: BTreeMap<Arc<str>, Vec<Candidate<'_>>> = BTreeMap::new();
    let mut last: Option<Arc<[WorkloadId]>> = None;
    for workload in world.behind(&service.parts.key) {
        let Some(mut found) = endpoint(world, service, port, workload) else { continue };
        if let Ok(endpoint) = &mut found {
            share(endpoint, &mut last);
        }
        let id = match &found {
            Ok(endpoint) => &endpoint.id,
            Err(held) => &held.id,
        };
        by_id.entry(Arc::clone(id)).or_default().push(Candidate { workload, found });
    }
    let mut reached = Reached::default();
    for (id, candidates) in by_id {
        match settled(world, port, candidates, guard) {
            Ok((endpoint, uids)) => {
                if guard.is_some() {
                    reached.admitted.extend(uids.into_iter().map(|uid| (Arc::clone(&id), uid)));
                }
                reached.endpoints.push(Arc::new(endpoint));
            }
            Err(why) => reached.held.push(Held { id, why }),
        }
    }
    reached.endpoints.shrink_to_fit();
    reached.held.shrink_to_fit();
    reached
}

impl Reached {
    /// Whether that workload was called there, under a guard.
    fn has(&self, endpoint: &Endpoint, uid: &str) -> bool {
        let at = self.endpoints.binary_search_by(|one| one.id.cmp(&endpoint.id));
        let same = at.ok().and_then(|at| self.endpoints.get(at)).is_some_and(|one| one.via == endpoint.via);
        let admitted = (&*endpoint.id, uid);
        same && self.admitted.binary_search_by(|(id, uid)| (&**id, &**uid).cmp(&admitted)).is_ok()
    }
}

/// A workload of a service, with where it would be called or why it is not.
#[derive(Debug)]
struct Candidate<'w> {
    workload: &'w WorkloadRow,
    found: Result<Endpoint, Held>,
}

/// Who is called at an address, with their uids. Where a pod is it is the pod, whoever else names its address. Of two that
/// are to be expected with different identities, or of which one is not guarded, nobody can say whom a call would reach.
fn settled(
    world: &World,
    port: &PortRow,
    mut candidates: Vec<Candidate<'_>>,
    guard: Option<Guard<'_>>,
) -> Result<(Endpoint, Vec<Arc<str>>), Hold> {
    if candidates.iter().any(|one| is_pod(one.workload)) {
        candidates.retain(|one| is_pod(one.workload));
    }
    let (mut settled, mut uids, mut refused): (Option<Endpoint>, _, _) = (None, Vec::new(), Hold::Contested);
    for Candidate { workload, found } in candidates {
        let endpoint = match found {
            Ok(endpoint) => endpoint,
            Err(held) => {
                refused = held.why;
                continue;
            }
        };
        if let Some(guard) = guard {
            guard.admits(world, port, workload, &endpoint)?;
        }
        uids.push(Arc::clone(&workload.parts.uid));
        match &settled {
            Some(known) if known.via != endpoint.via => return Err(Hold::Contested),
            Some(_) => {}
            None => settled = Some(endpoint),
        }
    }
    settled.map(|endpoint| (endpoint, uids)).ok_or(refused)
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
    /// Who got calls under it before: a pod whose guard is taken away under way is the controller's to mend, and no reason
    /// to end the sessions that live there. Known is the pod, by its uid: whoever gets its address and account after it was
    /// never guarded. (A uid is made of the name, so that a StatefulSet's next pod has it again; but that one is not ready at
    /// first, and so forgotten.)
    pub(in crate::mesh) known: &'g [(u16, Reached)],
}

impl Guard<'_> {
    /// Whether a workload may get calls, or why not. Before what has no ztunnel there can be no guard.
    fn admits(&self, world: &World, port: &PortRow, workload: &WorkloadRow, endpoint: &Endpoint) -> Result<(), Hold> {
        let (Via::Hbone { .. }, At::Addr(at)) = (&endpoint.via, &endpoint.at) else { return Ok(()) };
        if !world.here().has(workload) {
            return Err(Hold::OtherCluster);
        }
        let mut before = self.known.iter().filter(|(number, _)| *number == port.port).map(|(_, all)| all);
        let known = world.is_guarded(workload, self.name, at.port())
            || before.any(|before| before.has(endpoint, &workload.parts.uid));
        if known { Ok(()) } else { Err(Hold::Unguarded) }
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
    let Some(distance) = preference.distance(|| world.place(), &parts.place) else {
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

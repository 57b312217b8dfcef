//! A row that this waypoint fronts, with what documents say beyond istiod: names of ports, and what they declare.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::reach::{self, Guard, Reached};
use super::rows::{AppProtocol, PortRow, ServiceRow};
use super::state::World;
use crate::document::service::{GUARDED_BY, ServicePort, ServiceSpec, SessionAffinity, Transport};
use crate::document::service_entry::{Location, Resolution, ServiceEntrySpec};
use crate::document::{Document, Documents};
use crate::mesh::attached::{Owned, PortName};
use crate::mesh::found::Found;
use crate::mesh::fronted::{Fronted, Port};
use crate::mesh::protocol::{Spoken, of_app_protocol};
use crate::mesh::{TargetKind, is_prefix};

type Named<'d, S> = HashMap<(&'d str, &'d str), &'d Document<S>>;

/// Service and ServiceEntry documents by namespace and name.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Docs<'d> {
    services: Named<'d, ServiceSpec>,
    entries: Named<'d, ServiceEntrySpec>,
}

impl<'d> Docs<'d> {
    pub(in crate::mesh) fn of(documents: &'d Documents) -> Self {
        Self { services: named(&documents.services), entries: named(&documents.service_entries) }
    }

    /// Name of the guard that is to stand before the workloads of a Service; none where none is.
    pub(in crate::mesh) fn guard(&self, world: &World, row: &ServiceRow) -> Option<&'d str> {
        let service = self.services.get(&(&*row.parts.namespace, &*row.parts.name));
        let service = service.filter(|_| world.here().is_service(row))?;
        service.meta.annotations.get(GUARDED_BY).map(String::as_str)
    }

    /// The ports that documents tell of: those that a route can lead to.
    pub(in crate::mesh) fn ports(&self) -> HashSet<(Owned<'d>, u16)> {
        let services = self.services.iter().flat_map(|((namespace, name), one)| {
            one.spec.ports.iter().map(|port| ((TargetKind::Service, *namespace, *name), port.port.get()))
        });
        let entries = self.entries.iter().flat_map(|((namespace, name), one)| {
            one.spec.ports.iter().map(|port| ((TargetKind::ServiceEntry, *namespace, *name), port.number.get()))
        });
        services.chain(entries).collect()
    }
}

fn named<S>(documents: &[Arc<Document<S>>]) -> Named<'_, S> {
    documents.iter().map(|one| ((one.meta.namespace.as_str(), one.meta.name.as_str()), &**one)).collect()
}

/// Endpoints of each port by its number.
pub(in crate::mesh) type Endpoints = Arc<[(u16, Reached)]>;

/// Where calls to each port of a service can go.
pub(in crate::mesh) fn endpoints(world: &World, row: &ServiceRow, guard: Option<Guard<'_>>) -> Endpoints {
    row.parts.ports.iter().map(|port| (port.port, reach::endpoints(world, row, port, guard))).collect()
}

/// Fronts a row. What its document says wrongly of a port closes it, as it would from files.
pub(in crate::mesh) fn front<'a>(
    world: &World,
    row: &'a ServiceRow,
    endpoints: &Endpoints,
    docs: &Docs<'a>,
    found: &mut Found<'a>,
) -> Fronted<'a> {
    let parts = &row.parts;
    let (kind, at) = world.here().kind(row);
    let key = (&*parts.namespace, &*parts.name);
    let service = docs.services.get(&key).copied().filter(|_| kind == TargetKind::Service);
    let entry = docs.entries.get(&key).copied().filter(|_| kind == TargetKind::ServiceEntry);
    if let Some(entry) = entry {
        unserved(entry, found);
    }
    let mut ports = Vec::new();
    for port in &parts.ports {
        let place = |index: usize| format!("spec.ports[{index}]");
        let of_service = service.and_then(|document| of_number(document, port.port));
        let named =
            |document: &Document<ServiceSpec>| document.spec.ports.iter().any(|one| one.port.get() == port.port);
        if of_service.is_none() && service.is_some_and(named) {
            // UDP alone: nothing that could be called.
            continue;
        }
        let mut documented = of_service.is_some();
        let (name, field, spoken) = match of_service {
            Some((index, written)) => {
                let field = format!("{}.appProtocol", place(index));
                (written.name.as_deref(), field.clone(), spoken(port, written, &field, service, found))
            }
            None => {
                let written = entry.and_then(|document| {
                    document.spec.ports.iter().enumerate().find(|(_, written)| written.number.get() == port.port)
                });
                documented = written.is_some();
                let field = format!("{}.protocol", place(written.map_or(0, |(index, _)| index)));
                (written.map(|(_, written)| written.name.as_str()), field, of_row(port))
            }
        };
        let reached = endpoints.iter().find(|(number, _)| *number == port.port).map(|(_, all)| all.clone());
        let Reached { endpoints, held, .. } = reached.unwrap_or_default();
        ports.push(Port {
            port: PortName { number: port.port, name },
            spoken,
            field,
            endpoints,
            traffic: None,
            held,
            documented,
        });
    }
    let of_service = service.map(|one| (&one.meta, &one.origin));
    let written = of_service.or_else(|| entry.map(|one| (&one.meta, &one.origin)));
    Fronted {
        kind,
        namespace: &parts.namespace,
        name: &parts.name,
        created: written.map_or("", |(meta, _)| &meta.created),
        origin: written.map(|(_, origin)| origin),
        at,
        hosts: vec![parts.hostname.to_string()],
        vips: world.here().vips(row).collect(),
        selector: service.map(|one| &one.spec.selector),
        external: entry.is_some_and(is_external),
        affine: service.is_some_and(|one| one.spec.session_affinity == SessionAffinity::ClientIp),
        ports,
    }
}

/// What a ServiceEntry names and no call is found by, though istiod takes it.
fn unserved<'a>(entry: &'a Document<ServiceEntrySpec>, found: &mut Found<'a>) {
    if let Some(host) = entry.spec.hosts.iter().find(|host| host.contains('*')) {
        found.warn(
            &entry.origin,
            "spec.hosts",
            format!("{host:?}: wildcard hosts are not served yet; calls are refused"),
        );
    }
    if let Some(net) = entry.spec.addresses.iter().find(|text| is_prefix(text)) {
        let reason = format!("{net:?}: prefixes are not served yet; calls to them are refused");
        found.warn(&entry.origin, "spec.addresses", reason);
    }
}

/// The port of that number that is carried: UDP may have the same number, and says nothing of it.
fn of_number(document: &Document<ServiceSpec>, number: u16) -> Option<(usize, &ServicePort)> {
    let is = |written: &ServicePort| written.port.get() == number && written.protocol == Transport::Tcp;
    document.spec.ports.iter().enumerate().find(|(_, written)| is(written))
}

/// What the document declares, else what istiod made of the port.
fn spoken<'a>(
    port: &PortRow,
    written: &ServicePort,
    field: &str,
    service: Option<&'a Document<ServiceSpec>>,
    found: &mut Found<'a>,
) -> Spoken {
    match written.app_protocol.as_deref().map(of_app_protocol) {
        Some(Ok(declared @ Spoken::Declared(_))) => declared,
        Some(Err(reason)) => {
            if let Some(service) = service {
                found.refuse(&service.origin, field, reason);
            }
            Spoken::Nothing
        }
        Some(Ok(_)) | None => of_row(port),
    }
}

fn of_row(port: &PortRow) -> Spoken {
    match port.speaks {
        AppProtocol::Unknown => Spoken::Nothing,
        AppProtocol::Http => Spoken::Http,
        AppProtocol::Http2 => Spoken::Http2,
        AppProtocol::Tcp => Spoken::Tcp,
    }
}

fn is_external(entry: &Document<ServiceEntrySpec>) -> bool {
    let dns = matches!(entry.spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    dns || entry.spec.location == Location::MeshExternal
}

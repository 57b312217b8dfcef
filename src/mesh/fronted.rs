//! What is fronted, before anything is decided: Services and ServiceEntries with names, addresses, ports and endpoints.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::TargetKind;
use super::attached::{Owned, PortName};
use super::endpoint::Endpoint;
use super::found::Found;
use super::held::Held;
use super::protocol::Spoken;
use super::traffic::Traffic;
use super::workloads::Workloads;
use crate::document::service::EndpointSlice;
use crate::document::{Document, Documents, Meta, Origin, SERVICE_NAME};
use crate::id::TrustDomain;

/// Istio's label; `none` keeps a service away from every waypoint.
const USE_WAYPOINT: &str = "istio.io/use-waypoint";

/// A Service or ServiceEntry that this waypoint fronts.
#[derive(Debug)]
pub(super) struct Fronted<'a> {
    pub(super) kind: TargetKind,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// `metadata.creationTimestamp`; empty where not known.
    pub(super) created: &'a str,
    /// The document that it is from, or that says more of it; none where there is none here.
    pub(super) origin: Option<&'a Origin>,
    /// See [`super::TargetKey::at`].
    pub(super) at: Option<Arc<str>>,
    /// Lower-case DNS names.
    pub(super) hosts: Vec<String>,
    pub(super) vips: Vec<IpAddr>,
    pub(super) selector: Option<&'a BTreeMap<String, String>>,
    /// Outside the mesh, so that TLS can be originated.
    pub(super) external: bool,
    /// See [`super::Target::affine`].
    pub(super) affine: bool,
    pub(super) ports: Vec<Port<'a>>,
}

/// One port of it.
#[derive(Debug)]
pub(super) struct Port<'a> {
    pub(super) port: PortName<'a>,
    pub(super) spoken: Spoken,
    /// Field that says so, for problems.
    pub(super) field: String,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// What a DestinationRule says of its calls.
    pub(super) traffic: Option<Arc<Traffic>>,
    /// Endpoints that get no calls.
    pub(super) held: Vec<Held>,
    /// Whether there is a document that says what the port is.
    pub(super) documented: bool,
}

impl<'a> Fronted<'a> {
    /// Its key in [`super::attached::Attached`].
    pub(super) fn owned(&self) -> Owned<'a> {
        (self.kind, self.namespace, self.name)
    }

    /// Its ports as `sectionName` can name them.
    pub(super) fn port_names(&self) -> Vec<PortName<'a>> {
        self.ports.iter().map(|port| port.port).collect()
    }

    /// Sorts older before younger, as [`age`] does.
    pub(super) fn age(&self) -> (&'a str, &'a str, &'a str) {
        (self.created, self.namespace, self.name)
    }
}

/// What endpoints are found by.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) workloads: Workloads<'a>,
    pub(super) slices: HashMap<(&'a str, &'a str), Vec<&'a Document<EndpointSlice>>>,
    pub(super) trust_domain: &'a TrustDomain,
}

impl<'a> Places<'a> {
    /// Indexes slices and workloads.
    pub(super) fn of(documents: &'a Documents, trust_domain: &'a TrustDomain, found: &mut Found<'a>) -> Self {
        let workloads = Workloads::of(documents, trust_domain, |origin, problem| found.fault(origin, problem));
        let mut slices: HashMap<_, Vec<_>> = HashMap::new();
        for slice in &documents.slices {
            if let Some(name) = slice.meta.labels.get(SERVICE_NAME) {
                slices.entry((slice.meta.namespace.as_str(), name.as_str())).or_default().push(&**slice);
            }
        }
        Self { workloads, slices, trust_domain }
    }
}

/// Everything fronted: Services before ServiceEntries, older before younger; and what is kept away by its label.
pub(super) fn all<'a>(
    documents: &'a Documents,
    places: &Places<'a>,
    found: &mut Found<'a>,
) -> (Vec<Fronted<'a>>, HashSet<Owned<'a>>) {
    let mut away = HashSet::new();
    let mut out = Vec::with_capacity(documents.services.len() + documents.service_entries.len());
    for service in &documents.services {
        if is_away(&service.meta) {
            away.insert((TargetKind::Service, service.meta.namespace.as_str(), service.meta.name.as_str()));
        } else {
            out.extend(super::services::front(service, places, found));
        }
    }
    for entry in &documents.service_entries {
        if is_away(&entry.meta) {
            away.insert((TargetKind::ServiceEntry, entry.meta.namespace.as_str(), entry.meta.name.as_str()));
        } else {
            out.push(super::service_entries::front(entry, places, found));
        }
    }
    out.sort_by_key(|fronted| (fronted.kind, fronted.age()));
    (out, away)
}

/// Sorts older before younger: by creation time, then namespace and name.
pub(super) fn age(meta: &Meta) -> (&str, &str, &str) {
    (&meta.created, &meta.namespace, &meta.name)
}

fn is_away(meta: &Meta) -> bool {
    meta.labels.get(USE_WAYPOINT).is_some_and(|value| value == "none")
}

/// Endpoints, one per address and port; the later of two holds.
pub(super) fn unique(endpoints: impl IntoIterator<Item = Endpoint>) -> Vec<Arc<Endpoint>> {
    let by_id: BTreeMap<_, _> = endpoints.into_iter().map(|endpoint| (Arc::clone(&endpoint.id), endpoint)).collect();
    by_id.into_values().map(Arc::new).collect()
}

//! WorkloadEntries as endpoints: their addresses, ports, identities and the way to them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use super::HBONE_PORT;
use super::endpoint::{At, Endpoint, Via};
use crate::document::service_entry::WorkloadEntrySpec;
use crate::document::{Documents, FieldProblem, Meta, Origin, Severity};
use crate::id::{TrustDomain, WorkloadId};

/// Istio's label for "this workload takes HBONE".
const TUNNEL: &str = "networking.istio.io/tunnel";
/// Label or annotation for a port other than [`HBONE_PORT`], for many workloads on one machine.
const TUNNEL_PORT: &str = "agent-waypoint.dev/hbone-port";
/// What Kubernetes gives to pods that name none.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// One workload that documents speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Workload<'a> {
    pub(super) host: Host,
    pub(super) labels: BTreeMap<&'a str, &'a str>,
    pub(super) ports: &'a BTreeMap<String, NonZeroU16>,
    pub(super) weight: u32,
    pub(super) reached: Reached,
    pub(super) tunnel_port: u16,
}

/// An address or a name to resolve.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Host {
    Ip(IpAddr),
    Name(Arc<str>),
}

/// How a workload is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    /// By HBONE, with this identity.
    Hbone(WorkloadId),
    /// In plaintext.
    Plain,
}

/// One fault of an entry: the field under the entry's own path, and the reason.
pub(super) type Fault = (String, String);

impl<'a> Workload<'a> {
    /// Reads an entry; `meta` is of the WorkloadEntry, or of the ServiceEntry that lists it.
    pub(super) fn of(spec: &'a WorkloadEntrySpec, meta: Own<'a>, trust_domain: &TrustDomain) -> Result<Self, Fault> {
        let field = |name: &str, reason: String| (name.to_owned(), reason);
        let host = Host::parse(&spec.address).map_err(|reason| field("address", reason))?;
        let mut labels: BTreeMap<&str, &str> = spec.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        // Istio merges both, metadata over spec.
        labels.extend(meta.labels.iter().flat_map(|labels| labels.iter().map(|(key, value)| (&**key, &**value))));
        let reached = match labels.get(TUNNEL).copied() {
            None | Some("" | "none") => Reached::Plain,
            Some("http") => {
                let account = spec.service_account.as_deref().filter(|name| !name.is_empty());
                let account = account.unwrap_or(DEFAULT_SERVICE_ACCOUNT);
                let id = WorkloadId::of_istio(trust_domain, meta.namespace, account);
                Reached::Hbone(id.map_err(|fault| field("serviceAccount", format!("makes no SPIFFE ID: {fault}")))?)
            }
            Some(other) => {
                return Err(field("labels", format!("{TUNNEL} must be http or be left out, not {other:?}")));
            }
        };
        let port = labels.get(TUNNEL_PORT).copied().or_else(|| meta.annotations?.get(TUNNEL_PORT).map(String::as_str));
        let tunnel_port = match port.map(str::parse::<NonZeroU16>) {
            None => HBONE_PORT,
            Some(Ok(port)) => port.get(),
            Some(Err(_)) => return Err(field("labels", format!("{TUNNEL_PORT} must be a port number"))),
        };
        let weight = spec.weight.unwrap_or(1).max(1);
        Ok(Self { host, labels, ports: &spec.ports, weight, reached, tunnel_port })
    }

    /// Whether every label of `selector` is the workload's. An empty selector selects nothing.
    pub(super) fn matches(&self, selector: &BTreeMap<String, String>) -> bool {
        !selector.is_empty()
            && selector.iter().all(|(key, value)| self.labels.get(key.as_str()) == Some(&value.as_str()))
    }

    /// The workload's `port` as an endpoint. `more` are identities accepted beside its own.
    pub(super) fn endpoint(&self, port: u16, more: &[WorkloadId]) -> Endpoint {
        let via = match &self.reached {
            Reached::Plain => Via::Plain,
            Reached::Hbone(id) => Via::Hbone { expect: std::iter::once(id).chain(more).cloned().collect() },
        };
        Endpoint { weight: self.weight, tunnel_port: self.tunnel_port, ..self.host.endpoint(port, via) }
    }
}

/// What an entry takes from the document it stands in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) namespace: &'a str,
    pub(super) labels: Option<&'a BTreeMap<String, String>>,
    pub(super) annotations: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Own<'a> {
    /// Of a WorkloadEntry.
    pub(super) fn of_entry(meta: &'a Meta) -> Self {
        Self { namespace: &meta.namespace, labels: Some(&meta.labels), annotations: Some(&meta.annotations) }
    }

    /// Of an endpoint inside a ServiceEntry, whose labels are the service's, not the workload's.
    pub(super) fn of_service_entry(meta: &'a Meta) -> Self {
        Self { namespace: &meta.namespace, labels: None, annotations: None }
    }
}

impl Host {
    /// An IP address or a DNS name.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(ip));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if is_dns_name(&name) {
            return Ok(Self::Name(name.into()));
        }
        let remedy = if text.starts_with("unix:") { "; Unix sockets are not dialled" } else { "" };
        Err(format!("{text:?} is neither an IP address nor a DNS name{remedy}"))
    }

    /// This host's `port` as an endpoint.
    pub(super) fn endpoint(&self, port: u16, via: Via) -> Endpoint {
        let (id, at) = match self {
            Self::Ip(ip) => (SocketAddr::new(*ip, port).to_string().into(), At::Addr(SocketAddr::new(*ip, port))),
            Self::Name(host) => (format!("{host}:{port}").into(), At::Dns { host: Arc::clone(host), port }),
        };
        Endpoint { id, at, via, weight: 1, distance: 0, tunnel_port: HBONE_PORT, traffic: None }
    }
}

/// RFC 1123 labels with underscores; no wildcard.
pub(super) fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && !numeric && name.split('.').all(label)
}

/// All WorkloadEntries, found by address and by label.
#[derive(Debug, Default)]
pub(super) struct Workloads<'a> {
    all: Vec<(&'a Meta, Workload<'a>)>,
    by_address: HashMap<IpAddr, Vec<usize>>,
    by_label: HashMap<(&'a str, &'a str, &'a str), Vec<usize>>,
}

/// Which workload has an address.
#[derive(Debug)]
pub(super) enum Holder<'w, 'a> {
    Nobody,
    One(&'w Workload<'a>),
    /// Several, reached differently: nobody can say which identity to expect.
    Several,
}

impl<'a> Workloads<'a> {
    /// Indexes the entries; what does not fit is handed to `refuse`.
    pub(super) fn of(
        documents: &'a Documents,
        trust_domain: &TrustDomain,
        mut refuse: impl FnMut(&'a Origin, FieldProblem),
    ) -> Self {
        let mut out = Self::default();
        for document in &documents.workload_entries {
            match Workload::of(&document.spec, Own::of_entry(&document.meta), trust_domain) {
                Ok(workload) => out.add(&document.meta, workload),
                Err((field, reason)) => refuse(
                    &document.origin,
                    FieldProblem { severity: Severity::Error, field: format!("spec.{field}"), reason },
                ),
            }
        }
        out
    }

    fn add(&mut self, meta: &'a Meta, workload: Workload<'a>) {
        let index = self.all.len();
        if let Host::Ip(ip) = workload.host {
            self.by_address.entry(ip).or_default().push(index);
        }
        for (key, value) in &workload.labels {
            self.by_label.entry((&meta.namespace, key, value)).or_default().push(index);
        }
        self.all.push((meta, workload));
    }

    /// Workloads of `namespace` that `selector` selects.
    pub(super) fn selected(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Vec<&Workload<'a>> {
        let Some((key, value)) = selector.first_key_value() else { return Vec::new() };
        let candidates = self.by_label.get(&(namespace, key.as_str(), value.as_str())).into_iter().flatten();
        let found = candidates.filter_map(|index| self.all.get(*index)).map(|(_, workload)| workload);
        found.filter(|workload| workload.matches(selector)).collect()
    }

    /// The workload at `ip`: of `namespace` before others.
    pub(super) fn holder(&self, ip: IpAddr, namespace: &str) -> Holder<'_, 'a> {
        let here = |own: bool| {
            let all = self.by_address.get(&ip).into_iter().flatten().filter_map(|index| self.all.get(*index));
            all.filter(move |(meta, _)| !own || meta.namespace == namespace).map(|(_, workload)| workload)
        };
        let first = here(true).next();
        let (first, own) = match first {
            Some(first) => (first, true),
            None => match here(false).next() {
                Some(first) => (first, false),
                None => return Holder::Nobody,
            },
        };
        let alike = |other: &Workload<'_>| other.reached == first.reached && other.tunnel_port == first.tunnel_port;
        if here(own).all(alike) { Holder::One(first) } else { Holder::Several }
    }
}

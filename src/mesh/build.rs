//! Documents to a snapshot.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::attached::{Owned, PortName};
use super::cache::Cache;
use super::closed::Closed;
use super::destination_rules::RuleBook;
use super::endpoint::At;
use super::found::Found;
use super::fronted::{self, Fronted, Places, Port};
use super::policies::Policies;
use super::protocol::Spoken;
use super::routes::RouteBook;
use super::ruled::{Compiler, Ruled};
use super::snapshot::{Counts, Snapshot};
use super::target::{Target, TargetKey};
use super::world::{Holder, Holders};
use crate::document::{Documents, Problem};
use crate::id::TrustDomain;
use crate::policy::Destination;
use crate::policy::token::Keyring;

/// What building needs to know of the process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Trust domain of the identities that service accounts stand for.
    pub trust_domain: TrustDomain,
    /// Namespace and name of the Gateway that this process is; `None` from files: whatever Gateway is named is this one.
    pub gateway: Option<(String, String)>,
    /// The keys of tokens that are fetched; who fetches them has the same.
    pub keys: Keyring,
}

/// Builds the snapshot that `documents` call for, and everything that is wrong with them, loading's findings included.
///
/// Targets equal to those of `previous` are taken over from it; nothing else of it plays a part. Compiles CEL: call it
/// within [`crate::policy::on_compile_thread`].
pub fn build(documents: &Documents, settings: &Settings, previous: &Snapshot) -> (Snapshot, Vec<Problem>) {
    build_with(documents, settings, previous, &mut Cache::default())
}

/// As [`build`], with what was compiled before.
pub fn build_with(
    documents: &Documents,
    settings: &Settings,
    previous: &Snapshot,
    cache: &mut Cache,
) -> (Snapshot, Vec<Problem>) {
    let mut found = Found::of(documents);
    let places = Places::of(documents, &settings.trust_domain, &mut found);
    let (all, away) = fronted::all(documents, &places, &mut found);
    let policies = Policies::of(documents, settings, cache, &mut found);
    let ports: HashMap<_, _> = all.iter().map(|one| (one.owned(), one.port_names())).collect();
    let why_not = |(kind, namespace, name): Owned<'_>| {
        let told =
            || format!("{} {namespace}/{name} is labelled istio.io/use-waypoint: none; not in force", kind.as_str());
        away.contains(&(kind, namespace, name)).then(told)
    };
    policies.warn_of_nothing(&ports, why_not, settings, &mut found);
    policies.refuse_portless(&ports, &mut found);
    let numbers: HashSet<_> =
        ports.iter().flat_map(|(owned, ports)| ports.iter().map(|port| (*owned, port.number))).collect();
    let routes = RouteBook::of(documents, &numbers, &mut found);
    let rules = RuleBook::of(documents, (settings, policies.terms.root()), &mut found);
    let closures = std::mem::take(&mut found.closures);
    let closed = Closed::of(&closures, settings, &policies.terms);
    let mut compiler = Compiler::new((&policies, &routes, &rules), cache);
    let mut snapshot = Snapshot::default();
    let mut index = Index { snapshot: &mut snapshot, previous };
    for mut one in all {
        let names: Vec<PortName<'_>> = one.port_names();
        for mut port in std::mem::take(&mut one.ports) {
            let reasons = closed.reasons(&one, &port, &names);
            let ruled = compiler.port(&one, &mut port, reasons, &mut found);
            index.add(&one, port, ruled, &mut found);
        }
    }
    compiler.finish(&mut found);
    let asked = super::providers::of_documents(&snapshot, (documents, &places), (&policies, &rules), &mut found);
    snapshot.providers = Arc::new(asked);
    cache.sweep();
    let here = found.refused();
    snapshot.counts = Counts {
        loaded: documents.loaded.saturating_sub(here),
        refused: documents.refused + here,
        skipped: documents.skipped,
    };
    snapshot.has_documents = documents.loaded + documents.refused > 0;
    found.problems.sort();
    found.problems.dedup();
    (snapshot, found.problems)
}

struct Index<'s> {
    snapshot: &'s mut Snapshot,
    previous: &'s Snapshot,
}

impl Index<'_> {
    fn add<'a>(&mut self, fronted: &Fronted<'a>, port: Port<'a>, ruled: Ruled, found: &mut Found<'a>) {
        let names = (fronted.namespace.into(), fronted.name.into());
        let target = target(fronted, names, port, ruled);
        let number = target.key.port;
        let target = match self.previous.get(&target.key) {
            Some(same) if same.is_as(&target) => same,
            Some(_) | None => Arc::new(target),
        };
        for ip in &fronted.vips {
            let addr = SocketAddr::new(*ip, number);
            match self.snapshot.by_addr.get(&addr) {
                None => self.snapshot.by_addr.insert(addr, Arc::clone(&target)),
                Some(first) => taken(fronted, &addr.to_string(), &first.key, found),
            }
            self.snapshot.mesh_ips.insert(*ip, by(&target));
        }
        for host in &fronted.hosts {
            let known = self.snapshot.by_host.get(host.as_str());
            let mut ports = known.map(|ports| ports.to_vec()).unwrap_or_default();
            match ports.iter().find(|(other, _)| *other == number) {
                None => {
                    ports.push((number, Arc::clone(&target)));
                    self.snapshot.by_host.insert(host.as_str().into(), ports.into());
                }
                Some((_, first)) => taken(fronted, &format!("{host}:{number}"), &first.key, found),
            }
        }
        for endpoint in target.endpoints.iter().filter(|endpoint| !(fronted.external && endpoint.via.is_tls())) {
            if let At::Addr(addr) = endpoint.at {
                self.snapshot.mesh_ips.insert(addr.ip(), by(&target));
            }
        }
        self.snapshot.by_key.insert(target.key.clone(), target);
    }
}

/// From documents alone it matters only that somebody has the address.
fn by(target: &Target) -> Holders {
    Holders::One(Holder::Service(Arc::clone(&target.key.name)))
}

/// One port of what is fronted, with what decides for it. The namespace and the name are given to be kept.
pub(super) fn target(
    fronted: &Fronted<'_>,
    (namespace, name): (Arc<str>, Arc<str>),
    port: Port<'_>,
    ruled: Ruled,
) -> Target {
    let number = port.port.number;
    let key = TargetKey {
        kind: fronted.kind,
        namespace: Arc::clone(&namespace),
        name: Arc::clone(&name),
        port: number,
        at: fronted.at.clone(),
    };
    Target {
        destination: Destination { service: name, namespace, port: number, addresses: fronted.vips.as_slice().into() },
        protocol: ruled.protocol,
        rules: ruled.rules,
        tokens: ruled.tokens,
        affine: fronted.affine,
        upstream_h2: port.spoken == Spoken::Http2,
        paths: ruled.paths,
        routes: ruled.routes,
        bytes: ruled.bytes,
        leads_to: None,
        closed: ruled.closed,
        unenforced: ruled.unenforced,
        revision: ruled.revision,
        traffic: port.traffic,
        endpoints: port.endpoints,
        held: port.held,
        key,
    }
}

/// The older of two that claim one address or name has it.
fn taken(fronted: &Fronted<'_>, what: &str, by: &TargetKey, found: &mut Found<'_>) {
    if let Some(origin) = fronted.origin {
        found.warn(origin, "", format!("{what} is {by}'s already; calls to it go there"));
    }
}

#[cfg(test)]
mod tests;

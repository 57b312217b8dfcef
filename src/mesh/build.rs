//! Documents to a snapshot.

use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;

use super::closed::Closed;
use super::found::Found;
use super::fronted::{self, Fronted, Places, Port};
use super::policies::Policies;
use super::protocol::Spoken;
use super::routes::RouteBook;
use super::ruled::{Compiler, Ruled};
use super::snapshot::{Counts, Snapshot};
use super::target::{Target, TargetKey};
use crate::document::{Documents, Problem};
use crate::id::TrustDomain;
use crate::policy::Destination;

/// What building needs to know of the process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Trust domain of the identities that service accounts stand for.
    pub trust_domain: TrustDomain,
    /// Namespace and name of the Gateway that this process is; `None` from files: whatever Gateway is named is this one.
    pub gateway: Option<(String, String)>,
}

/// Builds the snapshot that `documents` call for, and everything that is wrong with them, loading's findings included.
///
/// Targets equal to those of `previous` are taken over from it; nothing else of it plays a part. Compiles CEL: call it
/// within [`crate::policy::on_compile_thread`].
pub fn build(documents: &Documents, settings: &Settings, previous: &Snapshot) -> (Snapshot, Vec<Problem>) {
    let mut found = Found::of(documents);
    let places = Places::of(documents, &settings.trust_domain, &mut found);
    let (all, away) = fronted::all(documents, &places, &mut found);
    let policies = Policies::of(documents, settings, &mut found);
    policies.warn_of_nothing(&all, &away, settings, &mut found);
    let routes = RouteBook::of(documents, &all, &mut found);
    let closures = std::mem::take(&mut found.closures);
    let closed = Closed::of(&closures, &all);
    let mut compiler = Compiler::new(&policies, &routes);
    let mut snapshot = Snapshot::default();
    let mut index = Index { snapshot: &mut snapshot, previous };
    for mut one in all {
        for mut port in std::mem::take(&mut one.ports) {
            let reasons = closed.reasons(&one, &port);
            let ruled = compiler.port(&one, &mut port, reasons, &mut found);
            index.add(&one, port, ruled, &mut found);
        }
    }
    compiler.finish(&mut found);
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
        let (namespace, name): (Arc<str>, Arc<str>) =
            (fronted.meta.namespace.as_str().into(), fronted.meta.name.as_str().into());
        let number = port.port.number;
        let key =
            TargetKey { kind: fronted.kind, namespace: Arc::clone(&namespace), name: Arc::clone(&name), port: number };
        let target = Target {
            destination: Destination {
                service: name,
                namespace,
                port: number,
                addresses: fronted.vips.as_slice().into(),
            },
            protocol: ruled.protocol,
            rules: ruled.rules,
            tokens: ruled.tokens,
            upstream_h2: port.spoken == Spoken::Http2,
            paths: ruled.paths,
            routes: ruled.routes,
            forwards_token: ruled.forwards_token,
            closed: ruled.closed,
            revision: ruled.revision,
            endpoints: port.endpoints.into_iter().map(Arc::new).collect(),
            key,
        };
        let target = match self.previous.get(&target.key) {
            Some(same) if same.is_as(&target) => Arc::clone(same),
            Some(_) | None => Arc::new(target),
        };
        for ip in &fronted.vips {
            match self.snapshot.by_addr.entry(SocketAddr::new(*ip, number)) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Arc::clone(&target));
                }
                Entry::Occupied(first) => taken(fronted, &first.key().to_string(), &first.get().key, found),
            }
        }
        for host in &fronted.hosts {
            let ports = match self.snapshot.by_host.get_mut(host.as_str()) {
                Some(ports) => ports,
                None => self.snapshot.by_host.entry(host.as_str().into()).or_default(),
            };
            match ports.iter().find(|(other, _)| *other == number) {
                None => ports.push((number, Arc::clone(&target))),
                Some((_, first)) => taken(fronted, &format!("{host}:{number}"), &first.key, found),
            }
        }
        self.snapshot.by_key.insert(target.key.clone(), target);
    }
}

/// The older of two that claim one address or name has it.
fn taken(fronted: &Fronted<'_>, what: &str, by: &TargetKey, found: &mut Found<'_>) {
    found.warn(fronted.origin, "", format!("{what} is {by}'s already; calls to it go there"));
}

#[cfg(test)]
mod tests;

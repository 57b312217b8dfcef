//! HTTPRoutes, GRPCRoutes and TCPRoutes that name a Service of their namespace as parent: read, checked, and sorted per port.
//!
//! A route moves requests, never the decision: what is asked of a Service is decided by its own rules, and where a route
//! leads to another Service, by that one's too.

mod declared;
mod matches;
mod read;

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use self::matches::when;
use self::read::{Reader, Rule};
use super::TargetKind;
use super::attached::{Attached, Owned, PortName};
use super::found::Found;
use super::fronted::age;
use super::route::{Routes, Way};
use crate::document::http_route::HttpRouteSpec;
use crate::document::{Document, Documents, FieldProblem, Origin, Severity};

/// Every route in force, and what it is attached to.
#[derive(Debug, Default)]
pub(super) struct RouteBook<'a> {
    /// Older before younger.
    items: Vec<Item<'a>>,
    at: Attached<'a>,
    sections: BTreeMap<usize, u16>,
}

#[derive(Debug)]
struct Item<'a> {
    origin: &'a Origin,
    hosts: Arc<[Box<str>]>,
    rules: Vec<Rule>,
    /// Whether it leads connections.
    bytes: bool,
    /// Hash of the document and of what its references came to.
    revision: u64,
}

impl<'a> RouteBook<'a> {
    /// Checks every route by itself; one that is not fit to be in force closes its parents.
    /// `ports` are those that a route can lead to.
    pub(super) fn of(documents: &'a Documents, ports: &HashSet<(Owned<'_>, u16)>, found: &mut Found<'a>) -> Self {
        let mut routes: Vec<_> = documents.http_routes.iter().map(|document| &**document).collect();
        routes.sort_by_key(|document| age(&document.meta));
        let mut out = Self::default();
        for document in routes {
            let parents = parents(document, found);
            if parents.is_empty() {
                if !found.is_refused(&document.origin)
                    && !document.spec.parent_refs.iter().any(|one| one.kind == "Service")
                {
                    found.warn(
                        &document.origin,
                        "spec.parentRefs",
                        "names no Service as parent, so it has no effect here",
                    );
                }
                continue;
            }
            let mut reader = Reader { document, documents, ports, found };
            let rules = reader.rules();
            if found.is_refused(&document.origin) {
                continue;
            }
            let index = out.items.len();
            for (name, port) in parents {
                // A port attaches by its number, as text: the same number twice is the same section.
                let owner = (TargetKind::Service, document.meta.namespace.as_str(), name);
                out.at.add_to_owner(owner, None, index);
                if let Some(port) = port {
                    out.sections.insert(index, port);
                }
            }
            let hosts = document.spec.hostnames.iter().map(|host| host.to_ascii_lowercase().into()).collect();
            let mut hasher = DefaultHasher::new();
            format!("{:?} {:?} {rules:?}", document.meta, document.spec).hash(&mut hasher);
            let revision = hasher.finish();
            out.items.push(Item { origin: &document.origin, hosts, rules, bytes: document.spec.bytes, revision });
        }
        out
    }

    /// Routes of a port that have no effect on it, as they lead connections and it has requests, or the other way round; each
    /// with whether it names the port.
    pub(super) fn idle(&self, owner: Owned<'_>, port: PortName<'_>, bytes: bool) -> Vec<(&'a Origin, bool)> {
        let all = self.at.of(owner, port).into_iter();
        let here = all.filter_map(|at| Some((self.items.get(at)?, self.sections.get(&at))));
        let here = here.filter(|(_, section)| section.is_none_or(|number| *number == port.number));
        here.filter(|(item, _)| item.bytes == bytes).map(|(item, section)| (item.origin, section.is_some())).collect()
    }

    /// Why routes of a port cannot lead calls of a declared protocol: which, the field, and the reason.
    pub(super) fn unfit(&self, owner: Owned<'_>, port: PortName<'_>) -> Vec<(&'a Origin, FieldProblem)> {
        let requests = self.on(owner, port).filter(|item| !item.bytes);
        let rules = requests.flat_map(|item| item.rules.iter().enumerate().map(move |rule| (item, rule)));
        let found = rules.filter_map(|(item, (at, rule))| {
            let reason = declared::unfit(&rule.then)?;
            let field = format!("spec.rules[{at}].filters");
            Some((item.origin, FieldProblem { severity: Severity::Error, field, reason }))
        });
        found.collect()
    }

    /// The routes of requests to a port; none where none is attached.
    pub(super) fn routes(&self, owner: Owned<'_>, port: PortName<'_>) -> Option<Arc<Routes>> {
        Self::sorted(self.on(owner, port).filter(|item| !item.bytes).collect())
    }

    /// The routes of connections to a port; none where none is attached.
    pub(super) fn of_bytes(&self, owner: Owned<'_>, port: PortName<'_>) -> Option<Arc<Routes>> {
        Self::sorted(self.on(owner, port).filter(|item| item.bytes).collect())
    }

    fn sorted(items: Vec<&Item<'a>>) -> Option<Arc<Routes>> {
        let mut ways = Vec::new();
        let mut hasher = DefaultHasher::new();
        for item in &items {
            item.revision.hash(&mut hasher);
            for (at, rule) in item.rules.iter().enumerate() {
                let name: Arc<str> = format!("{} rules[{at}]", item.origin.title()).into();
                let whens = rule.matches.iter().filter_map(|one| when(one, &item.hosts).ok());
                ways.extend(whens.map(|when| Way { name: Arc::clone(&name), when, then: Arc::clone(&rule.then) }));
            }
        }
        // Stable: among equals the older route, and the earlier rule.
        ways.sort_by_key(|way| way.when.rank());
        (!items.is_empty()).then(|| Arc::new(Routes::new(ways, hasher.finish())))
    }

    fn on(&self, owner: Owned<'_>, port: PortName<'_>) -> impl Iterator<Item = &Item<'a>> {
        let items = self.at.of(owner, port).into_iter();
        let here = items.filter(move |item| self.sections.get(item).is_none_or(|number| *number == port.number));
        here.filter_map(|item| self.items.get(item))
    }
}

/// The Services that a route is attached to, each with the port if one is named.
fn parents<'a>(document: &'a Document<HttpRouteSpec>, found: &mut Found<'a>) -> Vec<(&'a str, Option<u16>)> {
    let mut out = Vec::new();
    for (at, parent) in document.spec.parent_refs.iter().enumerate() {
        let own = parent.namespace.as_ref().is_none_or(|namespace| *namespace == document.meta.namespace);
        match (parent.kind.as_str(), own) {
            ("Gateway", _) => {}
            ("Service", true) => out.push((parent.name.as_str(), parent.port)),
            ("Service", false) => {
                let reason = "is a Service of another namespace, whose calls its own routes lead; not in force here";
                found.warn(&document.origin, format!("spec.parentRefs[{at}].namespace"), reason);
            }
            _ => {
                let reason = "is attached to Services only here";
                found.refuse(&document.origin, format!("spec.parentRefs[{at}].kind"), reason);
            }
        }
    }
    let ports: HashSet<_> = out.iter().map(|(_, port)| port).collect();
    if ports.len() > 1 {
        let reason = "name different ports: write one route for each";
        found.refuse(&document.origin, "spec.parentRefs", reason);
    }
    out
}

use std::collections::BTreeSet;
use std::sync::Arc;

use super::places::Placed;
use crate::mesh::attached::{Owned, PortName};
use crate::mesh::build::target;
use crate::mesh::closed::Closed;
use crate::mesh::destination_rules::RuleBook;
use crate::mesh::found::Found;
use crate::mesh::fronted::{Fronted, Port};
use crate::mesh::policies::Policies;
use crate::mesh::protocol::Spoken;
use crate::mesh::routes::RouteBook;
use crate::mesh::ruled::{Compiler, Ruled};
use crate::mesh::target::{Target, TargetKind};
use crate::mesh::world::{self, Docs, Guard, World};

/// What one set of documents says of whatever the world has.
#[derive(Debug)]
pub(super) struct Law<'l, 'd> {
    pub(super) policies: &'l Policies<'d>,
    pub(super) routes: &'l RouteBook<'d>,
    pub(super) rules: &'l RuleBook<'d>,
    pub(super) closed: &'l Closed<'l>,
    pub(super) docs: &'l Docs<'d>,
    /// Whether documents have come. Until then everything is refused.
    pub(super) has_documents: bool,
}

impl Law<'_, '_> {
    /// The service of that key as it is to be; none where it is not fronted. Its endpoints are found again only where the
    /// world changed.
    pub(super) fn settle<'c>(
        &self,
        world: &'c World,
        compiler: &mut Compiler<'_, 'c>,
        key: &str,
        (before, world_changed): (Option<&Placed>, bool),
    ) -> Option<Placed>
    where
        Self: 'c,
    {
        let row = world.service(key).filter(|row| world.fronts(row))?;
        let guard = self.docs.guard(world, row);
        let same = before.filter(|before| before.guard.as_deref() == guard);
        let endpoints = match same {
            Some(same) if !world_changed => Arc::clone(&same.endpoints),
            Some(_) | None => {
                // A guard of another name stays until the new one stands.
                let under = before.filter(|before| before.guard.is_some());
                let known = under.map_or(&[][..], |before| &before.endpoints);
                world::endpoints(world, row, guard.map(|name| Guard { name, known }))
            }
        };
        let mut found = Found::empty();
        let mut fronted = world::front(world, row, &endpoints, self.docs, &mut found);
        let names = fronted.port_names();
        let mut whole = self.policies.portless_reasons(fronted.owned(), &names, &mut found);
        whole.extend(std::mem::take(&mut found.closures).into_iter().map(|closure| closure.reason));
        let mut targets = Vec::new();
        for mut port in std::mem::take(&mut fronted.ports) {
            let ruled = if self.has_documents {
                let mut reasons = self.closed.reasons(&fronted, &port, &names);
                reasons.extend(whole.iter().cloned());
                reasons.extend(undocumented(&fronted, &port));
                compiler.port(&fronted, &mut port, reasons, &mut found)
            } else {
                Ruled::no_documents(port.spoken)
            };
            refused(&fronted, &port, &mut found);
            let kept = (Arc::clone(&row.parts().namespace), Arc::clone(&row.parts().name));
            let new = target(&fronted, kept, port, ruled);
            let same = before.and_then(|before| before.target(new.key.port)).filter(|old| old.is_same(&new));
            targets.push(same.unwrap_or_else(|| Arc::new(new)));
        }
        let names = names.iter().map(|port| (port.number, port.name.map(Into::into))).collect();
        Some(Placed {
            row: Arc::clone(row),
            vips: fronted.vips.into(),
            kind: fronted.kind,
            created: (!fronted.created.is_empty()).then(|| fronted.created.into()),
            names,
            targets: targets.into(),
            endpoints,
            guard: guard.map(Into::into),
            problems: found.problems,
        })
    }

    /// What decides for the ports of a workload of `namespace` to which no fronted Service leads.
    pub(super) fn other_ports<'c>(&self, compiler: &mut Compiler<'_, 'c>, namespace: &'c str) -> Ruled {
        if !self.has_documents {
            return Ruled::no_documents(Spoken::Nothing);
        }
        let fronted = Fronted {
            kind: TargetKind::Workload,
            namespace,
            name: "",
            created: "",
            origin: None,
            at: None,
            hosts: Vec::new(),
            vips: Vec::new(),
            selector: None,
            external: false,
            affine: false,
            ports: Vec::new(),
        };
        let port = PortName { number: 0, name: None };
        let (spoken, field) = (Spoken::Nothing, String::new());
        let (endpoints, held) = (Vec::new(), Vec::new());
        let mut port = Port { port, spoken, field, endpoints, traffic: None, held, documented: true };
        let reasons: BTreeSet<String> = self.closed.reasons(&fronted, &port, &[]);
        compiler.port(&fronted, &mut port, reasons, &mut Found::empty())
    }

    /// Why a policy's target is not in force although istiod knows it.
    pub(super) fn why_not(&self, world: &World, (kind, namespace, name): Owned<'_>) -> Option<String> {
        if kind != TargetKind::Service {
            return None;
        }
        let host = format!("{namespace}/{name}.{namespace}.svc.{}", world.here().cluster_domain);
        let row = world.service(&host)?;
        let gateway = &world.here().gateway;
        let other = if row.parts().waypoints.is_empty() { "uses no waypoint" } else { "uses another waypoint" };
        Some(format!(
            "{kind} {namespace}/{name} {other}: label it istio.io/use-waypoint: {gateway}; not in force here",
            kind = kind.as_str()
        ))
    }
}

/// A Service's document says what its ports declare, and policies come with the document of what they are attached to, a
/// ServiceEntry's too: where it has not come, a port that is to be closed would be open.
fn undocumented(fronted: &Fronted<'_>, port: &Port<'_>) -> Option<String> {
    let told = || {
        let kind = fronted.kind.as_str();
        format!(
            "no document of {kind} {}/{} says what its port {} is",
            fronted.namespace, fronted.name, port.port.number
        )
    };
    (!port.documented).then(told)
}

/// Says which endpoints that a document names are not called.
fn refused<'d>(fronted: &Fronted<'d>, port: &Port<'d>, found: &mut Found<'d>) {
    let Some(origin) = fronted.origin else { return };
    for held in port.held.iter().filter(|held| held.why.is_wrong()) {
        let reason = format!("endpoint {} of port {} gets no calls: {}", held.id, port.port.number, held.why);
        found.warn(origin, "spec", reason);
    }
}

impl Target {
    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && self.is_as(other)
    }
}

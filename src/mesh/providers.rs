//! Where authorization providers are: the endpoints of the services that meshConfig names, fronted here or not.

use std::collections::HashMap;
use std::sync::Arc;

use super::attached::PortName;
use super::destination_rules::RuleBook;
use super::endpoint::Endpoint;
use super::found::Found;
use super::fronted::Places;
use super::policies::Policies;
use super::services::CLUSTER_DOMAIN;
use super::snapshot::Snapshot;
use super::target::Target;
use super::world::{self, Docs, ServiceRow, World};
use super::{service_entries, services};
use crate::document::Documents;
use crate::policy::Provider;

/// Endpoints by the provider's name.
pub(super) type Asked = HashMap<Arc<str>, Arc<[Arc<Endpoint>]>>;

/// Where documents have them.
pub(super) fn of_documents<'a>(
    snapshot: &Snapshot,
    (documents, places): (&'a Documents, &Places<'a>),
    (policies, rules): (&Policies<'a>, &RuleBook<'a>),
    found: &mut Found<'a>,
) -> Asked {
    let mut out = Asked::new();
    for provider in policies.terms.providers.iter() {
        let endpoints = match fronted(snapshot, provider) {
            Some(target) => open(&target),
            None => elsewhere(provider, (documents, places), (policies, rules)),
        };
        match endpoints {
            Some(endpoints) => drop(out.insert(Arc::clone(&provider.name), endpoints.into())),
            None => policies.warn_of_askers(provider, found),
        }
    }
    out
}

/// Where its service is: as it says, else as the name of a Kubernetes Service says. Anybody's ServiceEntry may have that
/// name too, and whoever is asked in a provider's place allows what they like.
fn namespace<'p>(provider: &'p Provider, cluster_domain: &str) -> Option<&'p str> {
    let of_service = || provider.host.strip_suffix(cluster_domain)?.strip_suffix(".svc.")?.split_once('.');
    provider.namespace.as_deref().or_else(|| of_service().map(|(_, namespace)| namespace))
}

/// The target of that name, where it is fronted here.
fn fronted(snapshot: &Snapshot, provider: &Provider) -> Option<Arc<Target>> {
    let ports = snapshot.by_host.get(&provider.host)?;
    let wanted = namespace(provider, CLUSTER_DOMAIN);
    let there = |target: &Target| wanted.is_none_or(|wanted| *wanted == *target.key.namespace);
    ports.iter().find(|(port, target)| *port == provider.port && there(target)).map(|(_, target)| Arc::clone(target))
}

/// What is fronted is asked as it is called, with TLS where that is originated; what a document's fault closed is asked by
/// nobody, nor are endpoints all of which are held back: that is no failure of the provider.
fn open(target: &Target) -> Option<Vec<Arc<Endpoint>>> {
    let held = target.endpoints.is_empty() && !target.held.is_empty();
    (target.closed().is_none() && !held).then(|| target.endpoints.clone())
}

/// The endpoints of a Service or ServiceEntry that is kept from this waypoint by its label; none where its owner wants TLS,
/// which is originated to what is fronted.
fn elsewhere(
    provider: &Provider,
    (documents, places): (&Documents, &Places<'_>),
    (policies, rules): (&Policies<'_>, &RuleBook<'_>),
) -> Option<Vec<Arc<Endpoint>>> {
    let mut told = Found::empty();
    let wanted = namespace(provider, CLUSTER_DOMAIN);
    let here = |namespace: &str| wanted.is_none_or(|wanted| wanted == namespace);
    let services = documents.services.iter().filter(|one| here(&one.meta.namespace));
    let services = services.filter_map(|one| services::front(one, places, &mut told)).collect::<Vec<_>>();
    let entries = documents.service_entries.iter().filter(|one| here(&one.meta.namespace));
    let entries = entries.map(|one| service_entries::front(one, places, &mut told)).collect::<Vec<_>>();
    let mut all = services.into_iter().chain(entries);
    let named = all.find(|one| one.hosts.iter().any(|host| **host == *provider.host))?;
    let port = named.ports.iter().find(|port| port.port.number == provider.port)?;
    let wants_tls = !policies.tls.at.of(named.owned(), port.port).is_empty() || rules.closes(&named, port);
    (!wants_tls).then(|| port.endpoints.clone())
}

/// Where the mesh has them.
pub(super) fn of_world(
    snapshot: &Snapshot,
    world: &World,
    (policies, rules, docs): (&Policies<'_>, &RuleBook<'_>, &Docs<'_>),
) -> Asked {
    let one = |provider: &Arc<Provider>| {
        let row = row(world, provider)?;
        let endpoints = if world.fronts(row) {
            snapshot.by_key.get(&world.here().target(row, provider.port)).and_then(|target| open(target))?
        } else {
            unfronted(world, (policies, rules, docs), row, provider.port)?
        };
        Some((Arc::clone(&provider.name), endpoints.into()))
    };
    policies.terms.providers.iter().filter_map(one).collect()
}

fn unfronted(
    world: &World,
    (policies, rules, docs): (&Policies<'_>, &RuleBook<'_>, &Docs<'_>),
    row: &ServiceRow,
    port: u16,
) -> Option<Vec<Arc<Endpoint>>> {
    let parts = row.parts();
    // Its owner wants TLS, which is originated to what is fronted.
    let (kind, _) = world.here().kind(row);
    let owned = (kind, &*parts.namespace, &*parts.name);
    if !policies.tls.at.of(owned, PortName { number: port, name: None }).is_empty() {
        return None;
    }
    let ports = world::endpoints(world, row, None);
    let fronted = world::front(world, row, &ports, docs, &mut Found::empty());
    if fronted.ports.iter().any(|one| one.port.number == port && rules.closes(&fronted, one)) {
        return None;
    }
    let (_, reached) = ports.iter().find(|(number, _)| *number == port)?;
    (!reached.endpoints.is_empty() || reached.held.is_empty()).then(|| reached.endpoints.clone())
}

/// The service of that name; of several the one that the name alone means.
fn row<'w>(world: &'w World, provider: &Provider) -> Option<&'w Arc<ServiceRow>> {
    let host = &provider.host;
    if let Some(namespace) = namespace(provider, &world.here().cluster_domain) {
        return world.service(&format!("{namespace}/{host}"));
    }
    let named = world.services().filter(|row| row.parts().hostname == *host);
    named.min_by_key(|row| (!row.parts().canonical, Arc::clone(&row.parts().key)))
}

use std::collections::{BTreeMap, BTreeSet};

use gateway_api::apis::standard::gateways::{
    Gateway, GatewayListenersAllowedRoutesNamespacesFrom as From,
    GatewayListenersAllowedRoutesNamespacesSelector as Selector,
};
use kube::{Resource, ResourceExt as _};

use super::super::cluster::{DocumentKind, View, key};
use super::super::provision::{CLASS, is_ours};

/// Namespace and name of a Gateway.
pub type GatewayKey = (String, String);

/// What can be in front of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// A Service.
    Service,
    /// A ServiceEntry.
    ServiceEntry,
}

impl Object {
    /// By its `kind`, as in references; none of any other kind.
    pub fn of_kind(kind: &str) -> Option<Self> {
        match kind {
            "Service" => Some(Self::Service),
            "ServiceEntry" => Some(Self::ServiceEntry),
            _ => None,
        }
    }
}

/// The class that istiod itself provisions, under which our image may run.
pub const DROP_IN_CLASS: &str = "istio-agentgateway-waypoint";
/// Names a waypoint; `none` keeps an object away from every one.
pub const USE_WAYPOINT: &str = "istio.io/use-waypoint";
/// A second waypoint that takes a share of the traffic.
pub const USE_CANARY: &str = "istio.io/use-waypoint-canary";
/// Condition by which istiod says that an object is bound to a waypoint, or why it is not.
pub const WAYPOINT_BOUND: &str = "istio.io/WaypointBound";
/// On a Gateway, else on its class: `service` (what it is where nothing is said), `workload`, `all` or `none`.
const WAYPOINT_FOR: &str = "istio.io/waypoint-for";
/// The protocol of a waypoint's listener.
pub const HBONE: &str = "HBONE";

/// Which Gateways of ours are in front of which Services and ServiceEntries: primary and canary.
#[derive(Debug, Default)]
pub struct Fronting {
    objects: BTreeMap<Object, BTreeMap<String, BTreeMap<String, BTreeSet<GatewayKey>>>>,
    gateways: BTreeMap<GatewayKey, String>,
    /// By namespace, those that are in front of its workloads' own addresses.
    workloads: BTreeMap<String, BTreeSet<GatewayKey>>,
    /// What a waypoint of others is in front of too, by kind, namespace and name.
    shared: BTreeSet<(Object, String, String)>,
    none: BTreeSet<GatewayKey>,
}

impl Fronting {
    pub(super) fn of(view: &View) -> Self {
        let mut fronting = Self::default();
        for gateway in view.gateways.iter().filter(|gateway| is_fed(view, gateway)) {
            let (namespace, name) = key(&**gateway);
            let class = gateway.spec.gateway_class_name.clone();
            fronting.gateways.insert((namespace.to_owned(), name.to_owned()), class);
        }
        fronting.workloads = workloads(view);
        for service in view.services.iter() {
            fronting.add(view, Object::Service, &**service);
        }
        for entry in view.documents(DocumentKind::ServiceEntry).iter() {
            fronting.add(view, Object::ServiceEntry, &**entry);
        }
        fronting
    }

    /// The Gateways in front of one object.
    pub fn of_object(&self, kind: Object, namespace: &str, name: &str) -> &BTreeSet<GatewayKey> {
        let found = self.objects.get(&kind).and_then(|all| all.get(namespace)).and_then(|names| names.get(name));
        found.unwrap_or(&self.none)
    }

    /// Whether a waypoint that is none of ours takes a share of the calls to an object.
    pub fn is_shared(&self, kind: Object, namespace: &str, name: &str) -> bool {
        self.shared.contains(&(kind, namespace.to_owned(), name.to_owned()))
    }

    /// Every Gateway that may be fed, with its class.
    pub fn gateways(&self) -> impl Iterator<Item = (&GatewayKey, &str)> {
        self.gateways.iter().map(|(key, class)| (key, class.as_str()))
    }

    /// The Gateway of this name, if it may be fed.
    pub fn gateway(&self, namespace: &str, name: &str) -> Option<GatewayKey> {
        let key = (namespace.to_owned(), name.to_owned());
        self.gateways.contains_key(&key).then_some(key)
    }

    /// The Gateways of a class.
    pub fn of_class(&self, class: &str) -> impl Iterator<Item = GatewayKey> {
        self.gateways.iter().filter(move |(_, of)| *of == class).map(|(key, _)| key.clone())
    }

    /// The Gateways that are in front of anything in a namespace, and those that stand in it.
    pub fn within(&self, namespace: &str) -> BTreeSet<GatewayKey> {
        let fronted = self.objects.values().filter_map(|all| all.get(namespace)).flat_map(BTreeMap::values).flatten();
        let own = self.gateways.keys().filter(|(of, _)| of == namespace);
        let workloads = self.workloads.get(namespace).into_iter().flatten();
        fronted.chain(workloads).chain(own).cloned().collect()
    }

    /// Whether a Gateway is in front of anything in a namespace.
    pub fn is_in(&self, gateway: &GatewayKey, namespace: &str) -> bool {
        let mut all = self.objects.values().filter_map(|all| all.get(namespace)).flat_map(BTreeMap::values);
        all.any(|gateways| gateways.contains(gateway))
            || self.workloads.get(namespace).is_some_and(|gateways| gateways.contains(gateway))
    }

    /// The namespaces in which a Gateway is in front of anything.
    pub fn namespaces(&self, gateway: &GatewayKey) -> BTreeSet<&str> {
        let all = self.objects.values().flatten();
        let fronted = all.filter(|(_, names)| names.values().any(|gateways| gateways.contains(gateway)));
        fronted.map(|(namespace, _)| namespace.as_str()).collect()
    }

    /// For each Gateway those of its namespace that are in front of an object together with it: its canaries, and what it is
    /// the canary of. None of another namespace, which may be another tenant's.
    pub fn partners(&self) -> BTreeMap<GatewayKey, BTreeSet<GatewayKey>> {
        let mut partners: BTreeMap<GatewayKey, BTreeSet<GatewayKey>> = BTreeMap::new();
        let all = self.objects.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values);
        for gateways in all.filter(|gateways| gateways.len() > 1) {
            for one in gateways {
                let others = gateways.iter().filter(|other| *other != one && other.0 == one.0);
                partners.entry(one.clone()).or_default().extend(others.cloned());
            }
        }
        partners
    }

    /// The objects of a kind that a Gateway is in front of, as namespace and name.
    pub fn objects(&self, kind: Object) -> impl Iterator<Item = (&str, &str, &BTreeSet<GatewayKey>)> {
        let all = self.objects.get(&kind).into_iter().flatten();
        all.flat_map(|(namespace, names)| {
            names.iter().map(move |(name, gateways)| (namespace.as_str(), name.as_str(), gateways))
        })
    }

    fn add<K: Resource>(&mut self, view: &View, kind: Object, object: &K) {
        let (namespace, name) = key(object);
        let named = || [USE_WAYPOINT, USE_CANARY].into_iter().filter_map(|label| used(view, object, label));
        let gateways: BTreeSet<GatewayKey> =
            named().filter(|gateway| takes(view, gateway, "service", namespace)).collect();
        let is_others = |key: GatewayKey| view.gateways.get(&key.0, &key.1).is_some_and(|one| !is_fed(view, one));
        if !gateways.is_empty() && named().any(is_others) {
            self.shared.insert((kind, namespace.to_owned(), name.to_owned()));
        }
        if !gateways.is_empty() {
            let names = self.objects.entry(kind).or_default().entry(namespace.to_owned()).or_default();
            names.insert(name.to_owned(), gateways);
        }
    }
}

/// By namespace, the Gateways that are in front of its workloads' own addresses: by the label of a pod or a WorkloadEntry, else
/// of the Namespace, as istiod has it.
pub fn workloads(view: &View) -> BTreeMap<String, BTreeSet<GatewayKey>> {
    let mut all: BTreeMap<String, BTreeSet<GatewayKey>> = BTreeMap::new();
    let namespaces = view.namespaces.iter().map(|one| (key(&**one).1, one.labels()));
    let pods = view.pods.iter().map(|one| (key(&**one).0, one.labels()));
    let entries = view.workload_entries.iter().map(|one| (key(&**one).0, one.labels()));
    for (namespace, labels) in namespaces.chain(pods).chain(entries) {
        let Some(gateway) = named(labels, USE_WAYPOINT, namespace) else { continue };
        let known = all.get(namespace).is_some_and(|known| known.contains(&gateway));
        if !known && takes(view, &gateway, "workload", namespace) {
            all.entry(namespace.to_owned()).or_default().insert(gateway);
        }
    }
    all
}

/// Whether a Gateway that is fed is in front of that in a namespace: `service` or `workload`.
fn takes(view: &View, key: &GatewayKey, what: &str, namespace: &str) -> bool {
    let gateway = view.gateways.get(&key.0, &key.1).filter(|gateway| is_fed(view, gateway));
    gateway.is_some_and(|gateway| is_for(view, gateway, what) && admits(view, gateway, namespace))
}

/// Whether a waypoint is in front of that: `service` or `workload`. istiod announces it for nothing else.
pub fn is_for(view: &View, gateway: &Gateway, what: &str) -> bool {
    let class = view.gateway_classes.get("", &gateway.spec.gateway_class_name);
    let said = gateway.labels().get(WAYPOINT_FOR).or_else(|| class.and_then(|class| class.labels().get(WAYPOINT_FOR)));
    let said = said.map_or("service", String::as_str);
    said == what || said == "all"
}

/// Whether the pods of a Gateway may ask for documents: it is of a class of ours, or of the one that our image can serve.
fn is_fed(view: &View, gateway: &Gateway) -> bool {
    is_ours(view, gateway) || matches!(gateway.spec.gateway_class_name.as_str(), CLASS | DROP_IN_CLASS)
}

/// What a label of an object, else of its Namespace, names. Name and namespace go together: they come from the same
/// object.
pub fn used<K: Resource>(view: &View, object: &K, label: &str) -> Option<GatewayKey> {
    let (namespace, _) = key(object);
    let own = object.labels();
    let labels = if own.contains_key(label) { own } else { view.namespaces.get("", namespace)?.labels() };
    named(labels, label, namespace)
}

fn named(labels: &BTreeMap<String, String>, label: &str, namespace: &str) -> Option<GatewayKey> {
    let name = labels.get(label).filter(|name| *name != "none" && !name.is_empty())?;
    let there = labels.get(&format!("{label}-namespace")).map_or(namespace, String::as_str);
    Some((there.to_owned(), name.clone()))
}

/// Whether the HBONE listener of a Gateway lets a namespace use it; its own always may.
pub fn admits(view: &View, gateway: &Gateway, namespace: &str) -> bool {
    if key(gateway).0 == namespace {
        return true;
    }
    let labels = || view.namespaces.get("", namespace).map(|namespace| namespace.labels());
    let listeners = gateway.spec.listeners.iter().filter(|listener| listener.protocol == HBONE);
    listeners.filter_map(|listener| listener.allowed_routes.as_ref()?.namespaces.as_ref()).any(|allowed| match allowed
        .from
    {
        Some(From::All) => true,
        Some(From::Selector) => {
            allowed.selector.as_ref().zip(labels()).is_some_and(|(selector, labels)| matches(selector, labels))
        }
        Some(From::Same) | None => false,
    })
}

/// Kubernetes' label selectors: everything in it must hold. An operator that is not known matches nothing.
fn matches(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    let exact = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    exact
        && selector.match_expressions.iter().flatten().all(|expression| {
            let value = labels.get(&expression.key);
            let named = || value.is_some_and(|value| expression.values.iter().flatten().any(|one| one == value));
            match expression.operator.as_str() {
                "In" => named(),
                "NotIn" => !named(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde::Serialize;
use tokio::sync::OnceCell;

use super::super::cluster::{DocumentKind, View, key};
use super::super::guard::Due;
use super::super::provision::is_ours;
use super::super::scope::{GatewayKey, Object, Scopes, workloads};
use super::encode::{Resource, hash};
use super::packed::Packed;
use crate::document::service::GUARDED_BY;

/// Says which Gateway a pod is of.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Less than this is sent as it is, bytes.
const WORTH_PACKING: usize = 16 << 10;

/// Everything that the pods of one identity are sent, in one state of the cluster.
#[derive(Debug, Default)]
pub struct Scope {
    resources: BTreeMap<Arc<str>, Arc<Resource>>,
    digest: String,
    all: OnceLock<Bytes>,
    packed: OnceCell<Option<Packed>>,
    /// What changed since the state of this digest, which most waypoints are in when this one is new.
    since: Mutex<Option<(String, Arc<Delta>)>>,
}

/// What one state has that another has not.
#[derive(Debug, Default)]
pub(super) struct Delta {
    pub(super) changed: Vec<Arc<Resource>>,
    pub(super) removed: Vec<String>,
}

impl Delta {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

impl Scope {
    pub(super) fn new(resources: BTreeMap<Arc<str>, Arc<Resource>>) -> Self {
        let said = resources.values().flat_map(|one| [one.name.as_bytes(), b"\0", one.version.as_bytes(), b"\n"]);
        let digest = hash(&said.collect::<Vec<_>>());
        Self { resources, digest, all: OnceLock::new(), packed: OnceCell::new(), since: Mutex::default() }
    }

    /// Names the state: the same on every replica that sees the same cluster.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// One resource.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.resources.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// All of them, encoded: put together once, whoever asks.
    pub(super) fn all(&self) -> Bytes {
        let all = self.all.get_or_init(|| {
            let size = self.iter().map(|one| one.field.len()).sum();
            let mut all = Vec::with_capacity(size);
            self.iter().for_each(|one| all.extend_from_slice(&one.field));
            all.into()
        });
        all.clone()
    }

    /// All of them, compressed once, whoever asks; none where there is not enough to be worth it.
    pub(super) async fn packed(self: &Arc<Self>) -> Option<&Packed> {
        if self.iter().map(|one| one.field.len()).sum::<usize>() < WORTH_PACKING {
            return None;
        }
        let make = async {
            let scope = Arc::clone(self);
            let packed =
                tokio::task::spawn_blocking(move || Packed::new(scope.iter().map(|one| one.field.clone()))).await;
            packed.ok().and_then(Result::ok)
        };
        self.packed.get_or_init(|| make).await.as_ref()
    }

    /// What changed since `before`, found once for all who are there.
    pub(super) fn since(&self, before: &Self) -> Arc<Delta> {
        let mut known = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((digest, delta)) if *digest == before.digest => Arc::clone(delta),
            Some(_) | None => {
                let delta = Arc::new(self.difference(before));
                *known = Some((before.digest.clone(), Arc::clone(&delta)));
                delta
            }
        }
    }

    fn difference(&self, before: &Self) -> Delta {
        let known = |one: &&Arc<Resource>| {
            before.get(&one.name).is_some_and(|before| Arc::ptr_eq(before, one) || before.version == one.version)
        };
        let changed = self.iter().filter(|one| !known(one)).cloned().collect();
        let gone = before.resources.keys().filter(|name| !self.resources.contains_key(*name));
        Delta { changed, removed: gone.map(ToString::to_string).collect() }
    }

    /// The same, where the other side says what it has by name and version.
    pub(super) fn beyond(&self, has: &HashMap<String, String>) -> Arc<Delta> {
        let known = |one: &&Arc<Resource>| has.get(&*one.name) == Some(&one.version);
        let changed = self.iter().filter(|one| !known(one)).cloned().collect();
        let gone = has.keys().filter(|name| !self.resources.contains_key(name.as_str()));
        Arc::new(Delta { changed, removed: gone.cloned().collect() })
    }
}

/// The documents of every Gateway, and which identity gets which. Immutable.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Whether every kind is known. Nothing is sent before.
    pub whole: bool,
    /// Where the state stands among others, as waypoints are told.
    pub(super) order: Arc<str>,
    scopes: BTreeMap<GatewayKey, Arc<Scope>>,
    /// Gateways by namespace and ServiceAccount.
    identities: BTreeMap<Account, BTreeSet<GatewayKey>>,
    /// Of the accounts that several Gateways' pods run as, everything that those have.
    joined: BTreeMap<Account, Joined>,
    partners: BTreeMap<Account, BTreeSet<Account>>,
}

/// Namespace and name of a ServiceAccount.
type Account = (String, String);

/// Several scopes, and what they are together: put together once for all streams.
#[derive(Debug, Clone)]
struct Joined {
    of: Vec<Arc<Scope>>,
    all: Arc<Scope>,
}

impl Joined {
    /// As it was before, if it is still that.
    fn new(of: Vec<Arc<Scope>>, before: Option<&Self>) -> Self {
        let same = |before: &&Self| {
            before.of.len() == of.len() && before.of.iter().zip(&of).all(|(before, now)| Arc::ptr_eq(before, now))
        };
        if let Some(before) = before.filter(same) {
            return before.clone();
        }
        let all = of.iter().flat_map(|scope| scope.resources.clone());
        let all = Arc::new(Scope::new(all.collect()));
        Self { of, all }
    }
}

impl Catalog {
    /// The documents of one Gateway.
    pub fn scope(&self, gateway: &GatewayKey) -> Option<&Arc<Scope>> {
        self.scopes.get(gateway)
    }

    /// The Gateways whose pods run as a ServiceAccount.
    pub fn gateways(&self, namespace: &str, service_account: &str) -> BTreeSet<GatewayKey> {
        let key = (namespace.to_owned(), service_account.to_owned());
        self.identities.get(&key).cloned().unwrap_or_default()
    }

    /// The ServiceAccounts of waypoints that are in front of something together with that of this one, in its namespace.
    pub(super) fn partners(&self, namespace: &str, service_account: &str) -> impl Iterator<Item = &Account> {
        self.partners.get(&(namespace.to_owned(), service_account.to_owned())).into_iter().flatten()
    }

    /// Everything for the pods that run as a ServiceAccount; `None` if no Gateway's do.
    pub fn documents(&self, namespace: &str, service_account: &str) -> Option<Arc<Scope>> {
        let account = (namespace.to_owned(), service_account.to_owned());
        if let Some(joined) = self.joined.get(&account) {
            return Some(Arc::clone(&joined.all));
        }
        self.identities.get(&account)?.iter().find_map(|gateway| self.scope(gateway)).cloned()
    }
}

/// Makes catalogs, and keeps what stays the same from one to the next.
#[derive(Debug, Default)]
pub struct Cataloguer {
    namespace: String,
    encoded: HashMap<String, (Option<String>, Arc<Resource>)>,
    scopes: BTreeMap<GatewayKey, Arc<Scope>>,
    joined: BTreeMap<Account, Joined>,
    last: Option<(View, Due, Addressed)>,
    partners: BTreeMap<GatewayKey, BTreeSet<GatewayKey>>,
}

impl Cataloguer {
    /// One of the controller in `namespace`.
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::default() }
    }

    /// The catalog of a view.
    pub fn catalog(&mut self, view: &View) -> Catalog {
        let (due, addressed) = (Due::of(view, &self.namespace), workloads(view));
        let same = self.last.as_ref().is_some_and(|(last, before, whose)| {
            last.has_same_documents(view) && *before == due && *whose == addressed
        });
        if !same {
            self.scopes = self.scopes(view, &due);
            self.last = Some((view.clone(), due, addressed));
        }
        let identities = identities(view);
        let joined = identities.iter().filter_map(|(account, gateways)| {
            let of: Vec<_> = gateways.iter().filter_map(|gateway| self.scopes.get(gateway)).cloned().collect();
            (of.len() > 1).then(|| (account.clone(), Joined::new(of, self.joined.get(account))))
        });
        self.joined = joined.collect();
        let partners = partners(&identities, &self.partners);
        let (whole, scopes, joined) = (view.is_whole(), self.scopes.clone(), self.joined.clone());
        let order = view.order().to_string().into();
        Catalog { whole, order, scopes, identities, joined, partners }
    }

    fn scopes(&mut self, view: &View, due: &Due) -> BTreeMap<GatewayKey, Arc<Scope>> {
        let scopes = Scopes::of(view);
        self.partners = scopes.fronting.partners();
        let mut sets: BTreeMap<GatewayKey, BTreeMap<Arc<str>, Arc<Resource>>> = BTreeMap::new();
        let mut encoded = HashMap::with_capacity(self.encoded.len());
        let mut put = |resource: &Arc<Resource>, gateways: &BTreeSet<GatewayKey>| {
            for gateway in gateways {
                sets.entry(gateway.clone()).or_default().insert(Arc::clone(&resource.name), Arc::clone(resource));
            }
        };
        for ((kind, namespace, name), gateways) in &scopes.documents {
            let listing = view.documents(*kind);
            let Some(document) = listing.get(namespace, name) else { continue };
            put(&self.document(*kind, document, &mut encoded), gateways);
            for map in view.roots_of(*kind, document) {
                put(&self.encode("v1", "ConfigMap", &**map, &mut encoded), gateways);
            }
        }
        for (namespace, name, gateways) in scopes.fronting.objects(Object::Service) {
            let Some(service) = view.services.get(namespace, name) else { continue };
            put(&self.service(service, due.guard(view, service), &mut encoded), gateways);
        }
        for (gateway, _) in scopes.fronting.gateways() {
            let Some(object) = view.gateways.get(&gateway.0, &gateway.1) else { continue };
            let resource = self.encode("gateway.networking.k8s.io/v1", "Gateway", &**object, &mut encoded);
            put(&resource, &BTreeSet::from([gateway.clone()]));
            for map in view.mesh_config.iter() {
                put(&self.encode("v1", "ConfigMap", &**map, &mut encoded), &BTreeSet::from([gateway.clone()]));
            }
        }
        self.encoded = encoded;
        sets.into_iter().map(|(gateway, resources)| (gateway.clone(), self.kept(&gateway, resources))).collect()
    }

    /// The scope as it was, if it still is that: streams compare pointers first.
    fn kept(&self, gateway: &GatewayKey, resources: BTreeMap<Arc<str>, Arc<Resource>>) -> Arc<Scope> {
        let scope = Scope::new(resources);
        match self.scopes.get(gateway) {
            Some(before) if before.digest == scope.digest => Arc::clone(before),
            Some(_) | None => Arc::new(scope),
        }
    }

    fn document(&self, kind: DocumentKind, document: &DynamicObject, encoded: &mut Encoded) -> Arc<Resource> {
        let best = kind.resource().api_version;
        let types = document.types.as_ref();
        let api_version = types.map_or(best.as_str(), |types| types.api_version.as_str());
        self.encode(api_version, kind.as_str(), document, encoded)
    }

    /// A Service with the name of the guard that is to stand before its pods; whoever wrote one there wrote nothing.
    fn service(&self, service: &Service, guard: Option<String>, encoded: &mut Encoded) -> Arc<Resource> {
        let mut service = service.clone();
        let annotations = service.annotations_mut();
        annotations.remove(GUARDED_BY);
        if let Some(guard) = guard {
            // Another version for us: the API server's is of the Service alone.
            service.metadata.resource_version = service.metadata.resource_version.map(|one| format!("{one} {guard}"));
            service.annotations_mut().insert(GUARDED_BY.to_owned(), guard);
        }
        self.encode("v1", "Service", &service, encoded)
    }

    fn encode<K>(&self, api_version: &str, kind: &str, object: &K, encoded: &mut Encoded) -> Arc<Resource>
    where
        K: kube::Resource + Serialize,
    {
        let name = name(api_version, kind, object);
        let version = object.meta().resource_version.clone();
        let resource = match self.encoded.get(&name) {
            Some((known, resource)) if known.is_some() && *known == version => Arc::clone(resource),
            Some(_) | None => Arc::new(Resource::document(&name, object, api_version, kind)),
        };
        encoded.insert(name, (version, Arc::clone(&resource)));
        resource
    }
}

/// The accounts of each account's partners. Of those that a Gateway's pods run as, that of its own name alone has any: who
/// labels a pod as a waypoint's gets nobody's keys by it.
fn partners(
    identities: &BTreeMap<Account, BTreeSet<GatewayKey>>,
    of: &BTreeMap<GatewayKey, BTreeSet<GatewayKey>>,
) -> BTreeMap<Account, BTreeSet<Account>> {
    let runs = |gateway: &&GatewayKey| identities.get(*gateway).is_some_and(|gateways| gateways.contains(*gateway));
    let known = of.iter().filter(|(one, _)| runs(one));
    known.map(|(one, others)| (one.clone(), others.iter().filter(runs).cloned().collect())).collect()
}

/// By namespace, the Gateways that are in front of workloads' own addresses: pods say so too.
type Addressed = BTreeMap<String, BTreeSet<GatewayKey>>;
type Encoded = HashMap<String, (Option<String>, Arc<Resource>)>;

/// `GROUP/KIND/NAMESPACE/NAME`
fn name<K: kube::Resource>(api_version: &str, kind: &str, object: &K) -> String {
    let (namespace, name) = key(object);
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    format!("{group}/{kind}/{namespace}/{name}")
}

/// The name of the resource of a document.
pub fn document_name(kind: DocumentKind, namespace: &str, name: &str) -> String {
    format!("{}/{}/{namespace}/{name}", kind.resource().group, kind.as_str())
}

/// Which identities are whose pods. For a Gateway that we provision that is the one ServiceAccount that we gave it; a pod
/// that somebody else labels as its is not. For one that istiod provisions it is whatever its pods run as.
fn identities(view: &View) -> BTreeMap<Account, BTreeSet<GatewayKey>> {
    let mut identities: BTreeMap<Account, BTreeSet<GatewayKey>> = BTreeMap::new();
    for gateway in view.gateways.iter() {
        let (namespace, name) = key(&**gateway);
        let mut add = |account: &str| {
            let gateways = identities.entry((namespace.to_owned(), account.to_owned())).or_default();
            gateways.insert((namespace.to_owned(), name.to_owned()));
        };
        if is_ours(view, gateway) {
            add(name);
            continue;
        }
        let own = view.pods.within(namespace).filter(|pod| pod.labels().get(GATEWAY_NAME).is_some_and(|of| of == name));
        own.for_each(|pod| {
            let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
            add(account.unwrap_or("default"));
        });
    }
    identities
}

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::apis::standard::gatewayclasses::GatewayClass;
use gateway_api::apis::standard::gateways::Gateway;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use kube::core::DynamicObject;

use super::kinds::WORKLOAD_ENTRY;
use super::shelf::Shelf;
use super::{DocumentKind, Listing, Standing};
use crate::control::feed::Order;
use crate::document::mesh_config::{CONFIG_MAP, KEY, MeshConfig};

/// The cluster at one moment. Planners take it and nothing else.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Gateways of every class.
    pub gateways: Listing<Gateway>,
    /// Gateway classes, cluster-wide.
    pub gateway_classes: Listing<GatewayClass>,
    /// Namespaces, cluster-wide.
    pub namespaces: Listing<Namespace>,
    /// Services.
    pub services: Listing<Service>,
    /// Pods, without environment and volumes.
    pub pods: Listing<Pod>,
    /// ServiceAccounts.
    pub service_accounts: Listing<ServiceAccount>,
    /// Deployments.
    pub deployments: Listing<Deployment>,
    /// Istio's WorkloadEntries.
    pub workload_entries: Listing<DynamicObject>,
    /// ConfigMaps of the controller's own namespace.
    pub config_maps: Listing<ConfigMap>,
    /// Istio's meshConfig, if there is one: by the name `istio` of `istio-system`, whichever revision's it is; its key `mesh`
    /// only.
    pub mesh_config: Listing<ConfigMap>,
    /// ConfigMaps that BackendTLSPolicies name, their key `ca.crt` only.
    pub roots: Listing<ConfigMap>,
    documents: BTreeMap<DocumentKind, Listing<DynamicObject>>,
    standings: BTreeMap<String, Standing>,
}

impl View {
    /// Where policies for the whole mesh stand: as its meshConfig says, else Istio's default.
    pub fn root_namespace(&self) -> String {
        let (namespace, name) = CONFIG_MAP;
        let text = self.mesh_config.get(namespace, name).and_then(|map| map.data.as_ref()?.get(KEY));
        text.and_then(|text| MeshConfig::parse(text).ok()).unwrap_or_default().root_namespace
    }

    /// Documents of one kind, as the API server has them (without `metadata.managedFields`).
    pub fn documents(&self, kind: DocumentKind) -> Listing<DynamicObject> {
        self.documents.get(&kind).cloned().unwrap_or_default()
    }

    /// The ConfigMaps that a BackendTLSPolicy names, as far as there are any.
    pub fn roots_of<'v>(
        &'v self,
        kind: DocumentKind,
        document: &'v DynamicObject,
    ) -> impl Iterator<Item = &'v Arc<ConfigMap>> {
        let policy = (kind == DocumentKind::BackendTlsPolicy).then_some(document);
        let named = policy.into_iter().flat_map(super::roots::of_policy);
        named.filter_map(|(namespace, name)| self.roots.get(namespace, name))
    }

    /// Puts documents of one kind in, for tests and dry runs too.
    pub fn set_documents(&mut self, kind: DocumentKind, listing: Listing<DynamicObject>) {
        self.documents.insert(kind, listing);
    }

    /// How far a kind, as in `Service`, is known.
    pub fn standing(&self, kind: &str) -> Standing {
        self.standings.get(kind).cloned().unwrap_or_default()
    }

    /// Says how far a kind is known, for tests and dry runs.
    pub fn set_standing(&mut self, kind: &str, standing: Standing) {
        self.standings.insert(kind.to_owned(), standing);
    }

    /// The kinds whose objects are not known, each with why; none for a view that decisions may be built on. A policy
    /// that we may not read is not a policy that does not exist.
    pub fn unknown(&self) -> Vec<(&str, &Standing)> {
        let unknown = self.standings.iter().filter(|(_, standing)| !standing.is_known());
        unknown.map(|(kind, standing)| (kind.as_str(), standing)).collect()
    }

    /// The kinds that were known and may be read no more, each with why.
    pub fn lost(&self) -> impl Iterator<Item = (&str, &str)> {
        self.standings.iter().filter_map(|(kind, standing)| match standing {
            Standing::Lost(why) => Some((kind.as_str(), why.as_str())),
            Standing::Pending | Standing::Listed | Standing::Absent | Standing::Refused(_) => None,
        })
    }

    /// Whether every kind is known.
    pub fn is_whole(&self) -> bool {
        !self.standings.is_empty() && self.standings.values().all(Standing::is_known)
    }

    /// Whether nothing was changed between the two of what waypoints are sent.
    pub fn has_same_documents(&self, other: &Self) -> bool {
        let documents = |kind: &DocumentKind| self.documents(*kind).is_same(&other.documents(*kind));
        self.gateways.is_same(&other.gateways)
            && self.gateway_classes.is_same(&other.gateway_classes)
            && self.namespaces.is_same(&other.namespaces)
            && self.services.is_same(&other.services)
            && self.mesh_config.is_same(&other.mesh_config)
            && self.roots.is_same(&other.roots)
            && DocumentKind::ALL.iter().all(documents)
    }

    /// Where it stands among the states of the cluster, by every kind of which what waypoints are sent is made.
    pub fn order(&self) -> Order {
        let mut order = Order::default();
        order.put("Gateway", self.gateways.edition());
        order.put("GatewayClass", self.gateway_classes.edition());
        order.put("Namespace", self.namespaces.edition());
        order.put("Service", self.services.edition());
        order.put("Pod", self.pods.edition());
        order.put(WORKLOAD_ENTRY, self.workload_entries.edition());
        order.put("ConfigMap", self.config_maps.edition());
        order.put("meshConfig", self.mesh_config.edition());
        order.put("roots", self.roots.edition());
        for kind in DocumentKind::ALL {
            order.put(kind.as_str(), self.documents(kind).edition());
        }
        order
    }

    pub(super) fn take<K>(&mut self, kind: &str, shelf: &Shelf<K>) -> Listing<K> {
        let (listing, standing) = shelf.state();
        self.standings.insert(kind.to_owned(), standing);
        listing
    }
}

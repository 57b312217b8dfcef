//! What the planner goes by: the cluster reduced to what decides about a guard.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::id::TrustDomain;
use crate::mesh::l4::Authorization;

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Name {
    /// `namespace/name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The mesh as it is.
#[derive(Debug, Clone)]
pub struct Mesh {
    /// Trust domain of the mesh. Aliases are left out: they would only widen.
    pub trust_domain: TrustDomain,
    /// Istio's root namespace: a policy with a selector there selects pods of every namespace.
    pub root_namespace: Arc<str>,
    /// Every waypoint Gateway, ours or not.
    pub waypoints: BTreeMap<Name, Waypoint>,
    /// Every Service.
    pub services: Vec<Service>,
    /// Every pod that has not ended.
    pub pods: Vec<Pod>,
    /// ServiceEntries that one of our waypoints fronts.
    pub externals: Vec<External>,
    /// Gateways that are no waypoints.
    pub ingresses: Vec<Ingress>,
    /// AuthorizationPolicies whose names are those of guards.
    pub found: Vec<Found>,
    /// Whether all guards were switched off (`agent-waypoint guard --remove`): every Service is set to Report.
    pub off: bool,
    /// What istiod sends to ztunnel; none as long as it was not seen.
    pub sent: Option<Arc<Sent>>,
}

/// A waypoint Gateway.
#[derive(Debug, Clone, Default)]
pub struct Waypoint {
    /// Whether it is one of agent-waypoint.
    pub ours: bool,
    /// Whether it has ever been ready (its addresses stand in its status).
    pub was_ready: bool,
    /// ServiceAccounts, of its namespace, that its pods run as.
    pub accounts: BTreeSet<Arc<str>>,
    /// Addresses of its pods.
    pub addresses: Vec<IpAddr>,
}

/// `agent-waypoint.dev/guard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Mode {
    /// Guards are written.
    #[default]
    Enforce,
    /// It is only said who would be cut off, and which ways round there are.
    Report,
}

/// `agent-waypoint.dev/guard-scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum GuardScope {
    /// The target ports of the Service.
    #[default]
    Ports,
    /// Every port of its pods.
    Workload,
}

/// What sort of Service it is, as far as it matters who can come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum ServiceKind {
    /// Reached by its own address, inside the cluster.
    #[default]
    ClusterIp,
    /// No address of its own: clients resolve those of pods.
    Headless,
    /// Reached from outside through nodes too (NodePort, LoadBalancer).
    Published,
    /// A name for something outside.
    ExternalName,
}

/// A Service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: Name,
    /// What sort it is.
    pub kind: ServiceKind,
    /// Labels of its pods; empty: endpoints are written by hand.
    pub selector: BTreeMap<String, String>,
    /// TCP ports.
    pub ports: Vec<ServicePort>,
    /// Gateways that it is labelled to use, primary and canary; empty: none.
    pub waypoints: Vec<Name>,
    /// Whether istiod reports it bound to its waypoint.
    pub bound: bool,
    /// Whether ingress gateways go through the waypoint (`istio.io/ingress-use-waypoint`).
    pub ingress_uses_waypoint: bool,
    /// Its own or its namespace's.
    pub mode: Mode,
    /// Its own or its namespace's.
    pub scope: GuardScope,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its number.
    pub port: u16,
    /// Where it leads.
    pub target: TargetPort,
}

/// `targetPort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// The same number on each pod.
    Number(u16),
    /// The container port of this name: its number is each pod's own.
    Named(Arc<str>),
}

/// Whether ztunnel stands before a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Capture {
    /// It does.
    #[default]
    Captured,
    /// It does not: nobody enforces anything.
    Uncaptured,
    /// It cannot: the pod uses its node's network.
    HostNetwork,
    /// The pod has no address yet, so that there is nothing to reach.
    NotStarted,
}

/// A pod.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    /// Its name.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// TCP ports that its containers declare.
    pub ports: Vec<ContainerPort>,
    /// Whether ztunnel stands before it.
    pub capture: Capture,
    /// Whether it has a sidecar, which never uses a waypoint.
    pub sidecar: bool,
    /// Waypoint that calls to its own address go through (`istio.io/waypoint-for: workload` or `all`).
    pub waypoint: Option<Name>,
    /// Port that its annotations ask Prometheus to scrape.
    pub scraped: Option<u16>,
}

/// A port that a container declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// Its number.
    pub number: u16,
}

/// A ServiceEntry that one of our waypoints fronts.
#[derive(Debug, Clone)]
pub struct External {
    /// Its name.
    pub name: Name,
    /// How many endpoints it names; at least 1.
    pub endpoints: usize,
}

/// A Gateway that lets traffic in from outside.
#[derive(Debug, Clone)]
pub struct Ingress {
    /// Its name.
    pub name: Name,
    /// Services that its routes lead to; none: not known.
    pub services: Option<BTreeSet<Name>>,
}

/// An AuthorizationPolicy in the cluster whose name is that of a guard.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its name.
    pub name: Name,
    /// Whether we wrote it.
    pub ours: bool,
    /// Ports of its rules.
    pub ports: BTreeSet<u16>,
    /// Names of the Services that it was written for.
    pub services: BTreeSet<Arc<str>>,
}

/// What istiod sends to ztunnel.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// By `namespace/name`.
    pub authorizations: HashMap<Arc<str>, Arc<Authorization>>,
    /// Pods, by namespace and name.
    pub workloads: HashMap<Name, Arc<SentWorkload>>,
    /// Uids of endpoints that no guard of ours is before, by the Service that they are behind: pods of other clusters, and
    /// machines and addresses without a ztunnel.
    pub far: HashMap<Name, Vec<Arc<str>>>,
}

/// What istiod says of one pod.
#[derive(Debug, Clone, Default)]
pub struct SentWorkload {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Selector policies that ztunnel enforces before it, as `namespace/name`.
    pub listed: Vec<Arc<str>>,
}

impl Pod {
    /// Number of the container port of this name.
    pub fn named(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|port| &*port.name == name && !name.is_empty()).map(|port| port.number)
    }
}

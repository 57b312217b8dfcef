use std::net::IpAddr;
use std::sync::Arc;

use super::few::Few;
use super::near::{Place, Preference};
use crate::id::WorkloadId;

/// A service or a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A Service, or one host of a ServiceEntry.
    Service(Arc<ServiceRow>),
    /// A pod, or a WorkloadEntry.
    Workload(Arc<WorkloadRow>),
}

impl Row {
    /// Its name on the wire: `namespace/hostname`, or the workload's uid.
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Service(row) => &row.parts.key,
            Self::Workload(row) => &row.parts.uid,
        }
    }
}

/// A service of the mesh.
#[derive(Debug, PartialEq, Eq)]
pub struct ServiceRow {
    pub(super) parts: ServiceParts,
}

/// What a [`ServiceRow`] is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceParts {
    /// `namespace/hostname`
    pub key: Arc<str>,
    /// Of the Service or ServiceEntry.
    pub namespace: Arc<str>,
    /// Of the Service or ServiceEntry.
    pub name: Arc<str>,
    /// Lower case, fully qualified.
    pub hostname: Arc<str>,
    /// Virtual addresses; none: headless.
    pub vips: Few<Vip>,
    /// Its ports.
    pub ports: Few<PortRow>,
    /// Identities accepted of its workloads beside their own, of its own namespace all.
    pub more_ids: Box<[Arc<WorkloadId>]>,
    /// Waypoints that front it: the primary, then weighted ones.
    pub waypoints: Few<Arc<Gateway>>,
    /// Whether workloads that are not ready get calls too.
    pub any_health: bool,
    /// Which of its workloads are the ones to call.
    pub preference: Preference,
    /// Whether IPv6 addresses are the ones to use.
    pub v6_only: bool,
    /// Of several services with one host name, the one that the name alone means.
    pub canonical: bool,
    /// Whether it is the API server's: istiod says the IP families of Services, which always have them, and of no
    /// ServiceEntry, whose host name may be any Service's.
    pub of_kubernetes: bool,
}

/// A virtual address on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// Network; empty: the only one.
    pub network: Arc<str>,
    /// Address.
    pub ip: IpAddr,
}

/// A port of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRow {
    /// The Service's.
    pub port: u16,
    /// The workloads', unless they say otherwise; 0: named, so that each says its own.
    pub target: u16,
    /// What it speaks.
    pub speaks: AppProtocol,
}

/// What a port speaks, as istiod understood the Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppProtocol {
    /// Nobody said.
    Unknown,
    /// HTTP/1.1
    Http,
    /// HTTP/2 by prior knowledge, gRPC included.
    Http2,
    /// Bytes, the client's own TLS included.
    Tcp,
}

/// Where a waypoint is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Gateway {
    /// A host name, as of one namespace.
    Host {
        /// Namespace.
        namespace: Arc<str>,
        /// Lower case.
        host: Arc<str>,
    },
    /// An address.
    Ip {
        /// Its network.
        network: Arc<str>,
        /// The address.
        ip: IpAddr,
    },
}

/// A workload of the mesh.
#[derive(Debug, PartialEq, Eq)]
pub struct WorkloadRow {
    pub(super) parts: WorkloadParts,
}

/// What a [`WorkloadRow`] is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadParts {
    /// Unique in the mesh.
    pub uid: Arc<str>,
    /// Name of the pod or WorkloadEntry, where the uid does not end in it; see [`WorkloadParts::name`].
    pub other_name: Option<Box<Box<str>>>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its identity.
    pub id: Arc<WorkloadId>,
    /// Its addresses.
    pub ips: Few<IpAddr>,
    /// A name to resolve, where there are no addresses.
    pub hostname: Option<Arc<str>>,
    /// Its network; empty: the only one.
    pub network: Arc<str>,
    /// Where it runs.
    pub place: Arc<Place>,
    /// How it is reached.
    pub reach: Reach,
    /// Whether it is ready.
    pub healthy: bool,
    /// Whether its addresses are its own, and not its node's.
    pub own_ips: bool,
    /// Whether it takes HBONE itself: a waypoint.
    pub is_waypoint: bool,
    /// Share of calls; 0: none.
    pub weight: u32,
    /// The services that it is behind.
    pub services: Few<Member>,
    /// Its waypoint, for calls to its own address.
    pub waypoint: Option<Arc<Gateway>>,
    /// `namespace/name` of the policies that select it, as ztunnel enforces them.
    pub policies: Box<[Arc<str>]>,
}

/// That a workload is behind a service, and on which ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Key of the service.
    pub service: Arc<str>,
    /// Its ports and the workload's own.
    pub ports: Few<PortPair>,
}

/// The Service's port, and the workload's (0: it has none of the name).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortPair {
    /// The Service's.
    pub port: u16,
    /// The workload's.
    pub target: u16,
}

/// How a workload is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// By HBONE; its identity is to be proven.
    Hbone,
    /// In plaintext: nothing there speaks HBONE.
    Plain,
    /// By a way that is not spoken here.
    Not,
}

impl ServiceRow {
    /// A row. Its parts must be what they say.
    pub fn new(parts: ServiceParts) -> Arc<Self> {
        Arc::new(Self { parts })
    }

    /// What it is made of.
    pub fn parts(&self) -> &ServiceParts {
        &self.parts
    }
}

impl WorkloadParts {
    /// What [`WorkloadParts::other_name`] is to be where the workload is called so.
    pub fn other_name(uid: &str, name: &str) -> Option<Box<Box<str>>> {
        (last(uid) != name).then(|| Box::new(name.into()))
    }

    /// Name of the pod or WorkloadEntry.
    pub fn name(&self) -> &str {
        self.other_name.as_deref().map_or_else(|| last(&self.uid), AsRef::as_ref)
    }
}

/// The last part of a uid, which is the name in those of pods and WorkloadEntries.
fn last(uid: &str) -> &str {
    uid.rsplit('/').next().unwrap_or(uid)
}

impl WorkloadRow {
    /// A row. Its parts must be what they say.
    pub fn new(parts: WorkloadParts) -> Arc<Self> {
        Arc::new(Self { parts })
    }

    /// What it is made of.
    pub fn parts(&self) -> &WorkloadParts {
        &self.parts
    }
}

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Endpoint, Held, Hold, Routes, Traffic};
use crate::policy::{Destination, Rules, Verifier};
use crate::wire::path::Normalization;

/// One port of one Service or ServiceEntry: what a call is addressed to, decided by and sent on to.
#[derive(Debug)]
pub struct Target {
    /// Which port of what.
    pub key: TargetKey,
    /// The same as rules see it.
    pub destination: Destination,
    /// What the port speaks.
    pub protocol: PortProtocol,
    /// The rules that decide, closed ones included.
    pub rules: Arc<Rules>,
    /// Verifies tokens, and says what becomes of them, where a RequestAuthentication selects the target.
    pub tokens: Option<Arc<Verifier>>,
    /// Where calls can go; may be empty.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Endpoints that are named and get no calls.
    pub held: Vec<Held>,
    /// How the paths of its requests are normalised: strictly where the port is declared or has an AgentPolicy,
    /// else as the mesh says.
    pub paths: Normalization,
    /// Where requests go, where routes are attached; else to the endpoints.
    pub routes: Option<Arc<Routes>>,
    /// Where connections go, where routes of them are attached; else to the endpoints.
    pub bytes: Option<Arc<Routes>>,
    /// Of a declared port, the Service to which a route leads its calls, whose rules decide too and whose endpoints these are.
    pub leads_to: Option<Box<(TargetKey, Destination)>>,
    /// Whether calls from one address go to one endpoint (`sessionAffinity: ClientIP`).
    pub affine: bool,
    /// What a DestinationRule says of its calls; where a route leads them, of those of the Service that they are led to.
    pub traffic: Option<Arc<Traffic>>,
    pub(super) upstream_h2: bool,
    pub(super) closed: Option<Arc<str>>,
    /// The policies that would decide were it not closed, by where they are from.
    pub(super) unenforced: Arc<[Arc<PathBuf>]>,
    pub(super) revision: TargetRevision,
}

impl Target {
    /// Whether the upstream speaks HTTP/2 by prior knowledge (`http2`, `kubernetes.io/h2c`, `grpc`).
    pub fn upstream_h2(&self) -> bool {
        self.upstream_h2
    }

    /// Why every call is refused, where a document's fault closed the target.
    pub fn closed(&self) -> Option<&str> {
        self.closed.as_deref()
    }

    /// Why a call gets no endpoint although there are some: of `stick`, where it has to be that one.
    pub fn hold(&self, stick: Option<&str>) -> Option<Hold> {
        let mut held = self.held.iter().filter(|held| stick.is_none_or(|stick| *held.id == *stick));
        held.next().map(|held| held.why)
    }

    /// Whether `other`, of the same key, says the same: rules and tokens by revision, everything else by value.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let what = |target: &Self| {
            let how = (target.upstream_h2, target.affine);
            (target.protocol, target.paths, how, target.revision, target.tokens.is_some())
        };
        what(self) == what(other)
            && self.destination == other.destination
            && self.unenforced == other.unenforced
            && self.routes.as_ref().map(|routes| routes.revision) == other.routes.as_ref().map(|routes| routes.revision)
            && self.bytes.as_ref().map(|routes| routes.revision) == other.bytes.as_ref().map(|routes| routes.revision)
            && self.closed == other.closed
            && self.traffic == other.traffic
            && self.endpoints == other.endpoints
            && self.held == other.held
    }

    /// Changes exactly when a decision about this target could come out differently (rules or token verification);
    /// endpoints do not count.
    pub fn revision(&self) -> TargetRevision {
        self.revision
    }
}

/// Hash of everything that decides for one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TargetRevision(pub(super) u64);

impl TargetRevision {
    /// Of `rules` that join those of several targets.
    pub(super) fn joined(parts: impl Iterator<Item = Self>, rules: &Rules) -> Self {
        let mut hasher = DefaultHasher::new();
        parts.for_each(|part| part.hash(&mut hasher));
        rules.revision().hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Names a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetKey {
    /// Service or ServiceEntry.
    pub kind: TargetKind,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Service port (not the target port); of a workload, its own.
    pub port: u16,
    /// Of a ServiceEntry that istiod told of, the host: each has its own endpoints. Of a workload, its address.
    pub at: Option<Arc<str>>,
}

impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}:{}", self.kind.as_str(), self.namespace, self.name, self.port)?;
        self.at.as_ref().map_or(Ok(()), |at| write!(f, " ({at})"))
    }
}

/// What can be fronted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetKind {
    /// core/v1 Service
    Service,
    /// networking.istio.io ServiceEntry
    ServiceEntry,
    /// A pod or WorkloadEntry, called by its own address.
    Workload,
}

impl TargetKind {
    /// The Kubernetes kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::ServiceEntry => "ServiceEntry",
            Self::Workload => "Workload",
        }
    }
}

/// What a port speaks, which settles how its bytes are read and which rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortProtocol {
    /// Declared MCP.
    Mcp,
    /// Declared A2A.
    A2a,
    /// HTTP/1.1 or h2c.
    Http,
    /// Bytes: TCP, and the client's own TLS or HTTPS.
    Tcp,
    /// Nobody said: HTTP if its first bytes are, else TCP.
    Undeclared,
}

impl PortProtocol {
    /// Lower-case name for logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::A2a => "a2a",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Undeclared => "undeclared",
        }
    }

    /// Whether its calls are decided on as requests, whatever their bodies are: what is HTTP, or may be.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Http | Self::Undeclared)
    }

    /// Whether connections go there of which nothing is known but who opens them: what is TCP, or may be.
    pub fn takes_bytes(self) -> bool {
        matches!(self, Self::Tcp | Self::Undeclared)
    }

    /// Whether a permit is needed whatever the rules say: only MCP and A2A ports are closed by default.
    pub fn is_declared(self) -> bool {
        matches!(self, Self::Mcp | Self::A2a)
    }
}

use std::net::SocketAddr;
use std::sync::Arc;

use super::Traffic;
use crate::id::WorkloadId;

/// Port of an endpoint's address where its ztunnel takes HBONE (Istio ambient).
pub const HBONE_PORT: u16 = 15008;

/// One place where a target's calls can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Stable as long as the address stands; the key for sessions, a caller's share and logs.
    pub id: Arc<str>,
    /// The application's address.
    pub at: At,
    /// How it is reached.
    pub via: Via,
    /// Relative share of calls, at least 1.
    pub weight: u32,
    /// How far it is by what its service prefers; 0 for the nearest. Farther ones get calls where no nearer one can.
    pub distance: u8,
    /// Port of the same address that takes HBONE; [`HBONE_PORT`] unless the endpoint says otherwise. Only for [`Via::Hbone`].
    pub tunnel_port: u16,
    /// What a DestinationRule says of the calls of the Service whose endpoint it is; another Service may lead here too.
    pub traffic: Option<Arc<Traffic>>,
}

/// Where the application listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum At {
    /// A fixed address, target port applied.
    Addr(SocketAddr),
    /// A name to resolve at dial time (`resolution: DNS`).
    Dns {
        /// Lower-case host name.
        host: Arc<str>,
        /// Target port.
        port: u16,
    },
}

/// How an endpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Via {
    /// HBONE to the same address; the far end must prove one of these identities. Never empty.
    Hbone {
        /// Exact identities, any of which will do.
        expect: Arc<[WorkloadId]>,
    },
    /// Plaintext.
    Plain,
    /// TLS that we originate. Few endpoints are reached so, and all of them would have the room for it.
    Tls(Arc<Tls>),
    /// The same within HBONE.
    HboneTls {
        /// As of [`Via::Hbone`].
        expect: Arc<[WorkloadId]>,
        /// What the application proves inside.
        tls: Arc<Tls>,
    },
}

impl Via {
    /// The same with TLS inside.
    pub(crate) fn with_tls(&self, tls: Arc<Tls>) -> Self {
        match self {
            Self::Plain | Self::Tls(_) => Self::Tls(tls),
            Self::Hbone { expect } | Self::HboneTls { expect, .. } => {
                Self::HboneTls { expect: Arc::clone(expect), tls }
            }
        }
    }

    /// Whether we originate TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::HboneTls { .. })
    }
}

/// Whom we expect where we originate TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Name to send (SNI), and to verify where there are no others.
    pub server_name: Arc<str>,
    /// Names any of which the certificate must have instead.
    pub alt_names: Arc<[AltName]>,
    /// Whom to trust.
    pub roots: Roots,
}

/// Certificate authorities for [`Tls`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The system's store.
    System,
    /// PEM text of one or more certificates.
    Inline(Arc<str>),
}

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AltName {
    /// A DNS name, as clients verify one.
    Dns(Arc<str>),
    /// A URI, exactly.
    Uri(Arc<str>),
}

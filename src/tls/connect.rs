use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::accept::{PeerChain, Side, proven};
use super::identity::Edition;
use super::{HandshakeFault, Identity, provider};
use crate::config::limits::HANDSHAKE_TIMEOUT;
use crate::id::{TrustDomain, WorkloadId};

/// Whom a dialled peer must prove to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expect {
    /// Exactly one of these identities; an empty list is nobody.
    Exact(Arc<[WorkloadId]>),
    /// Anyone of this trust domain: for a developer's tool that does not know its waypoint's name, never for the data
    /// path.
    TrustDomain(TrustDomain),
}

impl Expect {
    /// Whether a proven identity is one of those expected.
    pub fn admits(&self, id: &WorkloadId) -> bool {
        match self {
            Self::Exact(ids) => ids.contains(id),
            Self::TrustDomain(domain) => id.trust_domain() == domain,
        }
    }
}

/// A dialled connection whose peer proved to be who was expected.
#[derive(Debug)]
pub struct Connected<IO> {
    /// The bytes inside TLS.
    pub stream: TlsStream<IO>,
    /// Who answered.
    pub id: WorkloadId,
    /// What it proved that by.
    pub chain: PeerChain,
    /// When the connection must end: the earlier end of the peer's certificates and of ours.
    pub not_after: SystemTime,
    pub(crate) edition: Edition,
}

/// Does the client's side of the mesh handshake, within `HANDSHAKE_TIMEOUT`. No SNI is sent and nothing resumed.
///
/// # Errors
/// The server is not one of those expected, or our own certificate has ended. Nothing was sent inside TLS then.
pub async fn connect<IO>(identity: &Identity, io: IO, expect: Expect) -> Result<Connected<IO>, HandshakeFault>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let material = identity.material();
    if material.svid.expired(SystemTime::now()) {
        return Err(HandshakeFault::OwnCertificateExpired);
    }
    let connector = TlsConnector::from(material.client(expect));
    // Never sent and never compared: the identity is in the URI SAN.
    let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
    let stream = match timeout(HANDSHAKE_TIMEOUT, connector.connect(name, io)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(HandshakeFault::of(error)),
        Err(_) => return Err(HandshakeFault::Timeout),
    };
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(provider::ALPN_H2) {
        return Err(HandshakeFault::NoAlpn);
    }
    let (id, peer_ends) = proven(connection.peer_certificates())?;
    let chain = PeerChain::new(connection.peer_certificates(), Side::Server);
    Ok(Connected { stream, id, chain, not_after: peer_ends.min(material.svid.not_after()), edition: material.edition })
}

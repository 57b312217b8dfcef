use std::net::SocketAddr;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{HandshakeFault, Identity, leaf, provider};
use crate::config::limits::HANDSHAKE_TIMEOUT;
use crate::id::Peer;

/// A connection whose peer proved its identity.
#[derive(Debug)]
pub struct Accepted<IO> {
    /// The bytes inside TLS.
    pub stream: TlsStream<IO>,
    /// Who it is.
    pub peer: Peer,
    /// What it proved that by.
    pub chain: PeerChain,
    /// When the connection must end: the earlier end of the peer's certificates and of ours.
    pub not_after: SystemTime,
}

/// The certificates that a peer proved itself by, kept to ask again when the roots change.
#[derive(Debug, Clone)]
pub struct PeerChain {
    certificates: Vec<CertificateDer<'static>>,
    pub(super) side: Side,
}

/// Which side of a handshake a peer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// It called us.
    Client,
    /// We called it.
    Server,
}

impl PeerChain {
    pub(super) fn new(certificates: Option<&[CertificateDer<'static>]>, side: Side) -> Self {
        Self { certificates: certificates.unwrap_or_default().to_vec(), side }
    }

    /// The leaf and what came with it.
    pub(super) fn parts(&self) -> Option<(&CertificateDer<'static>, &[CertificateDer<'static>])> {
        self.certificates.split_first()
    }
}

/// Does the server's side of the mesh handshake, within `HANDSHAKE_TIMEOUT`.
///
/// # Errors
/// The peer proved nothing, or our own certificate has ended; the connection is closed, never served in plaintext.
pub async fn accept<IO>(identity: &Identity, io: IO, addr: SocketAddr) -> Result<Accepted<IO>, HandshakeFault>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let material = identity.material();
    if material.svid.expired(SystemTime::now()) {
        return Err(HandshakeFault::OwnCertificateExpired);
    }
    let acceptor = TlsAcceptor::from(std::sync::Arc::clone(&material.server));
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(io)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(HandshakeFault::of(error)),
        Err(_) => return Err(HandshakeFault::Timeout),
    };
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(provider::ALPN_H2) {
        return Err(HandshakeFault::NoAlpn);
    }
    let (id, peer_ends) = proven(connection.peer_certificates())?;
    let chain = PeerChain::new(connection.peer_certificates(), Side::Client);
    let not_after = peer_ends.min(material.svid.not_after());
    Ok(Accepted { chain, peer: Peer::verified(id, addr, not_after), not_after, stream })
}

/// The identity and the earliest end of a chain that the verifier has passed.
pub(super) fn proven(
    chain: Option<&[CertificateDer<'static>]>,
) -> Result<(crate::id::WorkloadId, SystemTime), HandshakeFault> {
    let chain = chain.unwrap_or_default();
    let first = chain.first().ok_or(HandshakeFault::NoCertificate)?;
    let leaf = leaf::read(first).map_err(HandshakeFault::Peer)?;
    Ok((leaf.id, leaf::earliest_end(chain, leaf.not_after)))
}

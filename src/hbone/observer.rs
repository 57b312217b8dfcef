use std::net::SocketAddr;

use crate::id::Peer;
use crate::tls::HandshakeFault;

/// Told what happens on the server's side, so that telemetry can count it. Every method is called on the data path: it
/// must be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// A connection was closed at accept because we are at a limit.
    fn shed(&self, _addr: SocketAddr, _why: Shed) {}
    /// A handshake proved nobody.
    fn handshake_failed(&self, _addr: SocketAddr, _fault: &HandshakeFault) {}
    /// A peer is connected.
    fn connection_opened(&self, _peer: &Peer) {}
    /// A peer's connection ended.
    fn connection_closed(&self, _peer: &Peer, _why: Closed) {}
    /// A CONNECT was answered 200.
    fn tunnel_opened(&self, _peer: &Peer) {}
    /// A stream was answered with this status instead of a tunnel.
    fn refused(&self, _peer: &Peer, _status: u16) {}
    /// The peer reset a stream before it was answered.
    fn abandoned(&self, _peer: &Peer) {}
    /// A handler panicked; its stream was reset, everything else goes on.
    fn panicked(&self, _peer: &Peer) {}
}

/// Nobody listens.
impl Observer for () {}

/// Which limit closed a connection at accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shed {
    /// `config::limits::MAX_CONNECTIONS`.
    Connections,
    /// `config::limits::MAX_HANDSHAKES`.
    Handshakes,
    /// `config::limits::MAX_CONNECTIONS_PER_PRINCIPAL`.
    PrincipalsConnections,
}

impl Shed {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::Handshakes => "max_handshakes",
            Self::PrincipalsConnections => "max_connections_per_principal",
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// The peer closed it, or it ended after our GOAWAY.
    Finished,
    /// It broke, or the peer broke the protocol.
    Broken,
    /// A ping was not answered in time.
    PingTimeout,
    /// The peer's certificate or ours ended.
    Expired,
    /// The roots changed and the peer's chain no longer verifies.
    Distrusted,
    /// The drain deadline passed with streams still open.
    DrainDeadline,
}

impl Closed {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Broken => "broken",
            Self::PingTimeout => "ping_timeout",
            Self::Expired => "expired",
            Self::Distrusted => "distrusted",
            Self::DrainDeadline => "drain_deadline",
        }
    }
}

//! CONNECT authorities.
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a call is addressed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authority {
    /// `ip:port`
    Addr(SocketAddr),
    /// `host:port`
    Host {
        /// Lower case.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
}

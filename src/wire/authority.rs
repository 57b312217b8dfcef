//! The authority of a CONNECT request.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Where a CONNECT wants to go: an address, or a host name to be looked up in the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authority {
    /// `a.b.c.d:port` or `[v6]:port`.
    Addr(SocketAddr),
    /// `host:port`.
    Host {
        /// Host name.
        host: Arc<str>,
        /// Port, never 0.
        port: u16,
    },
}

/// Why a text is no authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authority is not HOST:PORT")]
pub struct AuthorityFault;

impl Authority {
    /// Parses `a.b.c.d:port`, `[v6]:port` or `host:port`.
    pub fn parse(text: &str) -> Result<Self, AuthorityFault> {
        let (host, port) = text.rsplit_once(':').ok_or(AuthorityFault)?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AuthorityFault);
        }
        let port: u16 = port.parse().ok().filter(|p| *p != 0).ok_or(AuthorityFault)?;
        if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            let ip: Ipv6Addr = inner.parse().ok().ok_or(AuthorityFault)?;
            return Ok(Self::Addr((ip, port).into()));
        }
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            return Ok(Self::Addr((ip, port).into()));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if host.is_empty() || host.len() > 255 || !host.bytes().all(allowed) {
            return Err(AuthorityFault);
        }
        Ok(Self::Host { host: host.into(), port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => write!(f, "{addr}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel holds until we accept them.
const BACKLOG: u32 = 1_024;

/// Why nothing can be accepted on an address.
#[derive(Debug, thiserror::Error)]
pub enum ListenFault {
    /// Another process has it.
    #[error("cannot listen on {0}: address in use")]
    InUse(SocketAddr),
    /// A port below 1024 without the right to it, or the like.
    #[error("cannot listen on {0}: permission denied")]
    Denied(SocketAddr),
    /// No interface of this machine has it.
    #[error("cannot listen on {0}: this machine has no such address")]
    NotOurs(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// Listens on an address, which a process that ended a moment ago may still have had. Call it inside a tokio runtime.
pub fn listen(addr: SocketAddr) -> Result<TcpListener, ListenFault> {
    open(addr).map_err(|error| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "io::ErrorKind is open-ended; the rest is shown as it is")]
        match error.kind() {
            io::ErrorKind::AddrInUse => ListenFault::InUse(addr),
            io::ErrorKind::PermissionDenied => ListenFault::Denied(addr),
            io::ErrorKind::AddrNotAvailable => ListenFault::NotOurs(addr),
            _ => ListenFault::Other(addr, error),
        }
    })
}

fn open(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_address_is_named_as_such() {
        let first = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = first.local_addr().unwrap();
        let fault = listen(addr).unwrap_err();
        assert_eq!(fault.to_string(), format!("cannot listen on {addr}: address in use"));
    }

    #[tokio::test]
    async fn a_foreign_address_is_named_as_such() {
        let fault = listen("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(matches!(fault, ListenFault::NotOurs(_)), "{fault}");
    }
}

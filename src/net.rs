//! TCP: listening, dialling, socket options, and copying bytes both ways.
//!
//! Knows nothing of TLS, HTTP or policy. Every byte stream that crosses rooms is a [`BoxedIo`].

mod ahead;
pub mod copy;
mod dial;
mod gather;
mod listen;

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use ahead::Ahead;
pub use dial::{ConnectFault, dial_tcp};
pub use gather::{Gather, Outgoing, gather};
pub use listen::{ListenFault, listen};

/// A byte stream both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Any byte stream: TCP, TLS, a tunnel.
pub type BoxedIo = Box<dyn Io>;

/// Silence before the kernel probes a connection; a peer that vanished without a word is noticed after a few probes.
const KEEPALIVE_TIME: Duration = Duration::from_secs(180);
/// Between the kernel's probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// Sets what every connection of ours has: no Nagle delay, keepalive. A socket that refuses is used as it is.
pub fn tune(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    let set = stream.set_nodelay(true).and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = set {
        tracing::debug!(%error, "socket options not set");
    }
}

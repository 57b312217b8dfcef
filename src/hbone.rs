//! HBONE: HTTP/2 CONNECT over mutual TLS, as ztunnel speaks it, both ways.
//!
//! [`Server`] turns connections into [`Tunnel`]s, each handled in its own tracked task; [`Pool`] opens tunnels to
//! others over shared connections. A tunnel becomes a [`Stream`] of bytes with half-close and back-pressure. What is
//! said inside a tunnel is no concern of this room; nor is who may open one.

mod connection;
mod fault;
mod gauge;
mod keepalive;
mod observer;
mod pool;
mod relay;
mod server;
mod settings;
mod shares;
mod stream;
mod tunnel;
mod upstream;

pub use fault::DialFault;
pub use observer::{Closed, Observer, Shed};
pub use pool::Pool;
pub use relay::relay;
pub use server::Server;
pub use stream::Stream;
pub use tunnel::{ConnectHeaders, Refusal, Tunnel, TunnelFault};

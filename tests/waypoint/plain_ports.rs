//! Ports that nobody declared MCP or A2A, through a whole waypoint on loopback: plain HTTP, gRPC, TCP, WebSocket, TLS of
//! the client's own, and what hostile callers and hostile servers do with them.

mod desync;
mod framing;
mod hostile;
pub(crate) mod http;
mod server;
mod tcp;
mod tunnels;

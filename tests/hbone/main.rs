//! The mesh side over real sockets: handshakes, tunnels, pools, and where certificates come from.

mod pki;
mod tls_identity;
mod world;
mod server;
mod life;
mod clock;
mod pool;
mod sources;

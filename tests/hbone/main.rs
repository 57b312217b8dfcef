//! The mesh side over real sockets: handshakes, tunnels, pools, and where certificates come from.

// `cfg(test)` tells clippy that helpers may panic too.
#[cfg(test)]
mod pki;
#[cfg(test)]
mod tls_identity;
#[cfg(test)]
mod world;
#[cfg(test)]
mod server;
#[cfg(test)]
mod life;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod sources;

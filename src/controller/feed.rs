//! The feed: documents and keys for waypoints, by incremental xDS over the mesh's own mutual TLS.
//!
//! Who asks is who its certificate says, and it gets the documents of the Gateways whose pods run as it, no others; an
//! identity that is no waypoint's is refused. Every replica serves. A push is one consistent state of the cluster, whole
//! or as the difference to what the waypoint has; while one is not acknowledged, what changes gathers for the next. A
//! waypoint acknowledges what it has in force, and [`Acks`] remembers that for the status of policies. What is the same for many is
//! encoded, and for those who take gzip compressed, once; no stream has a copy.
//!
//! Until every kind is known nothing is said at all: documents without one kind's would be a mesh without those policies.

mod acks;
mod catalog;
mod codec;
mod encode;
mod packed;
mod server;
mod stream;

pub use acks::{Ack, Acks};
pub use catalog::{Catalog, Cataloguer, Scope, document_name};
pub use encode::Resource;
pub use server::Feed;

/// Resources as compiled from `proto/feed.proto`.
pub use crate::control::feed::wire;

#[cfg(test)]
mod tests;

//! Who and where, and what ztunnel enforces, from istiod: two types of resource on one stream, as ztunnel asks for them.
//!
//! A node of type `ztunnel` is served the whole mesh with full trust domains, versions and removals, and needs no feature
//! of istiod to be turned on. No other type is ever asked for on the stream.

mod authorizations;
mod decode;
mod keepers;
mod node;
mod policies;

pub use authorizations::Authorizations;
pub use keepers::{Addresses, Enforced, Policies};
pub use node::Myself;

use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use super::{Istiod, IstiodFault};
use crate::control::delta::{Client, Way};
use crate::mesh::world::Change;

/// The messages, as compiled from `proto/istio_workload.proto`.
#[expect(missing_docs, reason = "generated")]
pub mod workload {
    tonic::include_proto!("istio.workload");
}

/// The messages, as compiled from `proto/istio_authorization.proto`.
#[expect(missing_docs, reason = "generated")]
pub mod security {
    tonic::include_proto!("istio.security");
}

impl Way for Istiod {
    type Fault = IstiodFault;

    async fn open(&self) -> Result<(Channel, MetadataMap), IstiodFault> {
        // The token first: without one there is no use in a connection.
        let metadata = self.metadata().await?;
        Ok((self.channel().await?, metadata))
    }
}

/// A client that tells `changed` of every change of the mesh, and `enforced` of every change of what ztunnel enforces.
pub fn client(
    istiod: Istiod,
    myself: &Myself,
    changed: impl FnMut(Change) + Send + 'static,
    enforced: impl FnMut(Policies) + Send + 'static,
) -> Client<Istiod> {
    Client::new("istiod", istiod, myself.node())
        .keep(Box::new(Addresses::new(changed)))
        .keep(Box::new(Enforced::new(enforced)))
}

#[cfg(test)]
mod tests;

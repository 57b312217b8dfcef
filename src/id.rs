//! Who is on the other end: SPIFFE identities, and the one type that says an identity was proven.
//!
//! Input: URI text from certificates and documents. Output: [`WorkloadId`], [`TrustDomain`], [`Peer`], [`Claimed`].
//! This room does no I/O and knows no policy. Only `tls` may mint a [`Peer`].

mod claimed;
mod peer;
mod workload_id;

pub use claimed::Claimed;
pub use peer::Peer;
pub use workload_id::{IdFault, IstioId, TrustDomain, WorkloadId};

//! The way to istiod: TLS by its root, a token read anew for each call, and the certificate service.
//!
//! Nothing of istiod's is believed for its shape: what it sends is parsed before it is published.

mod ca;
mod channel;
mod life;
pub mod xds;

pub use ca::{CaFault, IstioCa};
pub use channel::{Istiod, IstiodFault, Roots};
pub use life::{CertificateLife, LifeFault};

/// istiod's certificate service, as compiled from `proto/ca.proto`.
#[expect(
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    reason = "generated"
)]
pub mod wire {
    tonic::include_proto!("istio.v1.auth");
}

#[cfg(test)]
mod tests;

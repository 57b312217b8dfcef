//! Mutual TLS of the mesh: who we are, whom we believe, and the handshakes.
//!
//! Takes connections and gives back proven identities: the only room that may mint an [`crate::id::Peer`]. TLS 1.3 with
//! ALPN `h2` and nothing else; every certificate is held against the roots of the trust domain that its one SPIFFE ID
//! names. Certificates come from `control::identity`, which publishes into [`Identity`]. No policy here, no HTTP.

mod accept;
mod bundle;
mod connect;
mod external;
mod fault;
mod identity;
mod leaf;
mod named;
mod provider;
mod svid;
mod verify;

pub use accept::{Accepted, PeerChain, accept};
pub use bundle::{BundleFault, Bundles};
pub use connect::{Connected, Expect, connect};
pub use external::{ExternalFault, ExternalRoots, ExternalTls, external_client};
pub use fault::{HandshakeFault, PeerFault};
pub(crate) use identity::Edition;
pub use identity::{Identity, IdentityFault};
pub use svid::{Svid, SvidFault};

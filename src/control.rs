//! Sources of documents and identity. They only publish: what they find goes to `mesh::Published` (by way of
//! [`assembly`], the one place that makes snapshots), `tls::Identity` and `seal::Sealer`, and nothing on the data path waits for them.

pub mod assembly;
mod backoff;
pub mod delta;
pub mod feed;
pub mod files;
pub mod identity;
pub mod istiod;
pub mod jwks;
pub mod sealing;

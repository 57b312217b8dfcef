//! Sources of documents and identity. They only publish: what they find goes to `mesh::Published` and `tls::Identity`,
//! and nothing on the data path waits for them.

pub mod files;
pub mod identity;
pub mod istiod;

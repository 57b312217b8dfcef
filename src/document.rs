//! Kubernetes-shaped documents: what users write. Types, strict loading with places, and problems that name the remedy.
//!
//! Input: YAML or JSON text. Output: typed documents and [`Problem`]s. Nothing here decides or routes; `policy` and
//! `mesh` turn these types into rules and targets.

pub mod agent_policy;
pub mod authorization_policy;
pub mod backend_tls_policy;
pub mod destination_rule;
pub mod extension_provider;
pub mod http_route;
pub mod mesh_config;
pub mod request_authentication;
pub mod service;
pub mod service_entry;
mod closure;
mod decode;
mod documents;
mod duration;
mod json;
mod kind;
mod metadata;
mod nearest;
mod problem;
mod reading;
mod target_refs;
mod tree;

pub(crate) use closure::SERVICE_NAME;
pub use closure::{ClosedRef, Closes, Closure};
pub use documents::{Documents, Input, Source, load, load_json};
pub(crate) use duration::duration;
pub(crate) use nearest::{nearest, within};
pub use problem::{FieldProblem, Meta, Place, Problem, Severity};
pub use reading::{Document, Origin, Reading, read, read_json};

#[cfg(test)]
mod tests;

//! Kubernetes-shaped documents: what users write. Types, strict loading with places, and problems that name the remedy.
//!
//! Input: YAML or JSON text. Output: typed documents and [`Problem`]s. Nothing here decides or routes; `policy` and
//! `mesh` turn these types into rules and targets.

pub mod agent_policy;
pub mod authorization_policy;
pub mod request_authentication;
mod decode;
mod kind;
mod nearest;
mod problem;
mod tree;

pub use problem::{FieldProblem, Meta, Place, Problem, Severity};

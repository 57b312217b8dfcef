//! agent-waypoint: a waypoint for Istio ambient meshes that authorizes every decoded call by proven identity.
//!
//! Modules stand bottom-up: each imports only those above it. `tests/house.rs` holds that.

pub mod id;
pub mod call;
pub mod fault;
pub mod config;
pub mod document;
pub mod wire;
pub mod policy;
pub mod mesh;
pub mod control;

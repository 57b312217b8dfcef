//! agent-waypoint: a waypoint for Istio ambient meshes that authorizes every decoded call by proven identity.
//!
//! Modules stand bottom-up: each imports only those above it. `tests/house.rs` holds that.

pub mod id;
pub mod call;
pub mod fault;
pub mod config;
pub mod seal;
pub mod wire;
pub mod document;
pub mod policy;
pub mod mesh;
pub mod telemetry;
pub mod tls;
pub mod net;
pub mod hbone;
pub mod intake;
pub mod upstream;
pub mod control;
pub mod proxy;
pub mod admin;
#[cfg(feature = "controller")]
pub mod controller;
pub mod client;
pub mod app;
#[cfg(feature = "demo")]
pub mod demo;
pub mod cli;

//! A client of incremental xDS: one aggregated stream, several types of resource, a [`Keeper`] for each.
//!
//! It knows neither who serves nor what the resources mean: a [`Way`] opens connections, keepers decode and keep. The good
//! resources of a push are applied even where others are bad; those are refused by name. What keepers hold outlives every
//! stream: nothing is forgotten because a server is away, and a new stream begins by saying what is still here.
//! (Envoy's xDS protocol, "Incremental xDS"; the first request of a type names nothing, which asks for everything.)

mod client;
mod keeper;
mod session;

pub use client::{Client, Link, Way};
pub use keeper::{Keeper, Push, Rejected, Resource};

/// The wire, as compiled from `proto/discovery.proto`.
#[expect(
    unused_qualifications,
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    reason = "generated"
)]
pub mod wire {
    tonic::include_proto!("envoy.service.discovery.v3");
}

#[cfg(test)]
mod tests;

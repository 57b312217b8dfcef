//! Who and where: one immutable [`Snapshot`] of every port that this waypoint fronts, with its rules and endpoints.
//!
//! Input: [`crate::document::Documents`]. Output: [`Snapshot`]s, published through [`Published`]. Building is pure: the
//! same documents give the same snapshot, whatever was in force before. No I/O, no clock, and no decision is made here.

mod attached;
mod build;
mod cache;
mod closed;
mod destination_rules;
mod endpoint;
mod external;
mod forbidden;
mod found;
mod fronted;
mod held;
mod led;
pub mod l4;
mod live;
mod policies;
mod protocol;
mod providers;
mod published;
mod route;
mod routes;
mod ruled;
mod service_entries;
mod services;
mod sharded;
mod snapshot;
mod target;
mod terms;
mod traffic;
mod undeclared;
mod workloads;
pub mod world;

pub use build::{Settings, build, build_with};
pub use cache::Cache;
pub use endpoint::{AltName, At, Endpoint, HBONE_PORT, Roots, Tls, Via};
pub use external::CONFLICTED;
pub use forbidden::{forbidden, readings};
pub use held::{Held, Hold};
pub use live::{Edition, Live};
pub use published::Published;
pub use route::{Auth, Backend, Retry, Routes, Taken, Then, Way};
pub use ruled::NO_EFFECT;
pub use service_entries::is_prefix;
pub use snapshot::{Counts, Snapshot};
pub use target::{PortProtocol, Target, TargetKey, TargetKind, TargetRevision};
pub use traffic::{Bounds, Choice, Outliers, Traffic, Trait};

//! Who and where, as istiod tells it: a row for each service and each workload of the mesh, whoever fronts it.
//!
//! Rows are parsed before they get here and are small: all of the mesh is kept, as istiod says once what is where and says
//! later only what changed. Which of it this waypoint fronts, and how that is reached, is asked row by row.

mod addressed;
mod few;
mod front;
mod holders;
mod intern;
mod near;
mod reach;
mod rows;
mod state;

pub use few::Few;
pub use holders::is_of_pod;
pub use intern::Interner;
pub use near::{Place, Preference, Scope};
pub use rows::{
    AppProtocol, Gateway, Member, PortPair, PortRow, Reach, Row, ServiceParts, ServiceRow, Vip, WorkloadParts,
    WorkloadRow,
};
pub use state::{Change, Here, World};

pub(super) use addressed::{Addressed, workload};
pub(super) use front::{Docs, Endpoints, endpoints, front};
pub(super) use holders::{Holder, Holders};
pub(super) use reach::Guard;
pub(super) use state::Dirty;

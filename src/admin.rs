//! What operators and probes see: readiness, metrics, and dumps of what is in force. Read-only, small and bounded.
//!
//! Three servers over HTTP/1.1: stats, ready (both for the pod's network) and admin (loopback only, no secrets, but who
//! may call whom stands in it). Nothing here changes anything, and none of it is in the path of a call.

mod dump;
mod pages;
mod readiness;
mod server;

pub use dump::{Certificate, Sources};
pub use pages::{Page, Pages, admin, live, ready, stats};
pub use readiness::{Condition, Readiness};
pub use server::{Hosts, serve};

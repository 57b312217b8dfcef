//! The guard: nobody reaches a fronted Service's pods except through its waypoint.
//!
//! A waypoint binds only what reaches it, and ambient routes around whatever is not announced. So for every Service that
//! one of our waypoints fronts, ztunnel at its pods is told, by an `AuthorizationPolicy` of action DENY, to take calls to
//! the Service's ports from the waypoints only. No ALLOW overrides a DENY.
//!
//! [`plan`] is pure: the mesh as it is ([`Mesh`]) goes in; what should be written, what may be removed, who is cut off by
//! it and which ways round are left ([`Plan`]) comes out. That a guard works is read from what istiod sends to ztunnel
//! ([`Sent`]), never from the object that was written: a policy that istiod did not translate, or that the pod does not
//! list, protects nothing.
//!
//! What the guard did not write it never touches.

mod condition;
mod cut_off;
mod enforced;
mod gap;
mod input;
mod keep;
mod members;
mod objects;
mod plan;
mod policy;
mod read;
#[cfg(test)]
mod tests;
mod verify;
mod watch;

pub use condition::{Condition, Status};
pub use cut_off::{CutOff, Kind};
pub use gap::{Gap, Reason};
pub use input::{
    Capture, ContainerPort, External, Found, GuardScope, Ingress, Mesh, Mode, Name, Pod, Sent, SentWorkload, Service,
    ServiceKind, ServicePort, TargetPort, Waypoint,
};
pub use keep::{Keep, remove};
pub use objects::{CUT_OFF_PREFIX, GUARDED, REACHABLE};
pub use plan::{Plan, Stage, Subject, plan};
pub use policy::{GuardPolicy, GuardRule, MANAGED_BY, MANAGER, NAME_PREFIX, SERVICES};
pub use read::{Due, OFF, SWITCH, SWITCH_KEY, is_whole, read};
pub use watch::watch;

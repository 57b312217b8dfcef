//! Documents and keys from the controller: a waypoint's end of the feed.
//!
//! Delta xDS over the mesh's own mutual TLS. Only `spiffe://<our trust domain>/ns/<controller's namespace>/sa/<its account>`
//! is believed; whoever else answers is told nothing. A push is one state of the cluster: it is handed to the assembly
//! whole, and acknowledged once it is in force, with a [`Report`] of what does not decide because its target is closed; when
//! that changes later, it is said again. What was received stays in force while the controller is away.

mod documents;
mod keys;
mod order;
mod report;
mod way;

use tokio::sync::watch;

pub use documents::{Documents, Tell};
pub use keys::{SealingKey, SealingKeys};
pub use order::{Edition, Order};
pub use report::{More, Report};
pub use way::{FeedAddress, FeedFault, FeedWay};

use super::assembly::Assembly;
use super::delta;
use crate::id::{IdFault, TrustDomain, WorkloadId};
use crate::tls::Identity;
use keys::KeyKeeper;

/// Type of documents.
pub const DOCUMENT: &str = "type.googleapis.com/agent_waypoint.feed.v1.Document";
/// Type of keys.
pub const KEY: &str = "type.googleapis.com/agent_waypoint.feed.v1.Key";
/// Where the feed is unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "agent-waypoint.agent-waypoint-system.svc:15018";
/// The controller's namespace unless told otherwise.
pub const NAMESPACE: &str = "agent-waypoint-system";
/// The controller's ServiceAccount.
pub const SERVICE_ACCOUNT: &str = "agent-waypoint";

/// Resources, as compiled from `proto/feed.proto`.
pub mod wire {
    tonic::include_proto!("agent_waypoint.feed.v1");
}

/// Who the controller is, unless told otherwise.
///
/// # Errors
/// None for a parsed trust domain.
pub fn default_controller(trust_domain: &TrustDomain) -> Result<WorkloadId, IdFault> {
    WorkloadId::of_istio(trust_domain, NAMESPACE, SERVICE_ACCOUNT)
}

/// A client of the feed, to be run; and the keys that it brings. `pod` is our own namespace and pod name, which tell
/// replicas of one waypoint apart.
pub fn client(
    address: FeedAddress,
    expected: WorkloadId,
    identity: Identity,
    assembly: Assembly,
    (pod, tell): ((&str, &str), Tell),
) -> (delta::Client<FeedWay>, watch::Receiver<Option<SealingKeys>>) {
    let (publish, keys) = watch::channel(None);
    let node = delta::wire::Node { id: format!("{}/{}", pod.0, pod.1), ..Default::default() };
    let way = FeedWay::new(address, expected, identity);
    let client = delta::Client::new("feed", way, node)
        .keep(Box::new(Documents::new(assembly, tell)))
        .keep(Box::new(KeyKeeper::new(publish)));
    (client, keys)
}

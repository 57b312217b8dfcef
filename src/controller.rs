//! The control plane in Kubernetes: it provisions waypoints, feeds them documents, and says in status what became of both.
//!
//! Planners are pure: a [`View`] of the cluster in, wanted objects and statuses out. Appliers write them, on the one
//! replica that leads. Nothing here is in the path of a call, and a waypoint that has its documents needs none of it.
//!
//! Rights that it uses, and no others (`manifests/` grants them):
//!
//! | where | group | resources | verbs |
//! |---|---|---|---|
//! | cluster | (core) | namespaces, services, pods, serviceaccounts | list, watch |
//! | cluster | (core) | services, serviceaccounts | create, patch |
//! | cluster | apps | deployments | list, watch, create, patch |
//! | cluster | policy | poddisruptionbudgets | create, patch |
//! | cluster | gateway.networking.k8s.io | gateways, gatewayclasses, httproutes, grpcroutes, tcproutes, backendtlspolicies, referencegrants | list, watch |
//! | cluster | gateway.networking.k8s.io | gatewayclasses | create, patch |
//! | cluster | gateway.networking.k8s.io | gateways/status, gatewayclasses/status | patch |
//! | cluster | security.istio.io | authorizationpolicies, requestauthentications | list, watch |
//! | cluster | networking.istio.io | serviceentries | list, watch |
//! | cluster | agent-waypoint.dev | agentpolicies | list, watch |
//! | cluster | (core) | configmaps, events | create, patch |
//! | cluster | (core) | services/status | patch |
//! | cluster | security.istio.io | authorizationpolicies | create, patch, delete |
//! | own namespace | (core) | configmaps | list, watch |
//! | own namespace | coordination.k8s.io | leases | get, create, update |

pub mod apply;
pub mod cluster;
pub mod condition;
pub mod guard;
pub mod lead;
pub mod provision;
mod settings;
#[cfg(test)]
pub(crate) mod fake;

use kube::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use cluster::{Cluster, View};
pub use settings::{ControllerFault, Settings};

use crate::admin;
use lead::Candidate;

/// Runs until `stop`.
///
/// # Errors
/// [`ControllerFault`], at start only: an address in use, no way to the API server.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), ControllerFault> {
    let ready = crate::net::listen(settings.ready_addr)?;
    let client = client().await?;
    let tasks = TaskTracker::new();
    let cluster = Cluster::watch(&client, &settings.namespace, &tasks, &stop);
    let (candidate, _leading) = Candidate::new(&client, &settings.namespace, &settings.replica);
    tasks.spawn(candidate.run(stop.clone()));
    let watched = cluster.clone();
    tasks.spawn(admin::serve(ready, admin::Hosts::Any, move |path| readiness(&watched, path), stop.clone()));
    tracing::info!(namespace = settings.namespace, replica = settings.replica, "controller runs");
    stop.cancelled().await;
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// A client of the API server, by `KUBECONFIG` or as the pod's ServiceAccount.
///
/// # Errors
/// Neither is there, or cannot be used.
pub async fn client() -> Result<Client, ControllerFault> {
    let config = kube::Config::infer().await.map_err(Box::new)?;
    Ok(Client::try_from(config).map_err(Box::new)?)
}

/// `/healthz/ready`: every kind is known; `/healthz/live`: as long as it is answered.
fn readiness(cluster: &Cluster, path: &str) -> admin::Page {
    if path != "/healthz/ready" {
        return admin::live(path);
    }
    let view = cluster.view();
    if view.is_whole() {
        return admin::Page::ready();
    }
    let lines = view.unknown().into_iter().map(|(kind, standing)| format!("{kind}: {standing:?}\n"));
    admin::Page::unready(lines.collect())
}

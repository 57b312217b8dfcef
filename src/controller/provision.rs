//! Waypoints for Gateways of class `agent-waypoint`: ServiceAccount, Deployment, Service and PodDisruptionBudget, all
//! owned by the Gateway, and the Gateway's status.
//!
//! `status.addresses` is set once a first pod is ready and never taken away while the Gateway lives: a mesh sends calls
//! past a waypoint that is not announced, so that no ready pod must mean refused calls, never direct ones. Objects of the
//! same name that we did not make are left alone, and the Gateway says so.

mod accounts;
mod class;
mod deployment;
mod objects;
mod params;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gateway_api::apis::standard::gateways::Gateway;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::apply::{Applier, Wanted};
use super::cluster::{Cluster, View, key};
use super::condition;
use super::events::Events;
use crate::id::WorkloadId;

pub use accounts::WAYPOINTS;
pub use class::{CLASS, CONTROLLER_NAME, is_ours};
pub use params::Params;

use params::ParamsFault;
pub(super) use status::is_ready;

/// Looked at again so often even where nothing changed.
const RESYNC: Duration = Duration::from_secs(30);
/// Kinds that must be known before anything is planned.
const NEEDED: [&str; 6] = ["Gateway", "GatewayClass", "Service", "Deployment", "ServiceAccount", "Pod"];

/// What every waypoint is made with.
#[derive(Debug, Clone)]
pub struct Template {
    /// The container image: this binary.
    pub image: String,
    /// istiod, `host:port`, for certificates and xDS.
    pub istiod: String,
    /// The feed, `host:port`.
    pub feed: String,
    /// Who the feed proves to be.
    pub controller: WorkloadId,
    /// Trust domain of the mesh.
    pub trust_domain: String,
    /// istiod's name for this cluster.
    pub cluster_id: String,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// Hosts from which keys of tokens may be fetched, as `--jwks-hosts` takes them; none: each Gateway's parameters say.
    pub jwks_hosts: Vec<String>,
}

/// Parameters of the Gateways that name some, by namespace and name of the Gateway.
pub type AllParams = BTreeMap<(String, String), Result<Params, ParamsFault>>;

/// Everything that is wanted, each with its live form.
pub fn plan(view: &View, template: &Template, params: &AllParams, now: &str) -> Vec<(Wanted, Option<Value>)> {
    let mut wanted = class::plan(view, now);
    for gateway in view.gateways.iter().filter(|gateway| is_ours(view, gateway)) {
        if gateway.metadata.deletion_timestamp.is_none() {
            wanted.extend(one(view, gateway, template, params, now));
        }
    }
    wanted
}

fn one(
    view: &View,
    gateway: &Gateway,
    template: &Template,
    params: &AllParams,
    now: &str,
) -> Vec<(Wanted, Option<Value>)> {
    let (namespace, name) = key(gateway);
    let params = params.get(&(namespace.to_owned(), name.to_owned())).cloned().unwrap_or_else(|| Ok(Params::default()));
    let fault = objects::fault(view, gateway, params.as_ref().err());
    let mut wanted = Vec::new();
    if let (None, Ok(params)) = (&fault, &params) {
        wanted.extend(objects::plan(view, gateway, template, params));
    }
    wanted.push(status::plan(view, gateway, fault.as_ref(), template, now));
    wanted
}

/// Plans and applies at every change until `stop`.
pub async fn keep(cluster: Cluster, client: Client, template: Template, mut applier: Applier, stop: CancellationToken) {
    let mut views = cluster.subscribe();
    let mut leading = applier.leading();
    let mut events = Events::new(client.clone(), applier.leading());
    let mut named = accounts::Named::default();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let mut again = RESYNC;
        if applier.is_leading() && NEEDED.iter().all(|kind| view.standing(kind).is_known()) {
            let params = params::fetch(&view, &client).await;
            let mut wanted = plan(&view, &template, &params, &condition::now());
            if named.hold_back(&mut wanted, &client).await {
                again = accounts::LOOK;
            }
            events.tell(&wanted).await;
            applier.apply(&wanted).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = views.changed() => if changed.is_err() { return },
            () = leading.changed() => {}
            () = tokio::time::sleep(again) => {}
        }
    }
}

/// The ConfigMaps of a namespace other than ours are read one by one, when a Gateway names one.
async fn config_map(client: &Client, namespace: &str, name: &str) -> Result<Option<ConfigMap>, kube::Error> {
    Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await
}

#[cfg(test)]
mod tests;

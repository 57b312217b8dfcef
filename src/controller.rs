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
//! | cluster | gateway.networking.k8s.io | gateways, gatewayclasses, httproutes, grpcroutes, tcproutes, tlsroutes, backendtlspolicies, referencegrants | list, watch |
//! | cluster | gateway.networking.k8s.io | gatewayclasses | create, patch |
//! | cluster | gateway.networking.k8s.io | gateways/status, gatewayclasses/status | patch |
//! | cluster | security.istio.io | authorizationpolicies, requestauthentications | list, watch |
//! | cluster | networking.istio.io | serviceentries, workloadentries, destinationrules | list, watch |
//! | cluster | agent-waypoint.dev | agentpolicies | list, watch |
//! | cluster | agent-waypoint.dev | agentpolicies/status | patch |
//! | cluster | gateway.networking.k8s.io | backendtlspolicies/status, httproutes/status, grpcroutes/status, tcproutes/status, tlsroutes/status | patch |
//! | cluster | security.istio.io | authorizationpolicies/status, requestauthentications/status | patch |
//! | cluster | networking.istio.io | serviceentries/status, destinationrules/status | patch |
//! | cluster | (core) | configmaps | get, create, patch |
//! | cluster | (core) | events | create |
//! | cluster | (core) | services/status | patch |
//! | cluster | security.istio.io | authorizationpolicies | create, patch, delete |
//! | cluster | admissionregistration.k8s.io | validatingwebhookconfigurations (`agent-waypoint`) | get, patch |
//! | own namespace | (core) | configmaps | get, list, watch, create, patch |
//! | own namespace | (core) | secrets | get, create, update |
//! | own namespace | coordination.k8s.io | leases | get, create, update |

mod admission;
pub mod apply;
pub mod cluster;
pub mod condition;
pub mod events;
pub mod feed;
pub mod guard;
pub mod keys;
pub mod lead;
pub mod provision;
pub mod scope;
pub mod shared;
pub mod standing;
pub mod status;
mod settings;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod fixture;

use std::net::Ipv4Addr;
use std::sync::Arc;

use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use cluster::{Cluster, MeshConfigOf, View};
pub use settings::{ControllerFault, IdentityFrom, Settings};

use crate::admin;
use crate::control::identity::FileSource;
use crate::control::istiod::IstioCa;
use crate::control::istiod::xds::Myself;
use crate::telemetry::Telemetry;
use crate::tls::Identity;
use apply::Applier;
use feed::Feed;
use guard::Sent;
use lead::{Candidate, Heard, Leading};

/// Runs until `stop`.
///
/// # Errors
/// [`ControllerFault`], at start only: an address in use, no way to the API server.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), ControllerFault> {
    let (ready, listener) = (crate::net::listen(settings.ready_addr)?, crate::net::listen(settings.feed_addr)?);
    let (webhook, stats) = (crate::net::listen(settings.webhook_addr)?, crate::net::listen(settings.stats_addr)?);
    let client = client().await?;
    let tasks = TaskTracker::new();
    let mesh = MeshConfigOf::istiod(&settings.template.istiod);
    let cluster = Cluster::watch(&client, (&settings.namespace, mesh), &tasks, &stop);
    let (candidate, leading) = Candidate::new(&client, &settings.namespace, &settings.replica);
    let (watched, heard) = (cluster.clone(), candidate.heard());
    let page = move |path: &str| readiness(&watched, &heard, path);
    tasks.spawn(admin::serve(ready, admin::Hosts::Any, page, stop.clone()));
    let telemetry = Telemetry::quiet();
    let page = admin::stats(telemetry.clone(), || {});
    tasks.spawn(admin::serve(stats, admin::Hosts::Any, page, stop.clone()));
    tasks.spawn(candidate.run(stop.clone()));
    let until = (tasks.clone(), stop.clone());
    tasks.spawn(admission::keep(client.clone(), settings.namespace.clone(), leading.clone(), webhook, until));
    let feed = start(&settings, (&client, &cluster, &leading), &tasks, &stop);
    let guard = guard::Keep {
        cluster,
        namespace: settings.namespace.clone(),
        trust_domain: settings.trust_domain.clone(),
        applier: Applier::new(client.clone(), leading),
        client,
        sent: enforced(&settings, &tasks, &stop),
        telemetry,
    };
    tasks.spawn(guard.run(stop.clone()));
    tracing::info!(namespace = settings.namespace, replica = settings.replica, "controller runs");
    match &settings.identity {
        Some(from) => serve_feed(feed, from, listener, (&tasks, &stop)).await?,
        None => {
            tracing::error!(
                "no identity: waypoints get no documents; name istiod's CA (--ca-address) or certificate files"
            );
            stop.cancelled().await;
        }
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Starts everything that follows the cluster.
fn start(
    settings: &Settings,
    (client, cluster, leading): (&Client, &Cluster, &Leading),
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Feed {
    let applier = || Applier::new(client.clone(), leading.clone());
    let replica = || (settings.namespace.clone(), settings.replica.clone());
    let (publish, keys) = watch::channel(None);
    tasks.spawn(keys::keep(client.clone(), settings.namespace.clone(), leading.clone(), publish, stop.clone()));
    let feed = Feed::new((cluster, &settings.namespace), keys, tasks, stop);
    let template = settings.template.clone();
    tasks.spawn(standing::keep(cluster.clone(), client.clone(), applier(), stop.clone()));
    tasks.spawn(provision::keep(cluster.clone(), client.clone(), template, applier(), stop.clone()));
    let followed = (cluster.clone(), client.clone(), feed.catalogs());
    tasks.spawn(status::keep(
        followed,
        feed.acks(),
        (replica(), settings.template.jwks_hosts.clone()),
        applier(),
        stop.clone(),
    ));
    tasks.spawn(status::relay(cluster.clone(), feed.acks(), client.clone(), replica(), stop.clone()));
    feed
}

/// What istiod sends to ztunnel, where we know the way to it.
fn enforced(settings: &Settings, tasks: &TaskTracker, stop: &CancellationToken) -> watch::Receiver<Option<Arc<Sent>>> {
    let Some(IdentityFrom::IstioCa { istiod, id, .. }) = &settings.identity else {
        tracing::warn!("istiod is not named (--ca-address): whether guards are in force cannot be verified");
        return watch::channel(None).1;
    };
    let account = id.istio().map(|istio| istio.service_account.to_string()).unwrap_or_default();
    let myself = Myself {
        // istiod wants one and serves all the same whichever it is.
        ip: Ipv4Addr::LOCALHOST.into(),
        pod: settings.replica.clone(),
        namespace: settings.namespace.clone(),
        service_account: account,
        cluster_id: settings.template.cluster_id.clone(),
        network: String::new(),
        cluster_domain: settings.template.cluster_domain.clone(),
    };
    guard::watch(istiod.clone(), &myself, tasks, stop)
}

/// Serves the feed once there is a certificate, and keeps that fresh.
async fn serve_feed(
    feed: Feed,
    from: &IdentityFrom,
    listener: TcpListener,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<(), ControllerFault> {
    let identity: Identity = match from {
        IdentityFrom::IstioCa { istiod, id, life } => {
            let (source, identity) = match IstioCa::open(istiod.clone(), id.clone(), *life, stop).await {
                // Asked to end before there was one: that is no failure.
                Err(_) if stop.is_cancelled() => return Ok(()),
                opened => opened?,
            };
            tasks.spawn(source.watch(identity.clone(), stop.clone()));
            identity
        }
        IdentityFrom::Files(paths) => {
            let (source, identity) = FileSource::open(paths.clone()).await?;
            tasks.spawn(source.watch(identity.clone(), stop.clone()));
            identity
        }
    };
    tracing::info!(id = %identity.id(), "the feed is served");
    feed.serve(identity, listener).await;
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

/// `/healthz/ready`: every kind is known, and the API server is there to say what changes; `/healthz/live`: as long as it is
/// answered.
fn readiness(cluster: &Cluster, heard: &Heard, path: &str) -> admin::Page {
    if path != "/healthz/ready" {
        return admin::live(path);
    }
    let view = cluster.view();
    if !view.is_whole() {
        let lines = view.unknown().into_iter().map(|(kind, standing)| format!("{kind}: {standing:?}\n"));
        return admin::Page::unready(lines.collect());
    }
    if heard.is_cut_off() {
        return admin::Page::unready("the API server does not answer: what is known may be old\n".to_owned());
    }
    admin::Page::ready()
}

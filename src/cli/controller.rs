//! `controller`: the control plane until it is asked to end.

use tokio_util::sync::CancellationToken;

use super::args::ControllerArgs;
use super::run::istiod;
use crate::control::feed::{NAMESPACE, SERVICE_ACCOUNT};
use crate::controller::provision::Template;
use crate::controller::{self, ControllerFault, IdentityFrom, Settings};
use crate::id::WorkloadId;

/// Runs until `stop`.
///
/// # Errors
/// [`ControllerFault`]
pub async fn run(args: ControllerArgs, stop: CancellationToken) -> Result<(), ControllerFault> {
    controller::run(settings(args)?, stop).await
}

fn settings(args: ControllerArgs) -> Result<Settings, ControllerFault> {
    let namespace = args.istiod.pod_namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned());
    let account = args.istiod.service_account.as_deref().unwrap_or(SERVICE_ACCOUNT);
    let id = WorkloadId::of_istio(&args.identity.trust_domain, &namespace, account)?;
    let feed = args.feed.map_or_else(|| format!("agent-waypoint.{namespace}.svc:15018"), |feed| feed.to_string());
    let identity = args.identity.paths().map(IdentityFrom::Files).or_else(|| {
        let life = args.istiod.secret_ttl;
        istiod(&args.istiod).map(|istiod| IdentityFrom::IstioCa { istiod, id: id.clone(), life })
    });
    Ok(Settings {
        template: Template {
            image: args.image,
            istiod: args.istiod_address,
            feed,
            controller: id,
            trust_domain: args.identity.trust_domain.to_string(),
            cluster_id: args.istiod.cluster_id.clone(),
            cluster_domain: args.cluster_domain,
            jwks_hosts: args.jwks_hosts,
        },
        namespace,
        replica: args.istiod.pod_name.unwrap_or_else(|| SERVICE_ACCOUNT.to_owned()),
        ready_addr: args.ready_addr,
        stats_addr: args.stats_addr,
        trust_domain: args.identity.trust_domain,
        feed_addr: args.feed_addr,
        webhook_addr: args.webhook_addr,
        identity,
    })
}

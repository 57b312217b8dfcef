use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::{IdentitySource, StartFault};
use crate::admin::{Condition, Readiness};
use crate::control::identity::{DEV_TTL, DevCa, FileSource, WorkloadApi};
use crate::control::istiod::IstioCa;
use crate::id::{IdFault, TrustDomain, WorkloadId};
use crate::tls::Identity;

/// How often the certificate's end is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Whom `run --dev` is.
const DEV_NAMESPACE: &str = "agent-waypoint";
const DEV_SERVICE_ACCOUNT: &str = "waypoint";

/// Opens the identity and keeps it fresh until `stop`.
pub(super) async fn open(
    from: &IdentitySource,
    trust_domain: &TrustDomain,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Identity, StartFault> {
    match from {
        IdentitySource::Dev { dir } => {
            let ca = DevCa::open(dir, trust_domain)?;
            let identity = ca.identity(&dev_identity(trust_domain)?, DEV_TTL)?;
            tasks.spawn(ca.keep_fresh(identity.clone(), DEV_TTL, stop.clone()));
            Ok(identity)
        }
        IdentitySource::Files(paths) => {
            let (source, identity) = FileSource::open(paths.clone()).await?;
            tasks.spawn(source.watch(identity.clone(), stop.clone()));
            Ok(identity)
        }
        IdentitySource::IstioCa { istiod, id, life } => {
            let (source, identity) = IstioCa::open(istiod.clone(), id.clone(), *life, stop).await?;
            tasks.spawn(source.watch(identity.clone(), stop.clone()));
            Ok(identity)
        }
        IdentitySource::WorkloadApi(endpoint) => {
            let (source, identity) = WorkloadApi::open(endpoint).await?;
            tasks.spawn(source.watch(identity.clone(), stop.clone()));
            Ok(identity)
        }
    }
}

/// Says whether our certificate is in force, until `stop`. Without one every handshake is refused, here and on the way
/// out, and whoever asks should know.
pub(super) async fn attest(identity: Identity, readiness: Readiness, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK);
    let mut in_force = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = !identity.expired();
        if now == in_force {
            continue;
        }
        in_force = now;
        if in_force {
            tracing::info!("own certificate is in force again");
            readiness.met(Condition::Identity);
        } else {
            tracing::error!("own certificate has ended: nothing is served until there is a new one");
            readiness.unmet(Condition::Identity, "own certificate has ended");
        }
    }
}

/// Whom a waypoint with an identity of the embedded CA is.
///
/// # Errors
/// None for a parsed trust domain.
pub fn dev_identity(trust_domain: &TrustDomain) -> Result<WorkloadId, IdFault> {
    WorkloadId::of_istio(trust_domain, DEV_NAMESPACE, DEV_SERVICE_ACCOUNT)
}

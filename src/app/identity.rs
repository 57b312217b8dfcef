use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::{IdentitySource, StartFault};
use crate::control::identity::{DEV_TTL, DevCa, FileSource, WorkloadApi};
use crate::control::istiod::IstioCa;
use crate::id::{IdFault, TrustDomain, WorkloadId};
use crate::tls::Identity;

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
        IdentitySource::IstioCa { istiod, id } => {
            let (source, identity) = IstioCa::open(istiod.clone(), id.clone(), stop).await?;
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

/// Whom a waypoint with an identity of the embedded CA is.
///
/// # Errors
/// None for a parsed trust domain.
pub fn dev_identity(trust_domain: &TrustDomain) -> Result<WorkloadId, IdFault> {
    WorkloadId::of_istio(trust_domain, DEV_NAMESPACE, DEV_SERVICE_ACCOUNT)
}

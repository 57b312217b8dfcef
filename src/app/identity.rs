use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::{IdentityFrom, StartFault};
use crate::control::identity::{DEV_TTL, DevCa, DevFault, FileSource, WorkloadApi};
use crate::id::{TrustDomain, WorkloadId};
use crate::tls::Identity;

/// Whom `run --dev` is.
const DEV_NAMESPACE: &str = "agent-waypoint";
const DEV_SERVICE_ACCOUNT: &str = "waypoint";

/// Opens the identity and keeps it fresh until `stop`.
pub(super) async fn open(
    from: &IdentityFrom,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Identity, StartFault> {
    match from {
        IdentityFrom::Dev { dir, trust_domain } => {
            let ca = DevCa::open(dir, trust_domain)?;
            let identity = ca.identity(&dev_id(trust_domain)?, DEV_TTL)?;
            tasks.spawn(ca.keep_fresh(identity.clone(), DEV_TTL, stop.clone()));
            Ok(identity)
        }
        IdentityFrom::Files(paths) => {
            let (source, identity) = FileSource::open(paths.clone()).await?;
            tasks.spawn(source.watch(identity.clone(), stop.clone()));
            Ok(identity)
        }
        IdentityFrom::WorkloadApi(endpoint) => {
            let (source, identity) = WorkloadApi::open(endpoint).await?;
            tasks.spawn(source.watch(identity.clone(), stop.clone()));
            Ok(identity)
        }
    }
}

fn dev_id(trust_domain: &TrustDomain) -> Result<WorkloadId, DevFault> {
    WorkloadId::of_istio(trust_domain, DEV_NAMESPACE, DEV_SERVICE_ACCOUNT).map_err(DevFault::from)
}

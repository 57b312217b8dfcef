//! What the replicas of one waypoint tell each other, and when a new one is ready.

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::Settings;
use crate::admin::{Condition, Readiness};
use crate::config::limits;
use crate::control::assembly::Assembly;
use crate::hbone;
use crate::proxy::Proxy;
use crate::tls::Identity;

/// Where replicas take HBONE that istiod tells of.
const HBONE_PORT: u16 = 15_008;

/// Links us with the other replicas, where there is anybody to say who they are.
pub(super) fn share(
    settings: &Settings,
    (proxy, identity, assembly): (&Proxy, &Identity, &Assembly),
    readiness: &Readiness,
    (data, tasks, stop): (&Runtime, &TaskTracker, &CancellationToken),
) {
    if settings.replicas.is_empty() && settings.mesh.is_none() {
        proxy.shares_with_nobody();
        readiness.met(Condition::Owners);
        return;
    }
    let port = if settings.hbone_addr.port() == 0 { HBONE_PORT } else { settings.hbone_addr.port() };
    let tunnels = hbone::Pool::new(identity.clone());
    let at = (settings.replicas.clone(), port);
    let (sharing, until) = (proxy.clone(), stop.clone());
    drop(data.spawn(async move { sharing.share_owners(tunnels, at, until).await }));
    let told = attest(proxy.clone(), assembly.clone(), readiness.clone(), settings.mesh.is_some());
    tasks.spawn(stop.clone().run_until_cancelled_owned(told));
}

/// Says that we know what the other replicas know, or that it took too long: a replica that is not told whose a task is
/// refuses it where that is enforced.
async fn attest(proxy: Proxy, assembly: Assembly, readiness: Readiness, in_mesh: bool) {
    let mut progress = assembly.progress();
    if in_mesh && progress.wait_for(|now| now.mesh).await.is_err() {
        return;
    }
    let mut knows = proxy.knows_owners();
    if tokio::time::timeout(limits::OWNERS_GRACE, knows.wait_for(|knows| *knows)).await.is_err() {
        tracing::warn!("not every other replica told whose tasks are whose; ready without");
    }
    readiness.met(Condition::Owners);
}

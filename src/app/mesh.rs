//! Who and where from istiod, and when the whole is ready.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::{InMesh, StartFault};
use crate::admin::{Condition, Readiness};
use crate::config::limits;
use crate::control::assembly::Assembly;
use crate::control::istiod::xds;
use crate::id::TrustDomain;
use crate::mesh::world::{Change, Here};
use crate::mesh::{self, Published};
use crate::policy::token::Keyring;

/// Starts what makes snapshots and, in a mesh, the stream from istiod.
pub(super) fn open(
    (in_mesh, keys): (Option<&InMesh>, Keyring),
    trust_domain: &TrustDomain,
    published: &Arc<Published>,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<Assembly, StartFault> {
    let trust_domain = trust_domain.clone();
    let Some(in_mesh) = in_mesh else {
        let assembling = mesh::Settings { trust_domain, gateway: None, keys };
        return Ok(Assembly::start(assembling, Arc::clone(published), stop.clone())?);
    };
    let InMesh { istiod, myself, gateway } = in_mesh;
    let gateway_name = Some((myself.namespace.clone(), gateway.clone()));
    let assembling = mesh::Settings { trust_domain, gateway: gateway_name, keys };
    let here = Here {
        namespace: myself.namespace.as_str().into(),
        gateway: gateway.as_str().into(),
        cluster_domain: myself.cluster_domain.as_str().into(),
        network: myself.network.as_str().into(),
        cluster: myself.cluster_id.as_str().into(),
        ips: [myself.ip].into(),
    };
    let assembly = Assembly::start_in_mesh(assembling, here, Arc::clone(published), stop.clone())?;
    let (told, enforced) = (assembly.clone(), assembly.clone());
    let changed = move |change| {
        told.world(change);
    };
    let enforced = move |policies| {
        enforced.world(Change { policies, enforced: true, ..Change::default() });
    };
    let client = xds::client(istiod.clone(), myself, changed, enforced);
    tasks.spawn(client.run(stop.clone()));
    Ok(assembly)
}

/// Says that the mesh and the documents are in force once they are. A pod that istiod's own template started is ended by
/// its startup probe where it is not ready in time: it becomes ready without documents, and refuses every call.
pub(super) async fn attest(assembly: Assembly, readiness: Readiness, dropped_in: bool, stop: CancellationToken) {
    let mut progress = assembly.progress();
    let late = tokio::time::sleep(limits::DOCUMENTS_GRACE);
    tokio::pin!(late);
    let mut waiting = dropped_in;
    loop {
        let now = *progress.borrow_and_update();
        if now.mesh {
            readiness.met(Condition::Mesh);
        }
        if now.documents {
            readiness.met(Condition::Documents);
        }
        if now.mesh && now.documents {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = progress.changed() => if changed.is_err() { return },
            () = &mut late, if waiting => {
                waiting = false;
                if !progress.borrow().documents {
                    tracing::error!(
                        "no documents came: ready, and every call is refused (NoDocuments). Is the agent-waypoint controller \
                         installed, and AGENT_WAYPOINT_FEED right?"
                    );
                    readiness.met(Condition::Documents);
                }
            }
        }
    }
}

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::IdentitySource;
use crate::cli::args::ConnectArgs;
use crate::cli::run::identity_from;
use crate::control::identity::{DEV_TTL, DevCa, FileSource, WorkloadApi, require_loopback};
use crate::id::WorkloadId;
use crate::tls::Identity;

/// The identity that the flags ask for, kept fresh until `stop`.
///
/// # Errors
/// It cannot be had, or is not the one that `--as` names.
pub async fn identity(args: &ConnectArgs, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<Identity> {
    let trust_domain = &args.identity.files.trust_domain;
    let wanted = match &args.caller {
        Some(caller) => Some(
            WorkloadId::of_istio(trust_domain, &caller.namespace, &caller.name)
                .with_context(|| format!("--as {}/{} is no identity", caller.namespace, caller.name))?,
        ),
        None => None,
    };
    let identity = match identity_from(args.identity.clone())? {
        IdentitySource::Dev { dir } => {
            require_loopback(args.waypoint)?;
            require_loopback(args.listen)?;
            let ca = DevCa::open(&dir, trust_domain)?;
            let id = wanted.clone().context("--as NAMESPACE/SERVICEACCOUNT says whom to call as")?;
            let identity = ca.identity(&id, DEV_TTL)?;
            tasks.spawn(ca.keep_fresh(identity.clone(), DEV_TTL, stop.clone()));
            identity
        }
        IdentitySource::Files(paths) => {
            let (source, identity) = FileSource::open(paths).await?;
            tasks.spawn(source.watch(identity.clone(), stop.clone()));
            identity
        }
        IdentitySource::IstioCa { .. } => bail!("in the mesh, ztunnel is the client's side; connect is for laptops"),
        IdentitySource::WorkloadApi(endpoint) => {
            let (source, identity) = WorkloadApi::open(&endpoint).await?;
            tasks.spawn(source.watch(identity.clone(), stop.clone()));
            identity
        }
    };
    match wanted {
        Some(id) if id != identity.id() => bail!("--as says {id}, and the certificate is for {}", identity.id()),
        Some(_) | None => Ok(identity),
    }
}

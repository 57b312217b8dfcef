//! `run`: the data plane until it is asked to end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::args::{IdentityArgs, IstiodArgs, MeshArgs, RunArgs};
use crate::app::{self, AccessLogTo, FeedFrom, IdentitySource, InMesh, Settings, StartFault};
use crate::config::limits;
use crate::control::feed;
use crate::control::identity::{DevFault, default_dir, require_loopback};
use crate::control::istiod::xds::Myself;
use crate::control::istiod::{Istiod, Roots};
use crate::id::{TrustDomain, WorkloadId};

/// Serves until SIGTERM or SIGINT; a second signal ends at once.
///
/// # Errors
/// [`StartFault`]
pub async fn run(args: RunArgs) -> Result<(), StartFault> {
    let linger = linger(&args);
    let settings = settings(args)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = tokio::select! {
        started = Box::pin(app::start(settings)) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tracing::info!(
        hbone = %running.hbone_addr(), stats = %running.stats_addr(), ready = %running.ready_addr(),
        admin = %running.admin_addr(), "serving"
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(?linger, "draining");
    let drained = async move {
        running.linger(linger).await;
        running.shutdown().await;
    };
    tokio::select! {
        () = drained => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// In a pod callers learn a little later than we do that it ends.
fn linger(args: &RunArgs) -> Duration {
    let in_pod = if args.config.is_some() { limits::LINGER } else { Duration::ZERO };
    args.linger_seconds.map_or(in_pod, Duration::from_secs)
}

fn settings(args: RunArgs) -> Result<Settings, StartFault> {
    // In a pod (istiod's template passes --config) probes and peers come from other hosts.
    let host = if args.config.is_some() { "[::]" } else { "127.0.0.1" };
    let at = |given: Option<SocketAddr>, port: u16| {
        let fallback = SocketAddr::from(([127, 0, 0, 1], port));
        given.unwrap_or_else(|| format!("{host}:{port}").parse().unwrap_or(fallback))
    };
    let hbone = at(args.hbone_addr, 15008);
    if args.identity.dev {
        require_loopback(hbone)?;
    }
    Ok(Settings {
        feed: feed(&args)?,
        jwks_hosts: args.jwks.jwks_hosts,
        jwks_roots: args.jwks.jwks_roots,
        files: args.files,
        state_dir: args.state_dir,
        replicas: args.replicas,
        mesh: in_mesh(&args.istiod, &args.mesh),
        dropped_in: args.dropped_in,
        trust_domain: args.identity.files.trust_domain.clone(),
        identity: match istio_ca(&args.istiod, &args.identity.files.trust_domain)? {
            Some(istio) => istio,
            None => identity_from(args.identity)?,
        },
        hbone_addr: hbone,
        stats_addr: at(args.stats_addr, 15020),
        ready_addr: at(args.ready_addr, 15021),
        admin_addr: args.admin_addr,
        drain: Duration::from_secs(args.drain_seconds),
        mcp_answer: Duration::from_secs(args.mcp_answer_seconds),
        sealing_key_file: args.sealing_key_file,
        tells_caller: args.xfcc_include_client_identity,
        access_log: AccessLogTo::Stdout,
        otlp_endpoint: std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty()),
    })
}

/// The controller's feed, where the flags name it, and in a pod that is given no files.
fn feed(args: &RunArgs) -> Result<Option<FeedFrom>, StartFault> {
    let in_pod = args.config.is_some() && args.files.is_empty();
    let default = || in_pod.then(|| feed::DEFAULT_ADDRESS.parse().ok()).flatten();
    let Some(address) = args.feed.clone().or_else(default) else { return Ok(None) };
    let controller = match &args.controller_id {
        Some(id) => id.clone(),
        None => feed::default_controller(&args.identity.files.trust_domain)?,
    };
    let namespace = args.istiod.pod_namespace.clone().unwrap_or_default();
    let pod = args.istiod.pod_name.clone().unwrap_or_default();
    Ok(Some(FeedFrom { address, controller, namespace, pod }))
}

/// istiod's CA, where the flags name it: we are the ServiceAccount whose token we present.
fn istio_ca(args: &IstiodArgs, trust_domain: &TrustDomain) -> Result<Option<IdentitySource>, StartFault> {
    let (Some(istiod), Some(namespace), Some(service_account)) =
        (istiod(args), &args.pod_namespace, &args.service_account)
    else {
        return Ok(None);
    };
    let id = WorkloadId::of_istio(trust_domain, namespace, service_account)?;
    Ok(Some(IdentitySource::IstioCa { istiod, id, life: args.secret_ttl }))
}

/// The way to istiod's CA, where the flags name one.
pub(super) fn istiod(args: &IstiodArgs) -> Option<Istiod> {
    Some(way(args, args.ca_address.as_ref()?, &args.ca_root_ca, args.alt_ca_hostname.clone()))
}

/// istiod's xDS, where the flags name it.
fn in_mesh(args: &IstiodArgs, mesh: &MeshArgs) -> Option<InMesh> {
    let istiod = way(args, mesh.xds_address.as_ref()?, &mesh.xds_root_ca, mesh.alt_xds_hostname.clone());
    let myself = Myself {
        ip: mesh.instance_ip?,
        pod: args.pod_name.clone()?,
        namespace: args.pod_namespace.clone()?,
        service_account: args.service_account.clone()?,
        cluster_id: args.cluster_id.clone(),
        network: mesh.network.clone(),
        cluster_domain: mesh.cluster_domain.clone(),
    };
    Some(InMesh { istiod, myself, gateway: mesh.gateway.clone()? })
}

fn way(args: &IstiodArgs, address: &str, root: &Path, server_name: Option<String>) -> Istiod {
    let roots = if root.as_os_str() == "SYSTEM" { Roots::System } else { Roots::File(root.to_owned()) };
    let (token, cluster_id) = (args.auth_token.clone(), args.cluster_id.clone());
    Istiod { address: address.to_owned(), roots, server_name, token, cluster_id }
}

/// Where the flags say an identity comes from; the embedded CA where they say nothing.
///
/// # Errors
/// No home directory for the embedded CA.
pub fn identity_from(args: IdentityArgs) -> Result<IdentitySource, DevFault> {
    if let Some(paths) = args.files.paths() {
        return Ok(IdentitySource::Files(paths));
    }
    match args.spiffe_endpoint {
        Some(endpoint) => Ok(IdentitySource::WorkloadApi(endpoint)),
        None => {
            let dir: PathBuf = default_dir()?;
            Ok(IdentitySource::Dev { dir })
        }
    }
}

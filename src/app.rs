//! Puts the rooms together; the only module that knows all of them.
//!
//! Two runtimes: control (files, certificates, admin, metrics) is the one that [`start`] is called on; data has one of
//! its own, over all cores, so that nothing on the control side can hold a call up.

mod documents;
mod identity;
mod jwks;
mod mesh;
mod observe;
mod replicas;
mod sealing;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use identity::dev_identity;
pub use settings::{AccessLogTo, FeedFrom, IdentitySource, InMesh, Settings, StartFault};

use crate::admin::{self, Condition, Readiness};
use crate::config::limits;
use crate::control::feed::SealingKeys;
use crate::hbone;
use crate::mesh::Published;
use crate::net;
use crate::proxy::Proxy;
use crate::telemetry::{AccessLog, Keyed, Metrics, Telemetry, Tracing};
use crate::upstream::Upstreams;
use crate::upstream::dns::{Dns, Forbids, Hickory};

/// Pages by path.
type Pages = Arc<dyn Fn(&str) -> admin::Page + Send + Sync>;

/// Time for queued log lines and spans to leave at the end.
const FLUSH: Duration = Duration::from_secs(2);
/// Time for upstream connections to close at the end.
const CLOSE: Duration = Duration::from_secs(1);

/// A waypoint that serves.
#[derive(Debug)]
pub struct Running {
    addresses: Addresses,
    stop: CancellationToken,
    drain: CancellationToken,
    serving: JoinHandle<()>,
    tasks: TaskTracker,
    _data: DataRuntime,
    telemetry: Telemetry,
    proxy: Proxy,
    upstreams: Upstreams,
    readiness: Readiness,
    keys: Option<documents::Keys>,
}

#[derive(Debug, Clone, Copy)]
struct Addresses {
    hbone: SocketAddr,
    stats: SocketAddr,
    ready: SocketAddr,
    admin: SocketAddr,
}

/// The data plane's threads. Given up without waiting when dropped, since that may happen on another runtime's thread.
#[derive(Debug)]
struct DataRuntime(Option<Runtime>);

impl Drop for DataRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Listeners, bound before anything else starts so that an address in use ends the start.
struct Listeners {
    hbone: TcpListener,
    stats: TcpListener,
    ready: TcpListener,
    admin: TcpListener,
}

/// Starts a waypoint.
///
/// # Errors
/// [`StartFault`]: what the command line names cannot be used. Nothing that stands inside documents is one.
pub async fn start(mut settings: Settings) -> Result<Running, StartFault> {
    let listeners = Listeners::bind(&settings)?;
    let addresses = listeners.addresses()?;
    let (stop, drain, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
    let readiness = Readiness::new();
    let access_log = std::mem::replace(&mut settings.access_log, AccessLogTo::Nowhere);
    let telemetry = telemetry(access_log, settings.otlp_endpoint.as_deref())?;
    let sealer = sealing::from_file(&settings, (&tasks, &stop))?;
    let identity = identity::open(&settings.identity, &settings.trust_domain, &tasks, &stop).await?;
    readiness.met(Condition::Identity);
    tasks.spawn(identity::attest(identity.clone(), readiness.clone(), stop.clone()));
    let published = Arc::new(Published::new());
    let keyring = jwks::start(&settings, &published, &telemetry, (&tasks, &stop))?;
    let assembly = mesh::open((settings.mesh.as_ref(), keyring), &settings.trust_domain, &published, (&tasks, &stop))?;
    let keys = documents::open(&settings, (&identity, &assembly), (&readiness, &telemetry), (&tasks, &stop))?;
    let sealer = sealer.map_or_else(|| sealing::from_feed(keys.as_ref(), (&tasks, &stop)), Ok)?;
    settings.mesh.is_none().then(|| readiness.met(Condition::Mesh));
    tasks.spawn(mesh::attest(assembly.clone(), readiness.clone(), settings.dropped_in, stop.clone()));
    let data = data_runtime()?;
    let (proxy, upstreams) = {
        let _within = data.enter();
        let upstreams = Upstreams::new(hbone::Pool::new(identity.clone()), dns(&published));
        let (shared, times) =
            ((identity.svid().id().clone(), sealer, settings.tells_caller), (drain.clone(), settings.mcp_answer));
        (Proxy::new(Arc::clone(&published), upstreams.clone(), telemetry.clone(), shared, times), upstreams)
    };
    settings.state_dir.as_deref().map(|directory| proxy.keep_owners(directory)).transpose()?;
    replicas::share(&settings, (&proxy, &identity, &assembly), &readiness, (&data, &tasks, &stop));
    let server = hbone::Server::new(identity.clone())
        .observed_by(Arc::new(observe::Counting::new(telemetry.clone())))
        .drain_deadline(settings.drain);
    let refresh =
        observe::Refresh { telemetry: telemetry.clone(), proxy: proxy.clone(), identity, assembly, published };
    let serving = data.spawn({
        let (proxy, drain) = (proxy.clone(), drain.clone());
        server.serve(
            listeners.hbone,
            move |tunnel| {
                let proxy = proxy.clone();
                async move { proxy.serve(tunnel).await }
            },
            drain,
        )
    });
    pages(&tasks, &stop, &readiness, refresh, (listeners.stats, listeners.ready, listeners.admin));
    readiness.met(Condition::Serving);
    Ok(Running {
        addresses,
        stop,
        drain,
        serving,
        tasks,
        _data: DataRuntime(Some(data)),
        telemetry,
        proxy,
        upstreams,
        readiness,
        keys,
    })
}

impl Running {
    /// Where HBONE is taken.
    pub fn hbone_addr(&self) -> SocketAddr {
        self.addresses.hbone
    }

    /// Where metrics are served.
    pub fn stats_addr(&self) -> SocketAddr {
        self.addresses.stats
    }

    /// Where readiness is served.
    pub fn ready_addr(&self) -> SocketAddr {
        self.addresses.ready
    }

    /// Where dumps are served.
    pub fn admin_addr(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// Keys that the replicas of this waypoint share, as the controller rotates them; `None` without a feed.
    pub fn sealing_keys(&self) -> Option<watch::Receiver<Option<SealingKeys>>> {
        self.keys.clone()
    }

    /// Says that it is not ready, and goes on as ever for as long as `time`: who balances load reads readiness, and everybody
    /// else learns of it some time after.
    pub async fn linger(&self, time: Duration) {
        self.readiness.unmet(Condition::Serving, "draining");
        tokio::time::sleep(time).await;
    }

    /// Drains – no new connections, GOAWAY, streams finish within the deadline – and ends.
    pub async fn shutdown(self) {
        self.readiness.unmet(Condition::Serving, "draining");
        self.drain.cancel();
        if self.serving.await.is_err() {
            tracing::error!("the data plane ended by a panic");
        }
        self.proxy.farewell().await;
        self.upstreams.close(CLOSE).await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.telemetry.flush(FLUSH).await;
    }
}

impl Listeners {
    fn bind(settings: &Settings) -> Result<Self, StartFault> {
        Ok(Self {
            hbone: net::listen(settings.hbone_addr)?,
            stats: net::listen(settings.stats_addr)?,
            ready: net::listen(settings.ready_addr)?,
            admin: net::listen(settings.admin_addr)?,
        })
    }

    fn addresses(&self) -> Result<Addresses, StartFault> {
        Ok(Addresses {
            hbone: self.hbone.local_addr()?,
            stats: self.stats.local_addr()?,
            ready: self.ready.local_addr()?,
            admin: self.admin.local_addr()?,
        })
    }
}

fn telemetry(access_log: AccessLogTo, otlp_endpoint: Option<&str>) -> Result<Telemetry, StartFault> {
    let log = match access_log {
        AccessLogTo::Stdout => AccessLog::start(std::io::stdout(), limits::ACCESS_LOG_QUEUE)?,
        AccessLogTo::Nowhere => AccessLog::discard(),
        AccessLogTo::Writer(out) => AccessLog::start(out, limits::ACCESS_LOG_QUEUE)?,
    };
    let tracing = otlp_endpoint.map(Tracing::start).transpose()?;
    Ok(Telemetry::new(Arc::new(Metrics::new()), log, tracing, Keyed::random()))
}

/// Names of services outside are looked up here; their answers may not point back into the mesh.
fn dns(published: &Arc<Published>) -> Dns {
    let published = Arc::clone(published);
    let in_mesh = move |address| published.current().is_mesh_address(address);
    Dns::new(Arc::new(Hickory::from_system()), Forbids::ByRange, Arc::new(in_mesh))
}

fn data_runtime() -> Result<Runtime, StartFault> {
    Ok(tokio::runtime::Builder::new_multi_thread().thread_name("data").enable_all().build()?)
}

fn pages(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    readiness: &Readiness,
    refresh: observe::Refresh,
    (stats, ready, admin): (TcpListener, TcpListener, TcpListener),
) {
    let sources = refresh.sources();
    let telemetry = refresh.telemetry.clone();
    let stats_pages = Arc::new(admin::stats(telemetry, move || refresh.gauges()));
    let ready_pages = Arc::new(admin::ready(readiness.clone()));
    let others: Vec<Pages> = vec![Arc::clone(&stats_pages) as Pages, Arc::clone(&ready_pages) as Pages];
    tasks.spawn(admin::serve(stats, admin::Hosts::Any, move |path: &str| stats_pages(path), stop.clone()));
    tasks.spawn(admin::serve(ready, admin::Hosts::Any, move |path: &str| ready_pages(path), stop.clone()));
    tasks.spawn(admin::serve(admin, admin::Hosts::Addresses, admin::admin(sources, others), stop.clone()));
}

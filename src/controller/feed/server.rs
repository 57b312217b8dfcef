use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::stream;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codegen::BoxFuture;
use tonic::server::Grpc;
use tonic::{Status, Streaming};

use super::super::keys::Keys;
use super::acks::Acks;
use super::catalog::{Catalog, Cataloguer};
use super::codec::{Frame, FrameCodec};
use super::stream::{Serving, Shared};
use crate::control::delta::wire::DeltaDiscoveryRequest;
use crate::controller::Cluster;
use crate::id::{IstioId, WorkloadId};
use crate::tls::{self, Identity};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 8_192;
/// First pushes at once: each is held whole for one connection until it is on its way.
const FIRST_PUSHES: usize = 64;
/// Streams of one connection; a waypoint opens one.
const STREAMS: u32 = 4;
/// One request of a client, bytes.
const MAX_REQUEST: usize = 64 << 20;
/// HTTP/2 pings, so that a silent loss is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The one method that is served.
const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// What the feed is served from. A cheap handle.
#[derive(Debug, Clone)]
pub struct Feed {
    shared: Shared,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Feed {
    /// Follows the cluster until `stop`.
    pub fn new(
        cluster: &Cluster,
        keys: watch::Receiver<Option<Keys>>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (publish, catalogs) = watch::channel(Arc::new(Catalog::default()));
        tasks.spawn(follow(cluster.clone(), publish, stop.clone()));
        let first_pushes = Arc::new(Semaphore::new(FIRST_PUSHES));
        let shared = Shared { catalogs, keys, acks: Acks::default(), first_pushes };
        Self { shared, tasks: tasks.clone(), stop: stop.clone() }
    }

    /// Takes connections as `identity` until `stop`.
    pub async fn serve(self, identity: Identity, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Some((tcp, addr, place)) => {
                    let connection = connection(self.clone(), identity.clone(), tcp, addr);
                    self.tasks.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                // Out of descriptors, most likely: give others time to close theirs.
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// What waypoints say that they have in force.
    pub fn acks(&self) -> Acks {
        self.shared.acks.clone()
    }

    /// The newest catalog, and each that follows.
    pub fn catalogs(&self) -> watch::Receiver<Arc<Catalog>> {
        self.shared.catalogs.clone()
    }
}

async fn follow(cluster: Cluster, publish: watch::Sender<Arc<Catalog>>, stop: CancellationToken) {
    let mut views = cluster.subscribe();
    let mut cataloguer = Cataloguer::default();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        publish.send_replace(Arc::new(cataloguer.catalog(&view)));
        tokio::select! {
            () = stop.cancelled() => return,
            changed = views.changed() => if changed.is_err() { return stop.cancelled().await },
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (tcp, addr) = listener.accept().await.ok()?;
    crate::net::tune(&tcp);
    Some((tcp, addr, place))
}

/// One connection, until it ends, its peer's certificate does, or the roots no longer vouch for it.
async fn connection(feed: Feed, identity: Identity, tcp: TcpStream, addr: SocketAddr) {
    let accepted = match tls::accept(&identity, tcp, addr).await {
        Ok(accepted) => accepted,
        Err(fault) => return tracing::info!(%addr, %fault, "feed: nobody was proven"),
    };
    let id = accepted.peer.id().clone();
    let service = {
        let method = Method { feed: feed.clone(), id: id.clone(), own: identity.id() };
        service_fn(move |request| {
            let method = method.clone();
            async move { Ok::<_, Infallible>(answer(method, request).await) }
        })
    };
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS)
        .serve_connection(TokioIo::new(accepted.stream), service);
    let life = accepted.not_after.duration_since(SystemTime::now()).unwrap_or_default();
    let why = tokio::select! {
        () = feed.stop.cancelled() => "the controller ends",
        () = tokio::time::sleep(life) => "a certificate has ended",
        () = identity.distrusts(&accepted.chain) => "its certificate is no longer trusted",
        served = serving => match served {
            Ok(()) => "closed",
            Err(_) => "lost",
        },
    };
    tracing::debug!(peer = %id, why, "feed: connection ended");
}

async fn answer(method: Method, request: Request<Incoming>) -> Response<tonic::body::Body> {
    if request.uri().path() != METHOD {
        return Status::unimplemented("this is the feed of agent-waypoint; it serves delta xDS only").into_http();
    }
    let mut grpc = Grpc::new(FrameCodec).max_decoding_message_size(MAX_REQUEST);
    grpc.streaming(method, request).await
}

/// The method, for one peer.
#[derive(Clone)]
struct Method {
    feed: Feed,
    id: WorkloadId,
    own: WorkloadId,
}

/// Responses as they are sent.
pub(super) type Frames = Pin<Box<dyn futures_core::Stream<Item = Result<Frame, Status>> + Send>>;

impl tonic::codegen::Service<tonic::Request<Streaming<DeltaDiscoveryRequest>>> for Method {
    type Response = tonic::Response<Frames>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        let opened = self.open(request.into_inner());
        Box::pin(async move { opened })
    }
}

impl Method {
    fn open(&self, requests: Streaming<DeltaDiscoveryRequest>) -> Result<tonic::Response<Frames>, Status> {
        let istio = self.admitted()?;
        let (responses, frames) = mpsc::channel(1);
        let serving = Serving::new(self.feed.shared.clone(), self.id.clone(), istio, responses);
        let stop = self.feed.stop.clone();
        self.feed.tasks.spawn(async move { stop.run_until_cancelled(serving.run(requests)).await });
        let frames = stream::unfold(frames, |mut frames| async move { Some((frames.recv().await?, frames)) });
        Ok(tonic::Response::new(Box::pin(frames)))
    }

    /// Refuses at once who can be no waypoint of this mesh; whether it is one is asked again with every push.
    fn admitted(&self) -> Result<IstioId, Status> {
        let istio = self.id.istio().filter(|_| self.id.trust_domain() == self.own.trust_domain());
        let Some(istio) = istio else {
            tracing::warn!(peer = %self.id, "feed: refused, not an identity of this mesh");
            return Err(Status::permission_denied(format!("{} is no identity of this mesh", self.id)));
        };
        let catalog = self.feed.shared.catalogs.borrow();
        if catalog.whole && catalog.gateways(&istio.namespace, &istio.service_account).is_empty() {
            tracing::warn!(peer = %self.id, "feed: refused, no Gateway's pods run as it");
            return Err(Status::permission_denied(format!("no Gateway's pods run as {}", self.id)));
        }
        Ok(istio.clone())
    }
}

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

use super::super::keys::Keys;
use super::acks::Acks;
use super::catalog::{Catalog, Cataloguer};
use super::codec::{self, Requests};
use super::stream::{Serving, Shared};
use crate::control::delta::wire::DeltaDiscoveryRequest;
use crate::controller::Cluster;
use crate::id::{IstioId, WorkloadId};
use crate::tls::{self, Identity};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 8_192;
/// Those of one identity: of the pods of one Gateway, or of whoever has no business here. More are closed at once, so that
/// nobody's take the places of all.
const CONNECTIONS_OF_ONE: usize = 1_024;
/// Streams of one connection; a waypoint opens one.
const STREAMS: u32 = 4;
/// One request of a client, bytes.
const MAX_REQUEST: usize = 64 << 20;
/// HTTP/2 pings, so that a silent loss is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Whoever is no waypoint's has so long to be told, so that others of the mesh cannot hold all places.
const TELLING: Duration = Duration::from_secs(5);
/// How gRPC says what messages are compressed with (gRPC over HTTP/2, "Message-Encoding").
const ENCODING: &str = "grpc-encoding";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const GZIP: &str = "gzip";
/// The one method that is served.
const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// What the feed is served from. A cheap handle.
#[derive(Debug, Clone)]
pub struct Feed {
    shared: Shared,
    connected: Connected,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Feed {
    /// Follows the cluster until `stop`; `namespace` is our own.
    pub fn new(
        (cluster, namespace): (&Cluster, &str),
        keys: watch::Receiver<Option<Keys>>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (publish, catalogs) = watch::channel(Arc::new(Catalog::default()));
        tasks.spawn(follow(cluster.clone(), namespace.to_owned(), publish, stop.clone()));
        let shared = Shared { catalogs, keys, acks: Acks::default() };
        Self { shared, connected: Connected::default(), tasks: tasks.clone(), stop: stop.clone() }
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

async fn follow(cluster: Cluster, namespace: String, publish: watch::Sender<Arc<Catalog>>, stop: CancellationToken) {
    let mut views = cluster.subscribe();
    let mut cataloguer = Cataloguer::new(&namespace);
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
    let Some(_seat) = feed.connected.seat(&id) else {
        return tracing::warn!(peer = %id, %addr, "feed: refused, its identity has {CONNECTIONS_OF_ONE} connections");
    };
    let method = Method { feed: feed.clone(), id: id.clone(), own: identity.id() };
    let mut life = accepted.not_after.duration_since(SystemTime::now()).unwrap_or_default();
    if method.admitted().is_err() {
        life = life.min(TELLING);
    }
    let service = {
        service_fn(move |request| {
            let response = answer(&method, request);
            async move { Ok::<_, Infallible>(response) }
        })
    };
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS)
        .serve_connection(TokioIo::new(accepted.stream), service);
    let why = tokio::select! {
        () = feed.stop.cancelled() => "the controller ends",
        () = tokio::time::sleep(life) => "its time is over",
        () = identity.distrusts(&accepted.chain) => "its certificate is no longer trusted",
        served = serving => match served {
            Ok(()) => "closed",
            Err(_) => "lost",
        },
    };
    tracing::debug!(peer = %id, why, "feed: connection ended");
}

/// Connections by the identity that was proven.
#[derive(Debug, Clone, Default)]
struct Connected(Arc<Mutex<HashMap<WorkloadId, usize>>>);

/// A connection of an identity, until it is dropped.
#[derive(Debug)]
struct Seat(Connected, WorkloadId);

impl Connected {
    /// One more of `id`; none where there are enough.
    fn seat(&self, id: &WorkloadId) -> Option<Seat> {
        let mut all = self.lock();
        let theirs = all.get(id).copied().unwrap_or_default();
        if theirs >= CONNECTIONS_OF_ONE {
            return None;
        }
        all.insert(id.clone(), theirs + 1);
        drop(all);
        Some(Seat(self.clone(), id.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkloadId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Self(connected, id) = self;
        let mut all = connected.lock();
        let left = all.get(id).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            all.remove(id);
        } else {
            all.insert(id.clone(), left);
        }
    }
}

fn answer(method: &Method, request: Request<Incoming>) -> Response<tonic::body::Body> {
    if request.uri().path() != METHOD {
        return Status::unimplemented("this is the feed of agent-waypoint; it serves delta xDS only").into_http();
    }
    let gzip = takes_gzip(request.headers());
    match method.open(Streaming::new_request(Requests, request.into_body(), None, Some(MAX_REQUEST)), gzip) {
        Ok(body) => {
            let mut response = Response::new(body);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            if gzip {
                // What messages may be; each says itself whether it is.
                response.headers_mut().insert(ENCODING, HeaderValue::from_static(GZIP));
            }
            response
        }
        Err(status) => status.into_http(),
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| one.trim() == GZIP)
}

/// The method, for one peer.
#[derive(Clone)]
struct Method {
    feed: Feed,
    id: WorkloadId,
    own: WorkloadId,
}

impl Method {
    fn open(&self, requests: Streaming<DeltaDiscoveryRequest>, gzip: bool) -> Result<tonic::body::Body, Status> {
        let istio = self.admitted()?;
        let (responses, frames) = mpsc::channel(1);
        let serving = Serving::new(self.feed.shared.clone(), self.id.clone(), istio, (responses, gzip));
        let stop = self.feed.stop.clone();
        self.feed.tasks.spawn(async move { stop.run_until_cancelled(serving.run(requests)).await });
        Ok(codec::body(frames))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_identity_has_some_of_the_places_and_gives_them_back() {
        let connected = Connected::default();
        let id = |name: &str| WorkloadId::parse(&format!("spiffe://cluster.local/ns/tools/sa/{name}")).unwrap();
        let mut seats: Vec<Seat> = (0..CONNECTIONS_OF_ONE).map(|_| connected.seat(&id("wp")).unwrap()).collect();
        assert!(connected.seat(&id("wp")).is_none());
        assert!(connected.seat(&id("other")).is_some(), "others have their own");
        seats.pop();
        assert!(connected.seat(&id("wp")).is_some());
        seats.clear();
        assert!(connected.lock().is_empty());
    }
}

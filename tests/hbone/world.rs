//! A server under test and a bare HTTP/2 client that speaks to it as anyone.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent_waypoint::hbone::{Closed, Observer, Refusal, Server, Shed, Stream, Tunnel};
use agent_waypoint::id::Peer;
use agent_waypoint::net;
use agent_waypoint::tls::{self, Expect, HandshakeFault, Identity};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::pki::td;

/// A running server.
pub(crate) struct World {
    pub(crate) addr: SocketAddr,
    pub(crate) drain: CancellationToken,
    pub(crate) seen: Arc<Seen>,
    pub(crate) serving: JoinHandle<()>,
}

/// What the observer was told.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    pub(crate) tunnels: AtomicUsize,
    pub(crate) abandoned: AtomicUsize,
    pub(crate) panicked: AtomicUsize,
    pub(crate) shed: AtomicUsize,
    pub(crate) closed: Mutex<Vec<Closed>>,
    pub(crate) refused: Mutex<Vec<u16>>,
    pub(crate) failed: Mutex<Vec<&'static str>>,
}

impl Observer for Seen {
    fn shed(&self, _: SocketAddr, _: Shed) {
        self.shed.fetch_add(1, Ordering::SeqCst);
    }

    fn handshake_failed(&self, _: SocketAddr, fault: &HandshakeFault) {
        use agent_waypoint::fault::Faulty;
        self.failed.lock().unwrap().push(fault.reason());
    }

    fn connection_opened(&self, _: &Peer) {
        self.connections.fetch_add(1, Ordering::SeqCst);
    }

    fn connection_closed(&self, _: &Peer, why: Closed) {
        self.closed.lock().unwrap().push(why);
    }

    fn tunnel_opened(&self, _: &Peer) {
        self.tunnels.fetch_add(1, Ordering::SeqCst);
    }

    fn refused(&self, _: &Peer, status: u16) {
        self.refused.lock().unwrap().push(status);
    }

    fn abandoned(&self, _: &Peer) {
        self.abandoned.fetch_add(1, Ordering::SeqCst);
    }

    fn panicked(&self, _: &Peer) {
        self.panicked.fetch_add(1, Ordering::SeqCst);
    }
}

impl Seen {
    pub(crate) fn closed(&self) -> Vec<Closed> {
        self.closed.lock().unwrap().clone()
    }
}

impl World {
    pub(crate) fn start<H, F>(identity: Identity, handler: H) -> Self
    where
        H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(identity, handler, |server| server)
    }

    pub(crate) fn start_with<H, F>(identity: Identity, handler: H, change: impl FnOnce(Server) -> Server) -> Self
    where
        H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let (drain, seen) = (CancellationToken::new(), Arc::new(Seen::default()));
        let observer: Arc<dyn Observer> = Arc::<Seen>::clone(&seen);
        let server = change(Server::new(identity).observed_by(observer));
        let serving = tokio::spawn(server.serve(listener, handler, drain.clone()));
        Self { addr, drain, seen, serving }
    }

    /// An HTTP/2 connection as `identity`.
    pub(crate) async fn dial(&self, identity: &Identity) -> Client {
        self.try_dial(identity).await.expect("a connection")
    }

    /// The same, unless the server closes it before it is one.
    pub(crate) async fn try_dial(&self, identity: &Identity) -> Option<Client> {
        let tcp = TcpStream::connect(self.addr).await.unwrap();
        net::tune(&tcp);
        let connected = tls::connect(identity, tcp, Expect::TrustDomain(td("cluster.local"))).await.ok()?;
        let (requests, connection) = h2::client::handshake(connected.stream).await.ok()?;
        let driving = tokio::spawn(async move { connection.await.map_err(|error| error.to_string()) });
        Some(Client { requests, driving })
    }
}

/// A bare HTTP/2 client.
pub(crate) struct Client {
    pub(crate) requests: SendRequest<Bytes>,
    pub(crate) driving: JoinHandle<Result<(), String>>,
}

impl Client {
    pub(crate) async fn send(&self, request: Request<()>) -> (Response<RecvStream>, SendStream<Bytes>) {
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (answer, send) = requests.send_request(request, false).unwrap();
        (answer.await.unwrap(), send)
    }

    pub(crate) async fn connect(&self, authority: &str) -> (Response<RecvStream>, SendStream<Bytes>) {
        self.send(connect(authority)).await
    }
}

pub(crate) fn connect(authority: &str) -> Request<()> {
    Request::builder().method(Method::CONNECT).uri(authority).body(()).unwrap()
}

/// The whole rest of what a stream says, with its windows released.
pub(crate) async fn read_all(recv: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(chunk) = recv.data().await {
        let chunk = chunk?;
        recv.flow_control().release_capacity(chunk.len())?;
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Answers 200 and sends back what it reads; says goodbye once the peer has.
pub(crate) async fn echo(tunnel: Tunnel) {
    let Ok(mut stream) = tunnel.accept() else { return };
    echo_bytes(&mut stream).await;
}

pub(crate) async fn echo_bytes(stream: &mut Stream) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
    if stream.write_all(b" bye").await.is_ok() {
        stream.shutdown().await.unwrap();
    }
}

pub(crate) async fn refuse(tunnel: Tunnel) {
    tunnel.refuse(Refusal::NotFound);
}

/// How long anything may take before a test fails: long, as tests share a machine that may be slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so, which must be soon.
pub(crate) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

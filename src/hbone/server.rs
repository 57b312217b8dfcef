use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Context};
use super::{Observer, Shed, Tunnel, settings};
use crate::config::limits::{DRAIN_DEADLINE, HANDSHAKE_TIMEOUT, MAX_CONNECTIONS, MAX_HANDSHAKES};
use crate::fault::Faulty;
use crate::net;
use crate::tls::{self, Accepted, HandshakeFault, Identity};

/// Pause after the kernel could not give us a connection (no file descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The waypoint's own port: accepts peers, proves them, and hands each CONNECT to a handler.
#[derive(Clone)]
pub struct Server {
    identity: Identity,
    observer: Arc<dyn Observer>,
    drain_deadline: Duration,
    max_connections: usize,
    max_handshakes: usize,
}

impl Server {
    /// A server with the limits of `config::limits` and no observer.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            observer: Arc::new(()),
            drain_deadline: DRAIN_DEADLINE,
            max_connections: MAX_CONNECTIONS,
            max_handshakes: MAX_HANDSHAKES,
        }
    }

    /// Tells `observer` what happens.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// How long streams may go on once draining began.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// How many connections and how many handshakes at once; more are closed at accept and reported as shed.
    #[must_use]
    pub fn at_most(mut self, connections: usize, handshakes: usize) -> Self {
        self.max_connections = connections;
        self.max_handshakes = handshakes;
        self
    }

    /// Serves until `drain` fires and what was open then has finished or met the drain deadline.
    ///
    /// `handler` runs as its own task per CONNECT stream. Its future is dropped when the peer resets the stream before
    /// it was answered, and when the connection ends for good.
    pub async fn serve<H, F>(self, listener: TcpListener, handler: H, drain: CancellationToken)
    where
        H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let connections = Arc::new(Semaphore::new(self.max_connections));
        let handshakes = Arc::new(Semaphore::new(self.max_handshakes));
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (tcp, addr) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&connections).try_acquire_owned() else {
                self.observer.shed(addr, Shed::Connections);
                continue;
            };
            let Ok(handshake) = Arc::clone(&handshakes).try_acquire_owned() else {
                self.observer.shed(addr, Shed::Handshakes);
                continue;
            };
            let (server, handler, drain) = (self.clone(), handler.clone(), drain.clone());
            tasks.spawn(async move {
                server.one(tcp, addr, handshake, handler, drain).await;
                drop(place);
            });
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }

    async fn one<H, F>(
        self,
        tcp: TcpStream,
        addr: SocketAddr,
        handshake: OwnedSemaphorePermit,
        handler: H,
        drain: CancellationToken,
    ) where
        H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        net::tune(&tcp);
        let accepted = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            accepted = Box::pin(tls::accept(&self.identity, tcp, addr)) => accepted,
        };
        let Accepted { stream, peer, chain, not_after } = match accepted {
            Ok(accepted) => accepted,
            Err(fault) => return self.failed(addr, &fault),
        };
        // TLS proved the peer, but until the HTTP/2 preface came this is still a handshake.
        let preface = timeout(HANDSHAKE_TIMEOUT, settings::server().handshake(stream));
        let h2 = match preface.await {
            Ok(Ok(h2)) => h2,
            Ok(Err(error)) => {
                let error = std::io::Error::other(error);
                return self.failed(addr, &HandshakeFault::Io(error));
            }
            Err(_) => return self.failed(addr, &HandshakeFault::Timeout),
        };
        drop(handshake);
        let context = Context {
            peer: Arc::new(peer),
            chain,
            not_after,
            identity: self.identity,
            observer: self.observer,
            drain,
            drain_deadline: self.drain_deadline,
        };
        connection::run(h2, context, handler).await;
    }

    fn failed(&self, addr: SocketAddr, fault: &HandshakeFault) {
        tracing::debug!(%addr, reason = fault.reason(), %fault, "handshake failed");
        self.observer.handshake_failed(addr, fault);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("identity", &self.identity).finish_non_exhaustive()
    }
}

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Context};
use super::shares::Shares;
use super::{Observer, Shed, Tunnel, settings};
use crate::config::limits::{
    DRAIN_DEADLINE, HANDSHAKE_TIMEOUT, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_PRINCIPAL, MAX_HANDSHAKES,
};
use crate::fault::Faulty;
use crate::id::Peer;
use crate::net::{self, Ahead, Gather, Outgoing};
use crate::tls::{self, Accepted, HandshakeFault, Identity, PeerChain};

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
    max_of_principal: usize,
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
            max_of_principal: MAX_CONNECTIONS_PER_PRINCIPAL,
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

    /// How many connections of one identity at once; more are closed once they are proven, and reported as shed.
    #[must_use]
    pub fn at_most_of_one(mut self, connections: usize) -> Self {
        self.max_of_principal = connections;
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
        let shares = Shares::new(self.max_of_principal);
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
            let places = (Arc::clone(&shares), place, handshake);
            tasks.spawn(self.clone().attend((tcp, addr), handler.clone(), drain.clone(), places));
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }

    /// One connection, from its handshake to its end. What is returned is kept for as long: no `async fn`, which would keep
    /// its arguments twice.
    fn attend<H, F>(
        self,
        (tcp, addr): (TcpStream, SocketAddr),
        handler: H,
        drain: CancellationToken,
        (shares, place, handshake): (Arc<Shares>, OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) -> impl Future<Output = ()> + Send
    where
        H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        net::tune(&tcp);
        async move {
            let proven = self.prove(tcp, addr, &drain).await;
            drop(handshake);
            if let Some(proven) = proven {
                match shares.take(proven.peer.id()) {
                    Some(_share) => self.carry(proven, handler, drain).await,
                    None => self.observer.shed(addr, Shed::PrincipalsConnections),
                }
            }
            drop(place);
        }
    }

    /// Serves one connection that was accepted elsewhere, to its end, without the limits on their number.
    pub async fn serve_io<IO, H, F>(self, io: IO, addr: SocketAddr, handler: H, drain: CancellationToken)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
        H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(proven) = self.prove(io, addr, &drain).await {
            self.carry(proven, handler, drain).await;
        }
    }

    async fn prove<IO>(&self, io: IO, addr: SocketAddr, drain: &CancellationToken) -> Option<Proven<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let proven = tokio::select! {
            biased;
            () = drain.cancelled() => return None,
            proven = Box::pin(handshake(&self.identity, io, addr)) => proven,
        };
        match proven {
            Ok(proven) => Some(proven),
            Err(fault) => {
                tracing::debug!(%addr, reason = fault.reason(), %fault, "handshake failed");
                self.observer.handshake_failed(addr, &fault);
                None
            }
        }
    }

    fn carry<IO, H, F>(self, proven: Proven<IO>, handler: H, drain: CancellationToken) -> impl Future<Output = ()>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
        H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let context = Context {
            peer: proven.peer,
            chain: proven.chain,
            not_after: proven.not_after,
            identity: self.identity,
            observer: self.observer,
            leaving: drain.child_token(),
            drain,
            drain_deadline: self.drain_deadline,
        };
        connection::run((proven.h2, proven.out), context, handler)
    }
}

/// TLS over a socket that is read ahead.
type Secured<IO> = TlsStream<Ahead<IO>>;

struct Proven<IO> {
    /// On the heap: each future that it is handed through would keep room for it, for as long as the connection is open.
    h2: Box<h2::server::Connection<Gather<Secured<IO>>, Bytes>>,
    out: Outgoing<Secured<IO>>,
    peer: Arc<Peer>,
    chain: PeerChain,
    not_after: SystemTime,
}

/// TLS, then the HTTP/2 preface: until that came, a proven peer too is only half connected.
async fn handshake<IO>(identity: &Identity, io: IO, addr: SocketAddr) -> Result<Proven<IO>, HandshakeFault>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let Accepted { stream, peer, chain, not_after } = tls::accept(identity, Ahead::new(io), addr).await?;
    let (stream, out) = net::gather(stream);
    match timeout(HANDSHAKE_TIMEOUT, settings::server().handshake(stream)).await {
        Ok(Ok(h2)) => Ok(Proven { h2: Box::new(h2), out, peer: Arc::new(peer), chain, not_after }),
        Ok(Err(error)) => Err(HandshakeFault::Io(std::io::Error::other(error))),
        Err(_) => Err(HandshakeFault::Timeout),
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_four<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    fn of_attending<H, F>(_: H) -> usize
    where
        H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        of_four::<Server, _, _, _, _>(|server, io, drain, places| {
            Server::attend::<H, F>(server, io, unasked(), drain, places)
        })
    }

    fn unasked<T>() -> T {
        panic!("only the type is asked for")
    }

    /// What is kept beside HTTP/2 and TLS, which are on the heap, and once.
    #[test]
    fn an_open_connection_keeps_a_small_future() {
        let bytes = of_attending(|_| async {});
        assert!(bytes <= 1_536, "{bytes} bytes");
    }
}

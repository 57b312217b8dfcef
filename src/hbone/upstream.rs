//! One connection to a destination, shared by up to `UPSTREAM_STREAMS` tunnels.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::client::{Connection, SendRequest};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gauge::{Gauge, Lease};
use super::settings::{self, jittered, leave_at, until};
use super::{DialFault, Stream, keepalive};
use crate::config::limits::{CONNECTION_MAX_AGE, DIAL_TIMEOUT, EXPIRY_GOAWAY_LEAD, POOL_IDLE, UPSTREAM_STREAMS};
use crate::net::{self, Ahead, Gather, Outgoing, dial_tcp};
use crate::tls::{self, Connected, Edition, Expect, Identity};

/// How often an unused connection looks at the time.
const IDLE_TICK: Duration = Duration::from_secs(5);

/// A connection that new tunnels may go out on.
#[derive(Debug)]
pub(super) struct Upstream {
    requests: SendRequest<Bytes>,
    gauge: Arc<Gauge>,
    edition: Edition,
    retire_at: Instant,
}

/// The right to open one tunnel on a connection.
#[derive(Debug)]
pub(super) struct Ticket {
    requests: SendRequest<Bytes>,
    lease: Lease,
    retire_at: Instant,
}

impl Upstream {
    /// Dials, proves the peer, and starts the task that drives the connection until it is unused or ends.
    pub(super) async fn dial(
        identity: &Identity,
        addr: SocketAddr,
        expect: Expect,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, DialFault> {
        let tcp = dial_tcp(addr, DIAL_TIMEOUT).await.map_err(DialFault::Connect)?;
        let connected = tls::connect(identity, Ahead::new(tcp), expect).await.map_err(DialFault::Handshake)?;
        let Connected { stream, chain, not_after, edition, .. } = connected;
        let (stream, out) = net::gather(stream);
        let (requests, connection) = settings::client().handshake(stream).await.map_err(DialFault::Http2)?;
        out.driven();
        let gauge = Arc::new(Gauge::default());
        let (now, left) = (Instant::now(), until(not_after));
        let retire_at = leave_at(now, left, EXPIRY_GOAWAY_LEAD, jittered(CONNECTION_MAX_AGE));
        let (held, stop, identity) = (Arc::clone(&gauge), stop.clone(), identity.clone());
        tasks.spawn(async move {
            // Each is looked at only once it has something to say: the task runs for every few frames.
            let mut ends = FuturesUnordered::<Pin<Box<dyn Future<Output = ()> + Send>>>::new();
            ends.push(Box::pin(async move { stop.cancelled().await }));
            ends.push(Box::pin(async move {
                identity.distrusts(&chain).await;
                tracing::info!(%addr, "connection ended: the destination's certificate is no longer trusted");
            }));
            tokio::select! {
                biased;
                _ = ends.next() => {}
                () = drive(connection, &out, &held, now + left, not_after) => {}
            }
            held.close();
        });
        Ok(Self { requests, gauge, edition, retire_at })
    }

    /// Whether new tunnels may go out on it: the connection is alive, the peer sent no GOAWAY, it is not too old, and it
    /// was made with the certificate and roots in force.
    pub(super) async fn is_usable(&mut self, edition: Edition) -> bool {
        if self.gauge.is_closed() || self.edition != edition || Instant::now() >= self.retire_at {
            return false;
        }
        let state = poll_fn(|cx| Poll::Ready(self.requests.poll_ready(cx))).await;
        !matches!(state, Poll::Ready(Err(_)))
    }

    /// Whether its task still runs.
    pub(super) fn is_open(&self) -> bool {
        !self.gauge.is_closed()
    }

    /// A place on it, if there is one.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        let most = self.requests.current_max_send_streams().min(UPSTREAM_STREAMS);
        let lease = self.gauge.lease(most)?;
        Some(Ticket { requests: self.requests.clone(), lease, retire_at: self.retire_at })
    }
}

impl Ticket {
    /// Sends the CONNECT and waits for its answer. Dropping the future resets the stream.
    pub(super) async fn open(self, authority: &str, headers: &HeaderMap) -> Result<Stream, DialFault> {
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = match Uri::builder().authority(authority).build() {
            Ok(uri) => uri,
            Err(_) => return Err(DialFault::BadAuthority),
        };
        *request.headers_mut() = headers.clone();
        let mut requests = self.requests.ready().await.map_err(DialFault::Http2)?;
        let (answer, send) = requests.send_request(request, false).map_err(DialFault::Http2)?;
        let answer = answer.await.map_err(DialFault::Http2)?;
        if answer.status() != StatusCode::OK {
            return Err(DialFault::Refused(answer.status()));
        }
        Ok(Stream::new(send, answer.into_body(), Some((self.lease, self.retire_at))))
    }
}

/// Drives a connection until it ends, its certificates do, or nobody has used it for a while.
async fn drive<IO>(
    mut connection: Connection<Gather<IO>, Bytes>,
    out: &Outgoing<IO>,
    gauge: &Gauge,
    end: Instant,
    not_after: SystemTime,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut keepalive = pin!(keepalive::watch(connection.ping_pong(), not_after));
    let mut end = pin!(sleep_until(end));
    let mut used_at = Instant::now();
    let mut ticks = interval_at(used_at + IDLE_TICK, IDLE_TICK);
    let mut uses = gauge.uses();
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            biased;
            () = &mut end => return,
            lost = &mut keepalive => {
                tracing::debug!(?lost, "upstream connection lost");
                return;
            }
            ended = poll_fn(|cx| out.poll_turn(cx, |cx| connection.as_mut().poll(cx))) => {
                match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "upstream connection broke"),
                    Err(error) => tracing::debug!(%error, "upstream connection broke"),
                }
                return;
            }
            _ = ticks.tick() => {
                if gauge.is_carrying() || gauge.uses() != uses {
                    (used_at, uses) = (Instant::now(), gauge.uses());
                } else if used_at.elapsed() >= POOL_IDLE && gauge.close_if_idle() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::config::limits::{PING_INTERVAL, PING_TIMEOUT};

    struct Line {
        gauge: Arc<Gauge>,
        _requests: SendRequest<Bytes>,
        driving: JoinHandle<()>,
    }

    /// A driven client connection to a server that `peer` drives.
    async fn line<F: Future<Output = ()> + Send + 'static>(
        peer: impl FnOnce(h2::server::Connection<tokio::io::DuplexStream, Bytes>) -> F,
    ) -> Line {
        let (near, far) = duplex(64 << 10);
        let (near, out) = net::gather(near);
        let (server, client) = tokio::join!(h2::server::handshake(far), settings::client().handshake(near));
        out.driven();
        let ((requests, connection), gauge) = (client.unwrap(), Arc::new(Gauge::default()));
        tokio::spawn(peer(server.unwrap()));
        let held = Arc::clone(&gauge);
        let day = Duration::from_secs(86_400);
        let driving = tokio::spawn(async move {
            drive(connection, &out, &held, Instant::now() + day, SystemTime::now() + day).await;
        });
        Line { gauge, _requests: requests, driving }
    }

    async fn alive(mut server: h2::server::Connection<tokio::io::DuplexStream, Bytes>) {
        while let Some(Ok(_)) = server.accept().await {}
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_connection_is_closed() {
        let line = line(alive).await;
        let begun = Instant::now();
        line.driving.await.unwrap();
        assert!(line.gauge.lease(1).is_none(), "no lease on a closed connection");
        let unused = begun.elapsed();
        assert!(unused >= POOL_IDLE && unused <= POOL_IDLE + 2 * IDLE_TICK, "{unused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_connection_stays() {
        let line = line(alive).await;
        let lease = line.gauge.lease(1).unwrap();
        tokio::time::sleep(10 * POOL_IDLE).await;
        assert!(!line.driving.is_finished());
        drop(lease);
        for _ in 0..10 {
            tokio::time::sleep(POOL_IDLE / 2).await;
            drop(line.gauge.lease(1).unwrap());
        }
        assert!(!line.driving.is_finished());
        line.driving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_given_up() {
        let line = line(|server| async move {
            std::future::pending::<()>().await;
            drop(server);
        })
        .await;
        let _lease = line.gauge.lease(1).unwrap();
        let begun = Instant::now();
        line.driving.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), (PING_INTERVAL + PING_TIMEOUT).as_secs());
    }
}

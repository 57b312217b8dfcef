//! One peer's connection: takes its streams, watches its health and its time, and sees it to its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::keepalive::{self, Lost};
use super::settings::{jittered, leave_at, until};
use super::tunnel::{Answer, refuse};
use super::{Closed, ConnectHeaders, Observer, Refusal, Tunnel};
use crate::config::limits::{CONNECTION_MAX_AGE, EXPIRY_GOAWAY_LEAD, MAX_STREAMS};
use crate::id::{Claimed, Peer};
use crate::net::{Gather, Outgoing};
use crate::tls::{Identity, PeerChain};
use crate::wire::authority::Authority;

/// Handlers that may still be ending beside the streams that count; a peer that opens and resets faster than handlers
/// can be dropped has its streams refused.
const MAX_TASKS: usize = 2 * MAX_STREAMS as usize;
/// What handlers get to finish once their connection is gone.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// What a GOAWAY gets to be sent when a connection is ended at once.
const LAST_FRAME: Duration = Duration::from_millis(100);

/// What a connection knows about itself.
pub(super) struct Context {
    pub(super) peer: Arc<Peer>,
    pub(super) chain: PeerChain,
    /// When it must end.
    pub(super) not_after: SystemTime,
    pub(super) identity: Identity,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) drain: CancellationToken,
    /// Cancelled when the peer is asked to reconnect, and by `drain`.
    pub(super) leaving: CancellationToken,
    pub(super) drain_deadline: Duration,
}

/// A connection, and what sends its frames.
pub(super) type Driven<IO> = (Box<Connection<Gather<IO>, Bytes>>, Outgoing<IO>);

/// Serves the connection to its end, and its handlers to theirs.
pub(super) async fn run<IO, H, F>((mut h2, out): Driven<IO>, context: Context, handler: H)
where
    IO: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    context.observer.connection_opened(&context.peer);
    let mut streams = JoinSet::new();
    out.driven();
    let why = drive((&mut h2, &out), &context, &mut streams, &handler).await;
    match why {
        Closed::Finished | Closed::Broken => drop(h2),
        Closed::PingTimeout | Closed::Expired | Closed::Distrusted | Closed::DrainDeadline => {
            h2.abrupt_shutdown(Reason::NO_ERROR);
            let farewell = poll_fn(|cx| h2.poll_closed(cx));
            if timeout(LAST_FRAME, farewell).await.is_err() {
                tracing::trace!("peer does not read, GOAWAY not delivered");
            }
            drop(h2);
            streams.abort_all();
        }
    }
    let finished = timeout(LAST_WORDS, async {
        while let Some(ended) = streams.join_next().await {
            note(&context, ended);
        }
    });
    if finished.await.is_err() {
        streams.shutdown().await;
    }
    context.observer.connection_closed(&context.peer, why);
}

async fn drive<IO, H, F>(
    (h2, out): (&mut Connection<Gather<IO>, Bytes>, &Outgoing<IO>),
    context: &Context,
    streams: &mut JoinSet<()>,
    handler: &H,
) -> Closed
where
    IO: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut signals = signals(context, h2);
    let (mut leaving, mut draining) = (false, false);
    loop {
        tokio::select! {
            biased;
            Some(signal) = signals.next() => match signal {
                Signal::End(why) => return why,
                Signal::Drain if draining => {}
                Signal::Drain => {
                    draining = true;
                    let deadline = context.drain_deadline;
                    signals.push(Box::pin(async move {
                        sleep(deadline).await;
                        Signal::End(Closed::DrainDeadline)
                    }));
                    if !leaving {
                        leaving = true;
                        h2.graceful_shutdown();
                    }
                }
                Signal::Leave if leaving => {}
                Signal::Leave => {
                    leaving = true;
                    h2.graceful_shutdown();
                    context.leaving.cancel();
                }
            },
            Some(ended) = streams.join_next(), if !streams.is_empty() => note(context, ended),
            accepted = poll_fn(|cx| out.poll_turn(cx, |cx| h2.poll_accept(cx))) => match accepted {
                Ok(Some(Ok((request, respond)))) if streams.len() < MAX_TASKS => {
                    take(request, respond, context, streams, handler);
                }
                Ok(Some(Ok((_, mut respond)))) => respond.send_reset(Reason::REFUSED_STREAM),
                Ok(Some(Err(error))) => {
                    tracing::debug!(peer = %context.peer.id(), %error, "connection broke");
                    return Closed::Broken;
                }
                Err(error) => {
                    tracing::debug!(peer = %context.peer.id(), %error, "connection broke");
                    return Closed::Broken;
                }
                Ok(None) => return Closed::Finished,
            },
        }
    }
}

/// What a connection is told from outside of HTTP/2.
#[derive(Debug)]
enum Signal {
    /// It ends.
    End(Closed),
    /// The process drains.
    Drain,
    /// Its peer is to reconnect.
    Leave,
}

type Signals<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Signal> + Send + 'a>>>;

/// All signals but the end of a drain. Each is looked at only once it has something to say: a connection's task runs for
/// every few frames.
fn signals<'a, IO>(context: &'a Context, h2: &mut Connection<Gather<IO>, Bytes>) -> Signals<'a>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (now, left) = (Instant::now(), until(context.not_after));
    let leave = leave_at(now, left, EXPIRY_GOAWAY_LEAD, jittered(CONNECTION_MAX_AGE));
    let keepalive = keepalive::watch(h2.ping_pong(), context.not_after);
    let signals = Signals::new();
    signals.push(Box::pin(async move {
        sleep_until(now + left).await;
        Signal::End(Closed::Expired)
    }));
    signals.push(Box::pin(async move {
        sleep_until(leave).await;
        Signal::Leave
    }));
    signals.push(Box::pin(async move {
        match keepalive.await {
            Lost::Ping => Signal::End(Closed::PingTimeout),
            Lost::Expired => Signal::End(Closed::Expired),
        }
    }));
    signals.push(Box::pin(async move {
        context.identity.distrusts(&context.chain).await;
        Signal::End(Closed::Distrusted)
    }));
    signals.push(Box::pin(async move {
        context.drain.cancelled().await;
        Signal::Drain
    }));
    signals
}

fn take<H, F>(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    context: &Context,
    streams: &mut JoinSet<()>,
    handler: &H,
) where
    H: Fn(Tunnel) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (head, recv) = request.into_parts();
    let refused = |respond, refusal: Refusal| {
        context.observer.refused(&context.peer, refusal.status().as_u16());
        refuse(respond, refusal);
    };
    // An extended CONNECT (RFC 8441) asks for a protocol of its own, which is not offered here.
    if head.method != Method::CONNECT || head.extensions.get::<h2::ext::Protocol>().is_some() {
        return refused(respond, Refusal::NotConnect);
    }
    let authority = head.uri.authority().map(|authority| Authority::parse(authority.as_str()));
    let Some(Ok(authority)) = authority else { return refused(respond, Refusal::BadAuthority) };
    let answer = Answer::new(respond);
    let tunnel = Tunnel {
        peer: Arc::clone(&context.peer),
        authority,
        leaving: context.leaving.clone(),
        claimed: Claimed::new(ConnectHeaders::read(&head.headers)),
        answer: Arc::clone(&answer),
        recv,
        observer: Arc::clone(&context.observer),
    };
    let (handled, peer, observer) = (handler(tunnel), Arc::clone(&context.peer), Arc::clone(&context.observer));
    streams.spawn(async move {
        tokio::select! {
            biased;
            () = answer.abandoned() => observer.abandoned(&peer),
            () = handled => {}
        }
    });
}

fn note(context: &Context, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(peer = %context.peer.id(), "a stream's handler panicked");
        context.observer.panicked(&context.peer);
    }
}

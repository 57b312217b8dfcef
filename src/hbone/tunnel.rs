use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Response, StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::{Observer, Stream};
use crate::id::{Claimed, Peer};
use crate::wire::authority::Authority;

/// A CONNECT from a proven peer that waits for its answer. Dropping it unanswered resets the stream.
pub struct Tunnel {
    /// Who asks.
    pub peer: Arc<Peer>,
    /// Where to.
    pub authority: Authority,
    /// What the request's headers say about the caller and its destination: for display, never for a decision.
    pub claimed: Claimed<ConnectHeaders>,
    /// Cancelled when the tunnel should come to its end: the server drains, or its connection is old or nears the end of
    /// a certificate, when it is cut off. Whoever speaks a protocol inside can end between two requests.
    pub leaving: CancellationToken,
    pub(super) answer: Arc<Answer>,
    pub(super) recv: RecvStream,
    pub(super) observer: Arc<dyn Observer>,
}

/// What ztunnel writes beside a CONNECT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectHeaders {
    /// The workload that the peer says it is (`baggage`).
    pub baggage: Option<Box<str>>,
    /// The client and service it says this is about (`forwarded`).
    pub forwarded: Option<Box<str>>,
    /// The connection's trace (`traceparent`), not the application's.
    pub traceparent: Option<Box<str>>,
}

/// Why a stream is no tunnel. The texts go to the peer and hold nothing of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The authority is not `ip:port`, `[v6]:port` or `host:port`.
    BadAuthority,
    /// Refused by policy (TCP ports only; HTTP is answered inside the tunnel).
    Forbidden,
    /// Unknown, or not ours to serve: the two are not told apart.
    NotFound,
    /// Not a plain CONNECT.
    NotConnect,
    /// At a limit, draining, or without an endpoint.
    Unavailable,
}

/// A tunnel could not be opened any more: the peer or the connection has gone.
#[derive(Debug, thiserror::Error)]
#[error("peer has gone before the tunnel was answered")]
pub struct TunnelFault;

/// The right to answer a stream. Shared between whoever answers and the watch for the peer's reset; taken once.
pub(super) struct Answer(Mutex<Option<SendResponse<Bytes>>>);

impl Tunnel {
    /// Answers 200: from here on it is bytes.
    pub fn accept(self) -> Result<Stream, TunnelFault> {
        let mut respond = self.answer.take().ok_or(TunnelFault)?;
        match respond.send_response(Response::new(()), false) {
            Ok(send) => {
                self.observer.tunnel_opened(&self.peer);
                Ok(Stream::new(send, self.recv, None))
            }
            Err(_) => Err(TunnelFault),
        }
    }

    /// Answers with a refusal and its short text.
    pub fn refuse(self, refusal: Refusal) {
        self.observer.refused(&self.peer, refusal.status().as_u16());
        if let Some(respond) = self.answer.take() {
            refuse(respond, refusal);
        }
    }
}

/// Answers a stream with a refusal. A peer that has gone misses nothing.
pub(super) fn refuse(mut respond: SendResponse<Bytes>, refusal: Refusal) {
    let text = refusal.text();
    let mut response = Response::new(());
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    headers.insert(header::CONTENT_LENGTH, text.len().into());
    if refusal == Refusal::NotConnect {
        headers.insert(header::ALLOW, header::HeaderValue::from_static("CONNECT"));
    }
    let sent = respond
        .send_response(response, false)
        .and_then(|mut body| body.send_data(Bytes::from_static(text.as_bytes()), true));
    if let Err(error) = sent {
        tracing::trace!(%error, "refusal not delivered");
    }
}

impl Refusal {
    /// The HTTP status on the CONNECT.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadAuthority => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotConnect => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::BadAuthority => "authority must be IP:PORT or HOST:PORT\n",
            Self::Forbidden => "refused by policy\n",
            Self::NotFound => "no such destination here\n",
            Self::NotConnect => "only CONNECT is served here\n",
            Self::Unavailable => "no upstream available\n",
        }
    }
}

impl ConnectHeaders {
    /// Reads the claims; a value that is repeated or no visible ASCII is left out.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let one = |name: &str| {
            let mut values = headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (Some(value), None) => value.to_str().ok().map(Box::from),
                (Some(_) | None, _) => None,
            }
        };
        Self { baggage: one("baggage"), forwarded: one("forwarded"), traceparent: one("traceparent") }
    }
}

impl Answer {
    pub(super) fn new(respond: SendResponse<Bytes>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(respond))))
    }

    fn take(&self) -> Option<SendResponse<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Resolves when the peer resets the stream before it was answered; never once it was.
    pub(super) async fn abandoned(&self) {
        std::future::poll_fn(|cx| {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match held.as_mut() {
                Some(respond) => respond.poll_reset(cx).map(drop),
                None => Poll::Pending,
            }
        })
        .await;
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("peer", self.peer.id())
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

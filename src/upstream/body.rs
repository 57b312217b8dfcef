use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio_util::sync::DropGuard;

use super::http1::Reading;
use super::live::Busy;
use super::pool::Lease;
use crate::fault::{Blame, Faulty, Retry, Stage};

/// The body of a request that goes out.
pub struct OutBody(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Stream(UnsyncBoxBody<Bytes, Stopped>),
}

/// The sender gave up in the middle; the request is cut off so that the server sees that it is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request body ended early")]
pub struct Stopped;

impl OutBody {
    /// No body.
    pub fn empty() -> Self {
        Self(Kind::Whole(None))
    }

    /// All of it, `Content-Length` known.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(Kind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// All of it, where it is there.
    pub(super) fn whole(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Whole(bytes) => bytes.as_ref(),
            Kind::Stream(_) => None,
        }
    }

    /// Frame by frame. An exact size hint becomes `Content-Length`; otherwise the body is chunked.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: fmt::Display,
    {
        let body = body.map_err(|error| {
            tracing::debug!(%error, "request body ended early");
            Stopped
        });
        Self(Kind::Stream(body.boxed_unsync()))
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for OutBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutBody({:?})", self.size_hint())
    }
}

/// The body of a response, as it comes. Dropping it before its end closes the connection (HTTP/1.1) or resets the
/// stream (HTTP/2), so that the server learns that nobody listens.
#[derive(Debug)]
pub struct InBody {
    from: In,
    /// Until the end.
    busy: Option<Busy>,
}

#[derive(Debug)]
enum In {
    /// On the heap: it is handed on a few times before it is read.
    Http1(Box<Reading>),
    /// With the end of the request's upload.
    Http2(Incoming, Option<(Option<Lease>, DropGuard)>),
}

/// The response ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upstream ended in the middle of its response")]
pub struct BodyBroken;

impl Faulty for BodyBroken {
    fn blame(&self) -> Blame {
        Blame::Upstream
    }

    fn retry(&self) -> Retry {
        Retry::Unsafe
    }

    fn stage(&self) -> Stage {
        Stage::Forward
    }

    fn reason(&self) -> &'static str {
        "upstream_body"
    }
}

impl InBody {
    pub(super) fn http1(reading: Reading) -> Self {
        Self { from: In::Http1(Box::new(reading)), busy: None }
    }

    /// Of a request whose upload, where there is any left of it, ends with `uploading`.
    pub(super) fn http2(incoming: Incoming, lease: Option<Lease>, uploading: DropGuard) -> Self {
        Self { from: In::Http2(incoming, Some((lease, uploading))), busy: None }
    }

    /// The same, as a call to an endpoint that lasts to its end.
    pub(super) fn of(self, busy: Busy) -> Self {
        Self { busy: Some(busy), ..self }
    }
}

impl Body for InBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let polled = match &mut self.from {
            In::Http1(reading) => reading.poll_frame(cx),
            In::Http2(incoming, kept) => {
                let polled = Pin::new(incoming).poll_frame(cx);
                if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
                    *kept = None;
                }
                polled.map_err(|error| {
                    tracing::debug!(%error, "response body broke off");
                    BodyBroken
                })
            }
        };
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.busy = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            In::Http1(reading) => reading.is_end_stream(),
            In::Http2(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            In::Http1(reading) => reading.size_hint(),
            In::Http2(incoming, _) => incoming.size_hint(),
        }
    }
}

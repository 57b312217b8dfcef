//! Bodies of requests: streamed, pulled by whoever reads them, never held here.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};

use super::answer::ResponseBody;
use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::wire::http1::DecodeFault;

/// Why a body ended before its end. Also what the body of an answer may end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Not decodable.
    #[error("malformed body: {0}")]
    Malformed(#[from] DecodeFault),
    /// The caller stopped sending in the middle.
    #[error("the body ended early")]
    Truncated,
    /// The caller's connection failed.
    #[error("the connection failed: {0}")]
    Connection(io::ErrorKind),
    /// The caller reset the HTTP/2 stream.
    #[error("the stream was reset")]
    Reset,
    /// Asked for after its request was answered and the rest of it dropped.
    #[error("the exchange is over")]
    Over,
    /// For handlers: more bytes than a limit allows.
    #[error("the body is too large")]
    TooLarge,
    /// For handlers: it took too long.
    #[error("the body took too long")]
    Timeout,
    /// For bodies of answers: the upstream failed in the middle.
    #[error("the upstream failed")]
    Upstream,
    /// For bodies of answers: it has another length than it said.
    #[error("the answer has another length than it said")]
    Length,
    /// For bodies of answers: it was decided to end it.
    #[error("the answer was ended")]
    Ended,
}

impl Faulty for BodyFault {
    fn blame(&self) -> Blame {
        match self {
            Self::Upstream | Self::Length => Blame::Upstream,
            Self::Over => Blame::Waypoint,
            Self::Ended => Blame::Policy,
            Self::Malformed(_)
            | Self::Truncated
            | Self::Connection(_)
            | Self::Reset
            | Self::TooLarge
            | Self::Timeout => Blame::Caller,
        }
    }

    fn retry(&self) -> Retry {
        Retry::Unsafe
    }

    fn stage(&self) -> Stage {
        if matches!(self, Self::Upstream | Self::Length | Self::Ended) { Stage::Forward } else { Stage::Read }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(fault) => fault.reason(),
            Self::Truncated => "body_truncated",
            Self::Connection(_) => "body_connection",
            Self::Reset => "body_reset",
            Self::Over => "body_over",
            Self::TooLarge => "body_too_large",
            Self::Timeout => "body_timeout",
            Self::Upstream => "upstream_body",
            Self::Length => "answer_length",
            Self::Ended => "answer_ended",
        }
    }
}

/// The body of a request. Frames are at most `limits::MAX_FRAME` bytes; there are no trailers.
pub struct Body(ResponseBody);

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self(Empty::new().map_err(|never| match never {}).boxed_unsync())
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync())
    }

    /// Whatever `body` brings.
    pub fn stream(body: impl HttpBody<Data = Bytes, Error = BodyFault> + Send + 'static) -> Self {
        Self(body.boxed_unsync())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&self.0.size_hint()).finish()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

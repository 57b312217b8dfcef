//! The body of an answer, read as it is asked for.

use std::fmt;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Frame, SizeHint};

use super::super::Upstreams;
use super::super::body::{BodyBroken, InBody};
use super::super::pool::Key;
use super::One;
use super::exchange::Answered;
use super::head::Framing;
use super::upload::{Cut, Upload};
use crate::wire::http1::{self, BodyDecoder, Piece};

/// Where a connection goes whose answer was read to its end.
pub(in super::super) struct Home {
    pub(in super::super) upstreams: Upstreams,
    pub(in super::super) key: Key,
}

/// A body under way. Dropping it before its end closes the connection.
pub(in super::super) struct Reading {
    /// Until the end.
    under_way: Option<UnderWay>,
    decoder: Decoder,
}

struct UnderWay {
    one: One,
    upload: Option<Upload>,
    /// Absent where the connection may not be used again.
    home: Option<Home>,
}

enum Decoder {
    Framed(BodyDecoder),
    UntilClose,
}

impl Answered {
    /// The answer with its body to be read; the connection goes `home` after that.
    pub(in super::super) fn read(self, home: Option<Home>) -> Response<InBody> {
        let Self { one, head, upload } = self;
        let decoder = match head.framing {
            Framing::Length(0) => Decoder::Framed(BodyDecoder::new(http1::Framing::None)),
            Framing::Length(length) => Decoder::Framed(BodyDecoder::new(http1::Framing::Length(length))),
            Framing::Chunked => Decoder::Framed(BodyDecoder::new(http1::Framing::Chunked)),
            Framing::Close => Decoder::UntilClose,
        };
        let under_way = UnderWay { one, upload, home: home.filter(|_| head.persists) };
        let mut reading = Reading { under_way: Some(under_way), decoder };
        if head.framing == Framing::Length(0) {
            reading.finish();
        }
        let mut response = Response::new(InBody::http1(reading));
        (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
        response
    }

    /// The fields of a head behind which no more HTTP follows, and the connection.
    pub(in super::super) fn switch(self) -> (HeaderMap, One) {
        (self.head.headers, self.one)
    }

    pub(in super::super) fn status(&self) -> StatusCode {
        self.head.status
    }
}

impl Reading {
    /// The whole body was read. What came beyond it is nobody's, and a request that is not out yet is cut off: the server
    /// has answered it.
    fn finish(&mut self) {
        if let Some(UnderWay { one, upload: None, home: Some(home) }) = self.under_way.take()
            && one.buffer.is_empty()
        {
            home.upstreams.inner.pool.put_one(&home.key, one);
        }
    }

    fn broken(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        self.under_way = None;
        Poll::Ready(Some(Err(BodyBroken)))
    }

    pub(in super::super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        loop {
            let Some(UnderWay { one, upload, home }) = &mut self.under_way else { return Poll::Ready(None) };
            if let Some(rest) = upload {
                match rest.poll_send(cx, &mut one.io) {
                    Poll::Ready(Ok(())) => *upload = None,
                    Poll::Ready(Err(Cut::Body)) => return self.broken(),
                    Poll::Ready(Err(Cut::Stream(_))) => (*upload, *home) = (None, None),
                    Poll::Pending => {}
                }
            }
            let piece = match &mut self.decoder {
                Decoder::Framed(decoder) => decoder.decode(&mut one.buffer),
                Decoder::UntilClose if one.buffer.is_empty() => Ok(Piece::More),
                Decoder::UntilClose => Ok(Piece::Data(one.buffer.split().freeze())),
            };
            match piece {
                Ok(Piece::Data(data)) => {
                    if self.left() == Some(0) {
                        self.finish();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Piece::End) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Ok(Piece::More) => match ready!(one.poll_fill(cx)) {
                    Ok(1..) => {}
                    Ok(0) if matches!(self.decoder, Decoder::UntilClose) => {
                        self.under_way = None;
                        return Poll::Ready(None);
                    }
                    Ok(0) | Err(_) => return self.broken(),
                },
                Err(fault) => {
                    tracing::debug!(%fault, "response body cannot be read");
                    return self.broken();
                }
            }
        }
    }

    fn left(&self) -> Option<u64> {
        match &self.decoder {
            Decoder::Framed(decoder) => decoder.remaining(),
            Decoder::UntilClose => None,
        }
    }

    pub(in super::super) fn is_end_stream(&self) -> bool {
        self.under_way.is_none()
    }

    pub(in super::super) fn size_hint(&self) -> SizeHint {
        let left = if self.under_way.is_none() { Some(0) } else { self.left() };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("left", &self.left()).finish_non_exhaustive()
    }
}

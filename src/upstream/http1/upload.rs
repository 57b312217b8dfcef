//! The request on its way: head and body, framed, as the stream takes them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::super::body::OutBody;
use super::head;
use crate::net::BoxedIo;
use crate::wire::http1::{frame_chunk, last_chunk};

/// A part of a body that is at least as long is written from where it is, bytes; shorter ones go out with what is before
/// them.
const LONG: usize = 16 << 10;

/// A request that is not out yet.
#[derive(Debug)]
pub(super) struct Upload {
    out: BytesMut,
    /// A part of the body, after what is in `out`.
    part: Bytes,
    body: Option<OutBody>,
    framing: Framing,
    /// Whether the stream took a byte.
    pub(super) begun: bool,
    flushed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
}

/// Why a request did not go out whole.
#[derive(Debug)]
pub(super) enum Cut {
    /// Its body ended with an error, or is not as long as it said.
    Body,
    /// The stream failed.
    Stream(io::Error),
}

impl Upload {
    /// Writes the head; nothing goes out yet, and `request` is as it was: its body is given with [`Upload::with`].
    pub(super) fn new(request: &Request<OutBody>) -> Self {
        let mut out = BytesMut::with_capacity(1 << 10);
        head::write(&mut out, request);
        let body = request.body();
        let framing = match body.size_hint().exact() {
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        match framing {
            Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
            Framing::Length(0) => {}
            Framing::Length(length) if !request.headers().contains_key(CONTENT_LENGTH) => {
                out.put_slice(format!("content-length: {length}\r\n").as_bytes());
            }
            Framing::Length(_) => {}
        }
        out.put_slice(b"\r\n");
        let mut this = Self { out, part: Bytes::new(), body: None, framing, begun: false, flushed: false };
        if let Some(whole) = body.whole() {
            this.framing = Framing::Length(0);
            this.put(whole.clone());
        }
        this
    }

    /// The body that is still to be asked for, where it is not whole.
    pub(super) fn with(&mut self, body: OutBody) {
        if body.whole().is_none() && !body.is_end_stream() {
            self.body = Some(body);
        }
    }

    fn put(&mut self, part: Bytes) {
        if part.len() < LONG { self.out.put_slice(&part) } else { self.part = part }
    }

    /// Sends what there is; ready once everything is out.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, io: &mut BoxedIo) -> Poll<Result<(), Cut>> {
        loop {
            ready!(self.poll_write(cx, io)).map_err(Cut::Stream)?;
            let Some(body) = &mut self.body else { break };
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.frame(data)?;
                    }
                }
                Poll::Ready(Some(Err(_stopped))) => return Poll::Ready(Err(Cut::Body)),
                Poll::Ready(None) => {
                    self.body = None;
                    match self.framing {
                        Framing::Length(0) => {}
                        Framing::Length(_) => return Poll::Ready(Err(Cut::Body)),
                        Framing::Chunked => last_chunk(&mut self.out),
                    }
                }
                Poll::Pending => {
                    ready!(self.poll_flush(cx, io)).map_err(Cut::Stream)?;
                    return Poll::Pending;
                }
            }
        }
        self.poll_flush(cx, io).map_err(Cut::Stream)
    }

    fn frame(&mut self, data: Bytes) -> Result<(), Cut> {
        match &mut self.framing {
            _ if data.is_empty() => {}
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Cut::Body)?;
                self.put(data);
            }
            Framing::Chunked => {
                frame_chunk(&mut self.out, data.len());
                // Chunks are copied, as their end comes after them; they are of the size of a frame at most.
                self.out.put_slice(&data);
                self.out.put_slice(b"\r\n");
            }
        }
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, io: &mut BoxedIo) -> Poll<io::Result<()>> {
        loop {
            let front = if self.out.has_remaining() { self.out.chunk() } else { self.part.chunk() };
            if front.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let written = ready!(Pin::new(&mut *io).poll_write(cx, front))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if self.out.has_remaining() {
                self.out.advance(written)
            } else {
                self.part.advance(written)
            }
            self.begun = true;
            self.flushed = false;
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, io: &mut BoxedIo) -> Poll<io::Result<()>> {
        if !self.flushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

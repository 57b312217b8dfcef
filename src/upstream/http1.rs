//! HTTP/1.1 from the client's side, driven by whoever waits for the answer: a call has no task beside its own, no channel
//! and no wake-up on its way to the stream and back.
//!
//! Input: a request in origin form and a byte stream. Output: the head of the answer, and its body as it is read. What is
//! no answer to this request – bytes that came before it was sent, more than was framed – ends the connection.

mod exchange;
mod head;
mod reading;
mod upload;

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(super) use exchange::exchange;
pub(super) use reading::{Home, Reading};

use crate::config::limits::READ_CHUNK;
use crate::net::BoxedIo;

/// A connection for one request at a time.
pub(super) struct One {
    io: BoxedIo,
    /// Received and not taken apart yet.
    buffer: BytesMut,
    /// From when on no new request should go out on it.
    pub(super) retire_at: Instant,
    /// Requests that were answered on it.
    pub(super) served: u32,
    /// Counts as long as it is open.
    _open: TaskTrackerToken,
}

impl One {
    pub(super) fn new(io: BoxedIo, retire_at: Instant, open: TaskTrackerToken) -> Self {
        Self { io, buffer: BytesMut::new(), retire_at, served: 0, _open: open }
    }

    /// Whether an idle connection has neither ended nor said anything that nobody asked for; if so, `cx` is woken when
    /// that changes.
    pub(super) fn poll_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        self.buffer.is_empty() && self.poll_fill(cx).is_pending()
    }

    /// The stream, and what was read of it.
    pub(super) fn into_parts(self) -> (BoxedIo, BytesMut) {
        (self.io, self.buffer)
    }

    /// Reads once to the end of the buffer; 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // By way of the stack: an idle connection holds no buffer, and one that got little holds little.
        let mut chunk = [MaybeUninit::uninit(); READ_CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut chunk))?;
        self.buffer.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    }
}

impl fmt::Debug for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("One").field("buffered", &self.buffer.len()).finish_non_exhaustive()
    }
}

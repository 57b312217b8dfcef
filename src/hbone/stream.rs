use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::gauge::Lease;

/// Bytes taken from a writer at once.
const MAX_CHUNK: usize = 64 << 10;

/// The bytes of one tunnel, both ways.
///
/// Shutting down sends END_STREAM and leaves reading open; an end of the peer's direction reads as end of file. A reset
/// by the peer is an error of kind `ConnectionReset`, except NO_ERROR, which RFC 9113 (8.1) gives to a peer that has
/// said all and wants no more. The peer may send as much as was read here, and no more than a window ahead. Dropping a
/// stream that was not shut down resets it (CANCEL).
pub struct Stream {
    reading: Reading,
    writing: Writing,
    outbound: Option<(Lease, Instant)>,
}

/// The peer's bytes.
pub(super) struct Reading {
    recv: RecvStream,
    /// Received and not yet read.
    chunk: Bytes,
}

/// Bytes to the peer. Dropping it before it was shut down resets the stream.
pub(super) struct Writing {
    send: SendStream<Bytes>,
    state: Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Open,
    Shut,
}

impl Stream {
    pub(super) fn new(send: SendStream<Bytes>, recv: RecvStream, outbound: Option<(Lease, Instant)>) -> Self {
        let reading = Reading { recv, chunk: Bytes::new() };
        Self { reading, writing: Writing { send, state: Write::Open }, outbound }
    }

    /// From when on nothing new should be begun in a tunnel that we opened: its connection is old, or a certificate of it
    /// nears the end, when the connection is cut off.
    pub fn retire_at(&self) -> Option<Instant> {
        self.outbound.as_ref().map(|(_lease, retire_at)| *retire_at)
    }

    /// The next bytes as they came, without a copy; `None` at the end. Call [`Stream::release`] once they were used up.
    pub async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        self.reading.recv().await
    }

    /// Lets the peer send `n` more bytes.
    pub fn release(&mut self, n: usize) -> io::Result<()> {
        self.reading.release(n)
    }

    /// Writes without a copy, as the peer makes room.
    pub async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.writing.send(bytes).await
    }

    /// Both directions, to be borrowed apart.
    pub(super) fn directions(&mut self) -> (&mut Reading, &mut Writing) {
        (&mut self.reading, &mut self.writing)
    }
}

impl Reading {
    /// See [`Stream::recv`].
    pub(super) async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        if self.chunk.has_remaining() {
            return Ok(Some(std::mem::take(&mut self.chunk)));
        }
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// See [`Stream::release`].
    pub(super) fn release(&mut self, n: usize) -> io::Result<()> {
        self.recv.flow_control().release_capacity(n).map_err(io_error)
    }

    /// The next non-empty chunk, or `None` at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return Poll::Ready(Ok(Some(chunk))),
                Some(Err(error))
                    if error.is_remote() && error.reason() == Some(Reason::NO_ERROR) && error.is_reset() =>
                {
                    return Poll::Ready(Ok(None));
                }
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl Writing {
    /// See [`Stream::send`].
    pub(super) async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while bytes.has_remaining() {
            let room = poll_fn(|cx| self.poll_room(cx, bytes.len())).await?;
            let part = bytes.split_to(room.min(bytes.len()));
            self.send.send_data(part, false).map_err(io_error)?;
        }
        Ok(())
    }

    /// Room for at least one byte of `wanted`.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if self.state == Write::Shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let wanted = wanted.min(MAX_CHUNK);
        self.send.reserve_capacity(wanted);
        loop {
            let room = self.send.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Err(ready!(self.poll_why_closed(cx)))),
            }
        }
    }

    fn poll_why_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        Poll::Ready(match self.send.poll_reset(cx) {
            Poll::Ready(Ok(Reason::NO_ERROR)) | Poll::Pending => io::ErrorKind::BrokenPipe.into(),
            Poll::Ready(Ok(reason)) => io_error(reason.into()),
            Poll::Ready(Err(error)) => io_error(error),
        })
    }

    /// Fails once the peer has reset the stream, and wakes the task then: by this alone one that only waits to write
    /// learns that a peer that had said all is gone. The connection's own task sends what the window allows.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.state == Write::Shut {
            return Ok(());
        }
        match self.send.poll_reset(cx) {
            Poll::Pending | Poll::Ready(Ok(Reason::NO_ERROR)) => Ok(()),
            Poll::Ready(Ok(reason)) => Err(io_error(reason.into())),
            Poll::Ready(Err(error)) => Err(io_error(error)),
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state == Write::Shut {
            return Poll::Ready(Ok(()));
        }
        self.state = Write::Shut;
        if self.send.send_data(Bytes::new(), true).is_ok() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(ready!(self.poll_why_closed(cx))))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let reading = &mut self.reading;
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if reading.chunk.is_empty() {
            match ready!(reading.poll_chunk(cx))? {
                Some(chunk) => reading.chunk = chunk,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = reading.chunk.len().min(into.remaining());
        into.put_slice(&reading.chunk.split_to(n));
        Poll::Ready(reading.release(n))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.writing.poll_room(cx, bytes.len()))?;
        let part = bytes.get(..room).unwrap_or(bytes);
        self.writing.send.send_data(Bytes::copy_from_slice(part), false).map_err(io_error)?;
        Poll::Ready(Ok(part.len()))
    }

    /// See [`Writing::poll_gone`].
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.writing.poll_gone(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing.poll_shutdown(cx)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.state == Write::Open {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Writing { send, state } = &self.writing;
        f.debug_struct("Stream").field("id", &send.stream_id()).field("write", state).finish_non_exhaustive()
    }
}

fn io_error(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    let kind = if error.reason() == Some(Reason::STREAM_CLOSED) || error.reason() == Some(Reason::NO_ERROR) {
        io::ErrorKind::BrokenPipe
    } else {
        io::ErrorKind::ConnectionReset
    };
    io::Error::new(kind, error)
}

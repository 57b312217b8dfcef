//! Reads as much as there is at once for a reader that asks for little at a time: rustls asks for 4 KiB.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::config::limits::READ_AHEAD;

/// The first look, on the stack, bytes: a connection that waits, or gets little, holds nothing.
const LOOK: usize = READ_AHEAD / 4;

/// A stream read ahead of its reader, by at most [`READ_AHEAD`] bytes. Writing is as below.
#[derive(Debug)]
pub struct Ahead<Io> {
    io: Io,
    rest: BytesMut,
    /// The last look was full: there is more where that came from.
    busy: bool,
}

impl<Io> Ahead<Io> {
    /// `io` from its next byte.
    pub fn new(io: Io) -> Self {
        Self { io, rest: BytesMut::new(), busy: false }
    }
}

impl<Io: AsyncRead + Unpin> Ahead<Io> {
    /// Looks, gives what fits and keeps the rest.
    fn poll_look(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut look = [MaybeUninit::uninit(); LOOK];
        let mut look = ReadBuf::uninit(&mut look);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut look))?;
        let (given, rest) = look.filled().split_at(look.filled().len().min(into.remaining()));
        into.put_slice(given);
        self.rest.extend_from_slice(rest);
        self.busy = look.remaining() == 0;
        Poll::Ready(Ok(()))
    }

    fn poll_much(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.rest.reserve(READ_AHEAD);
        let polled = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.rest);
        self.busy = matches!(polled, Poll::Ready(Ok(read)) if read >= LOOK);
        if self.rest.is_empty() {
            self.rest = BytesMut::new();
        }
        polled
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Ahead<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            if into.remaining() >= LOOK {
                return Pin::new(&mut self.io).poll_read(cx, into);
            }
            if !self.busy {
                return self.poll_look(cx, into);
            }
            ready!(self.poll_much(cx))?;
        }
        let part = self.rest.len().min(into.remaining());
        into.put_slice(self.rest.get(..part).unwrap_or_default());
        self.rest.advance(part);
        if self.rest.is_empty() && !self.busy {
            self.rest = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Ahead<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Bytes that are all there, and how often they were asked for.
    struct Source {
        bytes: Vec<u8>,
        at: usize,
        most: usize,
        reads: Arc<AtomicUsize>,
    }

    impl AsyncRead for Source {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let end = self.bytes.len().min(self.at + into.remaining().min(self.most));
            into.put_slice(&self.bytes[self.at..end]);
            self.at = end;
            Poll::Ready(Ok(()))
        }
    }

    async fn read(length: usize, ask: usize, most: usize) -> (Vec<u8>, usize) {
        let bytes: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[0]).collect();
        let reads = Arc::new(AtomicUsize::new(0));
        let mut ahead = Ahead::new(Source { bytes, at: 0, most, reads: Arc::clone(&reads) });
        let (mut all, mut part) = (Vec::new(), vec![0; ask]);
        loop {
            match ahead.read(&mut part).await.unwrap() {
                0 => break,
                n => all.extend_from_slice(&part[..n]),
            }
        }
        assert_eq!(ahead.rest.capacity(), 0, "nothing is held at the end");
        (all, reads.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn much_is_asked_for_seldom() {
        let (all, reads) = read(1 << 20, 4096, usize::MAX).await;
        assert_eq!(all.len(), 1 << 20);
        assert!(reads <= (1 << 20) / READ_AHEAD + 4, "{reads}");
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_moved(length in 0_usize..200_000, ask in 1_usize..70_000, most in 1_usize..100_000) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (all, _) = runtime.block_on(read(length, ask.max(length / 500 + 1), most.max(length / 500 + 1)));
            prop_assert!(all.iter().enumerate().all(|(n, byte)| *byte == n.to_le_bytes()[0]));
            prop_assert_eq!(all.len(), length);
        }
    }
}

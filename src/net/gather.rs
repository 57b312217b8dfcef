//! Gathers what a protocol writes in many parts until its driver has no more to do: what one turn brought about goes out
//! in one TLS record and one system call, not in one of each for every frame.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::limits::GATHER;

/// A part that is at least as long goes out without being copied, bytes.
const LONG: usize = GATHER / 4;
/// Turns that go out at once, at most, after waits that brought nothing.
const ALONE: u8 = 31;
/// What a connection keeps of its buffer between two turns, bytes: most are idle.
const KEPT: usize = 4 << 10;

/// The stream as the protocol sees it: flushed at once, while nothing goes out before the driver sends it, a shutdown asks
/// for it, or [`GATHER`] bytes are held.
#[derive(Debug)]
pub struct Gather<Io>(Arc<Mutex<Held<Io>>>);

/// The driver's end.
#[derive(Debug)]
pub struct Outgoing<Io>(Arc<Mutex<Held<Io>>>);

#[derive(Debug)]
struct Held<Io> {
    io: Io,
    bytes: BytesMut,
    /// Something was written below that may not have gone out.
    dirty: bool,
    /// Whether there is a driver that sends. Until then everything goes out as it is written.
    driven: bool,
    wait: Wait,
}

/// Whether a turn's bytes wait until the tasks that are ready have had theirs: where many tunnels are busy, those write too,
/// and one record and one system call carry it all.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    /// The bytes of the turn that waits, none where there is none.
    since: usize,
    /// So many more turns go out at once.
    at_once: u8,
    /// So many did after the last wait; more after each that brought nothing, as where one caller is alone.
    alone: u8,
}

impl Wait {
    /// Whether a turn that holds so many bytes waits for the next one; never twice.
    fn again(&mut self, held: usize) -> bool {
        let since = std::mem::take(&mut self.since);
        if since > 0 {
            // Less is what was too much to be held.
            self.alone = if held == since { (self.alone * 2 + 1).min(ALONE) } else { 0 };
            self.at_once = self.alone;
        } else if held > 0 && self.at_once > 0 {
            self.at_once -= 1;
        } else {
            self.since = held;
        }
        self.since > 0
    }
}

/// `io` in two ends. Both are to be used by one task: wake-ups for writing go to whoever polled last.
pub fn gather<Io>(io: Io) -> (Gather<Io>, Outgoing<Io>) {
    let held =
        Arc::new(Mutex::new(Held { io, bytes: BytesMut::new(), dirty: false, driven: false, wait: Wait::default() }));
    (Gather(Arc::clone(&held)), Outgoing(held))
}

fn lock<Io>(held: &Mutex<Held<Io>>) -> MutexGuard<'_, Held<Io>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Io: AsyncWrite + Unpin> Outgoing<Io> {
    /// From here on every poll of the protocol is a [`Outgoing::poll_turn`].
    pub fn driven(&self) {
        lock(&self.0).driven = true;
    }

    /// One turn: polls the protocol and, when that has nothing more to do, sends what it wrote; or asks for another turn
    /// behind the tasks that are ready now, and sends then.
    pub fn poll_turn<T>(
        &self,
        cx: &mut Context<'_>,
        protocol: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = protocol(cx) {
            return Poll::Ready(Ok(done));
        }
        let mut held = lock(&self.0);
        let length = held.bytes.len();
        if held.wait.again(length) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match held.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<Io: AsyncWrite + Unpin> Held<Io> {
    /// Hands everything that is held to the stream.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.bytes.has_remaining() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.bytes.advance(written),
            }
        }
        if self.bytes.capacity() > KEPT {
            self.bytes = BytesMut::new();
        } else {
            self.bytes.clear();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.dirty {
            ready!(self.poll_drain(cx))?;
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes `parts`, or passes them on where they are long: how many bytes.
    fn poll_take(&mut self, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if !self.driven {
            return Pin::new(&mut self.io).poll_write_vectored(cx, parts);
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.dirty |= length > 0;
        if length >= LONG || self.bytes.len() + length > GATHER {
            ready!(self.poll_drain(cx))?;
        }
        if length >= LONG {
            return Pin::new(&mut self.io).poll_write_vectored(cx, parts);
        }
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        Poll::Ready(Ok(length))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Gather<Io> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).io).poll_read(cx, into)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Gather<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = lock(&self.0);
        if held.driven { Poll::Ready(Ok(())) } else { Pin::new(&mut held.io).poll_flush(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = lock(&self.0);
        ready!(held.poll_send(cx))?;
        Pin::new(&mut held.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// What has arrived at `far` by now.
    fn arrived(far: &mut DuplexStream) -> usize {
        let mut bytes = vec![0; 1 << 20];
        far.read(&mut bytes).now_or_never().map_or(0, Result::unwrap)
    }

    async fn turn(out: &Outgoing<DuplexStream>) {
        let pending = poll_fn(|cx| Poll::Ready(out.poll_turn::<()>(cx, |_| Poll::Pending))).await;
        assert!(matches!(pending, Poll::Pending));
    }

    /// Whether the turn asked for another one.
    fn asks_again(out: &Outgoing<DuplexStream>) -> bool {
        struct Woken(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Woken(false.into()));
        let waker = Arc::clone(&woken).into();
        let pending = out.poll_turn::<()>(&mut Context::from_waker(&waker), |_| Poll::Pending);
        assert!(pending.is_pending());
        woken.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_others_write_meanwhile_goes_out_with_it() {
        let (near, mut far) = duplex(1 << 20);
        let (mut io, out) = gather(near);
        out.driven();
        for _ in 0..100 {
            io.write_all(b"one").await.unwrap();
            assert!(asks_again(&out));
            assert_eq!(arrived(&mut far), 0);
            io.write_all(b"another").await.unwrap();
            assert!(!asks_again(&out));
            assert_eq!(arrived(&mut far), 10);
            // The pipe serves a task that never lets others run only so often.
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_writes_alone_waits_ever_less() {
        let (near, mut far) = duplex(1 << 20);
        let (mut io, out) = gather(near);
        out.driven();
        let mut waited = Vec::new();
        for turn in 0..100 {
            io.write_all(b"one").await.unwrap();
            if asks_again(&out) {
                waited.push(turn);
                assert!(!asks_again(&out), "twice");
            }
            assert_eq!(arrived(&mut far), 3);
            assert!(!asks_again(&out), "with nothing to send");
            tokio::task::yield_now().await;
        }
        // 1, 3, 7, 15 and then 31 turns go out at once between two that wait.
        assert_eq!(waited, [0, 2, 6, 14, 30, 62, 94]);
    }

    #[tokio::test]
    async fn one_wait_for_nothing_among_many_costs_one_turn() {
        let (near, mut far) = duplex(1 << 20);
        let (mut io, out) = gather(near);
        out.driven();
        let mut waited = 0;
        for turn in 0..90 {
            io.write_all(b"one").await.unwrap();
            if asks_again(&out) {
                waited += 1;
                if turn % 3 > 0 {
                    io.write_all(b"another").await.unwrap();
                }
                assert!(!asks_again(&out), "twice");
            }
            assert!(arrived(&mut far) > 0);
            tokio::task::yield_now().await;
        }
        assert_eq!(waited, 60);
    }

    #[tokio::test]
    async fn a_turn_goes_out_at_its_end_and_in_one() {
        let (near, mut far) = duplex(1 << 20);
        let (mut io, out) = gather(near);
        out.driven();
        for _ in 0..10 {
            io.write_all(b"frame").await.unwrap();
            io.flush().await.unwrap();
        }
        assert_eq!(arrived(&mut far), 0);
        turn(&out).await;
        turn(&out).await;
        assert_eq!(arrived(&mut far), 50);
        turn(&out).await;
        assert_eq!(arrived(&mut far), 0);
    }

    #[tokio::test]
    async fn before_there_is_a_driver_nothing_is_held() {
        let (near, mut far) = duplex(64);
        let (mut io, _out) = gather(near);
        io.write_all(b"preface").await.unwrap();
        assert_eq!(arrived(&mut far), 7);
    }

    #[tokio::test]
    async fn order_is_kept_between_what_is_held_and_what_is_long() {
        let (near, mut far) = duplex(1 << 20);
        let (mut io, out) = gather(near);
        out.driven();
        io.write_all(b"head").await.unwrap();
        io.write_all(&vec![b'x'; LONG]).await.unwrap();
        io.write_all(b"tail").await.unwrap();
        turn(&out).await;
        turn(&out).await;
        drop((io, out));
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(
            (&all[..4], &all[4..LONG + 4], &all[LONG + 4..]),
            (&b"head"[..], &vec![b'x'; LONG][..], &b"tail"[..])
        );
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_stops_the_writer() {
        let (near, mut far) = duplex(64);
        let (mut io, out) = gather(near);
        out.driven();
        let mut taken = 0;
        while let Some(written) = io.write(&[b'x'; 1000]).now_or_never() {
            taken += written.unwrap();
        }
        assert!(taken <= GATHER && taken > GATHER - 1000, "{taken}");
        assert_eq!(arrived(&mut far), 64);
        io.write(&[b'x'; 1000]).now_or_never().map(|_| ()).unwrap_or_default();
        assert_eq!(arrived(&mut far), 64);
    }

    #[tokio::test]
    async fn a_shutdown_sends_what_is_held_first() {
        let (near, mut far) = duplex(64);
        let (mut io, out) = gather(near);
        out.driven();
        io.write_all(b"goaway").await.unwrap();
        io.shutdown().await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"goaway");
    }

    #[tokio::test]
    async fn a_stream_that_fails_is_told_to_the_driver() {
        let (near, far) = duplex(64);
        let (mut io, out) = gather(near);
        out.driven();
        io.write_all(b"frame").await.unwrap();
        drop(far);
        let ended = poll_fn(|cx| out.poll_turn::<()>(cx, |_| Poll::Pending)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}

//! Copies bytes both ways between two streams: half-close is kept, memory is bounded, and what one side does not read
//! the other may not send.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio_util::sync::CancellationToken;

use crate::config::limits::COPY_BUFFER;

/// First buffer of a direction, bytes: an idle tunnel costs two of these.
const FIRST_BUFFER: usize = COPY_BUFFER / 16;

/// What was copied, and how it ended.
#[derive(Debug)]
pub struct Copied {
    /// Bytes from the first stream that the second took.
    pub a_to_b: u64,
    /// Bytes from the second stream that the first took.
    pub b_to_a: u64,
    /// How it ended.
    pub end: End,
}

/// How copying ended.
#[derive(Debug)]
pub enum End {
    /// Both sides had said all they had to say.
    Finished,
    /// One side went away in the middle: everyday life of TCP, no failure of ours.
    Reset,
    /// We were told to stop.
    Cancelled,
    /// Anything else.
    Failed(io::Error),
}

/// Why a direction ended early.
#[derive(Debug)]
pub enum Stop {
    /// Its source failed.
    Read(io::Error),
    /// Its sink takes nothing more.
    Write(io::Error),
}

/// Copies until both directions have ended, one side is reset, or `cancel` fires.
///
/// An end of one direction is passed on as a shutdown while the other goes on. When reading fails both streams are
/// dropped, so that the other side sees a reset too; when only writing fails, the answer under way is still delivered.
pub async fn both_ways<A, B>(a: A, b: B, cancel: &CancellationToken) -> Copied
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (a_to_b, b_to_a) = (AtomicU64::new(0), AtomicU64::new(0));
    let (a_read, a_write) = split(a);
    let (b_read, b_write) = split(b);
    let end = directions(one_way(a_read, b_write, &a_to_b), one_way(b_read, a_write, &b_to_a), cancel).await;
    Copied { a_to_b: a_to_b.into_inner(), b_to_a: b_to_a.into_inner(), end }
}

/// Runs both directions of a copy as [`both_ways`] does: to the end of both, the first failed source, or `cancel`. Both are
/// dropped when it ends.
pub async fn directions<F, B>(forth: F, back: B, cancel: &CancellationToken) -> End
where
    F: Future<Output = Result<(), Stop>>,
    B: Future<Output = Result<(), Stop>>,
{
    let (mut forth, mut back, mut cancelled) = (pin!(forth), pin!(back), pin!(cancel.cancelled()));
    let (mut forth_ended, mut back_ended) = (false, false);
    let mut end = End::Finished;
    while !(forth_ended && back_ended) {
        let ended = tokio::select! {
            biased;
            () = &mut cancelled => return End::Cancelled,
            ended = &mut forth, if !forth_ended => { forth_ended = true; ended }
            ended = &mut back, if !back_ended => { back_ended = true; ended }
        };
        match ended {
            Ok(()) => {}
            Err(Stop::Write(error)) => end = end_of(error),
            Err(Stop::Read(error)) => return end_of(error),
        }
    }
    end
}

async fn one_way<R, W>(mut read: R, mut write: W, count: &AtomicU64) -> Result<(), Stop>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; FIRST_BUFFER];
    loop {
        let n = tokio::select! {
            biased;
            n = read.read(&mut buffer) => n.map_err(Stop::Read)?,
            error = gone(&mut write) => return Err(Stop::Write(error)),
        };
        let Some(chunk) = buffer.get(..n).filter(|chunk| !chunk.is_empty()) else { break };
        write.write_all(chunk).await.map_err(Stop::Write)?;
        write.flush().await.map_err(Stop::Write)?;
        count.fetch_add(n as u64, Ordering::Relaxed);
        if n == buffer.len() && n < COPY_BUFFER {
            buffer = vec![0; (n * 2).min(COPY_BUFFER)];
        }
    }
    write.shutdown().await.map_err(Stop::Write)
}

/// Ends when `write` is known to take nothing more; not every stream can tell while nothing is written.
async fn gone<W: AsyncWrite + Unpin>(write: &mut W) -> io::Error {
    poll_fn(|cx| match Pin::new(&mut *write).poll_flush(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(error),
        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
    })
    .await
}

fn end_of(error: io::Error) -> End {
    use io::ErrorKind as Kind;
    let everyday =
        [Kind::NotConnected, Kind::UnexpectedEof, Kind::ConnectionReset, Kind::BrokenPipe, Kind::ConnectionAborted];
    if everyday.contains(&error.kind()) { End::Reset } else { End::Failed(error) }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn half_close_is_kept_and_bytes_are_counted() {
        let (mut client, a) = duplex(64);
        let (mut server, b) = duplex(64);
        let copying = tokio::spawn(async move { both_ways(a, b, &CancellationToken::new()).await });
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut seen = String::new();
        server.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, "question");
        server.write_all(b"answer after the end of the question").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer after the end of the question");
        let copied = copying.await.unwrap();
        assert_eq!((copied.a_to_b, copied.b_to_a), (8, 36));
        assert!(matches!(copied.end, End::Finished));
    }

    #[tokio::test]
    async fn large_transfers_arrive_whole() {
        let (mut client, a) = duplex(1 << 20);
        let (mut server, b) = duplex(1 << 20);
        let copying = tokio::spawn(async move { both_ways(a, b, &CancellationToken::new()).await });
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let bytes = sent.clone();
        let writing = tokio::spawn(async move {
            client.write_all(&bytes).await.unwrap();
            client.shutdown().await.unwrap();
            client
        });
        let mut seen = Vec::new();
        server.read_to_end(&mut seen).await.unwrap();
        drop(server);
        let client = writing.await.unwrap();
        assert!(seen == sent);
        drop(client);
        assert_eq!(copying.await.unwrap().a_to_b, 1_000_000);
    }

    #[tokio::test]
    async fn cancelling_ends_an_idle_copy() {
        let (_client, a) = duplex(64);
        let (_server, b) = duplex(64);
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert!(matches!(both_ways(a, b, &cancel).await.end, End::Cancelled));
    }

    #[tokio::test]
    async fn a_reset_of_one_side_ends_both() {
        let (_client, a) = duplex(64);
        let broken = reset_stream();
        let copied = both_ways(a, broken, &CancellationToken::new()).await;
        assert!(matches!(copied.end, End::Reset), "{copied:?}");
    }

    /// A stream whose reading fails as a reset connection's does.
    fn reset_stream() -> impl AsyncRead + AsyncWrite + Unpin {
        struct Reset;
        impl AsyncRead for Reset {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                _: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
        tokio::io::join(Reset, tokio::io::sink())
    }
}

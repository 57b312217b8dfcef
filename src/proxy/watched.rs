//! A switched connection (WebSocket) that ends when its call is no longer permitted, and with its token.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Shared;
use super::answer::ProxyFault;
use super::stages::Standing;
use crate::net::BoxedIo;
use crate::telemetry::RecordGuard;

/// The upstream's end of a switched connection.
pub(super) struct Watched {
    io: BoxedIo,
    revoked: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    record: RecordGuard,
}

impl Watched {
    pub(super) fn new(io: BoxedIo, shared: Arc<Shared>, mut standing: Standing, record: RecordGuard) -> Self {
        standing.lasts();
        let revoked = Box::pin(async move {
            standing.revoked(&shared.published).await;
        });
        Self { io, revoked: Some(revoked), record }
    }

    /// The error of a revoked permit. Both halves look: a server that has said all is no longer read from.
    fn check(&mut self, cx: &mut Context<'_>) -> Result<(), io::Error> {
        let Some(revoked) = &mut self.revoked else { return Err(io::ErrorKind::ConnectionReset.into()) };
        if revoked.as_mut().poll(cx).is_ready() {
            self.revoked = None;
            self.record.failed(&ProxyFault::Revoked);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.record.meter().sent(buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let wrote = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = &wrote {
            self.record.meter().received(*bytes);
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

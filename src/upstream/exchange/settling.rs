use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::client::conn::http2::Connection;
use hyper::rt::bounds::Http2ClientConnExec;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::http2::Upload;
use crate::net::BoxedIo;

/// The bytes of a fresh connection, which tell once the server's settings count.
pub(super) struct Settling {
    io: BoxedIo,
    has_read: bool,
    tell: Option<oneshot::Sender<()>>,
}

/// A fresh connection of which it is not known yet how many requests its server takes at once. Whoever else would share it
/// waits until that is known, as none is dialled beside it for so long.
pub(super) struct Settles {
    told: oneshot::Receiver<()>,
    dialing: OwnedMutexGuard<()>,
}

impl Settling {
    pub(super) fn new(io: BoxedIo, dialing: OwnedMutexGuard<()>) -> (Self, Settles) {
        let (tell, told) = oneshot::channel();
        (Self { io, has_read: false, tell: Some(tell) }, Settles { told, dialing })
    }
}

/// Drives a connection, and keeps in `most` how many requests its server takes: none as long as that is not known.
pub(super) async fn drive<E>(
    mut connection: Connection<TokioIo<Settling>, Upload, E>,
    settles: Settles,
    most: Arc<AtomicUsize>,
) -> hyper::Result<()>
where
    E: Http2ClientConnExec<Upload, TokioIo<Settling>> + Unpin,
{
    let mut settles = Some(settles);
    poll_fn(move |cx| {
        let known = settles.as_mut().is_none_or(|settles| Pin::new(&mut settles.told).poll(cx).is_ready());
        if known {
            // It may change, and this is polled for each request.
            most.store(connection.current_max_send_streams(), Ordering::Relaxed);
            if let Some(Settles { told: _, dialing }) = settles.take() {
                drop(dialing);
            }
        }
        Pin::new(&mut connection).poll(cx)
    })
    .await
}

impl AsyncRead for Settling {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.tell.is_none() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        // Settings are the first that a server says (RFC 9113 section 3.4), and h2 reads on once it has made them its own.
        if self.has_read {
            let _nobody_waits = self.tell.take().map(|tell| tell.send(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.has_read |= buf.filled().len() > before;
        polled
    }
}

impl AsyncWrite for Settling {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
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

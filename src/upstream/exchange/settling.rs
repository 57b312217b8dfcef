use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::client::conn::http2::Connection;
use hyper::rt::bounds::Http2ClientConnExec;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio_util::io::InspectReader;

use super::http2::Upload;
use crate::net::BoxedIo;

/// A fresh connection of which it is not known yet how many requests its server takes at once. Whoever else would share it
/// waits until that is known, as none is dialled beside it for so long.
pub(super) struct Settles {
    told: oneshot::Receiver<()>,
    dialing: OwnedMutexGuard<()>,
}

impl Settles {
    /// With the bytes of the connection, which tell of the first that comes. Settings are that (RFC 9113 section 3.4), and
    /// whoever polls the connection has h2 make them its own before it looks.
    pub(super) fn of(
        io: BoxedIo,
        dialing: OwnedMutexGuard<()>,
    ) -> (InspectReader<BoxedIo, impl FnMut(&[u8]) + Send>, Self) {
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        let first = move |bytes: &[u8]| {
            if !bytes.is_empty() {
                let _nobody_waits = tell.take().map(|tell| tell.send(()));
            }
        };
        (InspectReader::new(io, first), Self { told, dialing })
    }
}

/// Drives a connection, and keeps in `most` how many requests its server takes: none as long as that is not known.
pub(super) async fn drive<Io, E>(
    mut connection: Connection<TokioIo<Io>, Upload, E>,
    settles: Settles,
    most: Arc<AtomicUsize>,
) -> hyper::Result<()>
where
    Io: AsyncRead + AsyncWrite + Unpin + 'static,
    E: Http2ClientConnExec<Upload, TokioIo<Io>> + Unpin,
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

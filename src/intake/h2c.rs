//! Serves HTTP/2 by prior knowledge on one connection: each stream judged and normalised like an HTTP/1.1 request.
//!
//! Streams run as tasks of a set that ends with the connection. Receive windows open only as bodies are read.

mod head;
mod stream;

use std::io;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::answer::Handler;
use super::fault::IntakeFault;
use crate::config::limits::{
    CONNECTION_WINDOW, HEAD_TIMEOUT, HTTP_IDLE_TIMEOUT, MAX_FRAME, MAX_HEADER_LIST, MAX_STREAMS, SEND_BUFFER,
    STREAM_WINDOW,
};

/// Serves streams from `io` until the caller ends the connection, or `drain` is cancelled and the streams at hand are
/// answered. Errors: the caller broke the protocol, or its connection failed.
pub async fn serve_h2c<Io, H>(io: Io, handler: H, drain: CancellationToken) -> Result<(), IntakeFault>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buffer_size(SEND_BUFFER);
    let connection = timeout(HEAD_TIMEOUT, builder.handshake(io))
        .await
        .map_err(|_elapsed| IntakeFault::Connection(io::ErrorKind::TimedOut.into()))?
        .map_err(IntakeFault::Http2)?;
    drive(connection, handler, drain).await
}

async fn drive<Io, H>(
    mut connection: Connection<Io, Bytes>,
    handler: H,
    drain: CancellationToken,
) -> Result<(), IntakeFault>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let mut streams = JoinSet::new();
    let mut ending = false;
    loop {
        tokio::select! {
            biased;
            Some(_ended) = streams.join_next() => {}
            () = drain.cancelled(), if !ending => {
                ending = true;
                connection.graceful_shutdown();
            }
            accepted = connection.accept() => match accepted {
                None => return Ok(()),
                // A transport that fails with nothing due is an end like any other.
                Some(Err(error)) if error.is_io() && streams.is_empty() => return Ok(()),
                Some(Err(error)) => return Err(IntakeFault::Http2(error)),
                Some(Ok((request, mut respond))) => {
                    let Some(place) = handler.place() else {
                        // Nothing of it was looked at: its caller may send it again.
                        respond.send_reset(Reason::REFUSED_STREAM);
                        continue;
                    };
                    let serving = stream::serve(request, respond, handler.clone(), place);
                    streams.spawn(serving.in_current_span());
                }
            },
            () = sleep(HTTP_IDLE_TIMEOUT), if streams.is_empty() && !ending => {
                ending = true;
                connection.graceful_shutdown();
            }
        }
    }
}

#[cfg(test)]
mod tests;

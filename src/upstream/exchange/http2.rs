use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::body::{InBody, OutBody, Stopped};
use super::super::departure::Leave;
use super::super::dial::Dialled;
use super::super::pool::{Key, Lease};
use super::super::{DialFault, Upstreams};
use super::settling::{Settles, drive};
use super::{Failed, UpstreamHttp, accept, judge, no_http};
use crate::config::limits::{
    CONNECTION_WINDOW, DIAL_TIMEOUT, MAX_FRAME, MAX_HEADER_LIST, PING_INTERVAL, PING_TIMEOUT, SEND_BUFFER,
    STREAM_WINDOW,
};
use crate::mesh::Endpoint;

impl Upstreams {
    pub(super) async fn send_http2(
        &self,
        endpoint: &Endpoint,
        key: &Key,
        mut request: Request<OutBody>,
        leave: Leave<'_>,
    ) -> Result<Response<InBody>, Failed> {
        if let Some((sender, lease)) = self.inner.pool.take_place(key) {
            leave.goes();
            match over_http2(sender, Some(lease), request).await {
                Err(Failed { unsent: Some(back), .. }) => {
                    leave.stayed();
                    request = *back;
                }
                done => return done,
            }
        }
        match self.open_http2(endpoint, key).await {
            Ok((sender, lease)) => {
                leave.goes();
                over_http2(sender, lease, request).await
            }
            Err(fault) => Err(Failed::unsent(fault.into(), request)),
        }
    }

    /// A place on a shared connection, dialled by us or by who came before us meanwhile.
    async fn open_http2(
        &self,
        endpoint: &Endpoint,
        key: &Key,
    ) -> Result<(http2::SendRequest<Upload>, Option<Lease>), DialFault> {
        let one_at_a_time = self.inner.pool.dialing(key).lock_owned();
        let Ok(one_at_a_time) = tokio::time::timeout(DIAL_TIMEOUT, one_at_a_time).await else {
            return Err(DialFault::Timeout);
        };
        if let Some((sender, lease)) = self.inner.pool.take_place(key) {
            return Ok((sender, Some(lease)));
        }
        let Dialled { line, retire_at } = self.dial(endpoint, UpstreamHttp::Http2).await?;
        let (io, settles) = Settles::of(line.boxed(), one_at_a_time);
        let tracked = Tracked(self.inner.tasks.clone());
        let (sender, connection) = http2_builder(tracked).handshake(TokioIo::new(io)).await.map_err(no_http)?;
        let most = Arc::default();
        self.drive(drive(connection, settles, Arc::clone(&most)));
        let lease = self.inner.pool.share(key, (&sender, most), retire_at);
        Ok((sender, lease))
    }
}

async fn over_http2(
    mut sender: http2::SendRequest<Upload>,
    lease: Option<Lease>,
    request: Request<OutBody>,
) -> Result<Response<InBody>, Failed> {
    let cut = CancellationToken::new();
    let uploading = cut.clone().drop_guard();
    let request = request.map(|body| Upload { body, cut: Some(cut) });
    let response = sender.try_send_request(request).await.map_err(judge)?;
    Ok(accept(response.map(|incoming| InBody::http2(incoming, lease, uploading)))?)
}

/// The body of a request that is cut off where its answer is over first, as over HTTP/1.1: a server that opens no window and
/// does not reset the stream either would have us keep the rest for as long as its connection lasts.
pub(in super::super) struct Upload {
    pub(super) body: OutBody,
    /// Until it was asked for the first time.
    cut: Option<CancellationToken>,
}

thread_local! {
    /// How the upload is cut off that was begun last. hyper asks a body once before it hands the rest of its upload, if
    /// there is any, to the executor, on the same thread and with nothing between; by that alone the two are known to
    /// belong together.
    static BEGUN: Cell<Option<CancellationToken>> = const { Cell::new(None) };
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        if let Some(cut) = self.cut.take() {
            BEGUN.set(Some(cut));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs what hyper starts for an HTTP/2 connection under our tracker.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        match BEGUN.take() {
            Some(cut) => drop(self.0.spawn(cut.run_until_cancelled_owned(future))),
            None => drop(self.0.spawn(future)),
        }
    }
}

fn http2_builder(executor: Tracked) -> http2::Builder<Tracked> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

use std::future::Future;

use http::{Request, Response};
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::task::TaskTracker;

use super::super::body::{InBody, OutBody};
use super::super::dial::Dialled;
use super::super::pool::{Key, Lease};
use super::super::{DialFault, Upstreams};
use super::{Failed, UpstreamHttp, accept, judge, no_http};
use crate::config::limits::{
    CONNECTION_WINDOW, MAX_FRAME, MAX_HEADER_LIST, PING_INTERVAL, PING_TIMEOUT, SEND_BUFFER, STREAM_WINDOW,
};
use crate::mesh::Endpoint;

impl Upstreams {
    pub(super) async fn send_http2(
        &self,
        endpoint: &Endpoint,
        key: &Key,
        mut request: Request<OutBody>,
    ) -> Result<Response<InBody>, Failed> {
        if let Some((sender, lease)) = self.inner.pool.take_place(key) {
            match over_http2(sender, Some(lease), request).await {
                Err(Failed { unsent: Some(back), .. }) => request = *back,
                done => return done,
            }
        }
        match self.open_http2(endpoint, key).await {
            Ok((sender, lease)) => over_http2(sender, lease, request).await,
            Err(fault) => Err(Failed::unsent(fault.into(), request)),
        }
    }

    /// A place on a shared connection, dialled by us or by who came before us meanwhile.
    async fn open_http2(
        &self,
        endpoint: &Endpoint,
        key: &Key,
    ) -> Result<(http2::SendRequest<OutBody>, Option<Lease>), DialFault> {
        let dialing = self.inner.pool.dialing(key);
        let _one_at_a_time = dialing.lock().await;
        if let Some((sender, lease)) = self.inner.pool.take_place(key) {
            return Ok((sender, Some(lease)));
        }
        let Dialled { line, retire_at } = self.dial(endpoint, UpstreamHttp::Http2).await?;
        let io = TokioIo::new(line.boxed());
        let tracked = Tracked(self.inner.tasks.clone());
        let (sender, connection) = http2_builder(tracked).handshake(io).await.map_err(no_http)?;
        self.drive(connection);
        let lease = self.inner.pool.share(key, &sender, retire_at);
        Ok((sender, lease))
    }
}

async fn over_http2(
    mut sender: http2::SendRequest<OutBody>,
    lease: Option<Lease>,
    request: Request<OutBody>,
) -> Result<Response<InBody>, Failed> {
    let response = sender.try_send_request(request).await.map_err(judge)?;
    Ok(accept(response.map(|incoming| InBody::http2(incoming, lease)))?)
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
        self.0.spawn(future);
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

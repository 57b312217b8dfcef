use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use super::super::body::{InBody, OutBody};
use super::super::dial::Dialled;
use super::super::pool::{Key, One};
use super::super::{DialFault, SendFault, Upstreams};
use super::{Failed, accept, judge, no_http};
use crate::config::limits::{MAX_FIELDS, MAX_HEAD, MAX_INTERIM};
use crate::mesh::Endpoint;

impl Upstreams {
    pub(super) async fn send_http1(
        &self,
        endpoint: &Endpoint,
        key: &Key,
        mut request: Request<OutBody>,
    ) -> Result<Response<InBody>, Failed> {
        if let Some(pooled) = self.inner.pool.take_one(key) {
            match self.over_http1(pooled, key, request).await {
                Err(Failed { unsent: Some(back), .. }) => request = *back,
                done => return done,
            }
        }
        let one = match self.open_http1(endpoint).await {
            Ok(one) => one,
            Err(fault) => return Err(Failed::unsent(fault.into(), request)),
        };
        self.over_http1(one, key, request).await
    }

    async fn over_http1(&self, mut one: One, key: &Key, request: Request<OutBody>) -> Result<Response<InBody>, Failed> {
        let response = exchange(&mut one.sender, request).await?;
        let response = accept(response, None)?;
        if one.sender.is_ready() {
            self.inner.pool.put_one(key, one);
        } else {
            self.put_when_ready(key.clone(), one);
        }
        Ok(response)
    }

    /// The connection is ready again when the response's body was read to its end, and closed when it was dropped.
    fn put_when_ready(&self, key: Key, mut one: One) {
        let this = self.clone();
        self.inner.tasks.spawn(async move {
            let ready = tokio::select! {
                ready = one.sender.ready() => ready.is_ok(),
                () = this.inner.stop.cancelled() => false,
            };
            if ready {
                this.inner.pool.put_one(&key, one);
            }
        });
    }

    async fn open_http1(&self, endpoint: &Endpoint) -> Result<One, DialFault> {
        let Dialled { io, retire_at } = self.dial(endpoint).await?;
        let io = TokioIo::new(io);
        let (sender, connection) = http1_builder().handshake(io).await.map_err(no_http)?;
        self.drive(connection);
        Ok(One { sender, retire_at })
    }
}

/// One request and the head of its answer. Interim answers are swallowed, but not without end: a server that sends
/// nothing else would keep us reading for as long as it likes.
pub(in super::super) async fn exchange(
    sender: &mut http1::SendRequest<OutBody>,
    mut request: Request<OutBody>,
) -> Result<Response<Incoming>, Failed> {
    let (flooded, interim) = (CancellationToken::new(), AtomicUsize::new(0));
    let flood = flooded.clone();
    hyper::ext::on_informational(&mut request, move |_interim| {
        if interim.fetch_add(1, Ordering::Relaxed) >= MAX_INTERIM {
            flood.cancel();
        }
    });
    tokio::select! {
        biased;
        () = flooded.cancelled() => Err(SendFault::NotHttp.into()),
        answered = sender.try_send_request(request) => answered.map_err(judge),
    }
}

pub(in super::super) fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_FIELDS).max_buf_size(2 * MAX_HEAD).max_header_size(MAX_HEAD);
    builder
}

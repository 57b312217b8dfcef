use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::body::{InBody, OutBody, Stopped};
use super::fields::{strip_framing, strip_hop_by_hop};
use super::pool::{Key, Lease, One};
use super::{DialFault, SendFault, Upstreams};
use crate::config::limits::{
    CONNECTION_WINDOW, MAX_FIELDS, MAX_FRAME, MAX_HEAD, MAX_HEADER_LIST, PING_INTERVAL, PING_TIMEOUT, SEND_BUFFER,
    STREAM_WINDOW,
};
use crate::mesh::{Endpoint, Via};

/// The HTTP version an endpoint is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamHttp {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 by prior knowledge (RFC 9113, 3.3). External TLS endpoints get HTTP/1.1 all the same.
    Http2,
}

/// A fault, and the request where it provably never went out.
pub(super) struct Failed {
    pub(super) fault: SendFault,
    pub(super) unsent: Option<Box<Request<OutBody>>>,
}

impl Failed {
    fn unsent(fault: SendFault, request: Request<OutBody>) -> Self {
        Self { fault, unsent: Some(Box::new(request)) }
    }
}

impl From<SendFault> for Failed {
    fn from(fault: SendFault) -> Self {
        Self { fault, unsent: None }
    }
}

impl Upstreams {
    /// Sends `request` to `endpoint` over a pooled or fresh connection and returns the head of the response as soon as
    /// it is there; the body streams.
    ///
    /// The URI counts for its path and query; the server is named by `Host` (else by the URI's authority) in exactly
    /// the bytes given. Hop-by-hop fields go in both directions, framing is made anew, all other fields stay. A pooled
    /// connection that closed before it saw anything of the request costs one more try, on a fresh one.
    ///
    /// # Errors
    /// [`SendFault`], whose [`crate::fault::Faulty::retry`] is `Safe` only if the server provably processed nothing.
    pub async fn send(
        &self,
        endpoint: &Arc<Endpoint>,
        version: UpstreamHttp,
        request: Request<OutBody>,
    ) -> Result<Response<InBody>, SendFault> {
        self.try_send(endpoint, version, request).await.map_err(|failed| failed.fault)
    }

    /// [`Upstreams::pick`] and [`Upstreams::send`]; where the chosen endpoint cannot be reached and nothing was sent,
    /// another one is tried, once. A session's endpoint (`stick`) has no other.
    ///
    /// # Errors
    /// [`SendFault`]
    pub async fn send_to_one_of(
        &self,
        endpoints: &[Arc<Endpoint>],
        stick: Option<&str>,
        version: UpstreamHttp,
        request: Request<OutBody>,
    ) -> Result<(Arc<Endpoint>, Response<InBody>), SendFault> {
        let first = self.pick(endpoints, stick)?;
        let failed = match self.try_send(&first, version, request).await {
            Ok(response) => return Ok((first, response)),
            Err(failed) => failed,
        };
        let others: Vec<_> = endpoints.iter().filter(|endpoint| endpoint.id != first.id).cloned().collect();
        let (SendFault::Dial(_), Some(request), None, Ok(second)) =
            (&failed.fault, failed.unsent, stick, self.pick(&others, None))
        else {
            return Err(failed.fault);
        };
        let response = self.send(&second, version, *request).await?;
        Ok((second, response))
    }

    async fn try_send(
        &self,
        endpoint: &Arc<Endpoint>,
        version: UpstreamHttp,
        request: Request<OutBody>,
    ) -> Result<Response<InBody>, Failed> {
        let version = if matches!(endpoint.via, Via::Tls { .. }) { UpstreamHttp::Http1 } else { version };
        let key = Key::new(endpoint, version);
        match version {
            UpstreamHttp::Http1 => self.send_http1(endpoint, &key, http1_request(request)?).await,
            UpstreamHttp::Http2 => self.send_http2(endpoint, &key, http2_request(request)?).await,
        }
    }

    async fn send_http1(
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
        let sender = match self.open_http1(endpoint).await {
            Ok(sender) => sender,
            Err(fault) => return Err(Failed::unsent(fault.into(), request)),
        };
        self.over_http1(One { sender, born: Instant::now() }, key, request).await
    }

    async fn over_http1(&self, mut one: One, key: &Key, request: Request<OutBody>) -> Result<Response<InBody>, Failed> {
        let response = one.sender.try_send_request(request).await.map_err(judge)?;
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

    async fn open_http1(&self, endpoint: &Endpoint) -> Result<http1::SendRequest<OutBody>, DialFault> {
        let io = TokioIo::new(self.connect_tcp(endpoint).await?);
        let (sender, connection) = http1_builder().handshake(io).await.map_err(|_| DialFault::Handshake)?;
        self.drive(connection);
        Ok(sender)
    }

    async fn send_http2(
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
        let io = TokioIo::new(self.connect_tcp(endpoint).await?);
        let tracked = Tracked(self.inner.tasks.clone());
        let (sender, connection) = http2_builder(tracked).handshake(io).await.map_err(|_| DialFault::Handshake)?;
        self.drive(connection);
        let lease = self.inner.pool.share(key, &sender);
        Ok((sender, lease))
    }

    pub(super) fn drive(&self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        self.inner.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream HTTP connection ended");
            }
        });
    }
}

async fn over_http2(
    mut sender: http2::SendRequest<OutBody>,
    lease: Option<Lease>,
    request: Request<OutBody>,
) -> Result<Response<InBody>, Failed> {
    let response = sender.try_send_request(request).await.map_err(judge)?;
    Ok(accept(response, lease)?)
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

pub(super) fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_FIELDS).max_buf_size(2 * MAX_HEAD).max_header_size(MAX_HEAD);
    builder
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

/// Origin form, `Host` named once, framing left to the body.
pub(super) fn http1_request(mut request: Request<OutBody>) -> Result<Request<OutBody>, SendFault> {
    strip_framing(request.headers_mut());
    let host = host(&request)?;
    let path = path(&request)?;
    request.headers_mut().insert(HOST, host);
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = http::Version::HTTP_11;
    Ok(request)
}

/// `:authority` in place of `Host` (RFC 9113, 8.3.1). `:scheme` is http: what is inside a tunnel has no TLS of its own.
fn http2_request(mut request: Request<OutBody>) -> Result<Request<OutBody>, SendFault> {
    strip_framing(request.headers_mut());
    let host = host(&request)?;
    let path = path(&request)?;
    request.headers_mut().remove(HOST);
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| SendFault::NotSendable)?;
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path);
    *request.uri_mut() = uri.build().map_err(|_| SendFault::NotSendable)?;
    *request.version_mut() = http::Version::HTTP_2;
    Ok(request)
}

fn host(request: &Request<OutBody>) -> Result<HeaderValue, SendFault> {
    let mut named = request.headers().get_all(HOST).iter();
    match (named.next(), named.next(), request.uri().authority()) {
        (Some(host), None, _) => Ok(host.clone()),
        (None, None, Some(authority)) => HeaderValue::from_str(authority.as_str()).map_err(|_| SendFault::NotSendable),
        _ => Err(SendFault::NotSendable),
    }
}

fn path(request: &Request<OutBody>) -> Result<PathAndQuery, SendFault> {
    if request.method() == Method::CONNECT {
        return Err(SendFault::NotSendable);
    }
    Ok(request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// The response as it is passed on. A 101 that nobody asked for would turn the connection into something unread.
pub(super) fn accept(response: Response<Incoming>, lease: Option<Lease>) -> Result<Response<InBody>, SendFault> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(SendFault::NotHttp);
    }
    let mut response = response.map(|incoming| InBody::new(incoming, lease));
    strip_hop_by_hop(response.headers_mut());
    Ok(response)
}

/// Tells what never went out from what may have been seen. hyper hands a request back only if it wrote nothing of it.
pub(super) fn judge(mut error: TrySendError<Request<OutBody>>) -> Failed {
    if let Some(request) = error.take_message() {
        return Failed::unsent(SendFault::Unsent, request);
    }
    let error = error.into_error();
    tracing::debug!(%error, "no response from upstream");
    let refused = |cause: &h2::Error| cause.is_remote() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
    let cause = error.source();
    let fault = if cause.is_some_and(|cause| cause.is::<Stopped>()) {
        SendFault::CallerBody
    } else if cause.and_then(|cause| cause.downcast_ref()).is_some_and(refused) {
        SendFault::RefusedStream
    } else if error.is_parse_too_large() {
        SendFault::HeadTooLarge
    } else if error.is_parse() {
        SendFault::NotHttp
    } else {
        SendFault::Broken
    };
    fault.into()
}

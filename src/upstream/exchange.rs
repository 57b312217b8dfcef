mod http1;
mod http2;
mod outgoing;
mod settling;

use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::client::conn::TrySendError;

pub(super) use http2::Upload;
pub(super) use outgoing::http1_request;

use super::body::{InBody, OutBody, Stopped};
use super::caller::Caller;
use super::ejection::Outcome;
use super::fields::strip_hop_by_hop;
use super::pool::Key;
use super::{Busy, Departure, DialFault, SendFault, Upstreams};
use crate::mesh::Endpoint;
use outgoing::http2_request;

/// The HTTP version an endpoint is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamHttp {
    /// HTTP/1.1
    Http1,
    /// HTTP/2: by prior knowledge (RFC 9113, 3.3), and by ALPN in TLS.
    Http2,
}

/// The head of an answer, and the endpoint that gave it.
pub type Sent = Result<(Arc<Endpoint>, Response<InBody>), SendFault>;

/// A fault, and the request where it provably never went out.
pub(super) struct Failed {
    pub(super) fault: SendFault,
    pub(super) unsent: Option<Box<Request<OutBody>>>,
}

impl Failed {
    pub(super) fn unsent(fault: SendFault, request: Request<OutBody>) -> Self {
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
        let departure = Departure::default();
        self.try_send(endpoint, version, request, &departure).await.map_err(|failed| failed.fault)
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
        let spare = if stick.is_some() { &[] } else { endpoints };
        self.send_first(first, spare, version, (request, &Departure::default())).await
    }

    /// Sends to `first`; where that cannot be reached and nothing was sent, to another one of `spare`, once.
    ///
    /// # Errors
    /// [`SendFault`]
    pub async fn send_first(
        &self,
        first: Arc<Endpoint>,
        spare: &[Arc<Endpoint>],
        version: UpstreamHttp,
        (request, departure): (Request<OutBody>, &Departure),
    ) -> Sent {
        let failed = match self.try_send(&first, version, request, departure).await {
            Ok(response) => return Ok((first, response)),
            Err(failed) => failed,
        };
        let others: Vec<_> = spare.iter().filter(|endpoint| endpoint.id != first.id).cloned().collect();
        // What a DestinationRule bounds it bounds for all of them.
        if matches!(failed.fault, SendFault::Dial(DialFault::Bounded)) {
            return Err(failed.fault);
        }
        let (SendFault::Dial(_), Some(request), Ok(second)) = (&failed.fault, failed.unsent, self.pick(&others, None))
        else {
            return Err(failed.fault);
        };
        let sent = self.try_send(&second, version, *request, departure).await;
        sent.map(|response| (second, response)).map_err(|failed| failed.fault)
    }

    async fn try_send(
        &self,
        endpoint: &Arc<Endpoint>,
        version: UpstreamHttp,
        request: Request<OutBody>,
        departure: &Departure,
    ) -> Result<Response<InBody>, Failed> {
        let key = Key::new(endpoint, version);
        let caller = request.extensions().get::<Caller>().copied();
        let busy = match self.begin(endpoint, version == UpstreamHttp::Http1).await {
            Ok(busy) => busy,
            Err(full) => return Err(Failed::unsent(full.into(), request)),
        };
        let leave = departure.to(endpoint, caller);
        let sent = match version {
            UpstreamHttp::Http1 => self.send_http1(endpoint, &key, http1_request(request)?, leave).await,
            UpstreamHttp::Http2 => self.send_http2(endpoint, &key, http2_request(request)?, leave).await,
        };
        leave.is_over();
        if sent.is_ok() {
            self.inner.live.reached(busy.at());
        }
        let outcome = sent.as_ref().map_or_else(|failed| failed.fault.outcome(), |answer| Some(outcome(answer)));
        if let (Some(outcome), Some(caller)) = (outcome, caller) {
            self.inner.live.services.heard(endpoint, outcome, caller);
        }
        Ok(sent?.map(|body| body.of(busy)))
    }

    /// A request to the endpoint begins, over a connection of its own or not.
    pub(super) async fn begin(&self, endpoint: &Endpoint, own_connection: bool) -> Result<Busy, DialFault> {
        let live = &self.inner.live;
        let busy = live.begin(endpoint)?;
        if endpoint.traffic.is_none() {
            return Ok(busy);
        }
        Ok(busy.by(live.services.request(endpoint, own_connection).await?))
    }

    fn drive(&self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        self.inner.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream HTTP connection ended");
            }
        });
    }
}

fn no_http(error: hyper::Error) -> DialFault {
    tracing::debug!(%error, "HTTP not set up");
    DialFault::Handshake
}

/// What an answer says of its server: its status, or what gRPC's status in the head is as one (`google.rpc.Code`).
fn outcome(response: &Response<InBody>) -> Outcome {
    let grpc = response.headers().get("grpc-status").and_then(|status| status.to_str().ok()?.parse().ok());
    Outcome::Status(match grpc {
        Some(2 | 13 | 15) => 500,
        Some(12) => 501,
        Some(14) => 503,
        Some(4) => 504,
        Some(0_u32..) | None => response.status().as_u16(),
    })
}

/// The response as it is passed on. A 101 that nobody asked for would turn the connection into something unread.
pub(super) fn accept(mut response: Response<InBody>) -> Result<Response<InBody>, SendFault> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(SendFault::NotHttp);
    }
    strip_hop_by_hop(response.headers_mut());
    Ok(response)
}

/// Tells what never went out from what may have been seen. hyper hands a request back only if it wrote nothing of it.
fn judge(mut error: TrySendError<Request<Upload>>) -> Failed {
    if let Some(request) = error.take_message() {
        return Failed::unsent(SendFault::Unsent, request.map(|upload| upload.body));
    }
    let error = error.into_error();
    tracing::debug!(%error, "no response from upstream");
    let refused = |cause: &h2::Error| cause.is_remote() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
    let cause = error.source();
    let fault = if cause.is_some_and(|cause| cause.is::<Stopped>()) {
        SendFault::CallerBody
    } else if cause.and_then(|cause| cause.downcast_ref()).is_some_and(refused) {
        SendFault::RefusedStream
    } else {
        SendFault::Broken
    };
    fault.into()
}

//! HTTP inside a tunnel: each request finds its target anew, and plain HTTP is decided on and streamed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Request as Outgoing, Response, StatusCode, Version};

use tokio_util::sync::CancellationToken;

use super::answer::{self, ProxyFault};
use super::authenticate::authenticate;
use super::beside::Listener;
use super::budget::Hold;
use super::custom::{self, Content, Sample, SampleFault, beginning};
use super::flow::{Uploading, flow, grpc_status, upload};
use super::leave::leave;
use super::route::{self, Lead, Stop};
use super::stages::{Asked, Permitted, Refused, Standing};
use super::{Shared, a2a, attempts, copies, mcp, note};
use crate::call::Call;
use crate::fault::Faulty;
use crate::id::Peer;
use crate::intake::{Answer, Body, BoxedIo, Handler, HeadFault, Place, Request, ResponseBody, Upgrade, text_body};
use crate::mesh::{PortProtocol, Target, TargetKey};
use crate::policy::{BodyTerms, Denial};
use crate::telemetry::{Operation, Protocol, RecordGuard, Site};
use crate::upstream::{Caller, Departure, NoEndpoint, OutBody, Upgraded, UpstreamHttp};
use crate::wire::jsonrpc::INVALID_REQUEST;
use crate::wire::mcp::{HEADER_MISMATCH, denial};
use crate::wire::path::Normalization;

/// Who calls, as Envoy says it.
pub(super) const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Answers the requests of one tunnel.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    key: Arc<TargetKey>,
    /// The target in the words of records: the same for every request of the tunnel.
    site: Arc<Site>,
    /// Cancelled when the tunnel should come to its end.
    leaving: CancellationToken,
}

impl Calls {
    pub(super) fn new(shared: &Arc<Shared>, peer: Arc<Peer>, target: &Target, leaving: CancellationToken) -> Self {
        let (key, site) = (Arc::new(target.key.clone()), note::site(target));
        Self { shared: Arc::clone(shared), peer, key, site, leaving }
    }

    pub(super) fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A record of a request to `target`.
    pub(super) fn record(&self, target: &Target) -> RecordGuard {
        let protocol = match target.protocol {
            PortProtocol::Mcp => Protocol::Mcp,
            PortProtocol::A2a => Protocol::A2a,
            PortProtocol::Http | PortProtocol::Undeclared | PortProtocol::Tcp => Protocol::Http,
        };
        let mut record = self.shared.telemetry.begin(&self.peer, protocol);
        record.site(&self.site);
        record
    }
}

impl Handler for Calls {
    async fn handle(&self, request: Request) -> Answer {
        let Some(target) = self.shared.published.current().get(&self.key) else {
            let record = self.shared.telemetry.begin(&self.peer, Protocol::Http);
            return answer::proxy_fault(record, ProxyFault::TargetGone);
        };
        if request.upgrade.is_some() && target.protocol.is_declared() {
            return answer::proxy_fault(self.record(&target), ProxyFault::Upgrade);
        }
        match target.protocol {
            PortProtocol::Mcp => mcp::serve(self, target, request).await,
            PortProtocol::A2a => Box::pin(a2a::serve(self, target, request)).await,
            PortProtocol::Http | PortProtocol::Undeclared => Box::pin(plain(self, target, request)).await,
            // The port became TCP while this connection was open: its requests are not for TCP rules.
            PortProtocol::Tcp => answer::proxy_fault(self.record(&target), ProxyFault::TargetGone),
        }
    }

    fn paths(&self) -> Normalization {
        self.shared.published.current().get(&self.key).map_or(Normalization::Strict, |target| target.paths)
    }

    fn place(&self) -> Option<Place> {
        match self.shared.streams.one(self.peer.id()) {
            Ok(place) => Some(Box::new(place)),
            Err(_full) => {
                self.shared.telemetry.metrics().fault(&NoEndpoint::ShareFull);
                None
            }
        }
    }

    fn fault(&self, fault: &HeadFault) -> Response<ResponseBody> {
        self.shared.telemetry.metrics().fault(fault);
        tracing::debug!(peer = %self.peer.id(), target = %self.key, %fault, "request refused before it was decoded");
        let status = fault.status();
        let mcp = self.shared.published.current().get(&self.key).is_some_and(|t| t.protocol == PortProtocol::Mcp);
        let mut response = if mcp {
            // A client of two eras takes a bare 4xx for an older server.
            let code = if status == StatusCode::BAD_REQUEST { HEADER_MISMATCH } else { INVALID_REQUEST };
            let mut response = Response::new(text_body(denial::error(None, code, &fault.to_string(), None)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        } else {
            Response::new(text_body(format!("{fault}\n")))
        };
        *response.status_mut() = status;
        response
    }
}

/// What goes out of a plain request.
struct Plain {
    body: Body,
    upgrade: Option<Upgrade>,
    version: Version,
}

impl Content for Plain {
    async fn sample(&mut self, terms: BodyTerms, hold: Hold) -> Result<Sample, SampleFault> {
        beginning(&mut self.body, terms, hold).await
    }

    fn version(&self) -> Version {
        self.version
    }
}

/// Serves one plain HTTP request.
pub(super) async fn plain(calls: &Calls, target: Arc<Target>, request: Request) -> Answer {
    let mut record = calls.record(&target);
    record.protocol(Protocol::Http);
    record.trace_parent(&request.head.headers);
    record.operation(Operation::of(&Call::Http, Some(&request.head)));
    let Request { head, version, upgrade, body } = request;
    let request = match authenticate(&target, head).await {
        Ok(request) => request,
        Err(fault) => return answer::bad_token(record, fault),
    };
    let body = Listener::of(calls, &target, (&request.head, version), request.claims.as_ref(), &record).hear(body);
    let asked = Asked::http(Arc::clone(&calls.peer), Arc::clone(&target), request);
    let mut decoded = asked.decoded(Call::Http, Plain { body, upgrade, version });
    if let Err(stopped) = custom::consult(&calls.shared, &mut decoded).await {
        return answer::stopped(record, &stopped);
    }
    let permitted = match decoded.authorize(&calls.shared.quotas) {
        Ok(permitted) => permitted,
        Err(refused) => return denied(record, &refused),
    };
    record.allowed(note::permit(permitted.permit()));
    Box::pin(forward(calls, permitted, record)).await
}

/// Sends what was permitted where it is to go, and its answer back.
async fn forward(calls: &Calls, mut permitted: Permitted<Plain>, mut record: RecordGuard) -> Answer {
    let mut lead = match route::lead(&calls.shared, &mut permitted).await {
        Ok(lead) => lead,
        Err(stop) => return strayed(record, stop),
    };
    let beyond = lead.beyond(permitted.parts().0);
    let routed = match permitted.route_to(&calls.shared.upstreams, &lead.to) {
        Ok(routed) => routed,
        Err(fault) => return answer::fault(record, &fault),
    };
    let (plain, endpoint, mut standing) = match routed.depart(&calls.shared.published, beyond) {
        Ok(departed) => departed,
        Err(overtaken) => return revoked(record, &overtaken.standing, overtaken.denial.as_ref()),
    };
    record.upstream(&endpoint.id, note::identity(&endpoint));
    let headers = standing.asked().head().map(|head| head.headers.clone()).unwrap_or_default();
    let dressed = outgoing(&calls.shared, standing.asked(), headers, Bytes::new())
        .and_then(|mut request| lead.dress(&mut request).map(|()| request));
    let Ok(mut request) = dressed else { return answer::proxy_fault(record, ProxyFault::Unsendable) };
    Caller::tell(&mut request, &lead.to, standing.asked().peer().id());
    let upgrades = plain.upgrade == Some(Upgrade::WebSocket);
    let copies = if upgrades { Vec::new() } else { lead.copies() };
    let body = copies::begin(&calls.shared, copies, &request, plain.body);
    let (body, mut uploading) = upload(body, record.meter());
    *request.body_mut() = body;
    if attempts::may_repeat(&request, lead.terms()) {
        uploading = Uploading::again();
    }
    if upgrades && standing.asked().target().protocol != PortProtocol::Mcp {
        return Box::pin(switch(calls, (standing, &lead), record, &endpoint, request)).await;
    }
    let undeclared = lead.to.protocol == PortProtocol::Undeclared && plain.version == Version::HTTP_2;
    let version = if undeclared { UpstreamHttp::Http2 } else { upstream_version(&lead.to) };
    let place = (&*lead.to, Arc::clone(&endpoint));
    // On the heap: this future is kept for as long as a server takes to answer, and would hold it twice.
    let departure = Departure::default();
    let sending = Box::pin(attempts::send(&calls.shared, place, version, (request, &departure), lead.terms()));
    let sent = tokio::select! {
        // What is no longer permitted does not go out where there comes to be a connection at the same time.
        biased;
        denial = uploading.revoked((&mut standing, &departure), &calls.shared) => {
            return revoked(record, &standing, denial.as_ref());
        }
        sent = sending => sent,
    };
    match sent {
        Some(Ok((endpoint, mut response))) => {
            record.upstream(&endpoint.id, note::identity(&endpoint));
            let mcp = [&lead.to, standing.asked().target()].iter().any(|target| target.protocol == PortProtocol::Mcp);
            if mcp && says_events(response.headers()) {
                return answer::proxy_fault(record, ProxyFault::BadAnswer);
            }
            answered(&standing, &lead, response.headers_mut());
            stream(calls, standing, record, response)
        }
        Some(Err(fault)) => {
            tracing::warn!(endpoint = %endpoint.id, reason = fault.reason(), %fault, "upstream failed");
            answer::fault(record, &fault)
        }
        None => answer::proxy_fault(record, ProxyFault::RouteTimeout),
    }
}

/// What is told of a request whose way led to no server.
fn strayed(mut record: RecordGuard, stop: Stop) -> Answer {
    match stop {
        Stop::Redirect(status, location) => answer::redirect(record, status, &location),
        Stop::Fault(fault) => answer::proxy_fault(record, fault),
        Stop::BadToken(fault) => answer::bad_token(record, fault),
        Stop::Denied(denial, to, told) => {
            record.denied(note::denial(&denial, &to));
            answer::refused(record, &denial, told.as_deref())
        }
        Stop::Unshown(stopped) => answer::stopped(record, &stopped),
    }
}

/// Whether an answer is, to any client, a stream of events. Of an MCP server such a stream holds messages, which nobody
/// would look at: it is asked for as one or not at all.
fn says_events(headers: &HeaderMap) -> bool {
    let says =
        |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().windows(12).any(|text| text == b"event-stream");
    headers.get_all(CONTENT_TYPE).iter().any(says)
}

/// The output, or none where it did not come in time.
pub(super) async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

fn denied(mut record: RecordGuard, refused: &Refused) -> Answer {
    record.denied(note::denial(&refused.denial, refused.asked.target()));
    let told = refused.asked.told().filter(|_| refused.denial.reason.is_of_provider());
    answer::refused(record, &refused.denial, told)
}

/// The request was still on its way when its call was no longer permitted: a server that has seen any of it sees that it is
/// not whole.
fn revoked(mut record: RecordGuard, standing: &Standing, denial: Option<&Denial>) -> Answer {
    if let Some(denial) = denial {
        record.denied(note::denial(denial, standing.asked().target()));
    }
    answer::proxy_fault(record, ProxyFault::Revoked)
}

fn stream(
    calls: &Calls,
    mut standing: Standing,
    mut record: RecordGuard,
    response: Response<crate::upstream::InBody>,
) -> Answer {
    let (parts, body) = response.into_parts();
    record.status(parts.status);
    grpc_status(&mut record, &parts.headers);
    // Other bodies have an end of their own, or the one that gRPC's caller gave them.
    if says_events(&parts.headers) {
        standing.lasts();
    }
    let body = flow(Arc::clone(&calls.shared), standing, record, body);
    Answer::Response(Response::from_parts(parts, body))
}

/// Makes of an answer's headers what providers say, and then what its way says.
fn answered(standing: &Standing, lead: &Lead, headers: &mut HeaderMap) {
    standing.asked().downstream().iter().for_each(|edits| edits.apply(headers));
    lead.answered(headers);
}

/// `websocket`: authorized as the GET that it is, then bytes.
async fn switch(
    calls: &Calls,
    (mut standing, lead): (Standing, &Lead),
    mut record: RecordGuard,
    endpoint: &Arc<crate::mesh::Endpoint>,
    request: Outgoing<OutBody>,
) -> Answer {
    let protocol = HeaderValue::from_static("websocket");
    let departure = Departure::default();
    let asking = Box::pin(calls.shared.upstreams.upgrade(endpoint, &protocol, request, &departure));
    let asked = match leave(&calls.shared, (&mut standing, &departure), (None, None), asking).await {
        Ok(asked) => asked,
        Err(denial) => return revoked(record, &standing, denial.as_ref()),
    };
    match asked {
        Some(Ok(Upgraded::Switched { mut head, io, busy })) => {
            answered(&standing, lead, head.headers_mut());
            record.status(StatusCode::SWITCHING_PROTOCOLS);
            let standing = standing.at(busy);
            let io: BoxedIo = Box::new(super::watched::Watched::new(io, Arc::clone(&calls.shared), standing, record));
            Answer::Switch { head, io }
        }
        Some(Ok(Upgraded::Declined(mut response))) => {
            answered(&standing, lead, response.headers_mut());
            stream(calls, standing, record, response)
        }
        Some(Err(fault)) => answer::fault(record, &fault),
        None => answer::proxy_fault(record, ProxyFault::RouteTimeout),
    }
}

/// The request that goes out: the method, path and host that were decided on, with these fields, as the way of the call
/// changes them, and this body. Where servers are to be told who calls, they are told whose certificate was verified; what a
/// caller says of it never got this far.
///
/// # Errors
/// [`ProxyFault::Unsendable`] where path or host cannot be written: never something else in their place.
pub(super) fn outgoing(
    shared: &Shared,
    asked: &Asked,
    mut headers: HeaderMap,
    body: Bytes,
) -> Result<Outgoing<OutBody>, ProxyFault> {
    let mut request = Outgoing::new(OutBody::full(body));
    let head = asked.head().ok_or(ProxyFault::Unsendable)?;
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.target().parse().map_err(|_no_uri| ProxyFault::Unsendable)?;
    asked.dress(&mut headers);
    headers.insert(HOST, HeaderValue::from_str(&head.host).map_err(|_no_host| ProxyFault::Unsendable)?);
    if shared.tells_caller {
        let caller = format!("URI={}", asked.peer().id().uri());
        headers.insert(XFCC, HeaderValue::from_str(&caller).map_err(|_no_value| ProxyFault::Unsendable)?);
    }
    *request.headers_mut() = headers;
    Caller::tell(&mut request, asked.target(), asked.peer().id());
    Ok(request)
}

/// The version that a target's endpoints are spoken to in.
pub(super) fn upstream_version(target: &Target) -> UpstreamHttp {
    if target.upstream_h2() { UpstreamHttp::Http2 } else { UpstreamHttp::Http1 }
}

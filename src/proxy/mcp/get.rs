//! The server's own stream (GET) and the end of a session (DELETE): base methods, decided like any call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use super::super::Shared;
use super::super::answer::{self, ProxyFault};
use super::super::authenticate::Authenticated;
use super::super::custom::{self, Stopped};
use super::super::http::{Calls, outgoing, upstream_version};
use super::super::labels::Ticket;
use super::super::leave::leave;
use super::super::note;
use super::super::route::{self, Choice};
use super::super::sessions::Bound;
use super::super::stages::{Asked, Decoded, Permitted, Standing};
use super::exchange::Exchange;
use super::pump::{Pump, Waits};
use super::reply::{Awaited, Reply};
use crate::call::{Call, McpCall};
use crate::fault::Faulty;
use crate::intake::{Answer, Request, no_body};
use crate::mesh::{Taken, Target};
use crate::policy::Denial;
use crate::telemetry::{Operation, RecordGuard};
use crate::upstream::{Departure, InBody, NoEndpoint};
use crate::wire::mcp::{HeaderFault, McpHead, ResponseForm, forward_stream_headers, requested_version};

/// GET: the stream, decoded, or 405, which every client takes for "no stream here"; 404 only for an unknown session.
pub(super) async fn stream(calls: &Calls, target: Arc<Target>, request: Request) -> Answer {
    let resumed = request.head.headers.contains_key(super::LAST_EVENT_ID);
    let (reply, response) = match ask(calls, target, request).await {
        Ok(sent) => sent,
        Err(Unsent::Answered(answer)) => return answer,
        Err(Unsent::Refused(record)) => {
            return answer::text(record, StatusCode::METHOD_NOT_ALLOWED, "no stream is offered here");
        }
        Err(Unsent::Failed(record, _)) => return answer::mcp_no_stream(record),
    };
    let (parts, body) = response.into_parts();
    let events = matches!(ResponseForm::read(&parts.headers), Ok(ResponseForm::EventStream));
    if parts.status == StatusCode::NOT_FOUND && reply.session.is_some() || parts.status == StatusCode::UNAUTHORIZED {
        return reply.failure(&parts, body).await;
    }
    if !parts.status.is_success() || !events {
        return answer::mcp_proxy_fault(reply.record, None, ProxyFault::NoStream);
    }
    let mut reply = reply;
    reply.record.status(parts.status);
    let headers = reply.passable(parts.headers, "text/event-stream");
    let mut response = Response::new(Pump::new(reply, Waits::Session { resumed }, body).into_body());
    *response.headers_mut() = headers;
    Answer::Response(response)
}

/// DELETE: the server's answer without its body; the session is forgotten once it has ended.
pub(super) async fn end(calls: &Calls, target: Arc<Target>, request: Request) -> Answer {
    let (mut reply, response) = match ask(calls, target, request).await {
        Ok(sent) => sent,
        Err(Unsent::Answered(answer)) => return answer,
        Err(Unsent::Refused(record)) => {
            return answer::text(record, StatusCode::METHOD_NOT_ALLOWED, "sessions do not end here");
        }
        Err(Unsent::Failed(record, fault)) => return answer::mcp_fault(record, None, &*fault),
    };
    let status = response.status();
    if let Some(bound) = reply.session.take().filter(|_| status.is_success() || status == StatusCode::NOT_FOUND) {
        reply.shared.sessions.end(&bound);
    }
    reply.record.status(status);
    let mut answered = Response::new(no_body());
    *answered.status_mut() = status;
    Answer::Response(answered)
}

/// Why nothing was sent.
enum Unsent {
    /// The caller has its answer.
    Answered(Answer),
    /// Policy.
    Refused(RecordGuard),
    /// The way to the upstream; recorded.
    Failed(RecordGuard, Box<dyn Faulty + Send + Sync>),
}

/// Headers that let nothing be decided.
fn unheaded(calls: &Calls, target: &Target, request: &Request, fault: HeaderFault) -> Unsent {
    let mut record = calls.record(target);
    record.failed(&fault);
    if request.head.method == http::Method::GET {
        return Unsent::Failed(record, Box::new(fault));
    }
    let body = fault.body(None, requested_version(&request.head.headers));
    Unsent::Answered(answer::json(record, fault.status(), body))
}

/// Whether what is to go on, if anything, is a stream of the caller's own session; its server then reads its own event id.
fn resumes(headers: &mut HeaderMap, bound: &Bound) -> bool {
    let mut after = headers.get_all(super::LAST_EVENT_ID).iter();
    let own = match (after.next(), after.next()) {
        (None, _) => return true,
        (Some(id), None) => std::str::from_utf8(id.as_bytes()).ok().and_then(|id| bound.session.resumes(id)),
        (Some(_), Some(_)) => None,
    };
    let own = own.and_then(|own| HeaderValue::from_bytes(own.as_bytes()).ok());
    own.is_some_and(|own| headers.insert(super::LAST_EVENT_ID, own).is_some())
}

/// Asks providers, then decides; none where policy refused.
async fn permit(
    shared: &Shared,
    mut decoded: Decoded<HeaderMap>,
    record: &mut RecordGuard,
) -> Result<Permitted<HeaderMap>, Option<Stopped>> {
    custom::consult(shared, &mut decoded).await.map_err(Some)?;
    match decoded.authorize(&shared.quotas) {
        Ok(permitted) => {
            record.allowed(note::permit(permitted.permit()));
            Ok(permitted)
        }
        Err(refused) => {
            record.denied(note::denial(&refused.denial, refused.asked.target()));
            Err(None)
        }
    }
}

fn failed(mut record: RecordGuard, fault: impl Faulty + Send + Sync + 'static) -> Unsent {
    record.failed(&fault);
    Unsent::Failed(record, Box::new(fault))
}

/// The session is none any longer.
fn gone(record: RecordGuard) -> Unsent {
    Unsent::Answered(answer::mcp_proxy_fault(record, None, ProxyFault::SessionUnknown))
}

/// What a stream is asked for with; none where it would go on with what was never this session's.
fn stream_headers(exchange: &Exchange) -> Option<HeaderMap> {
    let mut headers = exchange.head.headers.clone();
    forward_stream_headers(&mut headers, &exchange.mcp);
    match &exchange.session {
        // Whose stream would go on? An event id is of a session, and this caller has none.
        None => drop(headers.remove(super::LAST_EVENT_ID)),
        Some(bound) if !resumes(&mut headers, bound) => return None,
        Some(_) => {}
    }
    Some(headers)
}

async fn ask(calls: &Calls, target: Arc<Target>, request: Request) -> Result<(Reply, Response<InBody>), Unsent> {
    let mcp = McpHead::read(&request.head.headers).map_err(|fault| unheaded(calls, &target, &request, fault))?;
    let exchange =
        Exchange::open(calls, target, request.head, mcp).await.map_err(|answer| Unsent::Answered(*answer))?;
    let version = exchange.mcp.version().map(|version| version.as_str().into());
    let call = McpCall::base(exchange.head.method.as_str(), version, exchange.session_digest());
    let Some(headers) = stream_headers(&exchange) else { return Err(failed(exchange.record, ProxyFault::NoStream)) };
    let holder = exchange.holder();
    let Exchange { shared, peer, target, head, sent, claims, session, mut record, leaving, .. } = exchange;
    record.operation(Operation::of(&Call::Mcp(call.clone()), Some(&head)));
    let awaited = Awaited { id: None, sent: None, call: call.clone() };
    let stick = session.as_ref().map(|bound| Arc::clone(&bound.key.endpoint));
    let leg = route::leg(&shared, &target, &head, Choice::new(stick.as_deref(), false));
    // A session of 2024-11-05 begins by its stream.
    Ticket::renew(&shared.owners, &leg.target.rules).await;
    let labels = Ticket::new(&shared.owners, &leg.target.rules, (session.as_ref(), &holder), session.is_none());
    let Ok(labels) = labels else { return Err(gone(record)) };
    let request = Authenticated { head, sent, claims };
    let asked = Asked::http(peer, Arc::clone(&leg.target), request).on(leg.taken).labelled(labels);
    let permitted = match permit(&shared, asked.decoded(Call::Mcp(call), headers), &mut record).await {
        Ok(permitted) => permitted,
        Err(Some(stopped)) => return Err(Unsent::Answered(answer::mcp_stopped(record, None, &stopped))),
        Err(None) => return Err(Unsent::Refused(record)),
    };
    if let Some(fault) = leg.fault {
        return Err(failed(record, fault));
    }
    let routed = match permitted.route(&shared.upstreams, stick.as_deref()) {
        Ok(routed) => routed,
        Err(NoEndpoint::Gone) if session.is_some() => return Err(gone(record)),
        Err(fault) => return Err(failed(record, fault)),
    };
    let (headers, endpoint, mut standing): (_, _, Standing) = match routed.depart(&shared.published, None) {
        Ok(departed) => departed,
        Err(overtaken) => return Err(revoked(record, &overtaken.standing, overtaken.denial.as_ref())),
    };
    record.upstream(&endpoint.id, note::identity(&endpoint));
    let request = match outgoing(&shared, standing.asked(), headers, Bytes::new()) {
        Ok(request) => request,
        Err(fault) => return Err(Unsent::Failed(record, Box::new(fault))),
    };
    let spare = if session.is_some() { &[] } else { leg.target.endpoints.as_slice() };
    let (version, departure) = (upstream_version(standing.asked().target()), Departure::default());
    let sending = shared.upstreams.send_first(endpoint, spare, version, (request, &departure));
    let (of_route, most) = (standing.asked().way().and_then(Taken::timeout), shared.mcp_answer);
    // A stream lasts; its head comes at once, or the server would keep what it was asked with for ever.
    let going = (&mut standing, &departure);
    let sent = match leave(&shared, going, (of_route, Some(most)), Box::pin(sending)).await {
        Ok(sent) => sent,
        Err(denial) => return Err(revoked(record, &standing, denial.as_ref())),
    };
    match sent {
        Some(Ok((endpoint, response))) => {
            record.upstream(&endpoint.id, note::identity(&endpoint));
            let hold = shared.budget.hold(standing.asked().peer().id());
            let (due, begun) = (Instant::now() + most, None);
            Ok((Reply { shared, session, record, awaited, endpoint, standing, hold, leaving, due, begun }, response))
        }
        Some(Err(fault)) => Err(failed(record, fault)),
        None => Err(failed(record, late(of_route))),
    }
}

fn revoked(mut record: RecordGuard, standing: &Standing, denial: Option<&Denial>) -> Unsent {
    note::revoked(&mut record, standing, denial);
    Unsent::Refused(record)
}

/// Whose patience ended: a route's own, where it has one.
fn late(of_route: Option<Duration>) -> ProxyFault {
    if of_route.is_some() { ProxyFault::RouteTimeout } else { ProxyFault::AnswerTimeout }
}

//! Stage 10: what a caller is told. The only place that chooses a status; nothing internal goes out from here.

pub(super) mod a2a;
mod fault;
mod provider;
mod route;
mod token;

use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

pub(super) use fault::ProxyFault;
pub(super) use provider::{mcp_stopped, refused, stopped};
pub(super) use route::redirect;
use token::challenged;
pub(super) use token::{bad_token, mcp_bad_token};

use super::mcp::Manner;
use super::sessions::Bound;
use super::stages::Refused;
use crate::call::{Call, McpCall, McpObject};
use crate::document::agent_policy::DenialForm;
use crate::fault::{Blame, Faulty, Stage};
use crate::intake::{Answer, text_body};
use crate::policy::{Denial, Reason};
use crate::telemetry::RecordGuard;
use crate::wire::jsonrpc::{INVALID_PARAMS, Id};
use crate::wire::mcp::{HEADER_MISMATCH, UnknownName, denial};

/// Under which an operator finds the record of a refused call.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-agent-waypoint-request-id");
/// Methods of an MCP endpoint that offers no stream.
const ALLOWED: HeaderValue = HeaderValue::from_static("POST, DELETE");
/// JSON-RPC's internal error.
const INTERNAL_ERROR: i64 = -32603;
/// JSON-RPC's invalid request; what MCP servers also say of a session that they do not know (the TypeScript and Python
/// SDKs alike).
const INVALID: i64 = -32600;

/// A whole JSON answer; the record ends with it.
pub(super) fn json(mut record: RecordGuard, status: StatusCode, body: Vec<u8>) -> Answer {
    record.status(status);
    record.meter().sent(body.len());
    let mut response = Response::new(text_body(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, ALLOWED);
    }
    name_record(&record, &mut response);
    Answer::Response(response)
}

/// A status with a line of text; the record ends with it.
pub(super) fn text(mut record: RecordGuard, status: StatusCode, text: &str) -> Answer {
    record.status(status);
    let body = if status == StatusCode::ACCEPTED { String::new() } else { format!("{text}\n") };
    record.meter().sent(body.len());
    let mut response = Response::new(text_body(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    match status {
        StatusCode::ACCEPTED => {}
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, ALLOWED);
        }
        _ => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
    }
    name_record(&record, &mut response);
    Answer::Response(response)
}

/// A fault of ours on the way, for a plain HTTP caller.
pub(super) fn fault(mut record: RecordGuard, fault: &dyn Faulty) -> Answer {
    record.failed(fault);
    let status = status_of(fault);
    text(record, status, told(fault))
}

/// One of ours, by its own status.
pub(super) fn proxy_fault(mut record: RecordGuard, fault: ProxyFault) -> Answer {
    record.failed(&fault);
    text(record, fault.status(), &fault.to_string())
}

/// A fault on the way, for an MCP caller whose request can be named.
pub(super) fn mcp_fault(mut record: RecordGuard, id: Option<&Id>, fault: &dyn Faulty) -> Answer {
    record.failed(fault);
    let status = status_of(fault);
    json(record, status, denial::error(id, INTERNAL_ERROR, told(fault), None))
}

/// One of ours, for an MCP caller.
pub(super) fn mcp_proxy_fault(mut record: RecordGuard, id: Option<&Id>, fault: ProxyFault) -> Answer {
    record.failed(&fault);
    if fault == ProxyFault::UnexpectedResponse {
        // Clients take any 4xx on a message that is not a request as the end of their session.
        return text(record, StatusCode::ACCEPTED, "");
    }
    let code = match fault.status() {
        _ if fault == ProxyFault::HeaderMismatch => HEADER_MISMATCH,
        _ if matches!(fault, ProxyFault::TaskUnknown | ProxyFault::CursorUnknown) => INVALID_PARAMS,
        status if status.is_server_error() => INTERNAL_ERROR,
        _ => INVALID,
    };
    let status = match (fault, id) {
        // As with a refusal: clients take a 5xx for the end of their session, which goes on with its next request.
        (ProxyFault::AnswerTimeout | ProxyFault::Unsealed, Some(_)) => StatusCode::OK,
        _ => fault.status(),
    };
    json(record, status, denial::error(id, code, &fault.to_string(), None))
}

/// No stream for an MCP caller; why is in the record.
pub(super) fn mcp_no_stream(record: RecordGuard) -> Answer {
    let none = ProxyFault::NoStream;
    json(record, none.status(), denial::error(None, INVALID, &none.to_string(), None))
}

/// Policy refused a plain HTTP request: 429 where it may be made later (RFC 6585 section 4), else 403.
pub(super) fn denied(record: RecordGuard, denial: &Denial) -> Answer {
    let Some(retry) = denial.retry else {
        let line = format!("access denied by policy (request {})", record.request_id());
        return text(record, StatusCode::FORBIDDEN, &line);
    };
    let line = format!("too many calls, by policy (request {}); retry in {} s", record.request_id(), seconds(retry));
    match text(record, StatusCode::TOO_MANY_REQUESTS, &line) {
        Answer::Response(mut response) => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(retry)));
            Answer::Response(response)
        }
        other @ (Answer::Switch { .. } | Answer::Reset) => other,
    }
}

/// Whole seconds, after which it is surely over.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Policy refused an MCP request: HTTP 200 and a JSON-RPC error with the exact id, by which the caller's session lives
/// on. 403 only where there is no session yet and nothing that this caller could send would ever be permitted; 401 where it
/// may not even begin without a token, which is how an MCP client learns that it needs one.
pub(super) fn mcp_denied(record: RecordGuard, id: &Id, refused: &Refused, likeness: &Likeness) -> Answer {
    let Call::Mcp(call) = &refused.call else { return denied(record, &refused.denial) };
    let facts = refused.asked.facts(&refused.call);
    let hidden = refused.denial.form == DenialForm::Hidden;
    let hopeless = call.session.is_none() && !refused.asked.target().rules.may_ever_admit(&facts);
    let status = if hopeless { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let body = refusal(&record, id, call, &refused.denial, likeness.wording.as_ref());
    if !hopeless && call.session.is_none() && matches!(call.object, McpObject::Base) && wants_token(refused) {
        return challenged(json(record, StatusCode::UNAUTHORIZED, body), "Bearer");
    }
    if hidden && !hopeless { as_server(record, body, likeness) } else { json(record, status, body) }
}

/// Whether rules refused somebody who sent no token where tokens are verified.
fn wants_token(refused: &Refused) -> bool {
    let tokenless = refused.asked.target().tokens.is_some() && refused.asked.claims().is_none();
    tokenless && !matches!(refused.denial.reason, Reason::LimitReached | Reason::LimitsFull)
}

/// As the target's servers answer a name that they do not have.
#[derive(Debug, Default)]
pub(super) struct Likeness {
    /// What they say.
    pub(super) wording: Option<UnknownName>,
    /// In which form.
    pub(super) manner: Option<Arc<Manner>>,
    /// The caller's session, whose id some of them repeat.
    pub(super) session: Option<Bound>,
}

/// In the server's own form, and without the record's id, which would say that it was not the server.
fn as_server(mut record: RecordGuard, body: Vec<u8>, likeness: &Likeness) -> Answer {
    record.status(StatusCode::OK);
    record.meter().sent(body.len());
    let (fields, body) = match &likeness.manner {
        Some(manner) => manner.dress(body, likeness.session.as_ref()),
        None => (HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]), text_body(body)),
    };
    let mut response = Response::new(body);
    *response.headers_mut() = fields;
    Answer::Response(response)
}

/// What a refused MCP request is told, as one message: for a stream that has begun.
pub(super) fn mcp_refusal(record: &RecordGuard, id: &Id, call: &McpCall, denial: &Denial) -> Vec<u8> {
    refusal(record, id, call, denial, None)
}

fn refusal(record: &RecordGuard, id: &Id, call: &McpCall, refused: &Denial, wording: Option<&UnknownName>) -> Vec<u8> {
    let request_id = record.request_id();
    let told = denial::Disclosure {
        reason: refused.reason.as_str(),
        rule: refused.rule.as_ref().map(|rule| &*rule.rule),
        policy: refused.rule.as_ref().map(|rule| &*rule.policy),
        request_id: &request_id,
        retry: refused.retry.map(seconds),
    };
    match refused.form {
        DenialForm::Hidden => denial::hidden(id, call, wording),
        DenialForm::ToolError if &*call.method == "tools/call" => denial::tool_error(id, call, &told.sentence()),
        DenialForm::ToolError | DenialForm::Disclosed | DenialForm::Auto => denial::disclosed(id, &told),
    }
}

/// The status for a fault of another stage.
fn status_of(fault: &dyn Faulty) -> StatusCode {
    match (fault.blame(), fault.stage()) {
        (Blame::Caller, _) => match fault.reason() {
            "body_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
            "body_timeout" => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        },
        (Blame::Upstream, Stage::Forward) => StatusCode::BAD_GATEWAY,
        (Blame::Upstream | Blame::Waypoint, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Blame::Policy, _) => StatusCode::FORBIDDEN,
    }
}

/// What the caller may know of a fault: whose it was, in words that hold nothing of ours.
fn told(fault: &dyn Faulty) -> &'static str {
    match (fault.blame(), fault.stage()) {
        (Blame::Caller, _) => "the request cannot be read",
        (Blame::Policy, _) => "access denied by policy",
        (Blame::Upstream, Stage::Forward) => "the upstream failed",
        (Blame::Upstream, _) => "the upstream cannot be reached",
        (Blame::Waypoint, _) => "the waypoint cannot serve this now",
    }
}

fn name_record<B>(record: &RecordGuard, response: &mut Response<B>) {
    if let Ok(id) = HeaderValue::from_str(&record.request_id()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

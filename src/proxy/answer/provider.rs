//! What a caller is told of a provider that was asked about its call.

use http::Response;

use super::{
    ProxyFault, bad_token, denied, fault, mcp_bad_token, mcp_fault, mcp_proxy_fault, name_record, proxy_fault, text,
};
use crate::intake::{Answer, text_body};
use crate::policy::Denial;
use crate::proxy::custom::{SampleFault, Stopped, Told};
use crate::telemetry::RecordGuard;
use crate::wire::jsonrpc::Id;

/// A provider refused a plain HTTP request in words of its own; without them, policy did.
pub(in crate::proxy) fn refused(mut record: RecordGuard, denial: &Denial, told: Option<&Told>) -> Answer {
    let Some(Told { status, headers, body }) = told else { return denied(record, denial) };
    if body.is_empty() && headers.is_empty() {
        let line = format!("access denied by policy (request {})", record.request_id());
        return text(record, *status, &line);
    }
    record.status(*status);
    record.meter().sent(body.len());
    let mut response = Response::new(text_body(body.clone()));
    *response.status_mut() = *status;
    response.headers_mut().clone_from(headers);
    name_record(&record, &mut response);
    Answer::Response(response)
}

/// A call that ended while providers were asked, for a plain HTTP caller.
pub(in crate::proxy) fn stopped(record: RecordGuard, stopped: &Stopped) -> Answer {
    match stopped {
        Stopped::Content(SampleFault::Body(body)) => fault(record, body),
        Stopped::Content(SampleFault::OverBudget) => proxy_fault(record, ProxyFault::OverBudget),
        Stopped::Token(token) => bad_token(record, *token),
    }
}

/// A call that ended while providers were asked, for an MCP caller.
pub(in crate::proxy) fn mcp_stopped(record: RecordGuard, id: Option<&Id>, stopped: &Stopped) -> Answer {
    match stopped {
        Stopped::Content(SampleFault::Body(body)) => mcp_fault(record, id, body),
        Stopped::Content(SampleFault::OverBudget) => mcp_proxy_fault(record, id, ProxyFault::OverBudget),
        Stopped::Token(token) => mcp_bad_token(record, *token),
    }
}

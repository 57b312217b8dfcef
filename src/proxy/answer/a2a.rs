//! What an A2A caller is told, in the words of its binding.

use http::{Response, StatusCode};

use super::{ProxyFault, name_record, status_of, told as what_is_told};
use crate::call::A2aBinding;
use crate::document::agent_policy::DenialForm;
use crate::fault::Faulty;
use crate::intake::{Answer, no_body, text_body};
use crate::policy::{Reason, TokenFault};
use crate::proxy::custom::{SampleFault, Stopped};
use crate::proxy::stages::Refused;
use crate::telemetry::RecordGuard;
use crate::wire::a2a::DecodeFault;
use crate::wire::a2a::denial::{self, Details, Saying, Told};
use crate::wire::jsonrpc::Id;

/// Who waits for an answer, and how it is written.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Asker {
    /// The binding.
    pub(in crate::proxy) binding: A2aBinding,
    /// The id that an answer in JSON-RPC has.
    pub(in crate::proxy) id: Option<Id>,
}

/// The request did not decode.
pub(in crate::proxy) fn undecoded(mut record: RecordGuard, binding: A2aBinding, fault: &DecodeFault) -> Answer {
    record.failed(fault);
    let request_id = record.request_id();
    let details = Details { reason: Some(fault.reason()), request_id: Some(&request_id), ..Details::default() };
    let told = denial::fault(binding, fault, &details);
    sent(record, told)
}

/// Policy refused. What is hidden looks like a task, or an operation, that does not exist.
pub(in crate::proxy) fn denied(record: RecordGuard, asker: &Asker, refused: &Refused) -> Answer {
    let denial = &refused.denial;
    let request_id = record.request_id();
    let details = Details {
        reason: Some(denial.reason.as_str()),
        rule: denial.rule.as_ref().map(|rule| &*rule.rule),
        policy: denial.rule.as_ref().map(|rule| &*rule.policy),
        request_id: Some(&request_id),
        retry: denial.retry.map(super::seconds),
    };
    let names_task = matches!(&refused.call, crate::call::Call::A2a(call) if call.named().next().is_some());
    let told = match denial.form {
        DenialForm::Hidden if names_task || denial.reason == Reason::NotOwner => {
            denial::tell(asker.binding, asker.id.as_ref(), Saying::TaskNotFound, "Task not found", &Details::default())
        }
        DenialForm::Hidden => {
            denial::tell(asker.binding, asker.id.as_ref(), Saying::Unknown, "Method not found", &Details::default())
        }
        DenialForm::Auto | DenialForm::Disclosed | DenialForm::ToolError => {
            let text = format!("Refused by policy: {} (request {request_id})", denial.reason.as_str());
            let saying = if denial.retry.is_some() { Saying::TooMany } else { Saying::Denied };
            denial::tell(asker.binding, asker.id.as_ref(), saying, &text, &details)
        }
    };
    sent(record, told)
}

/// A fault on the way.
pub(in crate::proxy) fn fault(mut record: RecordGuard, asker: &Asker, fault: &dyn Faulty) -> Answer {
    record.failed(fault);
    let saying = match status_of(fault) {
        StatusCode::PAYLOAD_TOO_LARGE => Saying::TooLarge,
        StatusCode::REQUEST_TIMEOUT => Saying::TooSlow,
        StatusCode::BAD_GATEWAY => Saying::BadAnswer,
        StatusCode::FORBIDDEN => Saying::Denied,
        StatusCode::BAD_REQUEST => Saying::Invalid,
        _ => Saying::Unavailable,
    };
    tell(record, asker, saying, what_is_told(fault))
}

/// One of ours.
pub(in crate::proxy) fn proxy_fault(mut record: RecordGuard, asker: &Asker, fault: ProxyFault) -> Answer {
    record.failed(&fault);
    let saying = match fault.status() {
        StatusCode::BAD_GATEWAY => Saying::BadAnswer,
        StatusCode::FORBIDDEN => Saying::Denied,
        StatusCode::NOT_FOUND => Saying::Unknown,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT => {
            Saying::Unavailable
        }
        _ => Saying::Invalid,
    };
    tell(record, asker, saying, &fault.to_string())
}

/// The token is not valid; a gRPC caller reads no 401.
pub(in crate::proxy) fn bad_token(mut record: RecordGuard, binding: A2aBinding, fault: TokenFault) -> Answer {
    let asker = Asker { binding, id: None };
    if fault == TokenFault::NoKeys {
        return self::fault(record, &asker, &fault);
    }
    if binding != A2aBinding::Grpc {
        return super::bad_token(record, fault);
    }
    record.failed(&fault);
    tell(record, &asker, Saying::Unauthenticated, "the bearer token is not valid")
}

/// A call that ended while providers were asked.
pub(in crate::proxy) fn stopped(record: RecordGuard, asker: &Asker, stopped: &Stopped) -> Answer {
    match stopped {
        Stopped::Content(SampleFault::Body(body)) => fault(record, asker, body),
        Stopped::Content(SampleFault::OverBudget) => proxy_fault(record, asker, ProxyFault::OverBudget),
        Stopped::Token(token) => bad_token(record, asker.binding, *token),
    }
}

fn tell(record: RecordGuard, asker: &Asker, saying: Saying, text: &str) -> Answer {
    let request_id = record.request_id();
    let details = Details { request_id: Some(&request_id), ..Details::default() };
    let told = denial::tell(asker.binding, asker.id.as_ref(), saying, text, &details);
    sent(record, told)
}

fn sent(mut record: RecordGuard, told: Told) -> Answer {
    record.status(told.status);
    if let Some(status) = told.grpc {
        record.grpc_status(status);
    }
    record.meter().sent(told.body.len());
    let body = if told.body.is_empty() { no_body() } else { text_body(told.body) };
    let mut response = Response::new(body);
    *response.status_mut() = told.status;
    *response.headers_mut() = told.headers;
    name_record(&record, &mut response);
    Answer::Response(response)
}

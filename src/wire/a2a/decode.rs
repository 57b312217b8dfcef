//! One call from head and body, whatever the binding.

use http::Method;

use super::fault::{Cause, DecodeFault, HeadFault, MessageFault};
use super::head::{self, Media};
use super::rest::{self, Rest};
use super::route::Route;
use super::shapes::{self, Family};
use super::view::{self, agree};
use super::{from_json, from_proto, names};
use crate::call::{A2aBinding, A2aCall, A2aOperation as Op, A2aVersion, HttpHead, Object, Value};
use crate::wire::jsonrpc::{Body, Id, Message};
use crate::wire::{grpc, json};

/// A call as it was decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The call.
    pub call: A2aCall,
    /// The JSON-RPC id.
    pub id: Option<Id>,
}

/// Decodes the request whose head was routed to `route`. The bytes of `body` are what may be forwarded.
///
/// # Errors
/// [`DecodeFault`] for everything that is not one call with one meaning.
pub fn decode(route: &Route, head: &HttpHead, body: &[u8]) -> Result<Decoded, DecodeFault> {
    let version = head::version(&head.headers)?;
    let mut decoded = match route {
        Route::JsonRpc => json_rpc(head, version, body)?,
        Route::Rest(rest) => Decoded { call: http_json(rest, head, version, body)?, id: None },
        Route::Grpc { operation, version: package } => {
            if version.is_some_and(|version| version != *package) {
                return Err(DecodeFault::new(MessageFault::VersionMismatch, None));
            }
            Decoded { call: protobuf(*operation, *package, body)?, id: None }
        }
    };
    decoded.call.extensions = head::extensions(&head.headers)?;
    Ok(decoded)
}

/// What `A2A-Version` says, which absent is 0.3 (section 3.6.2).
fn said(version: Option<A2aVersion>) -> A2aVersion {
    version.unwrap_or(A2aVersion::V0_3)
}

fn json_rpc(head: &HttpHead, version: Option<A2aVersion>, body: &[u8]) -> Result<Decoded, DecodeFault> {
    need_json(head)?;
    // The version may stand there by the specification; agents do not read it there.
    let versioned =
        |pair: &str| rest::percent_decoded(pair, true).is_none_or(|pair| pair.to_ascii_lowercase().contains("version"));
    if head.query.as_deref().unwrap_or_default().split('&').any(versioned) {
        return Err(HeadFault::Query.into());
    }
    let tree = json::parse_call(body).map_err(|fault| DecodeFault::new(Cause::Json(fault), None))?;
    let id = Message::readable_id(&tree);
    let fault = |cause: Cause| DecodeFault::new(cause, id.as_ref());
    let message = Message::read(&tree).map_err(|envelope| fault(Cause::Envelope(envelope)))?;
    let (method, params) = match message.body {
        Body::Request { method, params } => (method, params),
        Body::Notification { .. } => return Err(fault(MessageFault::Notification.into())),
        Body::Result(_) | Body::Error(_) => return Err(fault(MessageFault::Response.into())),
    };
    let (operation, named) = names::method(method).ok_or_else(|| fault(MessageFault::UnknownMethod.into()))?;
    if named != said(version) {
        return Err(fault(MessageFault::VersionMismatch.into()));
    }
    let family = if named == A2aVersion::V1_0 { Family::V1 } else { Family::Rpc03 };
    let call = A2aCall::new(operation, A2aBinding::JsonRpc, named);
    let empty = Object::new();
    let call = of_json(call, family, params.unwrap_or(&empty)).map_err(fault)?;
    Ok(Decoded { call, id })
}

fn need_json(head: &HttpHead) -> Result<(), HeadFault> {
    if head::media(&head.headers)? == Some(Media::Json) { Ok(()) } else { Err(HeadFault::ContentType) }
}

fn of_json(mut call: A2aCall, family: Family, params: &Object) -> Result<A2aCall, Cause> {
    let shape = shapes::request(family, call.operation).ok_or(MessageFault::UnknownMethod)?;
    let request = from_json::read(params, shape)?;
    view::fill(&mut call, family, &request)?;
    Ok(call)
}

fn protobuf(operation: Op, version: A2aVersion, body: &[u8]) -> Result<A2aCall, DecodeFault> {
    let fault = |cause: Cause| DecodeFault::new(cause, None);
    let family = if version == A2aVersion::V1_0 { Family::V1 } else { Family::Proto03 };
    let shape = shapes::request(family, operation).ok_or_else(|| fault(MessageFault::UnknownMethod.into()))?;
    let message = grpc::only_message(body).map_err(|frame| fault(Cause::Frame(frame)))?;
    let request = from_proto::read(message, shape).map_err(|shape| fault(shape.into()))?;
    let mut call = A2aCall::new(operation, A2aBinding::Grpc, version);
    view::fill(&mut call, family, &request).map_err(|message| fault(message.into()))?;
    Ok(call)
}

fn http_json(rest: &Rest, head: &HttpHead, version: Option<A2aVersion>, body: &[u8]) -> Result<A2aCall, DecodeFault> {
    let card = rest.operation == Op::GetAgentCard;
    if !card && said(version) != rest.version {
        return Err(DecodeFault::new(MessageFault::VersionMismatch, None));
    }
    let named = if card { version.unwrap_or(rest.version) } else { rest.version };
    let mut call = A2aCall::new(rest.operation, A2aBinding::HttpJson, named);
    let family = if named == A2aVersion::V1_0 { Family::V1 } else { Family::Proto03 };
    let needs_body = call.operation.sends() || call.operation == Op::CreateTaskPushNotificationConfig;
    if !body.is_empty() || needs_body {
        if head.method != Method::POST {
            return Err(HeadFault::ContentType.into());
        }
        need_json(head)?;
        let tree = json::parse_call(body).map_err(|fault| DecodeFault::new(Cause::Json(fault), None))?;
        let Value::Object(params) = &tree else {
            return Err(DecodeFault::new(MessageFault::Missing("message"), None));
        };
        let params = addressed(family, rest, params).map_err(|fault| DecodeFault::new(fault, None))?;
        call = of_json(call, family, &params).map_err(|cause| DecodeFault::new(cause, None))?;
    }
    merge(&mut call, rest, head)?;
    Ok(call)
}

/// Members that the path says are not said again in the body, though every shape wants them.
fn addressed(family: Family, rest: &Rest, params: &Object) -> Result<Object, MessageFault> {
    let mut params = params.clone();
    let Some(task) = &rest.task else { return Ok(params) };
    let (key, value) = match (family, rest.operation) {
        (Family::V1, Op::CreateTaskPushNotificationConfig) => ("taskId", task.to_string()),
        (Family::V1, _) => ("id", task.to_string()),
        (Family::Proto03 | Family::Rpc03, Op::CreateTaskPushNotificationConfig) => ("parent", format!("tasks/{task}")),
        (Family::Proto03 | Family::Rpc03, _) => ("name", format!("tasks/{task}")),
    };
    // Where it is said again under whichever spelling, both are read, and must be one.
    let snake = if key == "taskId" { "task_id" } else { key };
    if params.get(key).is_none() && params.get(snake).is_none() {
        params.set(key, value.as_str().into());
    }
    Ok(params)
}

/// Adds what path and query say to what the body said; where both say it they must agree.
fn merge(call: &mut A2aCall, rest: &Rest, head: &HttpHead) -> Result<(), DecodeFault> {
    let fault = |fault: MessageFault| DecodeFault::new(fault, None);
    let query = rest::query(head.query.as_deref(), call.operation)?;
    let find = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let tenants = [rest.tenant.as_deref(), find("tenant").filter(|tenant| !tenant.is_empty())];
    for tenant in tenants.into_iter().flatten() {
        call.tenant = Some(agree(call.tenant.take(), tenant, "tenant").map_err(fault)?);
    }
    if let Some(task) = &rest.task {
        call.task = Some(view::agree_named(call.task.take(), task, "id").map_err(fault)?);
    }
    if let Some(context) = find("contextId").filter(|context| !context.is_empty()) {
        call.context = Some(view::agree_named(call.context.take(), context, "contextId").map_err(fault)?);
    }
    Ok(())
}

//! The answers that are ours: refusals by which a caller lives on, and errors.
//!
//! Every body is one JSON-RPC message with the caller's exact id, to be sent with HTTP 200: real clients lose their
//! session on any 4xx answer to a call. Which form is right is for policy to say.

use super::{META_SUBSCRIPTION, REFUSED, UnknownName, Version};
use crate::call::{McpCall, McpObject, Object, Value};
use crate::wire::json;
use crate::wire::jsonrpc::{INVALID_PARAMS, Id, METHOD_NOT_FOUND};

/// Resource not found, until 2025-11-25.
const RESOURCE_NOT_FOUND: i64 = -32002;

/// Tells a client that a list of its server (`tools`, `prompts`, `resources`) is another now; from 2026-07-28 on it says
/// which `subscription` it is told by.
pub fn list_changed(list: &str, subscription: Option<&Value>) -> Vec<u8> {
    let method = format!("notifications/{list}/list_changed");
    let mut message: Object =
        [("jsonrpc", Value::from("2.0")), ("method", method.as_str().into())].into_iter().collect();
    if let Some(subscription) = subscription {
        let meta: Object = [(META_SUBSCRIPTION, subscription.clone())].into_iter().collect();
        let params: Object = [("_meta", Value::Object(meta))].into_iter().collect();
        message.set("params", params.into());
    }
    let mut out = Vec::new();
    json::write_object(&message, &mut out);
    out
}

/// What a disclosed refusal tells its caller.
#[derive(Debug, Clone, Copy)]
pub struct Disclosure<'a> {
    /// Why, in `snake_case`.
    pub reason: &'a str,
    /// The rule that refused, where one did.
    pub rule: Option<&'a str>,
    /// Its policy, `namespace/name`.
    pub policy: Option<&'a str>,
    /// Under which the decision record is found.
    pub request_id: &'a str,
    /// For a limit: in how many seconds the call will be permitted.
    pub retry: Option<u64>,
}

impl Disclosure<'_> {
    /// One sentence for a reader or a model.
    pub fn sentence(&self) -> String {
        let later = self.retry.map(|seconds| format!("; retry in {seconds} s")).unwrap_or_default();
        format!("Refused by policy: {} (request {}){later}", self.reason, self.request_id)
    }
}

/// As the server itself answers a name that it does not have: in the words learnt from it, else in common ones.
pub fn hidden(id: &Id, call: &McpCall, learnt: Option<&UnknownName>) -> Vec<u8> {
    if let (Some(learnt), Some(name)) = (learnt.filter(|learnt| learnt.fits(call)), call.name()) {
        return learnt.answer(id, name);
    }
    let modern = is_modern(call);
    match (&call.object, call.name()) {
        (McpObject::Tool { .. }, Some(name)) => error(Some(id), INVALID_PARAMS, &format!("Unknown tool: {name}"), None),
        (McpObject::Prompt { .. }, Some(name)) => {
            error(Some(id), INVALID_PARAMS, &format!("Unknown prompt: {name}"), None)
        }
        (McpObject::Resource(_), Some(uri)) => {
            let data: Object = [("uri", Value::from(uri))].into_iter().collect();
            let code = if modern { INVALID_PARAMS } else { RESOURCE_NOT_FOUND };
            error(Some(id), code, "Resource not found", Some(data.into()))
        }
        (McpObject::Task(_), Some(_)) => {
            error(Some(id), INVALID_PARAMS, "Failed to retrieve task: Task not found", None)
        }
        // One of several, and not said which.
        (McpObject::Subscription(_), _) => error(Some(id), INVALID_PARAMS, "Resource not found", None),
        (
            McpObject::Base
            | McpObject::Task(_)
            | McpObject::Setting
            | McpObject::ServerRequest(_)
            | McpObject::Other
            | McpObject::Tool { .. }
            | McpObject::Prompt { .. }
            | McpObject::Resource(_),
            _,
        ) => error(Some(id), METHOD_NOT_FOUND, "Method not found", None),
    }
}

/// Says that policy refused, and by which rule.
pub fn disclosed(id: &Id, told: &Disclosure<'_>) -> Vec<u8> {
    let mut data = Object::new();
    data.set("reason", told.reason.into());
    for (key, value) in [("rule", told.rule), ("policy", told.policy)] {
        if let Some(value) = value {
            data.set(key, value.into());
        }
    }
    data.set("requestId", told.request_id.into());
    if let Some(seconds) = told.retry.and_then(|seconds| i64::try_from(seconds).ok()) {
        data.set("retryAfterSeconds", seconds.into());
    }
    error(Some(id), REFUSED, &told.sentence(), Some(data.into()))
}

/// A failed tool's result, whose text a model reads; for `tools/call` only.
pub fn tool_error(id: &Id, call: &McpCall, text: &str) -> Vec<u8> {
    let item: Object = [("type", Value::from("text")), ("text", Value::from(text))].into_iter().collect();
    let mut result = Object::new();
    if is_modern(call) {
        result.set("resultType", "complete".into());
    }
    result.set("content", vec![item.into()].into());
    result.set("isError", Value::Bool(true));
    message(Some(id), "result", result.into())
}

/// The answer to a server's request that is not passed on.
pub fn method_not_found(id: &Id) -> Vec<u8> {
    error(Some(id), METHOD_NOT_FOUND, "Method not found", None)
}

/// The empty result by which a `ping` is answered.
pub fn empty_result(id: &Id) -> Vec<u8> {
    message(Some(id), "result", Object::new().into())
}

/// A JSON-RPC error; `id` is null where the request's was not readable.
pub fn error(id: Option<&Id>, code: i64, text: &str, data: Option<Value>) -> Vec<u8> {
    let mut error: Object = [("code", Value::from(code)), ("message", Value::from(text))].into_iter().collect();
    if let Some(data) = data {
        error.set("data", data);
    }
    message(id, "error", error.into())
}

fn message(id: Option<&Id>, key: &str, value: Value) -> Vec<u8> {
    let id = id.map_or(Value::Null, Id::to_value);
    let message: Object = [("jsonrpc", Value::from("2.0")), ("id", id), (key, value)].into_iter().collect();
    let mut out = Vec::new();
    json::write(&message.into(), &mut out);
    out
}

fn is_modern(call: &McpCall) -> bool {
    call.version.as_deref().and_then(Version::parse).is_some_and(Version::is_modern)
}

//! The typed view of `params`: names, arguments, URIs.

use std::sync::Arc;

use super::MessageFault;
use super::method::{Subject, alike};
use crate::call::{Knowable, McpObject, Object, Value};
use crate::config::limits::{MAX_NAME, MAX_URI};
use crate::wire::uri;

/// Members of `params` that a server acts on; another key may not look like one of them.
const CALL_KEYS: &[&str] = &["_meta", "name", "arguments", "task", "inputResponses", "requestState"];
const RESOURCE_KEYS: &[&str] = &["_meta", "uri", "inputResponses", "requestState"];
const ANY_KEYS: &[&str] = &["_meta"];

/// What a request of a known method is about.
pub(super) fn object(subject: Subject, params: Option<&Object>) -> Result<McpObject, MessageFault> {
    let keys = match subject {
        Subject::Tool | Subject::Prompt => CALL_KEYS,
        Subject::Resource => RESOURCE_KEYS,
        Subject::Base | Subject::ToolList | Subject::PromptList | Subject::ResourceList | Subject::Other => ANY_KEYS,
    };
    check_keys(params, keys)?;
    Ok(match subject {
        Subject::Base => McpObject::Base,
        Subject::Other => McpObject::Other,
        Subject::ToolList => McpObject::Tool { name: Knowable::Unknown, arguments: Knowable::Unknown },
        Subject::PromptList => McpObject::Prompt { name: Knowable::Unknown, arguments: Knowable::Unknown },
        Subject::ResourceList => McpObject::Resource(Knowable::Unknown),
        Subject::Tool => McpObject::Tool { name: named(params)?, arguments: arguments(params)? },
        Subject::Prompt => McpObject::Prompt { name: named(params)?, arguments: arguments(params)? },
        Subject::Resource => {
            let raw = params.and_then(|p| p.get("uri")).and_then(read_uri).ok_or(MessageFault::BadName)?;
            McpObject::Resource(Knowable::Known(uri::resource(raw)))
        }
    })
}

/// Checks the parameters of a notification, which name nothing.
pub(super) fn plain(params: Option<&Object>) -> Result<(), MessageFault> {
    check_keys(params, ANY_KEYS)
}

/// A name of a tool or prompt: not empty, at most `MAX_NAME` bytes, no control characters.
pub(super) fn read_name(value: &Value) -> Option<&str> {
    value.as_str().filter(|s| !s.is_empty() && s.len() <= MAX_NAME && !s.chars().any(char::is_control))
}

/// A URI or URI template: not empty, at most `MAX_URI` bytes, no control characters.
pub(super) fn read_uri(value: &Value) -> Option<&str> {
    value.as_str().filter(|s| !s.is_empty() && s.len() <= MAX_URI && !s.chars().any(char::is_control))
}

fn named(params: Option<&Object>) -> Result<Knowable<Arc<str>>, MessageFault> {
    let name = params.and_then(|p| p.get("name")).and_then(read_name).ok_or(MessageFault::BadName)?;
    Ok(Knowable::Known(name.into()))
}

fn arguments(params: Option<&Object>) -> Result<Knowable<Arc<Object>>, MessageFault> {
    match params.and_then(|p| p.get("arguments")) {
        None | Some(Value::Null) => Ok(Knowable::Known(Arc::default())),
        // Shares the pairs with the tree that is forwarded.
        Some(Value::Object(arguments)) if !arguments.iter().any(|(key, value)| says_proto(key, value)) => {
            Ok(Knowable::Known(Arc::new(arguments.clone())))
        }
        Some(Value::Object(_)) => Err(MessageFault::Lookalike),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => Err(MessageFault::BadArguments),
    }
}

/// Whether `__proto__` is a key anywhere: the TypeScript SDK's validation takes it out, so that the tool would run on
/// other arguments than were decided on.
fn says_proto(key: &str, value: &Value) -> bool {
    key == "__proto__"
        || match value {
            Value::Object(object) => object.iter().any(|(key, value)| says_proto(key, value)),
            Value::Array(items) => items.iter().any(|item| says_proto("", item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
}

fn check_keys(params: Option<&Object>, known: &[&str]) -> Result<(), MessageFault> {
    let Some(params) = params else { return Ok(()) };
    for (key, value) in params.iter() {
        if known.contains(&key) {
            if key == "_meta" && value.as_object().is_none() {
                return Err(MessageFault::BadMeta);
            }
            continue;
        }
        if alike(key, "__proto__") || known.iter().any(|k| alike(k, key)) {
            return Err(MessageFault::Lookalike);
        }
    }
    Ok(())
}

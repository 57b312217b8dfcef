//! The typed view of `params`: names, arguments, URIs.

use std::sync::Arc;

use super::method::{Subject, alike};
use super::{MessageFault, cursor};
use crate::call::{Knowable, McpObject, Object, Subscription, Task, Value};
use crate::config::limits::{MAX_NAME, MAX_SEALED, MAX_SUBSCRIPTIONS, MAX_URI};
use crate::wire::uri;

/// Members of `params` that a server acts on; another key may not look like one of them.
const CALL_KEYS: &[&str] = &["_meta", "name", "arguments", "task", "inputResponses", "requestState"];
const RESOURCE_KEYS: &[&str] = &["_meta", "uri", "inputResponses", "requestState"];
const COMPLETION_KEYS: &[&str] = &["_meta", "ref", "argument", "context"];
const REFERENCE_KEYS: &[&str] = &["type", "name", "uri", "title"];
const LISTEN_KEYS: &[&str] = &["_meta", "notifications"];
const NOTICE_KEYS: &[&str] = &[RESOURCES, TASKS, "toolsListChanged", "promptsListChanged", "resourcesListChanged"];
const RESOURCES: &str = "resourceSubscriptions";
const TASKS: &str = "taskIds";
const TASK_KEYS: &[&str] = &["_meta", "taskId", "inputResponses", "requestState"];
const ANY_KEYS: &[&str] = &["_meta"];

/// What a request of a known method is about.
pub(super) fn object(subject: Subject, params: Option<&Object>) -> Result<McpObject, MessageFault> {
    let keys = match subject {
        Subject::Tool | Subject::Prompt => CALL_KEYS,
        Subject::Resource => RESOURCE_KEYS,
        Subject::Completion => COMPLETION_KEYS,
        Subject::Listen => LISTEN_KEYS,
        Subject::Task => TASK_KEYS,
        Subject::TaskList | Subject::ToolList | Subject::PromptList | Subject::ResourceList => cursor::LIST_KEYS,
        Subject::Setting | Subject::Base | Subject::Other => ANY_KEYS,
    };
    check_keys(params, keys)?;
    if keys == cursor::LIST_KEYS {
        cursor::check(params)?;
    }
    Ok(match subject {
        Subject::Base => McpObject::Base,
        Subject::Other => McpObject::Other,
        Subject::Setting => McpObject::Setting,
        Subject::ToolList => McpObject::Tool { name: Knowable::Unknown, arguments: Knowable::Unknown },
        Subject::PromptList => McpObject::Prompt { name: Knowable::Unknown, arguments: Knowable::Unknown },
        Subject::ResourceList => McpObject::Resource(Knowable::Unknown),
        Subject::Tool => McpObject::Tool { name: named(params)?, arguments: arguments(params)? },
        Subject::Prompt => McpObject::Prompt { name: named(params)?, arguments: arguments(params)? },
        Subject::Resource => {
            let raw = params.and_then(|p| p.get("uri")).and_then(read_uri).ok_or(MessageFault::BadName)?;
            McpObject::Resource(Knowable::Known(uri::resource(raw)))
        }
        Subject::Completion => reference(params)?,
        Subject::Listen => McpObject::Subscription(Arc::new(subscription(params)?)),
        Subject::TaskList => McpObject::Task(Task { id: Knowable::Unknown, tool: None, created: None }),
        Subject::Task => {
            let id = params.and_then(|p| p.get("taskId")).and_then(read_task_id).ok_or(MessageFault::BadName)?;
            McpObject::Task(task(id))
        }
    })
}

/// A task whose tool is not known to the reader of a message.
pub(super) fn task(id: &str) -> Task {
    Task { id: Knowable::Known(id.into()), tool: None, created: None }
}

/// What a completion is about: guesses at the arguments of a prompt, or of a template, tell of that prompt or template.
fn reference(params: Option<&Object>) -> Result<McpObject, MessageFault> {
    let named = params.and_then(|p| p.get("ref")).and_then(Value::as_object).ok_or(MessageFault::BadReference)?;
    check_keys(Some(named), REFERENCE_KEYS)?;
    let kind = named.get("type").and_then(Value::as_str);
    match (kind, named.get("name"), named.get("uri")) {
        (Some("ref/prompt"), Some(name), None) => {
            let name = read_name(name).ok_or(MessageFault::BadName)?;
            Ok(McpObject::Prompt { name: Knowable::Known(name.into()), arguments: Knowable::Unknown })
        }
        (Some("ref/resource"), None, Some(uri)) => {
            let uri = read_uri(uri).ok_or(MessageFault::BadName)?;
            Ok(McpObject::Resource(Knowable::Known(uri::template(uri))))
        }
        _ => Err(MessageFault::BadReference),
    }
}

/// Everything that is listened to by name. A member that is not known may be a switch and nothing else: another kind of
/// value could name what nobody decided on.
fn subscription(params: Option<&Object>) -> Result<Subscription, MessageFault> {
    let wanted = match params.and_then(|p| p.get("notifications")) {
        None => return Ok(Subscription::default()),
        Some(wanted) => wanted.as_object().ok_or(MessageFault::BadSubscription)?,
    };
    check_keys(Some(wanted), NOTICE_KEYS)?;
    let mut read = Subscription::default();
    for (key, value) in wanted.iter() {
        match (key, value) {
            (RESOURCES, Value::Array(uris)) if uris.len() <= MAX_SUBSCRIPTIONS => {
                let uri = |value| read_uri(value).map(uri::resource).ok_or(MessageFault::BadName);
                read.resources = uris.iter().map(uri).collect::<Result<_, _>>()?;
            }
            (TASKS, Value::Array(ids)) if ids.len() <= MAX_SUBSCRIPTIONS => {
                let id = |value| read_task_id(value).map(task).ok_or(MessageFault::BadName);
                read.tasks = ids.iter().map(id).collect::<Result<_, _>>()?;
            }
            (RESOURCES | TASKS, _) => return Err(MessageFault::BadSubscription),
            (_, Value::Bool(_)) => {}
            _ => return Err(MessageFault::BadSubscription),
        }
    }
    Ok(read)
}

/// Checks the parameters of a notification, which name nothing.
pub(super) fn plain(params: Option<&Object>) -> Result<(), MessageFault> {
    check_keys(params, ANY_KEYS)
}

/// A name of a tool or prompt: not empty, at most `MAX_NAME` bytes, no control characters.
pub(super) fn read_name(value: &Value) -> Option<&str> {
    text(value, MAX_NAME)
}

/// The id of a task as a client has it: sealed, and so longer than a server's own.
fn read_task_id(value: &Value) -> Option<&str> {
    text(value, MAX_SEALED)
}

/// A URI or URI template: not empty, at most `MAX_URI` bytes, no control characters.
pub(super) fn read_uri(value: &Value) -> Option<&str> {
    text(value, MAX_URI)
}

fn text(value: &Value, max: usize) -> Option<&str> {
    value.as_str().filter(|text| is_text(text, max))
}

/// Whether [`read_name`] reads it.
pub(super) fn is_name(text: &str) -> bool {
    is_text(text, MAX_NAME)
}

/// Whether [`read_uri`] reads it.
pub(super) fn is_uri(text: &str) -> bool {
    is_text(text, MAX_URI)
}

fn is_text(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control)
}

fn named(params: Option<&Object>) -> Result<Knowable<Arc<str>>, MessageFault> {
    let name = params.and_then(|p| p.get("name")).and_then(read_name).ok_or(MessageFault::BadName)?;
    Ok(Knowable::Known(name.into()))
}

fn arguments(params: Option<&Object>) -> Result<Knowable<Arc<Object>>, MessageFault> {
    match params.and_then(|p| p.get("arguments")) {
        None | Some(Value::Null) => Ok(Knowable::Known(Arc::default())),
        // Shares the pairs with the tree that is forwarded. `__proto__` may be a key nowhere: the TypeScript SDK's validation
        // takes it out, so that the tool would run on other arguments than were decided on.
        Some(Value::Object(arguments)) if !arguments.names("__proto__") => {
            Ok(Knowable::Known(Arc::new(arguments.clone())))
        }
        Some(Value::Object(_)) => Err(MessageFault::Lookalike),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => Err(MessageFault::BadArguments),
    }
}

pub(super) fn check_keys(params: Option<&Object>, known: &[&str]) -> Result<(), MessageFault> {
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

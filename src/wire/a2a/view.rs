//! What a request says, out of the members that its shape has.

use std::sync::Arc;

use super::fault::MessageFault;
use super::shapes::Family;
use super::url;
use crate::call::{A2aCall, A2aOperation as Op, Named, Object, PushTarget, Value};
use crate::config::limits::{MAX_NAME, MAX_REFERENCES, MAX_URI};

/// Fills `call` from its request.
pub(super) fn fill(call: &mut A2aCall, family: Family, request: &Object) -> Result<(), MessageFault> {
    call.tenant = id(request, "tenant")?.map(Arc::from);
    match call.operation {
        Op::SendMessage | Op::SendStreamingMessage => send(call, family, request)?,
        Op::ListTasks => call.context = id(request, "contextId")?.map(Named::new),
        Op::GetTask | Op::CancelTask | Op::SubscribeToTask => call.task = Some(Named::new(task_id(family, request)?)),
        Op::CreateTaskPushNotificationConfig => create(call, family, request)?,
        Op::GetTaskPushNotificationConfig
        | Op::ListTaskPushNotificationConfigs
        | Op::DeleteTaskPushNotificationConfig => {
            call.task = Some(Named::new(config_task(family, call.operation, request)?))
        }
        Op::GetExtendedAgentCard | Op::GetAgentCard => {}
    }
    Ok(())
}

/// A text member; none where it is absent or empty, which protobuf does not tell apart.
fn text<'a>(object: &'a Object, key: &'static str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// An id: at most `MAX_NAME` bytes, no control characters.
fn id<'a>(object: &'a Object, key: &'static str) -> Result<Option<&'a str>, MessageFault> {
    match text(object, key) {
        Some(id) if is_id(id) => Ok(Some(id)),
        Some(_) => Err(MessageFault::BadId(key)),
        None => Ok(None),
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME && !text.chars().any(char::is_control)
}

fn needed<'a>(object: &'a Object, key: &'static str) -> Result<&'a str, MessageFault> {
    id(object, key)?.ok_or(MessageFault::Missing(key))
}

/// `one` and `other`, which must be the same.
pub(super) fn agree(one: Option<Arc<str>>, other: &str, what: &'static str) -> Result<Arc<str>, MessageFault> {
    if !is_id(other) {
        return Err(MessageFault::BadId(what));
    }
    match one {
        Some(one) if *one != *other => Err(MessageFault::Disagree(what)),
        Some(one) => Ok(one),
        None => Ok(other.into()),
    }
}

/// The same for a task or context.
pub(super) fn agree_named(one: Option<Named>, other: &str, what: &'static str) -> Result<Named, MessageFault> {
    let id = agree(one.map(|named| named.id), other, what)?;
    Ok(Named { id, owner: None, state: None })
}

fn task_id(family: Family, request: &Object) -> Result<&str, MessageFault> {
    match family {
        Family::V1 | Family::Rpc03 => needed(request, "id"),
        Family::Proto03 => match named(request, "name")?.ok_or(MessageFault::Missing("name"))? {
            (task, None) => Ok(task),
            (_, Some(_)) => Err(MessageFault::BadName("name")),
        },
    }
}

fn config_task(family: Family, operation: Op, request: &Object) -> Result<&str, MessageFault> {
    match (family, operation) {
        (Family::V1, _) => needed(request, "taskId"),
        (Family::Rpc03, _) => needed(request, "id"),
        (Family::Proto03, Op::ListTaskPushNotificationConfigs) => {
            let (task, _) = named(request, "parent")?.ok_or(MessageFault::Missing("parent"))?;
            Ok(task)
        }
        (Family::Proto03, _) => match named(request, "name")?.ok_or(MessageFault::Missing("name"))? {
            (task, Some(_)) => Ok(task),
            (_, None) => Err(MessageFault::BadName("name")),
        },
    }
}

/// `tasks/ID` or `tasks/ID/pushNotificationConfigs[/ID]`: the names of resources in 0.3's protobuf.
fn named<'a>(object: &'a Object, key: &'static str) -> Result<Option<(&'a str, Option<&'a str>)>, MessageFault> {
    let Some(name) = text(object, key) else { return Ok(None) };
    let mut parts = name.split('/');
    let found = match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("tasks"), Some(task), None, ..) => (task, None),
        (Some("tasks"), Some(task), Some("pushNotificationConfigs"), None, _) if key == "parent" => (task, None),
        (Some("tasks"), Some(task), Some("pushNotificationConfigs"), Some(config), None) => (task, Some(config)),
        _ => return Err(MessageFault::BadName(key)),
    };
    if is_id(found.0) && found.1.is_none_or(is_id) { Ok(Some(found)) } else { Err(MessageFault::BadName(key)) }
}

fn create(call: &mut A2aCall, family: Family, request: &Object) -> Result<(), MessageFault> {
    match family {
        Family::V1 => {
            call.task = Some(Named::new(needed(request, "taskId")?));
            call.push.push(push(request, false)?);
        }
        Family::Rpc03 => {
            call.task = Some(Named::new(needed(request, "taskId")?));
            let config = request.get("pushNotificationConfig").and_then(Value::as_object);
            call.push.push(push(config.ok_or(MessageFault::Missing("pushNotificationConfig"))?, false)?);
        }
        Family::Proto03 => {
            let (task, _) = named(request, "parent")?.ok_or(MessageFault::Missing("parent"))?;
            let mut found = Named::new(task);
            let inner = request.get("config").and_then(Value::as_object);
            for object in [Some(request), inner].into_iter().flatten() {
                if let Some((task, _)) = named(object, "name")? {
                    found = agree_named(Some(found), task, "name")?;
                }
                if let Some(config) = object.get("pushNotificationConfig").and_then(Value::as_object) {
                    call.push.push(push(config, false)?);
                }
            }
            if call.push.is_empty() {
                return Err(MessageFault::Missing("pushNotificationConfig"));
            }
            call.task = Some(found);
        }
    }
    Ok(())
}

/// Where a configuration wants the agent to call.
fn push(config: &Object, inline: bool) -> Result<PushTarget, MessageFault> {
    let url = text(config, "url").filter(|url| url.len() <= MAX_URI).ok_or(MessageFault::Missing("url"))?;
    let has_credentials = text(config, "token").is_some() || config.get("authentication").is_some();
    Ok(PushTarget { url: url.into(), parts: url::read(url), has_credentials, inline })
}

fn send(call: &mut A2aCall, family: Family, request: &Object) -> Result<(), MessageFault> {
    let message = request.get("message").and_then(Value::as_object).ok_or(MessageFault::Missing("message"))?;
    call.task = id(message, "taskId")?.map(Named::new);
    call.context = id(message, "contextId")?.map(Named::new);
    for reference in strings(message, "referenceTaskIds") {
        // Each is looked up in the table of owners, which all calls share.
        if call.references.len() == MAX_REFERENCES {
            return Err(MessageFault::TooMany("referenceTaskIds"));
        }
        if !is_id(reference) {
            return Err(MessageFault::BadId("referenceTaskIds"));
        }
        call.references.push(Named::new(reference));
    }
    let configuration = request.get("configuration").and_then(Value::as_object);
    let inline = match family {
        Family::V1 => "taskPushNotificationConfig",
        Family::Rpc03 => "pushNotificationConfig",
        Family::Proto03 => "pushNotification",
    };
    if let Some(config) = configuration.and_then(|of| of.get(inline)).and_then(Value::as_object) {
        call.push.push(push(config, true)?);
        // It is the task of the message that is meant, and the tenant of the request.
        for (key, of) in [("taskId", call.task.as_ref().map(|task| &*task.id)), ("tenant", call.tenant.as_deref())] {
            if let Some(said) = id(config, key)?
                && of != Some(said)
            {
                return Err(MessageFault::Disagree(key));
            }
        }
    }
    call.metadata = request.get("metadata").and_then(Value::as_object).cloned();
    call.message = Some(canonical(family, message)?);
    Ok(())
}

fn strings<'a>(object: &'a Object, key: &'static str) -> impl Iterator<Item = &'a str> {
    object.get(key).and_then(Value::as_array).unwrap_or_default().iter().filter_map(Value::as_str)
}

/// The message in one shape for all families.
fn canonical(family: Family, message: &Object) -> Result<Object, MessageFault> {
    let role = message.get("role").and_then(Value::as_str);
    if !matches!(role, Some("ROLE_USER" | "user")) {
        return Err(MessageFault::Role);
    }
    let mut out = Object::new();
    if let Some(id) = text(message, "messageId") {
        out.set("id", id.into());
    }
    out.set("role", "ROLE_USER".into());
    let parts = message.get(if family == Family::Proto03 { "content" } else { "parts" });
    let parts = parts.and_then(Value::as_array).unwrap_or_default();
    let parts = parts.iter().map(|part| part_of(family, part.as_object().ok_or(MessageFault::Part)?));
    out.set("parts", Value::Array(parts.collect::<Result<_, _>>()?));
    out.set("extensions", message.get("extensions").cloned().unwrap_or_else(|| Vec::new().into()));
    let metadata = message.get("metadata").cloned().unwrap_or_else(|| Object::new().into());
    out.set("metadata", metadata);
    Ok(out)
}

/// `{kind: text|raw|url|data, ..}`
fn part_of(family: Family, part: &Object) -> Result<Value, MessageFault> {
    let file = part.get("file").and_then(Value::as_object);
    let (holder, raw, url, media, name) = match family {
        Family::V1 => (Some(part), "raw", "url", "mediaType", "filename"),
        Family::Rpc03 => (file, "bytes", "uri", "mimeType", "name"),
        Family::Proto03 => (file, "fileWithBytes", "fileWithUri", "mimeType", "name"),
    };
    let mut out = Object::new();
    let data = match family {
        Family::V1 | Family::Rpc03 => part.get("data"),
        Family::Proto03 => part.get("data").and_then(|data| data.get("data")),
    };
    let of_file = |key: &str| holder.and_then(|holder| holder.get(key));
    let said = part.get("kind").and_then(Value::as_str).filter(|_| family == Family::Rpc03);
    let kind = if let Some(text) = part.get("text") {
        out.set("size", Value::from(i64::try_from(text.as_str().map_or(0, str::len)).unwrap_or(i64::MAX)));
        out.set("text", text.clone());
        "text"
    } else if let Some(size) = of_file(raw) {
        out.set("size", size.clone());
        "raw"
    } else if let Some(url) = of_file(url) {
        out.set("url", url.clone());
        "url"
    } else if let Some(data) = data {
        out.set("data", data.clone());
        "data"
    } else {
        return Err(MessageFault::Part);
    };
    let fits = |said: &str| said == kind || (said == "file" && matches!(kind, "raw" | "url"));
    if !said.is_none_or(fits) {
        return Err(MessageFault::Part);
    }
    out.set("kind", kind.into());
    for (to, from) in [("mediaType", media), ("filename", name)] {
        if let Some(value) = of_file(from) {
            out.set(to, value.clone());
        }
    }
    if let Some(metadata) = part.get("metadata") {
        out.set("metadata", metadata.clone());
    }
    Ok(out.into())
}

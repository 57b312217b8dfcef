//! The ids of tasks, wherever a message says one. Servers make them and clients repeat them (MCP 2025-11-25, and the tasks
//! extension of 2026-07-28), so that they may be other ones on either side, if they are so everywhere.

use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::method::{has_lookalike, names_task};
use super::{Decoded, Kind, ServerKind, ServerMessage};
use crate::call::{McpCall, Object, Value};

/// The extension of 2026-07-28, by which a client says that it takes tasks.
pub const TASKS: &str = "io.modelcontextprotocol/tasks";
const TASK_ID: &str = "taskId";
const CREATED: &str = "createdAt";
/// Longest time that is read, bytes: dates are shorter.
const MAX_CREATED: usize = 64;
const TASK_IDS: &str = "taskIds";
/// Of what a message with this in its `_meta` is a part.
const RELATED: &str = "io.modelcontextprotocol/related-task";
/// Tells what of a subscription its server agreed to.
pub(super) const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// A request names a task that is none of its caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownTask;

/// When a server says that it made a task (`createdAt`, which every task has): the same text for the same moment, to the
/// millisecond, however it is written (RFC 3339); another text as it is. None where that is not said, or in two ways.
pub fn task_created(task: &Object) -> Option<Arc<str>> {
    if has_lookalike(task, CREATED) {
        return None;
    }
    let said = task.get(CREATED)?.as_str().filter(|said| !said.is_empty() && said.len() <= MAX_CREATED)?;
    Some(match OffsetDateTime::parse(said, &Rfc3339) {
        Ok(at) => at.unix_timestamp_nanos().div_euclid(1_000_000).to_string().into(),
        Err(_no_date) => said.into(),
    })
}

/// What becomes of an id; none where it is not known.
type Named<'a> = &'a mut dyn FnMut(&str) -> Option<String>;

impl Decoded {
    /// Replaces the ids of tasks, which are the client's, by what the server knows them by.
    ///
    /// # Errors
    /// [`UnknownTask`] for a request with one that is not known. Clients can have tasks too (2025-11-25), which servers ask
    /// for: those of a notification or an answer that are not known stay.
    pub fn name_tasks(&mut self, own: &mut dyn FnMut(&str) -> Option<String>) -> Result<(), UnknownTask> {
        let (request, method) = (self.kind() == Kind::Request, Arc::clone(&self.call().method));
        let key = if self.kind() == Kind::Response { "result" } else { "params" };
        if !self.tree().get(key).is_some_and(says_task) {
            return Ok(());
        }
        let Some(content) = self.member_mut(key) else { return Ok(()) };
        let mut all = true;
        if request && names_task(&method) {
            all &= rename(content, TASK_ID, own);
        }
        if request && &*method == "subscriptions/listen" {
            all &= listened(content, own);
        }
        all &= related(content, own);
        if all || !request { Ok(()) } else { Err(UnknownTask) }
    }

    /// The id of the task that a request says it is a part of, beside what it is about.
    pub fn related_task(&self) -> Option<&str> {
        let params = self.tree().get("params").filter(|_| self.kind() == Kind::Request)?;
        params.get("_meta")?.get(RELATED)?.get(TASK_ID)?.as_str()
    }
}

impl ServerMessage {
    /// The task that a call of a tool turned into, with its id: in `task` (MCP 2025-11-25), or the result itself (the extension
    /// of 2026-07-28).
    ///
    /// # Errors
    /// [`UnknownTask`] where a lenient reader would find another one: its id would be its server's own.
    pub fn task_made(&self) -> Result<Option<(&str, &Object)>, UnknownTask> {
        let Some(result) = self.result().and_then(Value::as_object) else { return Ok(None) };
        let modern = result.get("resultType").and_then(Value::as_str) == Some("task");
        let task = match result.get("task") {
            Some(task) => task.as_object(),
            None => Some(result).filter(|_| modern),
        };
        let taken = task.is_some_and(|task| has_lookalike(task, TASK_ID));
        if taken || ["task", "resultType"].into_iter().any(|name| has_lookalike(result, name)) {
            return Err(UnknownTask);
        }
        Ok(task.and_then(|task| Some((task.get(TASK_ID)?.as_str()?, task))))
    }

    /// Replaces the ids of tasks, which are the server's, by what the client knows them by, where they are known. An answer
    /// is the one to `request`.
    pub fn tell_tasks(&mut self, request: &McpCall, told: &mut dyn FnMut(&str) -> Option<String>) {
        if !self.content().is_some_and(says_task) {
            return;
        }
        let kind = self.kind().clone();
        let Some(content) = self.content_mut().and_then(Value::as_object_mut) else { return };
        match &kind {
            ServerKind::Result => {
                if made(&request.method, content) {
                    rename(content, TASK_ID, told);
                }
                if let Some(task) = object_mut(content, "task") {
                    rename(task, TASK_ID, told);
                }
                if let Some(Value::Array(tasks)) = content.get_mut("tasks").filter(|_| &*request.method == "tasks/list")
                {
                    tasks.make_mut().iter_mut().filter_map(Value::as_object_mut).for_each(|task| {
                        rename(task, TASK_ID, told);
                    });
                }
            }
            ServerKind::Notification(method) => match &**method {
                "notifications/tasks" | "notifications/tasks/status" => {
                    rename(content, TASK_ID, told);
                }
                ACKNOWLEDGED => {
                    listened(content, told);
                }
                _ => {}
            },
            ServerKind::Request(_) | ServerKind::Error => {}
        }
        related(content, told);
        // A task that has ended holds the answer to the call that made it; one that waits, what it asks.
        if let Some(ended) = object_mut(content, "result") {
            related(ended, told);
        }
        if let Some(asked) = object_mut(content, "inputRequests") {
            let params = asked.iter_mut().filter_map(|(_, asked)| object_mut(asked.as_object_mut()?, "params"));
            params.for_each(|params| {
                related(params, told);
            });
        }
    }
}

/// Whether there is an id anywhere, in whatever spelling: what has none stays as it came, text that nobody has to write anew.
fn says_task(content: &Value) -> bool {
    content.names(TASK_ID) || content.names(TASK_IDS) || content.names(RELATED)
}

/// Whether the id in a result is the task's own: of what asks for tasks, and of a call that became one (2026-07-28).
fn made(method: &str, result: &Object) -> bool {
    let became = || result.get("resultType").and_then(Value::as_str) == Some("task");
    method.starts_with("tasks/") || (method == "tools/call" && became())
}

fn object_mut<'a>(of: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    of.get_mut(key).and_then(Value::as_object_mut)
}

/// Whether there is no id under `key` that is not known.
fn rename(of: &mut Object, key: &str, named: Named<'_>) -> bool {
    match of.get_mut(key) {
        Some(id) => rename_value(id, named),
        None => true,
    }
}

fn rename_value(id: &mut Value, named: Named<'_>) -> bool {
    match id.as_str().and_then(named) {
        Some(other) => {
            *id = other.as_str().into();
            true
        }
        None => false,
    }
}

fn listened(params: &mut Object, named: Named<'_>) -> bool {
    let ids = object_mut(params, "notifications").and_then(|wanted| wanted.get_mut(TASK_IDS));
    let Some(Value::Array(ids)) = ids else { return true };
    let mut all = true;
    for id in ids.make_mut() {
        all &= rename_value(id, named);
    }
    all
}

fn related(content: &mut Object, named: Named<'_>) -> bool {
    match object_mut(content, "_meta").and_then(|meta| object_mut(meta, RELATED)) {
        // Which of the two a lenient reader takes nobody could say.
        Some(task) if has_lookalike(task, TASK_ID) => false,
        Some(task) => rename(task, TASK_ID, named),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Context, McpHead, decode};
    use super::*;

    const META: &str = r#""_meta":{"io.modelcontextprotocol/related-task":{"taskId":"ID"}}"#;

    fn own(id: &str) -> Option<String> {
        id.strip_prefix("ours-").map(str::to_owned)
    }

    fn told(id: &str) -> Option<String> {
        id.starts_with('t').then(|| format!("ours-{id}"))
    }

    #[test]
    fn a_clients_ids_become_the_servers() {
        let request = |method: &str, params: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            let head = McpHead::default();
            let mut decoded =
                decode(text.as_bytes(), &Context { head: &head, session: None, session_version: None }).unwrap();
            let named = decoded.name_tasks(&mut own);
            named.map(|()| String::from_utf8(decoded.canonical()).unwrap())
        };
        let meta = |id: &str| META.replace("ID", id);
        for (method, params) in [
            ("tasks/get", r#"{"taskId":"ours-t1"}"#.to_owned()),
            ("tasks/cancel", r#"{"taskId":"ours-t1"}"#.to_owned()),
            ("tasks/result", r#"{"taskId":"ours-t1"}"#.to_owned()),
            ("tasks/update", r#"{"taskId":"ours-t1","inputResponses":{}}"#.to_owned()),
            ("subscriptions/listen", r#"{"notifications":{"taskIds":["ours-t1","ours-t2"]}}"#.to_owned()),
            ("tools/call", format!(r#"{{"name":"x","arguments":{{"taskId":"ours-x"}},{}}}"#, meta("ours-t1"))),
        ] {
            let renamed = request(method, &params).unwrap();
            assert_eq!(renamed.replace("t1", "ours-t1").replace("t2", "ours-t2"), {
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
            });
            let unknown = params.replace("ours-t1", "t1");
            assert_eq!(request(method, &unknown), Err(UnknownTask), "{method} {unknown}");
        }
        assert!(request("tasks/list", "{}").is_ok() && request("ping", "{}").is_ok());
        let notice =
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{{}}}}}"#, meta("theirs"));
        let head = McpHead::default();
        let mut decoded =
            decode(notice.as_bytes(), &Context { head: &head, session: None, session_version: None }).unwrap();
        assert_eq!(decoded.name_tasks(&mut own), Ok(()));
        assert_eq!(decoded.canonical(), notice.as_bytes());
    }

    #[test]
    fn a_servers_ids_become_the_clients() {
        let tell = |method: &str, text: &str| {
            let mut message = ServerMessage::parse(text.as_bytes()).unwrap();
            message.tell_tasks(&McpCall::base(method, None, None), &mut told);
            String::from_utf8(message.canonical()).unwrap()
        };
        let result = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let notice =
            |method: &str, params: &str| format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
        let meta = |id: &str| META.replace("ID", id);
        let rows = [
            ("tools/call", result(r#"{"task":{"taskId":"t1"}}"#)),
            ("tools/call", result(r#"{"resultType":"task","taskId":"t1"}"#)),
            ("tasks/get", result(r#"{"taskId":"t1","status":"working"}"#)),
            ("tasks/cancel", result(r#"{"taskId":"t1"}"#)),
            ("tasks/list", result(r#"{"tasks":[{"taskId":"t1"},{"taskId":"t2"},5]}"#)),
            ("tasks/result", result(&format!(r#"{{"content":[],{}}}"#, meta("t1")))),
            ("tasks/get", result(&format!(r#"{{"taskId":"t1","result":{{"content":[],{}}}}}"#, meta("t1")))),
            (
                "tasks/get",
                result(&format!(
                    r#"{{"taskId":"t1","inputRequests":{{"a":{{"method":"roots/list","params":{{{}}}}}}}}}"#,
                    meta("t1")
                )),
            ),
            ("", notice("notifications/tasks/status", r#"{"taskId":"t1"}"#)),
            ("", notice("notifications/tasks", r#"{"taskId":"t1"}"#)),
            ("", notice("notifications/progress", &format!("{{{}}}", meta("t1")))),
            ("", notice(ACKNOWLEDGED, r#"{"notifications":{"taskIds":["t1","t2"]}}"#)),
            (
                "",
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{{"message":"m",{}}}}}"#,
                    meta("t1")
                ),
            ),
        ];
        for (method, text) in rows {
            let want = text.replace("\"t1", "\"ours-t1").replace("\"t2", "\"ours-t2");
            assert_ne!(text, want);
            assert_eq!(tell(method, &text), want, "{method}");
            let theirs = text.replace("\"t1", "\"x").replace("\"t2", "\"x");
            assert_eq!(tell(method, &theirs), theirs, "{method}");
        }
        // What a tool says is its own, and what a server asks of a client's task is the client's.
        for text in [
            result(r#"{"content":[{"taskId":"t1"}],"structuredContent":{"taskId":"t1"},"taskId":"t1"}"#),
            r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t1"}}"#.to_owned(),
        ] {
            assert_eq!(tell("tools/call", &text), text);
        }
    }

    #[test]
    fn one_moment_is_one_however_it_is_written() {
        let created = |task: &str| task_created(crate::wire::json::parse(task.as_bytes()).unwrap().as_object()?);
        let of = |said: &str| created(&format!(r#"{{"createdAt":"{said}"}}"#));
        let first = of("2025-11-25T10:30:00Z");
        assert_eq!(first.as_deref(), Some("1764066600000"));
        for same in ["2025-11-25T10:30:00.000Z", "2025-11-25T11:30:00+01:00", "2025-11-25T10:30:00.0004Z"] {
            assert_eq!(of(same), first, "{same}");
        }
        for other in ["2025-11-25T10:30:00.001Z", "2025-11-25T10:30:01Z", "2025-11-25", "yesterday"] {
            assert!(of(other).is_some() && of(other) != first, "{other}");
        }
        let long = format!(r#"{{"createdAt":"{}"}}"#, "1".repeat(MAX_CREATED + 1));
        for none in
            [r#"{}"#, r#"{"createdAt":""}"#, r#"{"createdAt":1}"#, r#"{"createdat":"a","createdAt":"a"}"#, &long]
        {
            assert_eq!(created(none), None, "{none}");
        }
    }

    #[test]
    fn a_call_becomes_one_task_or_none() {
        let made = |result: &str| {
            let message = ServerMessage::parse(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#).as_bytes());
            message.unwrap().task_made().map(|made| made.map(|(id, _)| id.to_owned()))
        };
        for (result, is) in [
            (r#"{"task":{"taskId":"a"}}"#, Ok(Some("a"))),
            (r#"{"resultType":"task","taskId":"a"}"#, Ok(Some("a"))),
            (r#"{"content":[],"taskId":"a"}"#, Ok(None)),
            (r#"{"content":[]}"#, Ok(None)),
            (r#"{"task":5}"#, Ok(None)),
            (r#"{"Task":{"taskId":"a"}}"#, Err(UnknownTask)),
            (r#"{"task":{"taskId":"a","taskid":"b"}}"#, Err(UnknownTask)),
            (r#"{"ResultType":"task","taskId":"a"}"#, Err(UnknownTask)),
            (r#"{"resultType":"task","TaskId":"a"}"#, Err(UnknownTask)),
        ] {
            assert_eq!(made(result), is.map(|id| id.map(ToOwned::to_owned)), "{result}");
        }
    }
}

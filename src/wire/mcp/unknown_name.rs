//! How one server answers a name that it does not have, so that a refusal can look the same.

use std::mem::{Discriminant, discriminant};

use super::{ServerKind, ServerMessage};
use crate::call::{Knowable, McpCall, McpObject, Object, Value};
use crate::wire::json;
use crate::wire::jsonrpc::{INVALID_PARAMS, Id, METHOD_NOT_FOUND};

/// Where the name goes. No name and no learnt text has it.
const HOLE: &str = "\0";
/// Longest wording that is learnt, without the name: more would risk to repeat one caller's data to another.
const MAX_WORDING: usize = 64;
/// Shorter names are likely to be part of the wording too.
const MIN_NAME: usize = 3;
/// What an error says that is about an unknown name, in lower case.
const SIGNS: [&str; 5] = ["unknown", "not found", "no such", "does not exist", "not available"];
/// Texts of failed results by which the official SDKs answer an unknown tool: any tool may fail in other words.
const RESULT_TEXTS: [&str; 3] = ["Unknown tool: \0", "MCP error -32602: Tool \0 not found", "Tool \0 not found"];

/// A server's own answer to an unknown name, with holes for id and name; bytes and key order are the server's.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownName {
    /// Of tools, of prompts or of resources.
    about: Discriminant<McpObject>,
    message: Object,
}

impl UnknownName {
    /// Learns from what a server answered to `call`; `None` where that is not surely about an unknown name.
    pub fn learn(call: &McpCall, answer: &ServerMessage) -> Option<Self> {
        // An error of a completion may be about what was typed.
        let named = call.name().filter(|_| &*call.method != "completion/complete");
        let name = named.filter(|name| name.len() >= MIN_NAME)?;
        let mut message = answer.tree().as_object()?.clone();
        match answer.kind() {
            // What a tool says of its arguments could be a caller's own words, to be told to others.
            ServerKind::Error if says_nothing(call) => {
                learn_error(name, message.get_mut("error")?.as_object_mut()?)?;
            }
            ServerKind::Error => return None,
            ServerKind::Result if matches!(call.object, McpObject::Tool { .. }) => {
                learn_result(name, message.get_mut("result")?.as_object_mut()?)?;
            }
            ServerKind::Result | ServerKind::Request(_) | ServerKind::Notification(_) => return None,
        }
        // A text of its own: what was learnt is kept, the rest of the answer is not.
        let mut text = Vec::new();
        json::write_object(&message, &mut text);
        let Ok(Value::Object(message)) = json::parse(&text) else { return None };
        Some(Self { about: discriminant(&call.object), message })
    }

    /// What is known of servers that call themselves by the name of their SDK (`serverInfo` of their answer to
    /// `initialize`), for tools.
    pub fn of_server(info: &Value) -> Option<Self> {
        let text = match info.get("name")?.as_str()? {
            "rmcp" => br#"{"jsonrpc":"2.0","id":0,"error":{"code":-32602,"message":"tool not found"}}"#.as_slice(),
            "FastMCP" => {
                br#"{"jsonrpc":"2.0","id":0,"result":{"content":[{"type":"text","text":"Unknown tool: \u0000"}],"isError":true}}"#
            }
            _ => return None,
        };
        match json::parse(text) {
            Ok(Value::Object(message)) => {
                let tool = McpObject::Tool { name: Knowable::Unknown, arguments: Knowable::Unknown };
                Some(Self { about: discriminant(&tool), message })
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether `call` is about the same kind of thing as what was learnt.
    pub fn fits(&self, call: &McpCall) -> bool {
        self.about == discriminant(&call.object)
    }

    /// The answer for `name` under `id`.
    pub fn answer(&self, id: &Id, name: &str) -> Vec<u8> {
        let mut message = Value::Object(self.message.clone());
        fill(&mut message, name);
        if let Some(message) = message.as_object_mut() {
            message.set("id", id.to_value());
        }
        let mut out = Vec::new();
        json::write(&message, &mut out);
        out
    }
}

/// Whether a call has no arguments: then an error can only be about its name.
fn says_nothing(call: &McpCall) -> bool {
    match &call.object {
        McpObject::Tool { arguments, .. } | McpObject::Prompt { arguments, .. } => {
            arguments.known().is_some_and(|arguments| arguments.is_empty())
        }
        McpObject::Resource(_) => true,
        McpObject::Base
        | McpObject::Task(_)
        | McpObject::Subscription(_)
        | McpObject::Setting
        | McpObject::ServerRequest(_)
        | McpObject::Other => false,
    }
}

/// `{code, message}`, and for resources `data: {uri}`: nothing else could be told from one caller's data.
fn learn_error(name: &str, error: &mut Object) -> Option<()> {
    let code = error.get("code")?.as_number()?.as_i64()?;
    if ![INVALID_PARAMS, METHOD_NOT_FOUND, -32002].contains(&code) {
        return None;
    }
    if error.iter().any(|(key, _)| !matches!(key, "code" | "message" | "data")) {
        return None;
    }
    let wording = punch(name, error.get("message")?.as_str()?)?;
    let lower = wording.to_ascii_lowercase();
    if wording.len() > MAX_WORDING || !SIGNS.iter().any(|sign| lower.contains(sign)) {
        return None;
    }
    error.set("message", wording.as_str().into());
    if let Some(data) = error.get_mut("data") {
        let data = data.as_object_mut()?;
        if data.len() != 1 || data.get("uri").and_then(Value::as_str) != Some(name) {
            return None;
        }
        data.set("uri", HOLE.into());
    }
    Some(())
}

/// `{content: [{type, text}], isError: true}` in one of the known wordings.
fn learn_result(name: &str, result: &mut Object) -> Option<()> {
    if result.get("isError")?.as_bool() != Some(true)
        || result.iter().any(|(key, _)| !matches!(key, "content" | "isError" | "resultType"))
    {
        return None;
    }
    let Some(Value::Array(items)) = result.get_mut("content") else { return None };
    let [item] = items.make_mut().as_mut_slice() else { return None };
    let item = item.as_object_mut()?;
    let wording = punch(name, item.get("text")?.as_str()?)?;
    if item.len() != 2 || item.get("type")?.as_str() != Some("text") || !RESULT_TEXTS.contains(&wording.as_str()) {
        return None;
    }
    item.set("text", wording.as_str().into());
    Some(())
}

/// `text` with a hole where the name stands once, or as it is where the name does not stand in it.
fn punch(name: &str, text: &str) -> Option<String> {
    if text.contains(HOLE) || text.matches(name).count() > 1 {
        return None;
    }
    Some(text.replace(name, HOLE))
}

fn fill(value: &mut Value, name: &str) {
    match value {
        Value::String(text) if text.contains(HOLE) => *text = text.replace(HOLE, name).into(),
        Value::Array(items) => items.make_mut().iter_mut().for_each(|item| fill(item, name)),
        Value::Object(object) => {
            let keys: Vec<String> = object.iter().map(|(key, _)| key.to_owned()).collect();
            for key in keys {
                if let Some(value) = object.get_mut(&key) {
                    fill(value, name);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

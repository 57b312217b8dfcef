//! A request body to what is decided on and what is forwarded: one tree, seen twice.

use std::sync::Arc;

use super::method::{Known, Subject, is_removed, known, mirrored};
use super::{DecodeFault, META_VERSION, McpHead, MessageFault, Version, parameters, view};
use crate::call::{McpCall, McpObject, Object, Value};
use crate::wire::json;
use crate::wire::jsonrpc::{Body, Id, Message};

/// What is known beside the body.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The MCP headers of the request.
    pub head: &'a McpHead,
    /// Keyed hash of the session id, never the id.
    pub session: Option<Arc<str>>,
    /// The version that the session agreed on, for requests that do not say one.
    pub session_version: Option<Version>,
}

/// What a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// To be answered under its id.
    Request,
    /// Not to be answered.
    Notification,
    /// The answer to a request of the server.
    Response,
}

/// A message that may be decided on. Its bytes to forward come from [`Decoded::canonical`] alone.
#[derive(Debug, Clone)]
pub struct Decoded {
    kind: Kind,
    id: Option<Id>,
    call: McpCall,
    tree: Value,
    version: Option<Version>,
}

impl Decoded {
    /// Request, notification or response.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The id; always there for a request.
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// What is decided on.
    pub fn call(&self) -> &McpCall {
        &self.call
    }

    /// The version that the header says, else the session's.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The whole message, as it is forwarded.
    pub fn tree(&self) -> &Value {
        &self.tree
    }

    /// `params`, where the message has them.
    pub fn params(&self) -> Option<&Object> {
        self.tree.get("params").and_then(Value::as_object)
    }

    pub(super) fn params_mut(&mut self) -> Option<&mut Object> {
        self.member_mut("params")
    }

    pub(super) fn member_mut(&mut self, key: &str) -> Option<&mut Object> {
        self.tree.as_object_mut()?.get_mut(key)?.as_object_mut()
    }

    /// Forwards the message under another id than the client's.
    pub fn forward_under(&mut self, id: &Id) {
        if let Some(message) = self.tree.as_object_mut() {
            message.set("id", id.to_value());
        }
    }

    /// Has a cancellation name the request that it is about by another id than the client's.
    pub fn cancel_under(&mut self, id: &Id) {
        if let Some(params) = self.params_mut() {
            params.set("requestId", id.to_value());
        }
    }

    /// The id of the request that a cancellation is about.
    pub fn cancels(&self) -> Option<Id> {
        let cancels = &*self.call.method == "notifications/cancelled";
        self.params().filter(|_| cancels)?.get("requestId").and_then(Id::read)
    }

    /// What `Mcp-Name` says for this message, where its method has one.
    pub fn mirrored_name(&self) -> Option<&str> {
        self.params()?.get(mirrored(&self.call.method)?)?.as_str()
    }

    /// Exactly the bytes to forward: every member as it was sent, in canonical JSON.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(json::FIRST);
        json::write(&self.tree, &mut out);
        out
    }
}

/// Reads one message from a client.
///
/// # Errors
/// [`DecodeFault`], which knows its HTTP status and JSON-RPC answer.
pub fn decode(body: &[u8], context: &Context<'_>) -> Result<Decoded, DecodeFault> {
    let mut tree = json::parse_call(body).map_err(DecodeFault::json)?;
    let message = Message::read(&tree).map_err(|fault| DecodeFault::envelope(fault, Message::readable_id(&tree)))?;
    let id = message.id.clone();
    let read = read(&message, context.head).map_err(|fault| DecodeFault::message(fault, id.clone()))?;
    if let McpObject::Tool { .. } | McpObject::Prompt { .. } = read.object {
        drop_null_arguments(&mut tree);
    }
    let version = context.head.version().or(context.session_version);
    let call = McpCall {
        method: read.method,
        object: read.object,
        version: version.map(|v| v.as_str().into()),
        session: context.session.clone(),
    };
    Ok(Decoded { kind: read.kind, id, call, tree, version })
}

struct Read {
    kind: Kind,
    method: Arc<str>,
    object: McpObject,
}

fn read(message: &Message<'_>, head: &McpHead) -> Result<Read, MessageFault> {
    let modern = head.version().is_some_and(Version::is_modern);
    match message.body {
        Body::Request { method, params } => {
            let object = match known(method) {
                Known::Request(_) if modern && is_removed(method) => return Err(MessageFault::Removed),
                Known::Request(subject) => view::object(subject, params)?,
                Known::No => view::object(Subject::Other, params)?,
                Known::Notification => return Err(MessageFault::TakesNoId),
                Known::Lookalike => return Err(MessageFault::MethodLookalike),
            };
            let says_version = check_version(params, head)?;
            if modern {
                if !says_version {
                    return Err(MessageFault::NoVersion);
                }
                let name = mirrored(method).and_then(|key| params?.get(key)?.as_str());
                if !head.method().says(method) || name.is_some_and(|name| !head.name().says(name)) {
                    return Err(MessageFault::HeaderMismatch);
                }
                if let McpObject::Tool { arguments, .. } = &object
                    && !parameters::repeat(head.parameters(), arguments.known().map(|arguments| &**arguments))
                {
                    return Err(MessageFault::HeaderMismatch);
                }
            }
            Ok(Read { kind: Kind::Request, method: method.into(), object })
        }
        Body::Notification { method, params } => {
            let object = match known(method) {
                Known::Notification => McpObject::Base,
                Known::No => McpObject::Other,
                Known::Request(_) => return Err(MessageFault::NeedsId),
                Known::Lookalike => return Err(MessageFault::MethodLookalike),
            };
            view::plain(params)?;
            check_version(params, head)?;
            if modern && head.method().contradicts(method) {
                return Err(MessageFault::HeaderMismatch);
            }
            Ok(Read { kind: Kind::Notification, method: method.into(), object })
        }
        Body::Result(_) | Body::Error(_) if modern => Err(MessageFault::UnexpectedResponse),
        // A response names nothing: it is let through by whoever knows the request it answers, or not at all.
        Body::Result(_) | Body::Error(_) => {
            Ok(Read { kind: Kind::Response, method: "".into(), object: McpObject::Other })
        }
    }
}

/// Whether `_meta` names a version; it may name none but the header's. Where the two differ, servers take one or the
/// other.
fn check_version(params: Option<&Object>, head: &McpHead) -> Result<bool, MessageFault> {
    let Some(said) = params.and_then(|p| p.get("_meta")).and_then(|meta| meta.get(META_VERSION)) else {
        return Ok(false);
    };
    if said.as_str().is_some() && said.as_str() == head.version().map(Version::as_str) {
        return Ok(true);
    }
    Err(MessageFault::HeaderMismatch)
}

/// `null` counts as absent in some servers and as an error in others; absent is the same in all.
fn drop_null_arguments(tree: &mut Value) {
    let params = tree.as_object_mut().and_then(|message| message.get_mut("params")).and_then(Value::as_object_mut);
    if let Some(params) = params
        && params.get("arguments") == Some(&Value::Null)
    {
        params.remove("arguments");
    }
}

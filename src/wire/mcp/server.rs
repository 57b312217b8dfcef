//! What a server sends: answers, its own requests, notifications.

use super::META_SUBSCRIPTION;
use super::tasks::ACKNOWLEDGED;
use crate::call::{Object, Value};
use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::wire::json::{self, JsonFault};
use crate::wire::jsonrpc::{Body, EnvelopeFault, Id, Message};

/// Room for another id than the server's, bytes.
const SPARE: usize = 64;

/// One message from a server, in full.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerMessage {
    kind: ServerKind,
    id: Option<Id>,
    tree: Value,
    /// Bytes that it came in.
    size: usize,
}

/// What a server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerKind {
    /// The result of a request.
    Result,
    /// The error of a request; its id may be absent.
    Error,
    /// A request to the client, with its method.
    Request(Box<str>),
    /// A notification, with its method.
    Notification(Box<str>),
}

/// What a server sent is no JSON-RPC message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerFault {
    /// The text.
    #[error("server's message: {0}")]
    Json(JsonFault),
    /// The envelope.
    #[error("server's message: {0}")]
    Envelope(EnvelopeFault),
}

impl Faulty for ServerFault {
    fn blame(&self) -> Blame {
        Blame::Upstream
    }

    fn retry(&self) -> Retry {
        Retry::Unsafe
    }

    fn stage(&self) -> Stage {
        Stage::Forward
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Json(fault) => fault.reason(),
            Self::Envelope(fault) => fault.reason(),
        }
    }
}

impl ServerMessage {
    /// Reads a JSON body or the data of one event, as strictly as a client's message.
    ///
    /// # Errors
    /// [`ServerFault`]; such a message must not reach the client, which may read it in another way.
    pub fn parse(bytes: &[u8]) -> Result<Self, ServerFault> {
        let tree = json::parse(bytes).map_err(ServerFault::Json)?;
        let message = Message::read(&tree).map_err(ServerFault::Envelope)?;
        let kind = match message.body {
            Body::Request { method, .. } => ServerKind::Request(method.into()),
            Body::Notification { method, .. } => ServerKind::Notification(method.into()),
            Body::Result(_) => ServerKind::Result,
            Body::Error(_) => ServerKind::Error,
        };
        Ok(Self { kind, id: message.id, size: bytes.len(), tree })
    }

    /// What it is.
    pub fn kind(&self) -> &ServerKind {
        &self.kind
    }

    /// Its id.
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// Whether it is the answer to the request with exactly this id.
    pub fn answers(&self, id: &Id) -> bool {
        matches!(self.kind, ServerKind::Result | ServerKind::Error) && self.id.as_ref() == Some(id)
    }

    /// Gives the message another id: the one that the client knows it by.
    pub fn rename(&mut self, id: &Id) {
        if let Some(message) = self.tree.as_object_mut() {
            message.set("id", id.to_value());
            self.id = Some(id.clone());
        }
    }

    /// Has a cancellation name the request that it is about by the id that `renamed` gives for it, if any.
    pub fn rename_cancelled(&mut self, renamed: impl FnOnce(&Id) -> Option<Id>) {
        if !matches!(&self.kind, ServerKind::Notification(method) if &**method == "notifications/cancelled") {
            return;
        }
        let params = self.tree.as_object_mut().and_then(|message| message.get_mut("params"));
        let Some(params) = params.and_then(Value::as_object_mut) else { return };
        if let Some(id) = params.get("requestId").and_then(Id::read).and_then(|id| renamed(&id)) {
            params.set("requestId", id.to_value());
        }
    }

    /// The whole message.
    pub fn tree(&self) -> &Value {
        &self.tree
    }

    /// `params`, where the message has them.
    pub fn params(&self) -> Option<&Object> {
        self.tree.get("params").and_then(Value::as_object)
    }

    /// What of a subscription its server agreed to, and by which id it is known, where this says so (MCP 2026-07-28).
    pub fn agreed(&self) -> Option<(&Value, Option<&Value>)> {
        let says = matches!(&self.kind, ServerKind::Notification(method) if &**method == ACKNOWLEDGED);
        let params = self.params().filter(|_| says)?;
        let id = params.get("_meta").and_then(|meta| meta.get(META_SUBSCRIPTION));
        Some((params.get("notifications")?, id))
    }

    /// `result`, where there is one.
    pub fn result(&self) -> Option<&Value> {
        self.tree.get("result")
    }

    /// `result`, to filter it.
    pub fn result_mut(&mut self) -> Option<&mut Value> {
        self.tree.as_object_mut()?.get_mut("result")
    }

    /// `result`, `error` or `params`.
    pub fn content(&self) -> Option<&Value> {
        self.tree.get(self.content_key())
    }

    /// `result`, `error` or `params`, to black parts of it out.
    pub fn content_mut(&mut self) -> Option<&mut Value> {
        let key = self.content_key();
        self.tree.as_object_mut()?.get_mut(key)
    }

    fn content_key(&self) -> &'static str {
        match self.kind {
            ServerKind::Result => "result",
            ServerKind::Error => "error",
            ServerKind::Request(_) | ServerKind::Notification(_) => "params",
        }
    }

    /// The message as it goes to the client.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size + SPARE);
        json::write(&self.tree, &mut out);
        out
    }
}

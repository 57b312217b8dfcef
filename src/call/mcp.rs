use std::sync::Arc;

use super::Object;

/// One MCP message from client to server, decoded (MCP 2024-11-05 to 2026-07-28).
#[derive(Debug, Clone, PartialEq)]
pub struct McpCall {
    /// `method`, exact bytes; empty for a response to a server's request.
    pub method: Arc<str>,
    /// What the method names.
    pub object: McpObject,
    /// Protocol version: of the header, else of the session, where known.
    pub version: Option<Arc<str>>,
    /// Keyed hash of the session id, where there is one; never the id.
    pub session: Option<Arc<str>>,
}

/// What a call is about.
#[derive(Debug, Clone, PartialEq)]
pub enum McpObject {
    /// Base methods: `initialize`, `ping`, `server/discover`, notifications, the GET stream, DELETE.
    Base,
    /// `tools/call`; in a list, one entry of it (arguments unknown); for the list request itself, all unknown.
    Tool {
        /// `params.name`
        name: Knowable<Arc<str>>,
        /// `params.arguments`, `{}` where absent or null.
        arguments: Knowable<Arc<Object>>,
    },
    /// `prompts/get` and entries of `prompts/list`.
    Prompt {
        /// `params.name`
        name: Knowable<Arc<str>>,
        /// `params.arguments`
        arguments: Knowable<Arc<Object>>,
    },
    /// `resources/read`, `subscribe`, `unsubscribe` and entries of `resources/list` and `resources/templates/list`.
    Resource(Knowable<ResourceUri>),
    /// A request of any other method.
    Other,
}

/// A value that a list request does not know yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knowable<T> {
    /// Known exactly.
    Known(T),
    /// Not known in this phase: rules over it are neither true nor false.
    Unknown,
}

impl<T> Knowable<T> {
    /// The value, where known.
    pub fn known(&self) -> Option<&T> {
        if let Self::Known(value) = self { Some(value) } else { None }
    }
}

/// A resource URI as sent and as normalised (RFC 3986 section 6.2.2: case, percent encoding, dot segments).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceUri {
    /// As sent.
    pub raw: Arc<str>,
    /// Normalised; equal to `raw` for an already normal URI.
    pub normal: Arc<str>,
}

/// `mcp.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A list request or an entry of a list.
    List,
    /// Everything else a client sends.
    Call,
    /// A server's answer.
    Result,
}

impl Phase {
    /// As CEL and logs say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Call => "call",
            Self::Result => "result",
        }
    }
}

impl McpCall {
    /// A call of a base method, or with an empty `method` the GET stream or DELETE of a session.
    pub fn base(method: &str, version: Option<Arc<str>>, session: Option<Arc<str>>) -> Self {
        Self { method: method.into(), object: McpObject::Base, version, session }
    }

    /// One entry of the list that `self` asks for: the same call, about `object`.
    pub fn entry(&self, object: McpObject) -> Self {
        Self { method: Arc::clone(&self.method), object, version: self.version.clone(), session: self.session.clone() }
    }

    /// `list` where part of what the call names is not known yet, else `call`.
    pub fn phase(&self) -> Phase {
        let unknown = match &self.object {
            McpObject::Tool { name, arguments } | McpObject::Prompt { name, arguments } => {
                name.known().is_none() || arguments.known().is_none()
            }
            McpObject::Resource(uri) => uri.known().is_none() || self.method.ends_with("/list"),
            McpObject::Base | McpObject::Other => false,
        };
        if unknown { Phase::List } else { Phase::Call }
    }

    /// The name of the tool or prompt, or the raw URI, where there is one and it is known.
    pub fn name(&self) -> Option<&str> {
        match &self.object {
            McpObject::Tool { name, .. } | McpObject::Prompt { name, .. } => name.known().map(|n| &**n),
            McpObject::Resource(uri) => uri.known().map(|u| &*u.raw),
            McpObject::Base | McpObject::Other => None,
        }
    }
}

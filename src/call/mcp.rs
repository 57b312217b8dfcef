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
    /// `tasks/..` of one task and entries of `tasks/list`; for that list itself, all unknown.
    Task(Task),
    /// `subscriptions/listen`: every resource and task of it must be permitted.
    Subscription(Arc<Subscription>),
    /// A known method that names nothing: `logging/setLevel`.
    Setting,
    /// What a server asks of its client.
    ServerRequest(Arc<ServerRequest>),
    /// A request of any other method.
    Other,
}

/// A task: the call of a tool that goes on (MCP 2025-11-25, and the tasks extension of 2026-07-28).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// `params.taskId`: whoever has it can use it, so that it is not for logs.
    pub id: Knowable<Arc<str>>,
    /// The tool whose call made it, where that is known: it is decided on as a call of that tool.
    pub tool: Option<Arc<str>>,
    /// When its server says that it was made (`createdAt`), where that is known: servers may give an id again once they began
    /// anew, and this tells the tasks apart.
    pub created: Option<Arc<str>>,
}

/// What `subscriptions/listen` (MCP 2026-07-28) asks to be told of, beyond changes of lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// `notifications.resourceSubscriptions`
    pub resources: Vec<ResourceUri>,
    /// `notifications.taskIds`
    pub tasks: Vec<Task>,
}

/// What a server asks of its client while it answers: in an event until 2025-11-25, in a result since.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerRequest {
    /// `params`, `{}` where absent.
    pub params: Arc<Object>,
    /// The tool in whose call it is asked, where that is known.
    pub tool: Option<Arc<str>>,
    /// For `elicitation/create`: what the user is shown.
    pub elicitation: Option<Elicitation>,
}

/// What an elicitation shows to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elicitation {
    /// A form.
    Form,
    /// A page elsewhere (MCP 2025-11-25).
    Url {
        /// As sent.
        url: Arc<str>,
        /// Its host: lower case, no port.
        host: Arc<str>,
    },
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

    /// `list` for a list request and its entries, `result` for what a server asks, else `call`.
    pub fn phase(&self) -> Phase {
        if matches!(self.object, McpObject::ServerRequest(_)) {
            return Phase::Result;
        }
        if self.method.ends_with("/list") { Phase::List } else { Phase::Call }
    }

    /// The tool that is called, listed, or goes on as a task, where that is known.
    pub fn tool(&self) -> Option<&Arc<str>> {
        if let McpObject::Task(task) = &self.object {
            return task.tool.as_ref();
        }
        if let McpObject::Tool { name, .. } = &self.object { name.known() } else { None }
    }

    /// Whether it changes a task, or asks what one came to: neither says which task of an id was meant.
    pub fn acts_on_task(&self) -> bool {
        matches!(self.object, McpObject::Task(Task { id: Knowable::Known(_), .. })) && &*self.method != "tasks/get"
    }

    /// What the call is given, where it takes arguments and they are known.
    pub fn arguments(&self) -> Option<&Arc<Object>> {
        if let McpObject::Tool { arguments, .. } | McpObject::Prompt { arguments, .. } = &self.object {
            arguments.known()
        } else {
            None
        }
    }

    /// The name of the tool or prompt, the raw URI or the id of the task, where there is one and it is known.
    pub fn name(&self) -> Option<&str> {
        match &self.object {
            McpObject::Tool { name, .. } | McpObject::Prompt { name, .. } => name.known().map(|n| &**n),
            McpObject::Resource(uri) => uri.known().map(|u| &*u.raw),
            McpObject::Task(task) => task.id.known().map(|id| &**id),
            McpObject::Base
            | McpObject::Subscription(_)
            | McpObject::Setting
            | McpObject::ServerRequest(_)
            | McpObject::Other => None,
        }
    }
}

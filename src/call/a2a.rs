use std::net::IpAddr;
use std::sync::Arc;

use super::Object;
use crate::id::WorkloadId;

/// One Agent2Agent call, whatever binding and version it came in (A2A 0.3 and 1.0).
#[derive(Debug, Clone, PartialEq)]
pub struct A2aCall {
    /// What is asked for, under its name of A2A 1.0.
    pub operation: A2aOperation,
    /// How it came.
    pub binding: A2aBinding,
    /// Which version's names and shapes it has.
    pub version: A2aVersion,
    /// At which of the target's places.
    pub mount: A2aMount,
    /// `tenant`, where one is named.
    pub tenant: Option<Arc<str>>,
    /// The task that the call is about.
    pub task: Option<Named>,
    /// The context that the call is about.
    pub context: Option<Named>,
    /// `message.referenceTaskIds`
    pub references: Vec<Named>,
    /// The message, in one shape for every binding: `id`, `role`, `parts`, `extensions`, `metadata`.
    pub message: Option<Object>,
    /// `params.metadata` beside the message.
    pub metadata: Option<Object>,
    /// Where the agent is asked to call back, inline configurations included.
    pub push: Vec<PushTarget>,
    /// `A2A-Extensions`, in order.
    pub extensions: Vec<Arc<str>>,
    /// The agent's public card as it was last seen; none where it was not.
    pub card: Option<Arc<Card>>,
}

/// A place of a target at which an agent is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct A2aMount {
    /// Canonical, without a slash at its end: empty at the root, where gRPC is too.
    pub path: Arc<str>,
    /// Whether the target has several, so that another one may be another agent's.
    pub of_several: bool,
}

impl Default for A2aMount {
    fn default() -> Self {
        Self { path: "".into(), of_several: false }
    }
}

impl A2aMount {
    /// What tells the agent from others of its target; none where there are no others.
    pub fn agent(&self) -> Option<&Arc<str>> {
        self.of_several.then_some(&self.path)
    }
}

/// What is known of an agent's public card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Whether a key that a policy declares signed it.
    pub verified: bool,
    /// `kid` of that signature, where it has one.
    pub key_id: Option<Arc<str>>,
    /// `sha256:` and the digest, hexadecimal, of the card in canonical form without its signatures.
    pub digest: Arc<str>,
    /// Ids of its skills.
    pub skills: Vec<Arc<str>>,
}

/// A task or context by its id, with its owner where that was learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The agent's id.
    pub id: Arc<str>,
    /// Whose it is; none where nobody knows.
    pub owner: Option<Arc<Owner>>,
    /// Of a task, how it stood when it was last seen.
    pub state: Option<TaskState>,
}

impl Named {
    /// An id whose owner is not looked up yet.
    pub fn new(id: &str) -> Self {
        Self { id: id.into(), owner: None, state: None }
    }
}

/// How a task stands (`TaskState`, specification section 4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Taken, not begun.
    Submitted,
    /// Being worked on.
    Working,
    /// Done.
    Completed,
    /// Done, without success.
    Failed,
    /// Ended before it was done.
    Canceled,
    /// Waits for its caller.
    InputRequired,
    /// Not taken.
    Rejected,
    /// Waits for credentials.
    AuthRequired,
}

impl TaskState {
    /// In the order of their numbers in protobuf, of which 0 says nothing; the same in 0.3 and 1.0.
    const ALL: [Self; 8] = [
        Self::Submitted,
        Self::Working,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
        Self::InputRequired,
        Self::Rejected,
        Self::AuthRequired,
    ];

    /// Whether a task stays in it: the terminal states of the specification.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }

    /// The name of A2A 1.0, which rules use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "TASK_STATE_SUBMITTED",
            Self::Working => "TASK_STATE_WORKING",
            Self::Completed => "TASK_STATE_COMPLETED",
            Self::Failed => "TASK_STATE_FAILED",
            Self::Canceled => "TASK_STATE_CANCELED",
            Self::InputRequired => "TASK_STATE_INPUT_REQUIRED",
            Self::Rejected => "TASK_STATE_REJECTED",
            Self::AuthRequired => "TASK_STATE_AUTH_REQUIRED",
        }
    }

    /// By its name of 1.0 or 0.3 (`working`, and in protobuf `TASK_STATE_CANCELLED`). None for what says nothing, and
    /// for states of later versions.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "TASK_STATE_CANCELLED" {
            return Some(Self::Canceled);
        }
        let old = |state: Self| {
            let name = state.as_str().strip_prefix("TASK_STATE_").unwrap_or_default();
            name.len() == text.len()
                && name
                    .bytes()
                    .zip(text.bytes())
                    .all(|(name, byte)| if name == b'_' { byte == b'-' } else { byte == name.to_ascii_lowercase() })
        };
        Self::ALL.into_iter().find(|state| state.as_str() == text || old(*state))
    }

    /// By its number in protobuf.
    pub fn of_number(number: i64) -> Option<Self> {
        usize::try_from(number).ok()?.checked_sub(1).and_then(|at| Self::ALL.get(at)).copied()
    }
}

/// For whom a task was begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The workload.
    pub id: WorkloadId,
    /// Issuer and subject of its token as one text, where it carried a verified one.
    pub subject: Option<Arc<str>>,
}

/// A URL that an agent is asked to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushTarget {
    /// As written.
    pub url: Arc<str>,
    /// What it means to every reader; none where two could read it in two ways.
    pub parts: Option<UrlParts>,
    /// Whether a token or credentials come with it.
    pub has_credentials: bool,
    /// Whether it came inside of a message's configuration.
    pub inline: bool,
}

/// A URL taken apart, with nothing in it that two readers take differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlParts {
    /// Lower case.
    pub scheme: Arc<str>,
    /// Where it leads.
    pub host: UrlHost,
    /// The port, the scheme's own where none is written.
    pub port: u16,
}

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlHost {
    /// A DNS name, lower case, without the dot at the end.
    Name(Arc<str>),
    /// An address, in whatever notation.
    Address(IpAddr),
}

/// The operations of A2A 1.0 (specification section 5.3), and the public agent card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum A2aOperation {
    /// `message/send`
    SendMessage,
    /// `message/stream`
    SendStreamingMessage,
    /// `tasks/get`
    GetTask,
    /// Of 1.0.
    ListTasks,
    /// `tasks/cancel`
    CancelTask,
    /// `tasks/resubscribe`
    SubscribeToTask,
    /// `tasks/pushNotificationConfig/set`
    CreateTaskPushNotificationConfig,
    /// `tasks/pushNotificationConfig/get`
    GetTaskPushNotificationConfig,
    /// `tasks/pushNotificationConfig/list`
    ListTaskPushNotificationConfigs,
    /// `tasks/pushNotificationConfig/delete`
    DeleteTaskPushNotificationConfig,
    /// `agent/getAuthenticatedExtendedCard`
    GetExtendedAgentCard,
    /// The public card at its well-known path.
    GetAgentCard,
}

impl A2aOperation {
    /// Every operation.
    pub const ALL: [Self; 12] = [
        Self::SendMessage,
        Self::SendStreamingMessage,
        Self::GetTask,
        Self::ListTasks,
        Self::CancelTask,
        Self::SubscribeToTask,
        Self::CreateTaskPushNotificationConfig,
        Self::GetTaskPushNotificationConfig,
        Self::ListTaskPushNotificationConfigs,
        Self::DeleteTaskPushNotificationConfig,
        Self::GetExtendedAgentCard,
        Self::GetAgentCard,
    ];

    /// The name of A2A 1.0, which rules and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendMessage => "SendMessage",
            Self::SendStreamingMessage => "SendStreamingMessage",
            Self::GetTask => "GetTask",
            Self::ListTasks => "ListTasks",
            Self::CancelTask => "CancelTask",
            Self::SubscribeToTask => "SubscribeToTask",
            Self::CreateTaskPushNotificationConfig => "CreateTaskPushNotificationConfig",
            Self::GetTaskPushNotificationConfig => "GetTaskPushNotificationConfig",
            Self::ListTaskPushNotificationConfigs => "ListTaskPushNotificationConfigs",
            Self::DeleteTaskPushNotificationConfig => "DeleteTaskPushNotificationConfig",
            Self::GetExtendedAgentCard => "GetExtendedAgentCard",
            Self::GetAgentCard => "GetAgentCard",
        }
    }

    /// Whether the answer is a stream.
    pub fn streams(self) -> bool {
        matches!(self, Self::SendStreamingMessage | Self::SubscribeToTask)
    }

    /// Whether the call carries a message to the agent.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendMessage | Self::SendStreamingMessage)
    }
}

/// How a call came (A2A specification sections 9 to 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum A2aBinding {
    /// JSON-RPC 2.0 over HTTP.
    JsonRpc,
    /// gRPC.
    Grpc,
    /// HTTP with JSON, REST.
    HttpJson,
}

impl A2aBinding {
    /// As an agent card says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonRpc => "JSONRPC",
            Self::Grpc => "GRPC",
            Self::HttpJson => "HTTP+JSON",
        }
    }
}

/// Versions that are decoded. What is called 0.2 has the names and shapes of 0.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum A2aVersion {
    /// 0.2 and 0.3
    V0_3,
    /// 1.0
    V1_0,
}

impl A2aVersion {
    /// `0.3` or `1.0`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3 => "0.3",
            Self::V1_0 => "1.0",
        }
    }
}

impl A2aCall {
    /// A call of `operation` that names nothing.
    pub fn new(operation: A2aOperation, binding: A2aBinding, version: A2aVersion) -> Self {
        Self {
            operation,
            binding,
            version,
            mount: A2aMount::default(),
            tenant: None,
            task: None,
            context: None,
            references: Vec::new(),
            message: None,
            metadata: None,
            push: Vec::new(),
            extensions: Vec::new(),
            card: None,
        }
    }

    /// Every task and context that the call names.
    pub fn named(&self) -> impl Iterator<Item = &Named> {
        self.task.iter().chain(&self.context).chain(&self.references)
    }
}

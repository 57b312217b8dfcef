//! Why a request is refused before policy sees it.

use super::schema::ShapeFault;
use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::wire::grpc::FrameFault;
use crate::wire::json::JsonFault;
use crate::wire::jsonrpc::{EnvelopeFault, Id};

/// A request that is no A2A call which may pass, and the id that its answer carries.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{cause}")]
pub struct DecodeFault {
    pub(super) cause: Cause,
    pub(super) id: Option<Id>,
}

/// What was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The head.
    #[error("{0}")]
    Head(HeadFault),
    /// The text.
    #[error("Parse error: {0}")]
    Json(JsonFault),
    /// The JSON-RPC envelope.
    #[error("Invalid request: {0}")]
    Envelope(EnvelopeFault),
    /// The gRPC message frame.
    #[error("{0}")]
    Frame(FrameFault),
    /// The message's members.
    #[error("Invalid params: {0}")]
    Shape(ShapeFault),
    /// What they mean.
    #[error("{0}")]
    Message(MessageFault),
}

/// Why a head is none of an A2A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HeadFault {
    /// Neither of the bindings: no such path, method or gRPC service.
    #[error("no A2A operation has this method and path")]
    NotA2a,
    /// JSON-RPC where no policy says that the agent takes it.
    #[error("no policy names this path in a2a.rpcPaths as one at which the agent takes JSON-RPC")]
    RpcPath,
    /// `application/json` or `application/a2a+json`; for gRPC `application/grpc`.
    #[error("Content-Type must be application/json or application/a2a+json; for gRPC application/grpc")]
    ContentType,
    /// A charset other than UTF-8.
    #[error("the charset must be UTF-8")]
    Charset,
    /// A body that is compressed as a whole.
    #[error("Content-Encoding is not taken here")]
    ContentEncoding,
    /// A header that may come once.
    #[error("a header is there more than once")]
    Repeated,
    /// `A2A-Version` is neither 0.3 nor 1.0.
    #[error("A2A-Version is not supported: 0.3 and 1.0 are")]
    Version,
    /// `A2A-Extensions` that is no list of URIs, or two that differ.
    #[error("A2A-Extensions must be a list of URIs")]
    Extensions,
    /// An unknown or repeated query parameter, or one that cannot be read.
    #[error("the query holds a parameter that this operation does not have, or one twice")]
    Query,
    /// gRPC needs HTTP/2.
    #[error("gRPC needs HTTP/2")]
    NotHttp2,
    /// A path that fits two operations or tenants.
    #[error("the path can be read in two ways")]
    Ambiguous,
}

/// Why a well-formed message is no call that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MessageFault {
    /// No such method in any version.
    #[error("Method not found")]
    UnknownMethod,
    /// The method's name is of another version than `A2A-Version` says (absent: 0.3).
    #[error("A2A-Version does not fit the operation: names of 1.0 need A2A-Version: 1.0")]
    VersionMismatch,
    /// A request without an id: agents run it all the same.
    #[error("Invalid request: an A2A request needs an id")]
    Notification,
    /// A response, which agents never wait for.
    #[error("Invalid request: agents take no responses")]
    Response,
    /// A member without which the operation has no meaning.
    #[error("Invalid params: `{0}` is required")]
    Missing(&'static str),
    /// An id that is empty, too long or has control characters.
    #[error("Invalid params: `{0}` must be a short text without control characters")]
    BadId(&'static str),
    /// More of them than `MAX_REFERENCES`.
    #[error("Invalid params: `{0}` holds too many")]
    TooMany(&'static str),
    /// A resource name of 0.3 that is not `tasks/ID[/pushNotificationConfigs/ID]`.
    #[error("Invalid params: `{0}` must be tasks/ID or tasks/ID/pushNotificationConfigs/ID")]
    BadName(&'static str),
    /// Two places that say one thing do not agree.
    #[error("Invalid params: two places name `{0}` and differ")]
    Disagree(&'static str),
    /// The message is not from the user: what an agent said comes from agents, in answers.
    #[error("Invalid params: a client's message has the role of the user")]
    Role,
    /// A part that holds nothing, or not what its `kind` says.
    #[error("Invalid params: a part holds exactly one of text, raw, url, data")]
    Part,
}

impl HeadFault {
    fn reason(self) -> &'static str {
        match self {
            Self::NotA2a => "a2a_unrecognised",
            Self::RpcPath => "a2a_rpc_path",
            Self::ContentType => "content_type",
            Self::Charset => "charset",
            Self::ContentEncoding => "content_encoding",
            Self::Repeated => "repeated_header",
            Self::Version => "a2a_version",
            Self::Extensions => "a2a_extensions",
            Self::Query => "a2a_query",
            Self::NotHttp2 => "grpc_not_http2",
            Self::Ambiguous => "a2a_ambiguous_path",
        }
    }
}

impl MessageFault {
    fn reason(self) -> &'static str {
        match self {
            Self::UnknownMethod => "a2a_unknown_method",
            Self::VersionMismatch => "a2a_version",
            Self::Notification => "a2a_notification",
            Self::Response => "a2a_response",
            Self::Missing(_) => "a2a_missing",
            Self::BadId(_) => "a2a_id",
            Self::TooMany(_) => "a2a_too_many",
            Self::BadName(_) => "a2a_name",
            Self::Disagree(_) => "a2a_disagree",
            Self::Role => "a2a_role",
            Self::Part => "a2a_part",
        }
    }
}

impl DecodeFault {
    pub(super) fn new(cause: impl Into<Cause>, id: Option<&Id>) -> Self {
        Self { cause: cause.into(), id: id.cloned() }
    }

    /// What was wrong.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// The id that the answer echoes, where the body had a readable one.
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }
}

impl From<HeadFault> for Cause {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

impl From<ShapeFault> for Cause {
    fn from(fault: ShapeFault) -> Self {
        Self::Shape(fault)
    }
}

impl From<MessageFault> for Cause {
    fn from(fault: MessageFault) -> Self {
        Self::Message(fault)
    }
}

impl From<HeadFault> for DecodeFault {
    fn from(fault: HeadFault) -> Self {
        Self::new(fault, None)
    }
}

impl Faulty for DecodeFault {
    fn blame(&self) -> Blame {
        Blame::Caller
    }

    fn retry(&self) -> Retry {
        Retry::Safe
    }

    fn stage(&self) -> Stage {
        Stage::Decode
    }

    fn reason(&self) -> &'static str {
        match self.cause {
            Cause::Head(fault) => fault.reason(),
            Cause::Json(fault) => fault.reason(),
            Cause::Envelope(fault) => fault.reason(),
            Cause::Frame(fault) => match fault {
                FrameFault::Compressed => "grpc_compressed",
                FrameFault::Flag => "grpc_flag",
                FrameFault::Truncated => "grpc_truncated",
                FrameFault::Several => "grpc_several",
                FrameFault::TooLarge => "grpc_too_large",
            },
            Cause::Shape(fault) => fault.reason(),
            Cause::Message(fault) => fault.reason(),
        }
    }
}

//! Why a message is refused before policy sees it, and the answer it gets.

use super::{HEADER_MISMATCH, denial};
use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::wire::json::{JsonFault, JsonFaultKind};
use crate::wire::jsonrpc::{EnvelopeFault, INVALID_PARAMS, INVALID_REQUEST, Id, METHOD_NOT_FOUND, PARSE_ERROR};

/// A body that is no MCP message which may pass, and the id that its answer carries.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{cause}")]
pub struct DecodeFault {
    cause: Cause,
    id: Option<Id>,
}

/// What was wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The text.
    #[error("Parse error: {0}")]
    Json(JsonFault),
    /// The envelope.
    #[error("Invalid request: {0}")]
    Envelope(EnvelopeFault),
    /// The message.
    #[error("{0}")]
    Message(MessageFault),
}

/// Why a well-formed JSON-RPC message is not an MCP message that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MessageFault {
    /// A member of `params` differs from a known one in case alone, or `__proto__` is a key of it or of the arguments.
    #[error("Invalid params: a member is easily taken for another")]
    Lookalike,
    /// `method` differs from a known one in case alone.
    #[error("Method not found")]
    MethodLookalike,
    /// A method that the version of the header no longer has.
    #[error("Method not found")]
    Removed,
    /// `params._meta` is not an object.
    #[error("Invalid params: _meta must be an object")]
    BadMeta,
    /// `params.name` or `params.uri` is missing, empty, too long, not a string or has control characters.
    #[error("Invalid params: a name or uri is required, without control characters")]
    BadName,
    /// `params.arguments` is neither an object nor null nor absent.
    #[error("Invalid params: arguments must be an object")]
    BadArguments,
    /// `params.ref` is neither a prompt by name nor a resource by URI.
    #[error("Invalid params: ref must name one prompt or one resource")]
    BadReference,
    /// `params.cursor` is neither a text nor null nor absent.
    #[error("Invalid params: cursor must be a text")]
    BadCursor,
    /// `params.notifications` holds something else than switches and lists of URIs and task ids, or too many of these.
    #[error("Invalid params: notifications may hold switches, and short lists of URIs and task ids")]
    BadSubscription,
    /// An elicitation of a server that is neither a form nor a page with a plain URL.
    #[error("an elicitation must be a form, or a page by its plain URL")]
    BadElicitation,
    /// `inputRequests` of a server that are not requests by name.
    #[error("inputRequests must be requests by name")]
    BadInputRequest,
    /// A request without an id.
    #[error("Invalid request: this method needs an id")]
    NeedsId,
    /// A notification with an id.
    #[error("Invalid request: a notification has no id")]
    TakesNoId,
    /// A header does not say what the body says (MCP 2026-07-28).
    #[error("Header mismatch: headers and body must agree")]
    HeaderMismatch,
    /// The header says 2026-07-28 or later, and `_meta` names no version.
    #[error("Invalid params: _meta must name the protocol version")]
    NoVersion,
    /// A response, where the version has no requests from servers.
    #[error("Invalid request: this protocol version has no responses from clients")]
    UnexpectedResponse,
}

impl MessageFault {
    fn code(self) -> i64 {
        match self {
            Self::Lookalike
            | Self::BadMeta
            | Self::BadName
            | Self::BadArguments
            | Self::BadReference
            | Self::BadCursor
            | Self::BadSubscription
            | Self::BadElicitation
            | Self::BadInputRequest
            | Self::NoVersion => INVALID_PARAMS,
            Self::MethodLookalike | Self::Removed => METHOD_NOT_FOUND,
            Self::NeedsId | Self::TakesNoId | Self::UnexpectedResponse => INVALID_REQUEST,
            Self::HeaderMismatch => HEADER_MISMATCH,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Lookalike => "mcp_lookalike",
            Self::MethodLookalike => "mcp_method_lookalike",
            Self::Removed => "mcp_method_removed",
            Self::BadMeta => "mcp_meta",
            Self::BadName => "mcp_name",
            Self::BadArguments => "mcp_arguments",
            Self::BadReference => "mcp_reference",
            Self::BadCursor => "mcp_cursor",
            Self::BadSubscription => "mcp_subscription",
            Self::BadElicitation => "mcp_elicitation",
            Self::BadInputRequest => "mcp_input_request",
            Self::NeedsId => "mcp_needs_id",
            Self::TakesNoId => "mcp_takes_no_id",
            Self::HeaderMismatch => "mcp_header_mismatch",
            Self::NoVersion => "mcp_no_version",
            Self::UnexpectedResponse => "mcp_unexpected_response",
        }
    }
}

/// A message of a server; one of a caller is a [`DecodeFault`].
impl Faulty for MessageFault {
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
        self.word()
    }
}

impl DecodeFault {
    pub(super) fn json(fault: JsonFault) -> Self {
        Self { cause: Cause::Json(fault), id: None }
    }

    pub(super) fn envelope(fault: EnvelopeFault, id: Option<Id>) -> Self {
        Self { cause: Cause::Envelope(fault), id }
    }

    pub(super) fn message(fault: MessageFault, id: Option<Id>) -> Self {
        Self { cause: Cause::Message(fault), id }
    }

    /// What was wrong.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// The id that the answer echoes, where the body had a readable one.
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// JSON-RPC error code.
    pub fn code(&self) -> i64 {
        match self.cause {
            Cause::Json(fault) => match fault.kind() {
                JsonFaultKind::DuplicateKey | JsonFaultKind::TooDeep | JsonFaultKind::TooMany => INVALID_REQUEST,
                JsonFaultKind::NotUtf8
                | JsonFaultKind::ByteOrderMark
                | JsonFaultKind::Syntax
                | JsonFaultKind::Trailing
                | JsonFaultKind::LoneSurrogate
                | JsonFaultKind::NotFinite
                | JsonFaultKind::Control => PARSE_ERROR,
            },
            Cause::Envelope(_) => INVALID_REQUEST,
            Cause::Message(fault) => fault.code(),
        }
    }

    /// HTTP status: 200 where a request was read far enough that its caller can go on (clients end a session on a 4xx
    /// answer to a call), else 400.
    pub fn status(&self) -> http::StatusCode {
        match self.cause {
            Cause::Message(
                MessageFault::Lookalike
                | MessageFault::MethodLookalike
                | MessageFault::BadMeta
                | MessageFault::BadName
                | MessageFault::BadArguments
                | MessageFault::BadReference
                | MessageFault::BadCursor
                | MessageFault::BadSubscription,
            ) if self.id.is_some() => http::StatusCode::OK,
            // As 2026-07-28 says; it has no sessions that a client could take for lost.
            Cause::Message(MessageFault::Removed) => http::StatusCode::NOT_FOUND,
            Cause::Json(_) | Cause::Envelope(_) | Cause::Message(_) => http::StatusCode::BAD_REQUEST,
        }
    }

    /// The JSON-RPC error that answers it.
    pub fn body(&self) -> Vec<u8> {
        denial::error(self.id.as_ref(), self.code(), &self.to_string(), None)
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
            Cause::Json(fault) => fault.reason(),
            Cause::Envelope(fault) => fault.reason(),
            Cause::Message(fault) => fault.word(),
        }
    }
}

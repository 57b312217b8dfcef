//! JSON-RPC 2.0 envelopes as MCP uses them: no batches, a closed set of keys, ids that every peer reads alike.
//!
//! [`Message::read`] looks at a tree and borrows from it; the tree itself is what is forwarded. Methods have no
//! meaning here.

mod id;
mod message;

#[cfg(test)]
mod tests;

pub use id::Id;
pub use message::{Body, Message};

/// The text is not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// The JSON is not a JSON-RPC message that may pass.
pub const INVALID_REQUEST: i64 = -32600;
/// The receiver does not know the method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The method does not take these parameters; in MCP also: unknown tool or prompt.
pub const INVALID_PARAMS: i64 = -32602;

/// Why a JSON value is not a JSON-RPC message that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EnvelopeFault {
    /// An array. MCP 2025-06-18 removed batches; servers that still run them are why none pass.
    #[error("batches are not supported")]
    Batch,
    /// Neither object nor array.
    #[error("a message must be an object")]
    NotObject,
    /// A key beside `jsonrpc`, `id`, `method`, `params`, `result`, `error`.
    #[error("unknown member in the message")]
    UnknownKey,
    /// `jsonrpc` is not `"2.0"`.
    #[error("jsonrpc must be \"2.0\"")]
    Version,
    /// `id` is neither a short string nor an integer within +-(2^53-1).
    #[error("id must be a short string or an integer within 2^53")]
    BadId,
    /// `method` is empty, too long, not a string or has control characters.
    #[error("method must be a short string")]
    BadMethod,
    /// Parts of a request and of a response, or `result` and `error`, in one message.
    #[error("method, result and error exclude each other")]
    Mixed,
    /// `params` is not an object.
    #[error("params must be an object")]
    ParamsNotObject,
    /// `result` is not an object, or `error` is not `{code, message}`.
    #[error("result or error has the wrong shape")]
    BadOutcome,
}

impl EnvelopeFault {
    /// A fixed word for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Batch => "rpc_batch",
            Self::NotObject => "rpc_not_object",
            Self::UnknownKey => "rpc_unknown_key",
            Self::Version => "rpc_version",
            Self::BadId => "rpc_id",
            Self::BadMethod => "rpc_method",
            Self::Mixed => "rpc_mixed",
            Self::ParamsNotObject => "rpc_params",
            Self::BadOutcome => "rpc_outcome",
        }
    }
}

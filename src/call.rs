//! The vocabulary of calls: what a caller asks for, once it is decoded. No parsing, no I/O, no policy.
//!
//! `wire` makes these values from bytes; `policy` decides on them; `proxy` carries them.

mod a2a;
mod http_call;
mod indexed;
mod kept;
mod mcp;
mod value;
mod view;

pub use a2a::{
    A2aBinding, A2aCall, A2aMount, A2aOperation, A2aVersion, Card, Named, Owner, PushTarget, TaskState, UrlHost,
    UrlParts,
};
pub use http_call::HttpHead;
pub(crate) use indexed::{Decoded, Indexed, Node};
pub use kept::{List, Object};
pub use mcp::{Elicitation, Knowable, McpCall, McpObject, Phase, ResourceUri, ServerRequest, Subscription, Task};
pub use value::{Number, Value};
pub(crate) use view::{Items, Members, View};

/// A decoded call: exactly what will be decided on and, if permitted, forwarded.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// A Model Context Protocol message.
    Mcp(McpCall),
    /// An Agent2Agent call.
    A2a(Box<A2aCall>),
    /// A plain HTTP request (its head is in the facts beside it).
    Http,
    /// An opaque byte stream.
    Tcp,
}

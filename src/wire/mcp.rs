//! Model Context Protocol over Streamable HTTP: messages to [`McpCall`](crate::call::McpCall) and back, both ways.
//!
//! What is decided on is a typed view of the very tree that is forwarded: a known method with the wrong shape is
//! refused, never passed as something else. Nothing here decides, waits or logs.

mod asked;
mod cursor;
mod decode;
mod definition;
pub mod denial;
mod endpoint;
mod fault;
mod forward;
mod head;
mod list;
mod method;
mod mirror;
mod parameters;
mod server;
mod tasks;
mod unknown_name;
mod version;
mod view;

#[cfg(test)]
mod tests;

pub use asked::server_request;
pub use cursor::BadCursor;
pub use decode::{Context, Decoded, Kind, decode};
pub use definition::{Definition, NoDefinition};
pub use endpoint::endpoint_address;
pub use fault::{Cause, DecodeFault, MessageFault};
pub use forward::{drop_parameters, forward_headers, forward_stream_headers};
pub use head::{HeaderFault, McpHead, ResponseForm, check_headers, requested_version};
pub use list::{Filtered, filter_list, filter_lookalikes, is_list, mark_private, resource_entry};
pub use method::{alike, has_lookalike};
pub use mirror::{Mirror, encode_mirror};
pub use parameters::{Declared, Parameter};
pub use server::{ServerFault, ServerKind, ServerMessage};
pub use tasks::{TASKS, UnknownTask, task_created};
pub use unknown_name::UnknownName;
pub use version::Version;

/// `_meta` key that carries the protocol version since 2026-07-28.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta` key that says which subscription a message is told by (MCP 2026-07-28).
pub const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// Header and body disagree (MCP 2026-07-28).
pub const HEADER_MISMATCH: i64 = -32020;
/// Unknown protocol version (MCP 2026-07-28).
pub const UNSUPPORTED_VERSION: i64 = -32022;
/// Refused by policy, and said so: our own code, outside the ranges that JSON-RPC and MCP reserve.
pub const REFUSED: i64 = 40301;

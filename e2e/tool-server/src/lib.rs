//! A small MCP server on the official Rust SDK, for the demo and the tests: notes that can be read, searched, written
//! and deleted, over Streamable HTTP at `/mcp`.
//!
//! It authorizes nobody: whatever reaches it is executed, so that a call which a waypoint let slip is visible in
//! [`Seen`], the record of every byte and every request that arrived.

mod notes;
mod seen;
mod serve;
#[cfg(test)]
mod tests;

pub use seen::{Seen, SeenRequest};
pub use serve::{PATH, ToolServer, serve};

//! Sans-I/O parsers and writers for every wire format that we speak: bytes in, the vocabulary of `call` out, and back.
//!
//! Every parser here is strict: what two readers could understand in two ways is refused. Nothing here waits, reads a
//! socket, knows a policy or logs.

pub mod authority;
pub mod path;
pub mod http1;
pub mod json;
pub mod jsonrpc;
pub mod mcp;
pub mod sse;
pub mod uri;

//! Sans-I/O parsers and writers: bytes in, the vocabulary of `call` out, and back.
//!
//! Every parser here is strict: what two readers could understand in two ways is refused. Nothing here waits, reads a
//! socket, knows a policy or logs.

pub mod a2a;
pub mod authority;
pub mod ext_authz;
pub mod grpc;
pub mod http1;
pub mod json;
pub mod jsonrpc;
pub mod mcp;
pub mod path;
pub mod sse;
pub mod uri;

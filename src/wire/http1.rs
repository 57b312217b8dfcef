//! Strict HTTP/1.1 (RFC 9112), without I/O: request heads and bodies in, response heads out.
//!
//! One message has one reading or none: every shape that two parsers could take apart in two ways is refused, also
//! where the RFC lets a recipient repair it. [`fields`] and [`message`] hold what is the same for HTTP/2.

mod body;
mod chunked;
mod fault;
pub mod fields;
mod framing;
mod host;
pub mod message;
mod request;
mod response;
mod scan;
mod target;

pub use body::{BodyDecoder, DecodeFault, Piece};
pub use fault::{FieldFault, FramingFault, HeadFault, LineFault, TargetFault};
pub use framing::Framing;
pub use request::{KeepAlive, RequestHead, RequestParser, Upgrade};
pub use response::{Delimit, delimit, frame_chunk, last_chunk, write_continue, write_head};

#[cfg(test)]
mod tests;

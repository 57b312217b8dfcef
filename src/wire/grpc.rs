//! gRPC on HTTP/2, without I/O: length-prefixed messages, the fields of a protobuf message, and how a status is said.
//!
//! No schema is known here. What real encoders never write, and what two readers could merge in two ways, is for the
//! readers of fields to refuse; this room refuses what is no protobuf at all.

mod fields;
mod frame;
mod status;

#[cfg(test)]
mod tests;

pub use fields::{Fields, Wire, WireFault};
pub use frame::{FrameFault, Frames, only_message};
pub use status::{GrpcCode, percent_encoded};

//! Agent2Agent, versions 0.3 and 1.0, in its three bindings: JSON-RPC, gRPC, HTTP with JSON.
//!
//! [`route`] tells from a request's head which binding it is, [`decode`] makes the one call of it that policy decides on.
//! What is forwarded are the bytes that were read, so that signatures and unknown members survive; therefore everything
//! that two readers could understand in two ways is refused here. [`denial`] says refusals in the binding's own words;
//! [`learn`] reads of answers which task and context they are about.

mod card;
mod decode;
pub mod denial;
mod fault;
mod from_json;
mod from_proto;
mod head;
mod learn;
mod names;
mod rest;
mod route;
mod schema;
mod shapes;
mod url;
mod view;

#[cfg(test)]
mod tests;

pub use card::{CardSignature, CardUrl, card_signatures, card_skills, card_text, card_urls, cards, signed_text};
pub use decode::{Decoded, decode};
pub use fault::{Cause, DecodeFault, HeadFault, MessageFault};
pub use head::forward_headers;
pub use learn::{Subject, card_of_proto, learn_json, learn_proto};
pub use rest::Rest;
pub use route::{Mounts, Route, route};
pub use schema::ShapeFault;

/// JSON-RPC code of a refusal by policy: of no range that JSON-RPC or A2A use.
pub const REFUSED: i64 = crate::wire::mcp::REFUSED;

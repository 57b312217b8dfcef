//! HTTP inside a tunnel: HTTP/1.1 and HTTP/2 by prior knowledge over any byte stream, one strict reading of each request.
//!
//! A [`Handler`] gets normalised requests and gives [`Answer`]s. This room knows no policy, no target and no upstream,
//! holds no body, and starts nothing that outlives the call that serves the connection.

mod answer;
mod body;
mod fault;
mod h2c;
mod http1;
mod rewind;
mod sniff;

pub use crate::net::BoxedIo;
pub use crate::wire::http1::{HeadFault, Upgrade};
pub use answer::{Answer, Handler, Place, Request, ResponseBody, no_body, text_body};
pub use body::{Body, BodyFault};
pub use fault::IntakeFault;
pub use h2c::serve_h2c;
pub use http1::serve_http1;
pub use rewind::Rewind;
pub use sniff::{Sniffed, Spoken, sniff, sniff_within};

#[cfg(test)]
mod tests;

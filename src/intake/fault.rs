//! How serving a connection can end other than well.

use std::io;

use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::wire::http1::HeadFault;

/// Why serving a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum IntakeFault {
    /// What came was no acceptable request; the caller has been told.
    #[error(transparent)]
    Head(#[from] HeadFault),
    /// The caller broke HTTP/2 or the connection under it failed.
    #[error("HTTP/2 failed: {0}")]
    Http2(#[source] h2::Error),
    /// The connection failed, or the caller went away before its answer was out.
    #[error("the connection failed: {0}")]
    Connection(#[source] io::Error),
}

impl Faulty for IntakeFault {
    fn blame(&self) -> Blame {
        Blame::Caller
    }

    fn retry(&self) -> Retry {
        Retry::Unsafe
    }

    fn stage(&self) -> Stage {
        Stage::Read
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Head(fault) => fault.reason(),
            Self::Http2(_) => "http2",
            Self::Connection(_) => "connection",
        }
    }
}

//! How serving a connection can end other than well.

use std::io;

use super::body::BodyFault;
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
    Connection(#[from] io::Error),
    /// The body of an answer broke off; the caller was shown that it is not whole.
    #[error("the answer broke off: {0}")]
    Answer(#[source] BodyFault),
}

impl Faulty for IntakeFault {
    fn blame(&self) -> Blame {
        match self {
            Self::Head(_) | Self::Http2(_) | Self::Connection(_) => Blame::Caller,
            Self::Answer(fault) => fault.blame(),
        }
    }

    fn retry(&self) -> Retry {
        Retry::Unsafe
    }

    fn stage(&self) -> Stage {
        match self {
            Self::Head(_) | Self::Http2(_) | Self::Connection(_) => Stage::Read,
            Self::Answer(fault) => fault.stage(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Head(fault) => fault.reason(),
            Self::Http2(_) => "http2",
            Self::Connection(_) => "connection",
            Self::Answer(fault) => fault.reason(),
        }
    }
}

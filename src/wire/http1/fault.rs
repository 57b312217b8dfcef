//! Why a request head is refused, and with which status. Nothing here holds bytes of the caller.

use http::StatusCode;

use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::wire::path::PathFault;

/// Why a request head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// The lines themselves.
    #[error("malformed request head: {0}")]
    Line(#[from] LineFault),
    /// A field.
    #[error("malformed request field: {0}")]
    Field(#[from] FieldFault),
    /// What says how long the body is.
    #[error("ambiguous request framing: {0}")]
    Framing(#[from] FramingFault),
    /// What is asked for.
    #[error("malformed request target: {0}")]
    Target(#[from] TargetFault),
    /// `CONNECT`, also the extended one of RFC 8441: there is no tunnel inside a tunnel.
    #[error("CONNECT is not supported here")]
    Connect,
    /// `Expect` with anything but `100-continue`.
    #[error("the expectation cannot be met")]
    Expectation,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the HTTP version is not supported")]
    Version,
    /// Beyond `limits::MAX_HEAD` bytes or `limits::MAX_FIELDS` fields.
    #[error("the request head is too large")]
    TooLarge,
    /// The head did not arrive within `limits::HEAD_TIMEOUT`.
    #[error("the request head took too long")]
    Timeout,
    /// The caller stopped sending in the middle of a head.
    #[error("the request head ended early")]
    Truncated,
}

/// What is wrong with the lines of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// LF without CR before it.
    #[error("a line feed without a carriage return")]
    BareLf,
    /// CR without LF after it.
    #[error("a carriage return without a line feed")]
    BareCr,
    /// A byte that is neither visible ASCII, space nor tab.
    #[error("a control character or a byte outside of ASCII")]
    Byte,
    /// A line that goes on on the next one (obs-fold, RFC 9112 section 5.2).
    #[error("a folded line")]
    Fold,
    /// Not `method SP target SP version`.
    #[error("not a request line")]
    Shape,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldFault {
    /// No colon, or a name that is no token.
    #[error("a field name that is no token")]
    Name,
    /// `Name : value`.
    #[error("space before the colon")]
    SpaceBeforeColon,
    /// A value with a control character, a byte outside of ASCII, or space at an end where none may be.
    #[error("a field value with a forbidden character")]
    Value,
    /// A field that has one value at most stands there twice.
    #[error("a repeated field that may stand only once")]
    Repeated,
    /// `Content_Length`: a name that CGI-like origins read as one of those that decide (RFC 3875 section 4.1.18).
    #[error("a field name that stands for another one")]
    Alias,
    /// `Connection` names a field that is no hop's business, or holds something that is no token.
    #[error("the Connection field names a field that may not be dropped")]
    Connection,
    /// A connection-specific field in HTTP/2 (RFC 9113 section 8.2.2).
    #[error("a connection-specific field")]
    ConnectionSpecific,
}

/// What is wrong with the framing (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    /// `Content-Length` and `Transfer-Encoding` together.
    #[error("Content-Length and Transfer-Encoding together")]
    Both,
    /// `Content-Length` is not one number in plain digits.
    #[error("Content-Length is not a number")]
    Length,
    /// `Transfer-Encoding` is not exactly `chunked`.
    #[error("Transfer-Encoding is not chunked")]
    Coding,
    /// `Transfer-Encoding` in HTTP/1.0.
    #[error("Transfer-Encoding in HTTP/1.0")]
    OldVersion,
}

/// What is wrong with the target or the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// Neither a path, nor an `http` or `https` URI, nor `*` with `OPTIONS`.
    #[error("not a form that a request target has")]
    Form,
    /// The path.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// A fragment, space or quote in the query.
    #[error("a forbidden character in the query")]
    Query,
    /// Path or query beyond `limits::MAX_TARGET`.
    #[error("the request target is too long")]
    TooLong,
    /// No `Host` where one must be.
    #[error("no host")]
    NoHost,
    /// `Host` or `:authority` is no `host[:port]`.
    #[error("not a host")]
    Host,
    /// The target or `:authority` names another host than `Host`.
    #[error("two different hosts")]
    TwoHosts,
}

impl HeadFault {
    /// The status that tells the caller.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Target(TargetFault::TooLong | TargetFault::Path(PathFault::TooLong)) => StatusCode::URI_TOO_LONG,
            Self::Line(_) | Self::Field(_) | Self::Framing(_) | Self::Target(_) | Self::Truncated => {
                StatusCode::BAD_REQUEST
            }
            Self::Connect => StatusCode::NOT_IMPLEMENTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

impl Faulty for HeadFault {
    fn blame(&self) -> Blame {
        Blame::Caller
    }

    fn retry(&self) -> Retry {
        Retry::Safe
    }

    fn stage(&self) -> Stage {
        Stage::Read
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Line(fault) => fault.reason(),
            Self::Field(fault) => fault.reason(),
            Self::Framing(fault) => fault.reason(),
            Self::Target(fault) => fault.reason(),
            Self::Connect => "connect",
            Self::Expectation => "expectation",
            Self::Version => "version",
            Self::TooLarge => "head_too_large",
            Self::Timeout => "head_timeout",
            Self::Truncated => "head_truncated",
        }
    }
}

impl LineFault {
    fn reason(self) -> &'static str {
        match self {
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::Byte => "forbidden_byte",
            Self::Fold => "obs_fold",
            Self::Shape => "request_line",
        }
    }
}

impl FieldFault {
    fn reason(self) -> &'static str {
        match self {
            Self::Name => "field_name",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::Value => "field_value",
            Self::Repeated => "repeated_field",
            Self::Alias => "field_alias",
            Self::Connection => "connection_field",
            Self::ConnectionSpecific => "connection_specific_field",
        }
    }
}

impl FramingFault {
    fn reason(self) -> &'static str {
        match self {
            Self::Both => "length_and_transfer_encoding",
            Self::Length => "content_length",
            Self::Coding => "transfer_encoding",
            Self::OldVersion => "transfer_encoding_in_http10",
        }
    }
}

impl TargetFault {
    fn reason(self) -> &'static str {
        match self {
            Self::Form => "target_form",
            Self::Path(fault) => fault.reason(),
            Self::Query => "query",
            Self::TooLong => "target_too_long",
            Self::NoHost => "no_host",
            Self::Host => "host",
            Self::TwoHosts => "two_hosts",
        }
    }
}

//! The headers of an MCP exchange: content type and encoding, version, session, mirrored names.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::{HEADER_MISMATCH, Mirror, Parameter, UNSUPPORTED_VERSION, Version, denial};
use crate::call::{Object, Value};
use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::wire::jsonrpc::{INVALID_REQUEST, Id};

pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const PARAMETER_PREFIX: &str = "mcp-param-";
pub(super) const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Headers that do not let a body be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HeaderFault {
    /// Not exactly one `Content-Type` of `application/json`.
    #[error("Content-Type must be application/json")]
    ContentType,
    /// A charset other than UTF-8.
    #[error("charset must be utf-8")]
    Charset,
    /// A `Content-Encoding` other than identity.
    #[error("Content-Encoding is not supported")]
    ContentEncoding,
    /// A header that may come once came more often.
    #[error("a header is repeated")]
    Repeated,
    /// `MCP-Protocol-Version` is none of the released versions.
    #[error("Unsupported protocol version")]
    UnknownVersion,
    /// `Mcp-Session-Id` is empty or has characters beyond visible ASCII.
    #[error("Mcp-Session-Id must be visible ASCII")]
    SessionId,
}

impl HeaderFault {
    /// HTTP status of the answer.
    pub fn status(self) -> http::StatusCode {
        match self {
            Self::ContentType | Self::Charset | Self::ContentEncoding => http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Repeated | Self::UnknownVersion | Self::SessionId => http::StatusCode::BAD_REQUEST,
        }
    }

    /// The JSON-RPC error that answers it; for an unknown version one that lists the known ones, so that a client of
    /// two eras does not fall back further than it must. `id` is the request's, where it was readable, and `requested`
    /// the version that it said.
    pub fn body(self, id: Option<&Id>, requested: Option<&str>) -> Vec<u8> {
        let (code, data) = match self {
            Self::UnknownVersion => {
                let supported = Version::ALL.iter().map(|v| Value::from(v.as_str())).collect();
                let mut data: Object = [("supported", Value::Array(supported))].into_iter().collect();
                if let Some(requested) = requested {
                    data.set("requested", requested.into());
                }
                (UNSUPPORTED_VERSION, Some(Value::Object(data)))
            }
            Self::Repeated => (HEADER_MISMATCH, None),
            Self::ContentType | Self::Charset | Self::ContentEncoding | Self::SessionId => (INVALID_REQUEST, None),
        };
        denial::error(id, code, &self.to_string(), data)
    }
}

impl Faulty for HeaderFault {
    fn blame(&self) -> Blame {
        Blame::Caller
    }

    fn retry(&self) -> Retry {
        Retry::Safe
    }

    fn stage(&self) -> Stage {
        Stage::Decode
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::ContentType => "content_type",
            Self::Charset => "charset",
            Self::ContentEncoding => "content_encoding",
            Self::Repeated => "repeated_header",
            Self::UnknownVersion => "mcp_version",
            Self::SessionId => "mcp_session_id",
        }
    }
}

/// The protocol version that a request asks for, where it is short enough to be repeated.
pub fn requested_version(headers: &HeaderMap) -> Option<&str> {
    headers.get(PROTOCOL_VERSION)?.to_str().ok().filter(|text| text.len() <= MAX_REPEATED)
}

/// Longest version that an answer repeats, bytes.
const MAX_REPEATED: usize = 64;

/// The MCP headers of one request, of whatever HTTP method.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct McpHead {
    version: Option<Version>,
    session: Option<Arc<str>>,
    method: Mirror,
    name: Mirror,
    parameters: Vec<Parameter>,
}

impl McpHead {
    /// Reads the MCP headers of a GET or DELETE; for a POST see [`check_headers`].
    ///
    /// # Errors
    /// [`HeaderFault`] for a repeated, unknown or malformed one.
    pub fn read(headers: &HeaderMap) -> Result<Self, HeaderFault> {
        let version = match once(headers, &PROTOCOL_VERSION)? {
            None => None,
            Some(value) => {
                let version = value.to_str().ok().and_then(Version::parse);
                Some(version.ok_or(HeaderFault::UnknownVersion)?)
            }
        };
        let session = match once(headers, &SESSION_ID)? {
            None => None,
            Some(value) => {
                let visible = |s: &&str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic());
                let id = value.to_str().ok().filter(visible).ok_or(HeaderFault::SessionId)?;
                Some(id.into())
            }
        };
        let method = Mirror::read(headers, &METHOD);
        let name = Mirror::read(headers, &NAME);
        let repeating = headers.keys().filter(|key| key.as_str().starts_with(PARAMETER_PREFIX));
        let named = |key: &HeaderName| Parameter {
            name: key.as_str().get(PARAMETER_PREFIX.len()..).unwrap_or_default().into(),
            says: Mirror::read(headers, key),
        };
        let parameters = repeating.map(named).collect();
        Ok(Self { version, session, method, name, parameters })
    }

    /// `MCP-Protocol-Version`.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// `Mcp-Session-Id`, visible ASCII: a secret, not for logs. Without meaning from 2026-07-28 on.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// `Mcp-Method`.
    pub fn method(&self) -> &Mirror {
        &self.method
    }

    /// `Mcp-Name`, decoded.
    pub fn name(&self) -> &Mirror {
        &self.name
    }

    /// What each `Mcp-Param-` header says, decoded. Which argument it repeats, the tool's schema says.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }
}

/// Checks that the body of a POST is JSON in UTF-8 without an encoding, and reads the MCP headers.
///
/// # Errors
/// [`HeaderFault`], which knows its HTTP status and answer.
pub fn check_headers(headers: &HeaderMap) -> Result<McpHead, HeaderFault> {
    let media = once(headers, &CONTENT_TYPE).map_err(|_repeated| HeaderFault::ContentType)?;
    let media = media.and_then(|v| v.to_str().ok()).ok_or(HeaderFault::ContentType)?;
    let (essence, parameters) = media.split_once(';').unwrap_or((media, ""));
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        return Err(HeaderFault::ContentType);
    }
    check_charset(parameters)?;
    check_encoding(headers)?;
    McpHead::read(headers)
}

/// In which form a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResponseForm {
    /// One JSON-RPC message.
    Json,
    /// A stream of events.
    EventStream,
    /// Something else, or no content type at all: no MCP message is in it.
    Other,
}

impl ResponseForm {
    /// Reads the headers of a server's response.
    ///
    /// # Errors
    /// [`HeaderFault`] where it is encoded, not UTF-8, or says more than one content type.
    pub fn read(headers: &HeaderMap) -> Result<Self, HeaderFault> {
        check_encoding(headers)?;
        let media = once(headers, &CONTENT_TYPE).map_err(|_repeated| HeaderFault::ContentType)?;
        let media = media.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (essence, parameters) = media.split_once(';').unwrap_or((media, ""));
        let form = match essence.trim().to_ascii_lowercase().as_str() {
            "application/json" => Self::Json,
            "text/event-stream" => Self::EventStream,
            _ => return Ok(Self::Other),
        };
        check_charset(parameters)?;
        Ok(form)
    }
}

/// The value of a header that may come once.
pub(super) fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, HeaderFault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(HeaderFault::Repeated) } else { Ok(first) }
}

fn check_charset(parameters: &str) -> Result<(), HeaderFault> {
    for parameter in parameters.split(';') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let utf8 = || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8");
        if name.trim().eq_ignore_ascii_case("charset") && !utf8() {
            return Err(HeaderFault::Charset);
        }
    }
    Ok(())
}

fn check_encoding(headers: &HeaderMap) -> Result<(), HeaderFault> {
    let plain = |value: &HeaderValue| {
        value.to_str().is_ok_and(|v| v.trim().is_empty() || v.trim().eq_ignore_ascii_case("identity"))
    };
    if headers.get_all(CONTENT_ENCODING).iter().all(plain) { Ok(()) } else { Err(HeaderFault::ContentEncoding) }
}

//! Request heads: bytes in as they come, one judged and normalised head out.

use http::header::UPGRADE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::fault::{FieldFault, HeadFault, LineFault};
use super::fields;
use super::framing::Framing;
use super::message::{self, Raw};
use super::scan::Scanner;
use crate::call::HttpHead;
use crate::config::limits::MAX_FIELDS;
use crate::wire::path::Normalization;

/// As many fields as most requests have: room for them is made at once.
const FEW_FIELDS: usize = 12;

/// Whether the connection may carry another request (RFC 9112 section 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// It may.
    Yes,
    /// It ends after this answer.
    No,
}

/// Another protocol that a caller asks for on the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// `websocket` (RFC 6455).
    WebSocket,
    /// Anything else but `h2c`, which is never shown.
    Other,
}

/// A request head, normalised, with what HTTP/1.1 says beside it.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The head.
    pub head: HttpHead,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Where the body ends.
    pub framing: Framing,
    /// What the caller wants of the connection.
    pub keep_alive: KeepAlive,
    /// Whether the caller waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
    /// Another protocol that the caller would rather speak, other than `h2c`.
    pub upgrade: Option<Upgrade>,
    /// Bytes of the buffer that the head took.
    pub consumed: usize,
}

/// Finds and parses one request head in a buffer that grows.
#[derive(Debug, Clone, Default)]
pub struct RequestParser {
    scanner: Scanner,
}

impl RequestParser {
    /// For the next head.
    pub fn new() -> Self {
        Self::default()
    }

    /// `buffer` holds everything since the head began, and at each call what it held before. `None`: more is needed.
    ///
    /// However the bytes are split over calls, the result is the same. No byte after the head is looked at.
    pub fn advance(&mut self, buffer: &[u8]) -> Result<Option<RequestHead>, HeadFault> {
        self.advance_as(buffer, Normalization::Strict)
    }

    /// [`RequestParser::advance`], with the path normalised so.
    pub fn advance_as(&mut self, buffer: &[u8], paths: Normalization) -> Result<Option<RequestHead>, HeadFault> {
        let Some(consumed) = self.scanner.advance(buffer)? else { return Ok(None) };
        let head = buffer.get(..consumed).unwrap_or_default();
        let text = std::str::from_utf8(head).map_err(|_refused| LineFault::Byte)?;
        parse(text, consumed, paths).map(Some)
    }
}

fn parse(text: &str, consumed: usize, paths: Normalization) -> Result<RequestHead, HeadFault> {
    // The scanner let no CR and no LF through but as one line end.
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let (method, target, version) = request_line(lines.next().unwrap_or_default())?;
    let mut headers = HeaderMap::with_capacity(FEW_FIELDS);
    for line in lines.take_while(|line| !line.is_empty()) {
        if headers.len() >= MAX_FIELDS {
            return Err(HeadFault::TooLarge);
        }
        let (name, value) = field(line)?;
        headers.try_append(name, value).map_err(|_refused| HeadFault::TooLarge)?;
    }
    let framing = Framing::of(&headers, version)?;
    let expects_continue =
        message::expects_continue(&headers)? && framing != Framing::None && version == Version::HTTP_11;
    let keep_alive = keep_alive(&headers, version);
    let upgrade = upgrade(&headers, version);
    let head = message::normalise(Raw { method, target, authority: None, headers, version, paths })?;
    Ok(RequestHead { head, version, framing, keep_alive, expects_continue, upgrade, consumed })
}

fn request_line(line: &str) -> Result<(Method, &str, Version), HeadFault> {
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(LineFault::Shape.into());
    };
    if target.is_empty() || line.contains('\t') {
        return Err(LineFault::Shape.into());
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_refused| LineFault::Shape)?;
    let version = match version.as_bytes() {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(HeadFault::Version),
        _ => return Err(LineFault::Shape.into()),
    };
    Ok((method, target, version))
}

fn field(line: &str) -> Result<(HeaderName, HeaderValue), HeadFault> {
    if line.starts_with([' ', '\t']) {
        return Err(LineFault::Fold.into());
    }
    let (name, value) = line.split_once(':').ok_or(FieldFault::Name)?;
    if name.ends_with([' ', '\t']) {
        return Err(FieldFault::SpaceBeforeColon.into());
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_refused| FieldFault::Name)?;
    let value = HeaderValue::from_str(value.trim_matches([' ', '\t'])).map_err(|_refused| FieldFault::Value)?;
    Ok((name, value))
}

fn keep_alive(headers: &HeaderMap, version: Version) -> KeepAlive {
    let close = fields::connection_has(headers, "close");
    let persists = version == Version::HTTP_11 || fields::connection_has(headers, "keep-alive");
    if persists && !close { KeepAlive::Yes } else { KeepAlive::No }
}

/// `Upgrade` counts only where `Connection` names it (RFC 9110 section 7.8). `h2c` is dropped: Java's client offers it
/// with every first request, and HTTP/2 is spoken by prior knowledge only.
fn upgrade(headers: &HeaderMap, version: Version) -> Option<Upgrade> {
    let value = headers.get(UPGRADE)?.as_bytes();
    if version != Version::HTTP_11 || !fields::connection_has(headers, "upgrade") || value.eq_ignore_ascii_case(b"h2c")
    {
        return None;
    }
    Some(if value.eq_ignore_ascii_case(b"websocket") { Upgrade::WebSocket } else { Upgrade::Other })
}

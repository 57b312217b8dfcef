//! Which fields may stand once, which end at this hop, and which only the mesh may say. The same for HTTP/1.1 and HTTP/2.
//!
//! [`check`] refuses, [`strip`] removes; both work on fields whose names are already lower case.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::fault::FieldFault;

/// Fields of a request that stand once or not at all. What one origin reads from the first of two, another reads from
/// the last.
const SINGLETONS: &[&str] = &[
    "a2a-version",
    "authorization",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "expect",
    "host",
    "http2-settings",
    "if-modified-since",
    "if-range",
    "if-unmodified-since",
    "last-event-id",
    "max-forwards",
    "origin",
    "proxy-authorization",
    "range",
    "referer",
    "sec-websocket-key",
    "sec-websocket-version",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-request-id",
];
/// Prefixes of more such fields (MCP 2025-06-18 and 2026-07-28: `Mcp-Session-Id`, `MCP-Protocol-Version`, `Mcp-Method`..).
const SINGLETON_PREFIXES: &[&str] = &["mcp-"];
/// Fields that end at this hop (RFC 9110 section 7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authorization",
];
/// Fields of a request that only a proxy of the mesh may say, or by which an origin would act on another method than
/// the one that was authorized.
const RESERVED: &[&str] = &["x-forwarded-client-cert", "x-http-method-override", "x-http-method", "x-method-override"];
/// Prefixes of more such fields.
const RESERVED_PREFIXES: &[&str] = &["x-istio-", "x-envoy-"];
/// Fields, besides singletons, that `Connection` may not take away on the way: each can carry what a decision was about.
const PROTECTED: &[&str] = &["accept", "cache-control", "cookie", "forwarded", "baggage", "tracestate", "via"];
/// Prefixes of more such fields.
const PROTECTED_PREFIXES: &[&str] = &["mcp-", "a2a-", "x-forwarded-", "sec-", "access-control-"];
/// Singletons that `Connection` rightly names: they are this hop's own.
const NOMINABLE: &[&str] = &["upgrade", "http2-settings", "te", "trailer", "keep-alive", "proxy-connection"];
/// Fields whose values are kept out of debug output.
const SECRET: &[&str] = &["authorization", "proxy-authorization", "cookie", "set-cookie", "mcp-session-id"];

fn named(name: &str, names: &[&str], prefixes: &[&str]) -> bool {
    names.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn is_singleton(name: &str) -> bool {
    named(name, SINGLETONS, SINGLETON_PREFIXES)
}

fn is_dropped(name: &str) -> bool {
    HOP_BY_HOP.contains(&name) || named(name, RESERVED, RESERVED_PREFIXES)
}

/// Refuses values with bytes that an origin could read differently, repeated singletons, and aliases of deciding names.
pub fn check(headers: &HeaderMap) -> Result<(), FieldFault> {
    if !headers.values().all(is_plain) {
        return Err(FieldFault::Value);
    }
    let repeats = headers.len() > headers.keys_len();
    for name in headers.keys() {
        if repeats && is_singleton(name.as_str()) && headers.get_all(name).iter().nth(1).is_some() {
            return Err(FieldFault::Repeated);
        }
        if let Cow::Owned(meant) = hyphened(name)
            && (is_singleton(&meant) || is_dropped(&meant))
        {
            return Err(FieldFault::Alias);
        }
    }
    Ok(())
}

/// Visible ASCII, space and tab, with no space or tab at the ends (RFC 9110 section 5.5, without obs-text).
pub fn is_plain(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    !blank(bytes.first()) && !blank(bytes.last()) && bytes.iter().all(|b| matches!(b, b'\t' | b' '..=b'~'))
}

/// Removes hop-by-hop fields, those that `Connection` names, and what only the mesh may say; marks secrets.
///
/// A `Connection` that names a field of consequence is refused: dropping, say, `Authorization` on a client's word
/// would have the origin see another request than the one that was decided on.
pub fn strip(headers: &mut HeaderMap) -> Result<(), FieldFault> {
    for token in connection_tokens(headers)? {
        let kept = is_singleton(token.as_str()) || named(token.as_str(), PROTECTED, PROTECTED_PREFIXES);
        if kept && !NOMINABLE.contains(&token.as_str()) {
            return Err(FieldFault::Connection);
        }
        headers.remove(token);
    }
    let dropped: Vec<HeaderName> = headers.keys().filter(|name| is_dropped(name.as_str())).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
    for (name, value) in headers.iter_mut() {
        if SECRET.contains(&name.as_str()) {
            value.set_sensitive(true);
        }
    }
    Ok(())
}

/// Whether a document may say what becomes of fields of that name: not of those that end at this hop, that frame a body,
/// that name the server, or that only the mesh may say; nor of a name that servers which read `_` and `-` alike take for one
/// of these, or for one of those that stand once.
pub fn is_editable(name: &HeaderName) -> bool {
    let meant = hyphened(name);
    let is_alias = matches!(meant, Cow::Owned(_));
    let is_ours = is_dropped(&meant) || matches!(&*meant, "host" | "content-length" | "expect");
    let is_taken_for_one = is_alias && is_singleton(&meant);
    !is_ours && !is_taken_for_one
}

/// A field's name as CGI and its heirs read it, to whom `_` is `-`.
pub fn hyphened(name: &HeaderName) -> Cow<'_, str> {
    let name = name.as_str();
    if name.contains('_') { name.replace('_', "-").into() } else { name.into() }
}

/// Whether there is a field of another name that CGI and its heirs take for one of `name`, which is in any case.
pub fn has_alike(headers: &HeaderMap, name: &str) -> bool {
    name.contains(['-', '_']) && headers.keys().any(|other| is_alike(other, name))
}

/// Takes out fields of other names that CGI and its heirs take for one of `name`: what we say of that one they would take
/// for what a caller says.
pub fn remove_alike(headers: &mut HeaderMap, name: &HeaderName) {
    if !has_alike(headers, name.as_str()) {
        return;
    }
    let alike: Vec<HeaderName> = headers.keys().filter(|other| is_alike(other, name.as_str())).cloned().collect();
    for other in alike {
        headers.remove(other);
    }
}

/// Whether the two differ, and in nothing but `_` for `-`.
fn is_alike(other: &HeaderName, name: &str) -> bool {
    let (other, name) = (other.as_str().as_bytes(), name.as_bytes());
    let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || matches!((a, b), (b'-', b'_') | (b'_', b'-'));
    other.len() == name.len() && !other.eq_ignore_ascii_case(name) && other.iter().zip(name).all(same)
}

/// Whether a message may have several fields of that name.
pub fn may_stand_twice(name: &HeaderName) -> bool {
    !is_singleton(name.as_str())
}

/// Removes what ends at this hop from an answer of an upstream. Nothing is refused: the answer is the upstream's word.
pub fn strip_answer(headers: &mut HeaderMap) {
    for token in connection_tokens(headers).unwrap_or_default() {
        if token != http::header::CONTENT_LENGTH && token != http::header::CONTENT_TYPE {
            headers.remove(token);
        }
    }
    let ends: Vec<HeaderName> = headers.keys().filter(|name| HOP_BY_HOP.contains(&name.as_str())).cloned().collect();
    for name in ends {
        headers.remove(name);
    }
}

/// Whether `Connection` holds `token` (lower case).
pub fn connection_has(headers: &HeaderMap, token: &str) -> bool {
    connection_tokens(headers).is_ok_and(|tokens| tokens.iter().any(|t| t.as_str() == token))
}

/// The tokens of `Connection`; empty list members are skipped (RFC 9110 section 5.6.1.2).
fn connection_tokens(headers: &HeaderMap) -> Result<Vec<HeaderName>, FieldFault> {
    let mut tokens = Vec::new();
    for value in headers.get_all(http::header::CONNECTION) {
        let value = value.to_str().map_err(|_refused| FieldFault::Connection)?;
        for token in value.split(',').map(|t| t.trim_matches([' ', '\t'])).filter(|t| !t.is_empty()) {
            tokens.push(HeaderName::from_bytes(token.as_bytes()).map_err(|_refused| FieldFault::Connection)?);
        }
    }
    Ok(tokens)
}

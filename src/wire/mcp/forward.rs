//! The headers of what is forwarded: those that speak of the body are made anew from what was decided on.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};

use super::head::{METHOD, NAME, PARAMETER_PREFIX, PROTOCOL_VERSION, SESSION_ID};
use super::mirror::encode_mirror;
use super::{Decoded, McpHead, Version};
use crate::call::McpObject;

/// Fields by which some servers let a request say another method than its own.
const OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Makes the headers of a POST fit `decoded`: content type and accept, `Mcp-Method` and `Mcp-Name` from 2026-07-28 on
/// and none before. No length and no encoding is left; whoever sends the body sets its length.
pub fn forward_headers(headers: &mut HeaderMap, head: &McpHead, decoded: &Decoded) {
    clean(headers, head);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.remove(LAST_EVENT_ID);
    if !head.version().is_some_and(Version::is_modern) {
        return;
    }
    if !matches!(decoded.call().object, McpObject::Tool { .. }) {
        drop_parameters(headers);
    }
    if let Some(method) = encode_mirror(&decoded.call().method) {
        headers.insert(METHOD, method);
    }
    if let Some(name) = decoded.mirrored_name().and_then(encode_mirror) {
        headers.insert(NAME, name);
    }
}

/// Makes the headers of a GET or DELETE, which has no body, fit to forward.
pub fn forward_stream_headers(headers: &mut HeaderMap, head: &McpHead) {
    clean(headers, head);
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    if head.version().is_some_and(Version::is_modern) {
        headers.remove(LAST_EVENT_ID);
    }
}

fn clean(headers: &mut HeaderMap, head: &McpHead) {
    let modern = head.version().is_some_and(Version::is_modern);
    for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LENGTH, ACCEPT_ENCODING, METHOD, NAME, PROTOCOL_VERSION] {
        headers.remove(name);
    }
    for name in OVERRIDES {
        headers.remove(name);
    }
    if let Some(version) = head.version() {
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version.as_str()));
    }
    if modern {
        headers.remove(SESSION_ID);
        return;
    }
    drop_parameters(headers);
}

/// Takes out `Mcp-Param-` headers, where nothing can say that they repeat an argument.
pub fn drop_parameters(headers: &mut HeaderMap) {
    let parameters: Vec<_> = headers.keys().filter(|k| k.as_str().starts_with(PARAMETER_PREFIX)).cloned().collect();
    for name in parameters {
        headers.remove(name);
    }
}

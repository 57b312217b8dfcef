//! From an HTTP/2 request to the normalised head. What RFC 9113 calls malformed and the `h2` crate lets pass is refused.

use http::header::{CONTENT_LENGTH, COOKIE, HOST, TE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};

use crate::call::HttpHead;
use crate::wire::http1::message::{self, Raw};
use crate::wire::http1::{FieldFault, HeadFault, TargetFault};
use crate::wire::path::Normalization;

/// Fields that may not stand in HTTP/2 (RFC 9113 section 8.2.2).
const CONNECTION_SPECIFIC: &[&str] = &["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"];

/// A head with what HTTP/2 says beside it.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) head: HttpHead,
    pub(super) length: Option<u64>,
    pub(super) expects_continue: bool,
}

pub(super) fn normalise(parts: Parts, paths: Normalization) -> Result<Head, HeadFault> {
    let Parts { method, uri, mut headers, .. } = parts;
    if method == Method::CONNECT {
        return Err(HeadFault::Connect);
    }
    if CONNECTION_SPECIFIC.iter().any(|name| headers.contains_key(*name)) {
        return Err(FieldFault::ConnectionSpecific.into());
    }
    let trailers = trailers(&headers)?;
    if !uri.scheme_str().is_some_and(message::is_scheme) {
        return Err(TargetFault::Form.into());
    }
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() || headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(FieldFault::Repeated.into());
    }
    let length = message::content_length(&headers)?;
    let expects_continue = message::expects_continue(&headers)?;
    join_cookies(&mut headers)?;
    let target = uri.path_and_query().ok_or(TargetFault::Form)?;
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let raw = Raw { method, target: target.as_str(), authority, headers, version: Version::HTTP_2, paths };
    let mut head = message::normalise(raw)?;
    if trailers {
        // gRPC servers refuse requests without it; it never reaches an HTTP/1.1 upstream as anything but a promise.
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(Head { head, length, expects_continue })
}

/// `TE: trailers`, the only one that HTTP/2 has.
fn trailers(headers: &HeaderMap) -> Result<bool, HeadFault> {
    let mut values = headers.get_all(TE).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"trailers") => Ok(true),
        _ => Err(FieldFault::ConnectionSpecific.into()),
    }
}

/// Cookies may come in crumbs here, and in one field only elsewhere (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), HeadFault> {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1 {
        let joined = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).map_err(|_refused| FieldFault::Value)?;
        headers.insert(COOKIE, joined);
    }
    Ok(())
}

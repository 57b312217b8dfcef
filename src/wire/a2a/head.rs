//! The headers that speak of the call or of its body (specification section 3.2.6: service parameters).

use std::sync::Arc;

use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE,
};

use super::fault::HeadFault;
use crate::call::A2aVersion;
use crate::config::limits::MAX_URI;
use crate::wire::http1::fields::hyphened;

const VERSION: HeaderName = HeaderName::from_static("a2a-version");
const EXTENSIONS: HeaderName = HeaderName::from_static("a2a-extensions");
/// The name in 0.3.
const OLD_EXTENSIONS: HeaderName = HeaderName::from_static("x-a2a-extensions");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// Fields by which some servers let a request say another method or path than its own.
const OVERRIDES: [&str; 5] =
    ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"];
const MAX_EXTENSIONS: usize = 64;

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Grpc,
}

/// The version that `A2A-Version` names; none where there is no such header, or an empty one.
pub(super) fn version(headers: &HeaderMap) -> Result<Option<A2aVersion>, HeadFault> {
    let Some(value) = once(headers, &VERSION)? else { return Ok(None) };
    parse_version(value.to_str().map_err(|_not_text| HeadFault::Version)?.trim())
}

/// `Major.Minor`; a patch number has no meaning (section 3.6.1).
pub(super) fn parse_version(text: &str) -> Result<Option<A2aVersion>, HeadFault> {
    let mut parts = text.split('.');
    let (major, minor, patch) = (parts.next(), parts.next(), parts.next());
    let digits = |patch: &str| (1..=3).contains(&patch.len()) && patch.bytes().all(|b| b.is_ascii_digit());
    if parts.next().is_some() || !patch.is_none_or(digits) {
        return Err(HeadFault::Version);
    }
    match (major, minor) {
        (Some(""), None) => Ok(None),
        (Some("1"), Some("0")) => Ok(Some(A2aVersion::V1_0)),
        (Some("0"), Some("2" | "3")) => Ok(Some(A2aVersion::V0_3)),
        _ => Err(HeadFault::Version),
    }
}

/// The extensions that are asked for, under either name of the header; under both they must be the same.
pub(super) fn extensions(headers: &HeaderMap) -> Result<Vec<Arc<str>>, HeadFault> {
    // Servers that hand fields on as variables make one name of a hyphen and an underscore.
    let alias = |name: &HeaderName| {
        let meant = hyphened(name);
        *meant != *name.as_str() && (EXTENSIONS == *meant || OLD_EXTENSIONS == *meant)
    };
    if headers.keys().any(alias) {
        return Err(HeadFault::Extensions);
    }
    let (new, old) = (list(headers, &EXTENSIONS)?, list(headers, &OLD_EXTENSIONS)?);
    match (new.is_empty(), old.is_empty()) {
        (_, true) => Ok(new),
        (true, false) => Ok(old),
        (false, false) if new == old => Ok(new),
        (false, false) => Err(HeadFault::Extensions),
    }
}

fn list(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<Arc<str>>, HeadFault> {
    let mut found = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_not_text| HeadFault::Extensions)?;
        for uri in text.split(',').map(str::trim).filter(|uri| !uri.is_empty()) {
            if uri.len() > MAX_URI || found.len() == MAX_EXTENSIONS || !uri.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(HeadFault::Extensions);
            }
            found.push(uri.into());
        }
    }
    Ok(found)
}

/// What the body is written in; none where no type is named.
pub(super) fn media(headers: &HeaderMap) -> Result<Option<Media>, HeadFault> {
    let plain = |value: &HeaderValue| {
        value.to_str().is_ok_and(|v| v.trim().is_empty() || v.trim().eq_ignore_ascii_case("identity"))
    };
    if !headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Err(HeadFault::ContentEncoding);
    }
    let Some(value) = once(headers, &CONTENT_TYPE)? else { return Ok(None) };
    let text = value.to_str().map_err(|_not_text| HeadFault::ContentType)?;
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let media = match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" | "application/a2a+json" => Media::Json,
        "application/grpc" | "application/grpc+proto" => Media::Grpc,
        _ => return Err(HeadFault::ContentType),
    };
    for parameter in parameters.split(';') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let utf8 = || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8");
        if name.trim().eq_ignore_ascii_case("charset") && !utf8() {
            return Err(HeadFault::Charset);
        }
    }
    Ok(Some(media))
}

/// Whether a content type speaks of gRPC in any of its forms, also those that are not taken.
pub(super) fn says_grpc(headers: &HeaderMap) -> bool {
    let grpc = |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().starts_with(b"application/grpc");
    headers.get_all(CONTENT_TYPE).iter().any(grpc)
}

pub(super) fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, HeadFault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(HeadFault::Repeated) } else { Ok(first) }
}

/// Makes a request's headers fit to forward beside its own bytes: neither compression nor a part is asked for, since
/// answers are read too, and nothing says another method or path.
pub fn forward_headers(headers: &mut HeaderMap) {
    for name in [ACCEPT_ENCODING, RANGE, IF_RANGE, CONTENT_ENCODING, GRPC_ENCODING, GRPC_ACCEPT_ENCODING] {
        headers.remove(name);
    }
    let overrides = |name: &&HeaderName| OVERRIDES.contains(&&*hyphened(name));
    let dropped: Vec<HeaderName> = headers.keys().filter(overrides).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

//! From the parts of a request, however they came (HTTP/1.1 text or HTTP/2 fields), to the one normalised head.

use http::header::{CONTENT_LENGTH, EXPECT, HOST};
use http::{HeaderMap, HeaderValue, Method, Version};

use super::fault::{HeadFault, TargetFault};
use super::{fields, host, target};
use crate::call::HttpHead;
use crate::config::limits::MAX_FIELDS;
use crate::wire::path::Normalization;

/// A request as it came, taken apart but not yet judged.
#[derive(Debug)]
pub struct Raw<'a> {
    /// As sent.
    pub method: Method,
    /// Request target of HTTP/1.1, `:path` of HTTP/2.
    pub target: &'a str,
    /// `:authority` of HTTP/2.
    pub authority: Option<&'a str>,
    /// All fields as sent.
    pub headers: HeaderMap,
    /// The version it came in.
    pub version: Version,
    /// How its path is normalised.
    pub paths: Normalization,
}

/// Judges and normalises.
///
/// `Host` moves to `host`, `Content-Length` to the framing of the body and `Expect` is met here: none of them is among
/// the fields of the result. `host` is empty only for HTTP/1.0 without `Host`.
pub fn normalise(raw: Raw<'_>) -> Result<HttpHead, HeadFault> {
    let Raw { method, target, authority, mut headers, version, paths } = raw;
    if method == Method::CONNECT {
        return Err(HeadFault::Connect);
    }
    if headers.len() > MAX_FIELDS {
        return Err(HeadFault::TooLarge);
    }
    fields::check(&headers)?;
    let target = target::parse(&method, target, paths)?;
    let authority = authority.map(host::canonical).transpose()?.or(target.host);
    let host = match (authority, headers.remove(HOST)) {
        (Some(named), None) if version == Version::HTTP_2 => named,
        (None, None) if version == Version::HTTP_10 => String::new(),
        (_, None) => return Err(TargetFault::NoHost.into()),
        (named, Some(field)) => {
            let field = host::canonical(field.to_str().map_err(|_refused| TargetFault::Host)?)?;
            match named {
                Some(named) if named != field => return Err(TargetFault::TwoHosts.into()),
                _ => field,
            }
        }
    };
    fields::strip(&mut headers)?;
    headers.remove(CONTENT_LENGTH);
    headers.remove(EXPECT);
    Ok(HttpHead { method, path: target.path, query: target.query, host, headers })
}

/// Whether the caller waits for `100 Continue`.
pub fn expects_continue(headers: &HeaderMap) -> Result<bool, HeadFault> {
    match headers.get(EXPECT).map(HeaderValue::as_bytes) {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(HeadFault::Expectation),
    }
}

/// The scheme of an HTTP/2 request is one that a request in a tunnel may have.
pub fn is_scheme(scheme: &str) -> bool {
    target::is_scheme(scheme)
}

/// A `Content-Length` in plain digits, where there is one (HTTP/2; HTTP/1.1 has it in [`super::Framing`]).
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, HeadFault> {
    Ok(headers.get(CONTENT_LENGTH).map(super::framing::content_length).transpose()?)
}

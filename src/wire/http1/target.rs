//! Request targets (RFC 9112 section 3.2): the forms there are, and what of them is forwarded.

use http::Method;

use super::fault::TargetFault;
use super::host;
use crate::config::limits::MAX_TARGET;
use crate::wire::path::Normalization;

/// A target taken apart and normalised.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Normalised path, or `*`.
    pub(super) path: String,
    /// As sent.
    pub(super) query: Option<String>,
    /// Host of an absolute-form target.
    pub(super) host: Option<String>,
}

/// Takes `text` apart. Absolute-form becomes origin-form plus the host, which the caller holds against `Host`.
pub(super) fn parse(method: &Method, text: &str, paths: Normalization) -> Result<Target, TargetFault> {
    if text == "*" {
        let form = if method == Method::OPTIONS { Ok(()) } else { Err(TargetFault::Form) };
        return form.map(|()| Target { path: "*".to_owned(), query: None, host: None });
    }
    if text.starts_with('/') {
        return origin(text, None, paths);
    }
    let (scheme, rest) = text.split_once("://").ok_or(TargetFault::Form)?;
    if !is_scheme(scheme) {
        return Err(TargetFault::Form);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end).ok_or(TargetFault::Form)?;
    let host = Some(host::canonical(authority)?);
    if tail.starts_with('/') { origin(tail, host, paths) } else { origin(&format!("/{tail}"), host, paths) }
}

/// The schemes that a request in a tunnel may name: TLS, where there was any, ended before it.
pub(super) fn is_scheme(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

fn origin(text: &str, host: Option<String>, paths: Normalization) -> Result<Target, TargetFault> {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    if let Some(query) = query {
        if query.len() > MAX_TARGET {
            return Err(TargetFault::TooLong);
        }
        // Everything that the `http` crate can carry on; RFC 3986 allows less, but `|`, `[` and the like are common.
        if !query.bytes().all(|b| matches!(b, b'!' | b'$'..=b';' | b'=' | b'?'..=b'~')) {
            return Err(TargetFault::Query);
        }
    }
    Ok(Target { path: paths.apply(path)?, query: query.map(str::to_owned), host })
}

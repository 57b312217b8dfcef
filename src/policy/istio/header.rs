//! `request.headers[NAME]`: what repeated and unreadable fields are taken for.

use std::str::Utf8Error;

use http::{HeaderName, HeaderValue};

use super::field::{Values, readings};
use crate::call::HttpHead;
use crate::policy::pattern::Pattern;
use crate::policy::rule::Effect;
use crate::policy::truth::Truth;
use crate::wire::http1::fields::hyphened;

/// Fields that end at this hop or are met here, so that no rule ever sees them.
const UNSEEN: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether rules can see fields of that name.
pub(super) fn is_seen(name: &HeaderName) -> bool {
    !UNSEEN.contains(&name.as_str())
}

/// Whether the fields of that name are as wanted.
///
/// One origin reads the first of two, another the last, a third both with a comma between (RFC 9110 section 5.3), and CGI
/// and its heirs take `x_role` for `x-role`. A rule that looked at one of them would decide on another request than the
/// origin's (CVE-2026-26308): each line, and all in one, are readings, and so is none where only the other spelling stands.
/// What is no text is not known, so that it never slips through (CVE-2026-73552).
pub(super) fn truth(head: &HttpHead, name: &HeaderName, values: &Values<Pattern>, effect: Effect) -> Truth {
    let holds = |text: &str| values.hold(|pattern| pattern.matches(text));
    let absent = || values.hold(|_| false);
    let (Ok(own), Ok(others)) = (texts(head.headers.get_all(name)), texts(alike(head, name))) else {
        return Truth::Unknown;
    };
    match (own.as_slice(), others.as_slice()) {
        ([], []) => absent().into(),
        ([line], []) => holds(line).into(),
        (several, others) => {
            let (joined, all) = (several.join(","), own.iter().chain(others).copied().collect::<Vec<_>>().join(","));
            let whole = (!several.is_empty()).then_some(joined.as_str());
            let lines = several.iter().chain(others).copied().map(Some);
            let ways: Vec<Option<&str>> = lines.chain([whole, Some(all.as_str())]).collect();
            readings(&ways, effect, |way| way.map_or_else(absent, holds))
        }
    }
}

/// The values of fields of other names that some servers take for this one.
fn alike<'h>(head: &'h HttpHead, name: &HeaderName) -> impl Iterator<Item = &'h HeaderValue> {
    let spelt = name.as_str().contains(['-', '_']);
    let is = move |other: &HeaderName| spelt && other != name && hyphened(other) == hyphened(name);
    head.headers.iter().filter(move |(other, _)| is(other)).map(|(_, value)| value)
}

fn texts<'h>(values: impl IntoIterator<Item = &'h HeaderValue>) -> Result<Vec<&'h str>, Utf8Error> {
    values.into_iter().map(|value| std::str::from_utf8(value.as_bytes())).collect()
}

//! `request.headers[NAME]`: what repeated and unreadable fields are taken for.

use http::HeaderName;

use super::field::{Values, readings};
use crate::call::HttpHead;
use crate::policy::pattern::Pattern;
use crate::policy::rule::Effect;
use crate::policy::truth::Truth;

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
/// One origin reads the first of two, another the last, a third both with a comma between (RFC 9110 section 5.3). A rule
/// that looked at one of them would decide on another request than the origin's (CVE-2026-26308): each line, and all in
/// one, are readings. What is no text is not known, so that it never slips through (CVE-2026-73552).
pub(super) fn truth(head: &HttpHead, name: &HeaderName, values: &Values<Pattern>, effect: Effect) -> Truth {
    let fields = || head.headers.get_all(name).iter();
    let Ok(lines) = fields().map(|field| std::str::from_utf8(field.as_bytes())).collect::<Result<Vec<_>, _>>() else {
        return Truth::Unknown;
    };
    let holds = |text: &str| values.hold(|pattern| pattern.matches(text));
    match lines.as_slice() {
        [] => values.hold(|_| false).into(),
        [line] => holds(line).into(),
        several => {
            let joined = several.join(",");
            let all: Vec<&str> = several.iter().copied().chain([joined.as_str()]).collect();
            readings(&all, effect, |text| holds(text))
        }
    }
}

//! What a provider's answer may do to a message.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::{CheckFault, Said, Told};
use crate::policy::Edits;
use crate::wire::http1::fields;

/// What was said, done to the request's headers.
pub(super) enum Applied {
    /// With the headers as they were before.
    Allowed {
        upstream: Edits,
        downstream: Edits,
        before: HeaderMap,
    },
    Denied(Told),
}

/// Makes the changes that a permission asks for. Headers that an origin could read in two ways are no permission.
pub(super) fn applied(said: Said, headers: &mut HeaderMap) -> Result<Applied, CheckFault> {
    let (upstream, downstream) = match said {
        Said::Denied(told) => return Ok(Applied::Denied(told)),
        Said::Allowed { upstream, downstream } => (upstream, downstream),
    };
    if upstream.is_empty() {
        return Ok(Applied::Allowed { upstream, downstream, before: HeaderMap::new() });
    }
    let mut changed = headers.clone();
    upstream.apply(&mut changed);
    fields::check(&changed).map_err(|_ambiguous| CheckFault::Garbage("its headers can be read in two ways"))?;
    let before = std::mem::replace(headers, changed);
    Ok(Applied::Allowed { upstream, downstream, before })
}

/// The status that a refusal has: one that no caller takes for success, or for something to come.
pub(super) fn refusing(status: Option<StatusCode>) -> StatusCode {
    status.filter(|status| (300..600).contains(&status.as_u16())).unwrap_or(StatusCode::FORBIDDEN)
}

/// A refusal's headers as they may go to a caller: without what frames its body, ends at this hop, or is ours to say.
pub(super) fn passable(mut headers: HeaderMap, has_body: bool) -> HeaderMap {
    fields::strip_answer(&mut headers);
    headers.remove(CONTENT_LENGTH);
    let ours: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-agent-waypoint-")).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    if has_body && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    headers
}

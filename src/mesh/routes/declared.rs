//! What a route may do with calls of a port that is declared MCP or A2A: lead them, and change headers by which nothing is
//! read. What a call is was decoded from path, body and the protocol's headers, and is what was decided on.

use http::HeaderName;

use crate::mesh::route::{HeaderEdit, Then};

/// Headers by which servers of these protocols tell what a message is, beside those that begin with [`PREFIXES`]; some take the
/// path from one.
const READ: [&str; 12] = [
    "accept",
    "content-encoding",
    "content-type",
    "grpc-encoding",
    "grpc-status",
    "last-event-id",
    "location",
    "te",
    "trailer",
    "www-authenticate",
    "x-original-url",
    "x-rewrite-url",
];
/// `x-a2a-extensions` is the name of 0.3.
const PREFIXES: [&str; 3] = ["mcp-", "a2a-", "x-a2a-"];

/// Why filters of a rule cannot be for such calls.
pub(super) fn unfit(then: &Then) -> Option<String> {
    if then.redirect.is_some() {
        let reason = "RequestRedirect sends a client elsewhere with all that it says, where nobody decides on it";
        return Some(reason.to_owned());
    }
    if then.host.is_some() || then.path.is_some() {
        let reason = "URLRewrite makes another request of it than was decided on";
        return Some(reason.to_owned());
    }
    if then.auth.is_some() {
        return Some(
            "ExternalAuth is asked about requests and not about calls: let a policy ask a provider".to_owned(),
        );
    }
    if !then.mirrors.is_empty() {
        return Some("RequestMirror makes a second call of each, and calls have effects".to_owned());
    }
    if then.retry.is_some() {
        return Some("`retry` calls again, and calls have effects: take it away".to_owned());
    }
    let backends = then.backends.iter().flat_map(|backend| [&backend.request, &backend.response]);
    let name = [&then.request, &then.response].into_iter().chain(backends).find_map(read)?;
    Some(format!("the header {name} says what a message is, which was decided on; leave it as it is"))
}

fn read(edit: &HeaderEdit) -> Option<&HeaderName> {
    edit.names().find(|name| {
        // Servers that hand fields on as variables read `_` and `-` alike.
        let name = name.as_str().replace('_', "-");
        READ.contains(&&*name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

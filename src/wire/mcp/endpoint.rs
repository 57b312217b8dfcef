//! The address in the `endpoint` event of the transport of 2024-11-05.

use crate::call::HttpHead;
use crate::config::limits::MAX_TARGET;
use crate::wire::path;

/// The address in an `endpoint` event on the stream that `head` asked for, as path and query: none where it leads to
/// another host than the stream came from, is read in two ways, or is one at which nobody can ask.
///
/// A relative one is resolved as RFC 3986 section 5.3 says, as clients do: a query alone is asked of the stream's path.
pub fn endpoint_address(said: &str, head: &HttpHead) -> Option<(String, Option<String>)> {
    if !said.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#')) {
        return None;
    }
    let local = match said.split_once("://") {
        Some((scheme, rest)) if !said.starts_with('/') && !scheme.contains(['/', '?']) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, local) = rest.split_at_checked(at)?;
            if !scheme.eq_ignore_ascii_case("http") || !authority.eq_ignore_ascii_case(&head.host) {
                return None;
            }
            if local.starts_with('/') { local.to_owned() } else { format!("/{local}") }
        }
        _ if said.is_empty() || said.starts_with("//") || has_scheme(said) => return None,
        _ if said.starts_with('/') => said.to_owned(),
        _ if said.starts_with('?') => format!("{}{said}", head.path),
        _ => {
            let (directory, _) = head.path.rsplit_once('/')?;
            format!("{directory}/{said}")
        }
    };
    let (raw, query) = local.split_once('?').map_or((&*local, None), |(raw, query)| (raw, Some(query)));
    // What a request's own query may hold.
    if query.is_some_and(|query| query.len() > MAX_TARGET || query.contains(['"', '<', '>'])) {
        return None;
    }
    Some((path::canonical(raw).ok()?, query.map(str::to_owned)))
}

/// A colon before the first slash ends a scheme, to some readers also of what is no URL (`http:m`).
fn has_scheme(said: &str) -> bool {
    said.split(['/', '?']).next().is_some_and(|first| first.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> HttpHead {
        HttpHead {
            method: http::Method::GET,
            path: "/a/sse".into(),
            query: None,
            host: "tools:80".into(),
            headers: http::HeaderMap::new(),
        }
    }

    #[test]
    fn addresses_stay_where_the_stream_came_from() {
        let good = [
            ("/messages?sessionId=1", "/messages", Some("sessionId=1")),
            ("/messages/", "/messages/", None),
            ("messages?x", "/a/messages", Some("x")),
            ("?sessionId=1", "/a/sse", Some("sessionId=1")),
            ("http://tools:80/m?s=1", "/m", Some("s=1")),
            ("HTTP://TOOLS:80?s=1", "/", Some("s=1")),
            ("/m?to=http://x/", "/m", Some("to=http://x/")),
            ("/m:send", "/m:send", None),
            ("b/m:send", "/a/b/m:send", None),
        ];
        for (said, path, query) in good {
            assert_eq!(endpoint_address(said, &head()), Some((path.to_owned(), query.map(str::to_owned))), "{said}");
        }
        for said in [
            "",
            "http://evil/m",
            "http://tools:80@evil/m",
            "http://tools/m",
            "https://tools:80/m",
            "//evil/m",
            "/\\evil",
            "\\\\evil",
            "/m#x",
            "/a b",
            "/../m",
            "/a/%2e%2e/m",
            "javascript://tools:80/m",
            "javascript:x",
            "http:m",
            "http:/m",
            "m:send",
            "/m?a=\"b\"",
            "/m?a=<b>",
        ] {
            assert_eq!(endpoint_address(said, &head()), None, "{said}");
        }
    }
}

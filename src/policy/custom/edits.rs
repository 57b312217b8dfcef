use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::wire::http1::fields;

/// How a header that a provider names comes to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Set,
    Append,
    IfAbsent,
    IfPresent,
}

/// Changes of a message's headers that a provider asked for, of those alone that are its to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    remove: Vec<HeaderName>,
    put: Vec<(How, HeaderName, HeaderValue)>,
}

impl Edits {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.put.is_empty()
    }

    /// In place of what is there.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.put(How::Set, name, value);
    }

    /// Beside what is there.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.put(How::Append, name, value);
    }

    /// Where there is none.
    pub fn set_if_absent(&mut self, name: HeaderName, value: HeaderValue) {
        self.put(How::IfAbsent, name, value);
    }

    /// Where there is one.
    pub fn set_if_present(&mut self, name: HeaderName, value: HeaderValue) {
        self.put(How::IfPresent, name, value);
    }

    /// Away with it.
    pub fn remove(&mut self, name: HeaderName) {
        if may_be_changed(&name) {
            self.remove.push(name);
        }
    }

    fn put(&mut self, how: How, name: HeaderName, value: HeaderValue) {
        if may_be_changed(&name) && fields::is_plain(&value) {
            self.put.push((how, name, value));
        }
    }

    /// Makes the changes: what is removed first, so that a provider's own value stays. With what is removed, or in whose place
    /// something is put, goes what servers take for it that read `_` and `-` alike: else a caller's word would stand beside
    /// the provider's.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
            fields::remove_alike(headers, name);
        }
        for (how, name, value) in &self.put {
            if matches!(how, How::Set | How::IfPresent) {
                fields::remove_alike(headers, name);
            }
            match how {
                // Of a field that may stand once, two would be read in two ways.
                How::Append if !fields::may_stand_twice(name) => drop(headers.insert(name, value.clone())),
                How::Set => drop(headers.insert(name, value.clone())),
                How::Append => drop(headers.append(name, value.clone())),
                How::IfAbsent if !headers.contains_key(name) => drop(headers.insert(name, value.clone())),
                How::IfPresent if headers.contains_key(name) => drop(headers.insert(name, value.clone())),
                How::IfAbsent | How::IfPresent => {}
            }
        }
    }
}

/// What a provider may set or take away: nothing that ends at this hop, frames a body, names the server, says where a
/// request came from, or settles how a message is read. The request goes out as it was decoded, and to where it was
/// decided on.
fn may_be_changed(name: &HeaderName) -> bool {
    const WHENCE: [&str; 4] = ["forwarded", "via", "x-real-ip", "x-request-id"];
    const READ: [&str; 4] = ["content-encoding", "content-range", "last-event-id", "mcp-session-id"];
    const PREFIXES: [&str; 4] = ["x-forwarded-", "mcp-", "a2a-", "x-agent-waypoint-"];
    let text = name.as_str();
    fields::is_editable(name)
        && *name != CONTENT_TYPE
        && *name != ACCEPT
        && !WHENCE.contains(&text)
        && !READ.contains(&text)
        && !PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HeaderName {
        text.parse().unwrap()
    }

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    #[test]
    fn what_is_not_a_providers_to_say_stays_as_it_was() {
        let mut edits = Edits::default();
        for text in [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "keep-alive",
            "te",
            "upgrade",
            "expect",
            "content-type",
            "content-encoding",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-client-cert",
            "forwarded",
            "via",
            "x-envoy-original-path",
            "x-istio-attributes",
            "x-http-method-override",
            "mcp-session-id",
            "mcp-method",
            "a2a-version",
        ] {
            edits.set(name(text), value("x"));
            edits.append(name(text), value("x"));
            edits.remove(name(text));
        }
        edits.set(name("x-bad"), HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(edits.is_empty(), "{edits:?}");
    }

    #[test]
    fn what_is_comes_in_the_place_that_was_asked_for() {
        let mut headers = HeaderMap::new();
        for (key, text) in [("x-a", "1"), ("x-b", "1"), ("x-gone", "1"), ("authorization", "old")] {
            headers.append(name(key), value(text));
        }
        let mut edits = Edits::default();
        edits.set(name("x-a"), value("2"));
        edits.append(name("x-b"), value("2"));
        edits.append(name("authorization"), value("new"));
        edits.set_if_absent(name("x-a"), value("3"));
        edits.set_if_absent(name("x-c"), value("3"));
        edits.set_if_present(name("x-d"), value("4"));
        edits.remove(name("x-gone"));
        edits.apply(&mut headers);
        let all = |key: &str| headers.get_all(key).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("x-a"), all("x-b"), all("x-c")), (vec!["2"], vec!["1", "2"], vec!["3"]));
        assert_eq!((all("x-d"), all("x-gone"), all("authorization")), (vec![], vec![], vec!["new"]));
    }

    #[test]
    fn what_servers_take_for_it_goes_with_what_was_there() {
        let mut headers = HeaderMap::new();
        for key in ["x_user-id", "x-user_id", "x_gone", "x_more", "x-more", "x_none", "xuser-id"] {
            headers.append(name(key), value("caller's"));
        }
        let mut edits = Edits::default();
        edits.set(name("x-user-id"), value("provider's"));
        edits.append(name("x-more"), value("provider's"));
        edits.set_if_present(name("x-none"), value("provider's"));
        edits.remove(name("x-gone"));
        edits.apply(&mut headers);
        let mut left: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        let beside = [("x-more", "caller's"), ("x-more", "provider's"), ("x-user-id", "provider's")];
        let rest = [("x_more", "caller's"), ("xuser-id", "caller's")];
        assert_eq!(left, [&beside[..], &rest[..]].concat());
    }
}

//! The transport of 2024-11-05: a GET whose first event says where requests go, and on which their answers come.
//!
//! Its session is known by that address. It is the GET's caller's alone, and ends with the GET.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::sessions::{Session, SessionKey, subject};
use super::exchange::Bound;
use super::reply::Reply;
use crate::call::HttpHead;
use crate::mesh::TargetKey;
use crate::wire::path;
use crate::wire::sse::{Event, Frame};

/// The event by which a server says where requests go.
pub(super) const ENDPOINT: &str = "endpoint";
/// Answers of ours that wait for their turn on the stream.
const WAITING: usize = 16;

/// The address in an `endpoint` event, as path and query: none where it leads to another host than the stream came from,
/// or is read in two ways.
fn address(said: &str, head: &HttpHead) -> Option<(String, Option<String>)> {
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
        _ if said.starts_with("//") => return None,
        _ if said.starts_with('/') => said.to_owned(),
        _ => {
            let (directory, _) = head.path.rsplit_once('/')?;
            format!("{directory}/{said}")
        }
    };
    let (raw, query) = local.split_once('?').map_or((&*local, None), |(raw, query)| (raw, Some(query.to_owned())));
    Some((path::canonical(raw).ok()?, query))
}

/// What such a session is known by. No `Mcp-Session-Id` has a space. Servers disagree on whether `/m`, `/m/` and `/M` are
/// one path: here they are.
pub(super) fn key(target: &TargetKey, path: &str, query: Option<&str>) -> SessionKey {
    let path = path.trim_end_matches('/').to_ascii_lowercase();
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    SessionKey { target: target.clone(), id: format!(" {path}{query}").into() }
}

/// Whether a query names a session, in the words of any SDK: `sessionId`, `session_id`, `sessionid`.
pub(super) fn names_session(query: Option<&str>) -> bool {
    let parameters = query.unwrap_or_default().split(['&', ';']);
    parameters.map(|parameter| parameter.split('=').next().unwrap_or_default()).any(|name| {
        // An escaped name may be any.
        let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        plain.eq_ignore_ascii_case("sessionid") || name.contains('%') || name.contains('+')
    })
}

/// Answers of ours to what was posted in such a session.
pub(super) type Injected = mpsc::Receiver<Bytes>;

impl Reply {
    /// Binds the session that an `endpoint` event begins: the event as it may pass, and where our own answers come from.
    /// None where it must not pass.
    pub(super) fn begin(&mut self, event: &Event) -> Option<(Event, Injected)> {
        let asked = self.standing.asked();
        let (path, query) = address(event.data.as_deref()?.trim(), asked.head()?)?;
        let target = &asked.target().key;
        let (sender, injected) = mpsc::channel(WAITING);
        let owner = asked.peer().id().clone();
        let session = Session::streaming(owner, asked.claims().map(subject), Arc::clone(&self.endpoint.id), sender);
        let key = key(target, &path, query.as_deref());
        let session = Arc::new(session);
        if !self.shared.sessions.bind_new(key.clone(), Arc::clone(&session)) {
            return None;
        }
        let data = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
        self.session = Some(Bound { key, session });
        let event = Event { event: Some(ENDPOINT.into()), data: Some(data.into()), ..event.clone() };
        Some((event, injected))
    }
}

/// One message as an event.
pub(super) fn event_of(message: &[u8]) -> Bytes {
    let mut out = Vec::new();
    Frame::Event(Event::message(None, &String::from_utf8_lossy(message))).write(&mut out);
    out.into()
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
            ("?sessionId=1", "/a/", Some("sessionId=1")),
            ("http://tools:80/m?s=1", "/m", Some("s=1")),
            ("HTTP://TOOLS:80?s=1", "/", Some("s=1")),
            ("/m?to=http://x/", "/m", Some("to=http://x/")),
        ];
        for (said, path, query) in good {
            assert_eq!(address(said, &head()), Some((path.to_owned(), query.map(str::to_owned))), "{said}");
        }
        for said in [
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
        ] {
            assert_eq!(address(said, &head()), None, "{said}");
        }
    }

    #[test]
    fn sessions_are_known_in_the_words_of_every_sdk() {
        for query in
            ["sessionId=1", "session_id=1", "x=1&sessionid=2", "SESSION-ID=3", "%73essionId=1", "x;sessionId=1"]
        {
            assert!(names_session(Some(query)), "{query}");
        }
        for query in ["", "x=sessionId", "session=1"] {
            assert!(!names_session(Some(query)), "{query}");
        }
        assert!(!names_session(None));
    }
}

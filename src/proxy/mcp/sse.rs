//! The transport of 2024-11-05: a GET whose first event says where requests go, and on which their answers come.
//!
//! Its session is known by that address, of which the client gets a sealed form: it opens for the GET's caller alone, and
//! leads to the server's own for as long as the GET goes on, at the replica that has it. What a server's own address is
//! no client learns; who guesses one does not get there ([`super::addresses`]): one that names a session in the words of
//! an SDK at no replica, any other one at those that saw it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::sessions::{Holder, SessionKey};
use super::addresses::Guarded;
use super::reply::Reply;
use crate::call::HttpHead;
use crate::mesh::TargetKey;
use crate::seal::{Fields, Purpose, Reading, SealFault, Sealer};
use crate::wire::mcp::endpoint_address;
use crate::wire::sse::{Event, Frame};

/// The event by which a server says where requests go.
pub(super) const ENDPOINT: &str = "endpoint";
/// Answers of ours that wait for their turn on the stream.
const WAITING: usize = 16;

/// Where clients post instead: the server's own address, sealed, is in the query.
const OURS: &str = "/agent-waypoint/messages";
const PARAMETER: &str = "session=";

/// What is sealed in an address that a client posts to; none where it is not one of ours.
pub(super) fn sealed_address(head: &HttpHead) -> Option<&str> {
    let sealed = || head.query.as_deref().and_then(|query| query.strip_prefix(PARAMETER)).unwrap_or_default();
    (head.path == OURS).then(sealed)
}

/// A server's own address and the endpoint that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) endpoint: Arc<str>,
    pub(super) path: String,
    pub(super) query: Option<String>,
}

impl Address {
    /// As a client gets it.
    fn seal(&self, sealer: &Sealer, holder: &Holder) -> Result<String, SealFault> {
        let mut fields = Fields::default();
        fields.text(&self.endpoint).text(&self.path).maybe(self.query.as_deref());
        let sealed = sealer.seal(Purpose::Address, &holder.fields().into_bytes(), &fields.into_bytes())?;
        Ok(format!("{OURS}?{PARAMETER}{sealed}"))
    }

    /// What was sealed for `holder`.
    pub(super) fn open(sealer: &Sealer, holder: &Holder, sealed: &str) -> Option<Self> {
        let opened = sealer.open(Purpose::Address, &holder.fields().into_bytes(), sealed)?;
        let mut reading = Reading::new(&opened);
        let (endpoint, path) = (reading.text()?.into(), reading.text()?.to_owned());
        let query = reading.maybe()?.map(str::to_owned);
        reading.is_over().then_some(Self { endpoint, path, query })
    }

    /// What its session is known by. No `Mcp-Session-Id` has a space.
    pub(super) fn key(&self, target: &TargetKey) -> SessionKey {
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        let id = format!(" {}{query}", self.path).into();
        SessionKey { target: target.clone(), endpoint: Arc::clone(&self.endpoint), id }
    }
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
pub(super) struct Injected {
    stream: mpsc::Receiver<Bytes>,
    _guarded: Guarded,
}

impl Injected {
    /// The next one; none once the session has ended.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        self.stream.recv().await
    }
}

impl Reply {
    /// Binds the session that an `endpoint` event begins: the event as it may pass, and where our own answers come from.
    /// None where it must not pass.
    pub(super) fn begin(&mut self, event: &Event) -> Option<(Event, Injected)> {
        let asked = self.standing.asked();
        let (path, query) = endpoint_address(event.data.as_deref()?.trim(), asked.head()?)?;
        let address = Address { endpoint: Arc::clone(&self.endpoint.id), path, query };
        let holder = asked.holder();
        let told = address.seal(self.shared.sessions.sealer(), &holder).ok()?;
        let key = address.key(&holder.target);
        let guarded = self.shared.addresses.guard(&key.target, &address.path, address.query.as_deref())?;
        let (sender, stream) = mpsc::channel(WAITING);
        let bound = self.shared.sessions.begin_stream(holder, key, sender)?;
        self.begin_labels(bound);
        let event = Event { event: Some(ENDPOINT.into()), data: Some(told.into()), ..event.clone() };
        Some((event, Injected { stream, _guarded: guarded }))
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
    fn an_address_is_sealed_for_its_holder() {
        let sealer = |n| Sealer::new(&crate::seal::Secret::new([n; 32]), &[]).unwrap();
        let holder = |name: &str| {
            let owner = crate::id::WorkloadId::parse(&format!("spiffe://td/ns/agents/sa/{name}")).unwrap();
            let kind = crate::mesh::TargetKind::Service;
            let target = TargetKey { kind, namespace: "tools".into(), name: "notes".into(), port: 80, at: None };
            Holder { owner, subject: None, target }
        };
        for query in [None, Some("sessionId=s3cret".to_owned())] {
            let address = Address { endpoint: "10.0.0.1:80".into(), path: "/messages".into(), query };
            let told = address.seal(&sealer(1), &holder("a")).unwrap();
            let (path, query) = told.split_once('?').unwrap();
            let head = HttpHead { path: path.to_owned(), query: Some(query.to_owned()), ..head() };
            let sealed = sealed_address(&head).unwrap();
            assert!(!told.contains("s3cret"));
            assert_eq!(Address::open(&sealer(1), &holder("a"), sealed).as_ref(), Some(&address));
            assert_eq!(Address::open(&sealer(1), &holder("b"), sealed), None);
            assert_eq!(Address::open(&sealer(2), &holder("a"), sealed), None);
        }
        assert_eq!(sealed_address(&head()), None);
        assert_eq!(sealed_address(&HttpHead { path: OURS.into(), ..head() }), Some(""));
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

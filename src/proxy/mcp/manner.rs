//! The outer form in which a target's servers answer: JSON or events, and with which fields. A hidden refusal takes it, or
//! its form alone would say who refused.
//!
//! Only what says nothing of a caller is learnt: fixed fields, and event ids that count.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, SERVER, VARY};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::super::sessions::Bound;
use crate::intake::{ResponseBody, text_body};
use crate::mesh::TargetKey;
use crate::wire::sse::{self, Event};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Fields that a server sets alike in all of its answers.
const FIXED: [HeaderName; 5] = [
    CACHE_CONTROL,
    SERVER,
    VARY,
    HeaderName::from_static("x-accel-buffering"),
    HeaderName::from_static("x-content-type-options"),
];
/// Targets whose manner is kept; beyond, nothing more is learnt.
const MAX_MANNERS: usize = 4_096;
/// Longest field value that is learnt, bytes.
const MAX_VALUE: usize = 128;
/// Longest event id that is learnt, bytes: longer ones may be another session's keys.
const MAX_EVENT_ID: usize = 8;

/// How one target's servers answer a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Manner {
    /// Fields in the server's order; `date` and the session id are filled in anew.
    fields: HeaderMap,
    /// Events around the answer; none where it is plain JSON.
    events: Option<Events>,
    /// Learnt from `initialize`, which some servers answer in another way than the rest.
    first: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Events {
    /// Before the answer: priming events, which have no data.
    before: Vec<Event>,
    /// The id of the answer's own event.
    id: Option<Box<str>>,
}

impl Events {
    /// Notes an event that passed before the answer.
    pub(super) fn before(&mut self, event: &Event) {
        let priming = event.data.as_deref().is_none_or(str::is_empty) && event.event.is_none();
        if self.before.is_empty() && priming && event.id.as_deref().is_none_or(counts) {
            self.before.push(event.clone());
        }
    }

    /// Notes the answer's own event.
    pub(super) fn answer(&mut self, event: &Event) {
        self.id = event.id.clone().filter(|id| counts(id));
    }
}

/// Whether an event id is a number or two, which name nothing that another could ask for.
fn counts(id: &str) -> bool {
    id.len() <= MAX_EVENT_ID && id.bytes().all(|b| b.is_ascii_digit() || b == b'/')
}

impl Manner {
    /// From the fields of an answer, and the events that it came in.
    pub(super) fn new(answered: &HeaderMap, events: Option<Events>, first: bool) -> Self {
        let known = |name: &HeaderName| FIXED.contains(name) || *name == DATE || *name == SESSION_ID;
        let fields = answered
            .iter()
            .filter(|(name, value)| known(name) && value.len() <= MAX_VALUE)
            .map(|(name, value)| (name.clone(), if *name == SESSION_ID { EMPTY } else { value.clone() }))
            .collect();
        Self { fields, events, first }
    }

    /// Fields and body of an answer that says `message`, to a caller of `session`.
    pub(in super::super) fn dress(&self, message: Vec<u8>, session: Option<&Bound>) -> (HeaderMap, ResponseBody) {
        let mut fields = HeaderMap::new();
        let token = session.and_then(|bound| bound.token.as_deref());
        for (name, value) in &self.fields {
            let value = match (name, token) {
                (name, _) if *name == DATE => HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now())).ok(),
                (name, Some(id)) if *name == SESSION_ID => HeaderValue::from_str(id).ok(),
                (name, None) if *name == SESSION_ID => None,
                _ => Some(value.clone()),
            };
            if let Some(value) = value {
                fields.append(name, value);
            }
        }
        let json = self.events.is_none();
        let kind = if json { "application/json" } else { "text/event-stream" };
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let body = match &self.events {
            None => text_body(message),
            Some(events) => events.body(&message, session),
        };
        (fields, body)
    }
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

impl Events {
    fn body(&self, message: &[u8], session: Option<&Bound>) -> ResponseBody {
        let answer = Event::message(self.id.as_deref(), &String::from_utf8_lossy(message));
        let marked = |event: &Event| {
            let id = event.id.as_deref().zip(session).map(|(id, bound)| bound.session.event(id).into());
            Event { id: id.or_else(|| event.id.clone()), ..event.clone() }
        };
        let events: Vec<_> = self.before.iter().chain([&answer]).map(|event| written(&marked(event))).collect();
        StreamBody::new(futures_util::stream::iter(events)).boxed_unsync()
    }
}

fn written<E>(event: &Event) -> Result<Frame<Bytes>, E> {
    let mut out = Vec::new();
    sse::Frame::Event(event.clone()).write(&mut out);
    Ok(Frame::data(out.into()))
}

/// The manners learnt so far.
#[derive(Debug, Default)]
pub(in super::super) struct Manners(Mutex<HashMap<TargetKey, Arc<Manner>>>);

impl Manners {
    /// The manner of a target's servers, where one was seen.
    pub(super) fn find(&self, target: &TargetKey) -> Option<Arc<Manner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }

    /// Keeps a manner; a newer one replaces it, but none of `initialize` that of another request.
    pub(super) fn keep(&self, target: &TargetKey, manner: Manner) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let better =
            kept.get(target).map_or(kept.len() < MAX_MANNERS, |old| (old.first || !manner.first) && **old != manner);
        if better {
            kept.insert(target.clone(), Arc::new(manner));
        }
    }
}

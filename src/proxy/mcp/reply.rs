//! The mirror pipeline: a server's answer, decoded, matched to what was asked, filtered, and made anew.
//!
//! What is no message of the protocol does not pass; what it is is told by the request, never by its shape.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::{Response, StatusCode, response};
use http_body_util::BodyExt as _;

use super::super::answer::{self, ProxyFault};
use super::super::budget::{HeldBody, Hold};
use super::super::sessions::{Session, SessionKey, subject};
use super::super::stages::Standing;
use super::super::{Shared, note};
use super::exchange::Bound;
use super::manner::{Events, Manner};
use super::mirror::Unpassable;
use super::post::likeness;
use super::pump::{Pump, Waits};
use crate::call::{McpCall, Value};
use crate::config::limits;
use crate::intake::{Answer, no_body, text_body};
use crate::mesh::Endpoint;
use crate::policy::Denial;
use crate::telemetry::RecordGuard;
use crate::upstream::InBody;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{McpHead, ResponseForm, ServerKind, ServerMessage, UnknownName, Version, denial};

/// An error body of a server that is read, bytes; what is longer is dropped.
const MAX_ERROR_BODY: usize = 64 << 10;

/// What an answer must be the answer to.
#[derive(Debug, Clone)]
pub(super) struct Awaited {
    /// The request's id; absent for notifications, GET and DELETE.
    pub(super) id: Option<Id>,
    /// The request.
    pub(super) call: McpCall,
}

/// An exchange that was sent, waiting for its answer.
pub(super) struct Reply {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Option<Bound>,
    pub(super) record: RecordGuard,
    pub(super) awaited: Awaited,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) standing: Standing,
    /// What is held for decoding: the request, whose arguments may be decided on again, and of the answer what is not
    /// on its way.
    pub(super) hold: Hold,
}

/// Passes the answer to a POST.
pub(super) async fn pass(reply: Reply, answered: Response<InBody>) -> Answer {
    let (parts, body) = answered.into_parts();
    if !parts.status.is_success() {
        return reply.failure(&parts, body).await;
    }
    match (ResponseForm::read(&parts.headers), reply.awaited.id.is_some()) {
        (Ok(ResponseForm::Json), true) => reply.whole(parts, body).await,
        (Ok(ResponseForm::EventStream), true) => reply.stream(parts, body),
        (Ok(_), _) => reply.empty(&parts),
        (Err(_), _) => reply.bad(),
    }
}

impl Reply {
    /// One JSON message.
    async fn whole(mut self, parts: response::Parts, body: InBody) -> Answer {
        let shared = Arc::clone(&self.shared);
        let read = tokio::select! {
            read = collect(body, limits::MAX_LIST, &mut self.hold) => read,
            denial = self.standing.revoked(&shared.published) => return self.revoked(denial),
        };
        let Some(read) = read else { return self.bad() };
        let message = shared.heavy.run(read.len(), || ServerMessage::parse(&read).ok()).await;
        let Some(mut message) = message else { return self.bad() };
        let answers = self.awaited.id.as_ref().is_some_and(|id| message.answers(id));
        if !answers {
            return self.bad();
        }
        if let Some(denial) = self.standing.revoked(&shared.published).now_or_never() {
            return self.revoked(denial);
        }
        self.learn(&parts.headers, &message, None);
        let work = || self.see_through(&self.awaited.call, &mut message, false).map(|()| message.canonical());
        let body = match shared.heavy.run(read.len(), work).await {
            Ok(body) => body,
            Err(Unpassable::Refused(denial)) => return self.refused(*denial),
            Err(Unpassable::Bad) => return self.bad(),
        };
        self.answered();
        self.record.status(parts.status);
        self.record.meter().sent(body.len());
        let mut response = Response::new(HeldBody::whole(body, self.hold));
        *response.status_mut() = parts.status;
        *response.headers_mut() = passable(parts.headers, "application/json");
        Answer::Response(response)
    }

    /// A stream of events, one of which is the answer.
    fn stream(mut self, parts: response::Parts, body: InBody) -> Answer {
        self.record.status(parts.status);
        let fields = owned(parts.headers);
        let headers = passable(fields.clone(), "text/event-stream");
        let waits = Waits::Answer { headers: Box::new(fields) };
        let mut response = Response::new(Pump::new(self, waits, body).into_body());
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers;
        Answer::Response(response)
    }

    /// A success that holds no message.
    fn empty(mut self, parts: &response::Parts) -> Answer {
        self.record.status(parts.status);
        let mut response = Response::new(no_body());
        *response.status_mut() = parts.status;
        *response.headers_mut() = passable(parts.headers.clone(), "");
        Answer::Response(response)
    }

    /// A refusal of the server's own: its status, and its error where that is one.
    pub(super) async fn failure(mut self, parts: &response::Parts, body: InBody) -> Answer {
        if let (StatusCode::NOT_FOUND, Some(bound)) = (parts.status, self.session.take()) {
            self.shared.sessions.forget(&bound.key);
            return answer::mcp_proxy_fault(self.record, self.awaited.id.as_ref(), ProxyFault::SessionUnknown);
        }
        self.answered();
        if !stays_here(parts, &self.standing) {
            return self.bad();
        }
        let told =
            collect(body, MAX_ERROR_BODY, &mut self.hold).await.and_then(|bytes| ServerMessage::parse(&bytes).ok());
        let told = told.filter(|message| *message.kind() == ServerKind::Error);
        let told = told.and_then(|mut message| {
            self.see_through(&self.awaited.call, &mut message, false).ok().map(|()| message.canonical())
        });
        let body = told
            .unwrap_or_else(|| denial::error(self.awaited.id.as_ref(), -32603, "the server refused the request", None));
        self.record.status(parts.status);
        self.record.meter().sent(body.len());
        let mut response = Response::new(text_body(body));
        *response.status_mut() = parts.status;
        *response.headers_mut() = passable(parts.headers.clone(), "application/json");
        Answer::Response(response)
    }

    /// No other answer to the request will come: its id is free.
    fn answered(&self) {
        if let (Some(bound), Some(id)) = (&self.session, &self.awaited.id) {
            bound.session.answered(id);
        }
    }

    fn bad(self) -> Answer {
        self.answered();
        answer::mcp_proxy_fault(self.record, self.awaited.id.as_ref(), ProxyFault::BadAnswer)
    }

    /// Refused after all, before anything of the answer went out: as if it had been refused at once.
    fn revoked(mut self, denial: Option<Denial>) -> Answer {
        note_revoked(&mut self.record, &self.standing, denial.as_ref());
        match denial {
            Some(denial) => self.refused(denial),
            None => answer::mcp_proxy_fault(self.record, self.awaited.id.as_ref(), ProxyFault::TargetGone),
        }
    }

    /// The answer is not for the caller, who gets a refusal in its place.
    fn refused(mut self, denial: Denial) -> Answer {
        self.answered();
        self.record.denied(note::denial(&denial, self.standing.asked().target()));
        let Some(id) = &self.awaited.id else {
            return answer::text(self.record, StatusCode::ACCEPTED, "");
        };
        let refused = self.standing.refused(denial);
        let likeness = likeness(&self.shared, self.session.as_ref(), &refused);
        answer::mcp_denied(self.record, id, &refused, &likeness)
    }

    /// Keeps what an answer says for later: a session, or how the server words an unknown name.
    pub(super) fn learn(&self, headers: &HeaderMap, message: &ServerMessage, events: Option<Events>) {
        let first = &*self.awaited.call.method == "initialize";
        let target = &self.standing.asked().target().key;
        self.shared.manners.keep(target, Manner::new(headers, events, first));
        if first {
            self.bind(headers, message);
        } else if let Some(wording) = UnknownName::learn(&self.awaited.call, message) {
            self.shared.wordings.keep(target, &self.awaited.call, wording);
        }
    }

    fn bind(&self, headers: &HeaderMap, message: &ServerMessage) {
        let (Ok(head), Some(result)) = (McpHead::read(headers), message.result()) else { return };
        let Some(id) = head.session() else { return };
        let asked = self.standing.asked();
        let subject = asked.claims().map(subject);
        let mut session = Session::new(asked.peer().id().clone(), subject, Arc::clone(&self.endpoint.id));
        session.version = result.get("protocolVersion").and_then(Value::as_str).and_then(Version::parse);
        session.wording = result.get("serverInfo").and_then(UnknownName::of_server);
        let key = SessionKey { target: asked.target().key.clone(), id: id.into() };
        self.shared.sessions.bind(key, Arc::new(session));
    }
}

/// Whether a redirect, if it is one, leads to the host that was asked: clients follow it with the body and all they
/// have, and another host was not decided on.
pub(in crate::proxy) fn stays_here(parts: &response::Parts, standing: &Standing) -> bool {
    if !parts.status.is_redirection() {
        return true;
    }
    let host = standing.asked().head().map_or("", |head| &head.host);
    parts.headers.get_all(LOCATION).iter().all(|to| is_at(host, to.to_str().unwrap_or_default()))
}

/// Whether every client reads `to` as a place at `host`. A tab would be taken out before it is read (WHATWG URL).
fn is_at(host: &str, to: &str) -> bool {
    let path = to.strip_prefix("http://").and_then(|to| to.strip_prefix(host)).unwrap_or(to);
    path.starts_with('/') && !path.starts_with("//") && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

/// The whole body, if it stays within `limit` and the budget.
pub(in crate::proxy) async fn collect(mut body: InBody, limit: usize, hold: &mut Hold) -> Option<Bytes> {
    let mut held = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if held.len().saturating_add(data.len()) > limit {
            return None;
        }
        hold.grow(data.len()).ok()?;
        held.extend_from_slice(&data);
    }
    Some(held.freeze())
}

/// The same fields in memory of their own: as they came they are slices of the buffer in which the upstream connection
/// read them, and would keep it for as long as they are kept.
fn owned(mut headers: HeaderMap) -> HeaderMap {
    for value in headers.values_mut() {
        if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
            *value = copy;
        }
    }
    headers
}

/// A server's fields, without what spoke of its bytes; `content_type` is ours, or none where it is empty.
pub(super) fn passable(mut headers: HeaderMap, content_type: &'static str) -> HeaderMap {
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE] {
        headers.remove(name);
    }
    if !content_type.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers
}

/// For the record of a denial that comes in the middle of an answer.
pub(in crate::proxy) fn note_revoked(record: &mut RecordGuard, standing: &Standing, denial: Option<&Denial>) {
    if let Some(denial) = denial {
        record.denied(note::denial(denial, standing.asked().target()));
    }
    record.failed(&ProxyFault::Revoked);
}

#[cfg(test)]
mod tests {
    use super::is_at;

    #[test]
    fn redirects_stay_at_their_host() {
        for to in ["/", "/mcp/", "/mcp?x=//y", "http://tools:80/mcp/"] {
            assert!(is_at("tools:80", to), "{to}");
        }
        for to in [
            "",
            "mcp",
            "//evil",
            "/\t/evil",
            "/\\evil",
            "/mcp /x",
            "http://tools:80",
            "http://tools:80@evil/",
            "http://tools:8080/",
            "http://evil/",
            "https://tools:80/",
        ] {
            assert!(!is_at("tools:80", to), "{to:?}");
        }
    }
}

//! The mirror pipeline: a server's answer, decoded, matched to what was asked, filtered, and made anew.
//!
//! What is no message of the protocol does not pass; what it is is told by the request, never by its shape.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::{Response, StatusCode, response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::super::answer::{self, ProxyFault};
use super::super::budget::{HeldBody, Hold};
use super::super::labels::Ticket;
use super::super::sessions::{Bound, NotBegun, Sealed};
use super::super::stages::Standing;
use super::super::{Shared, note};
use super::SESSION_ID;
use super::manner::{Events, Manner};
use super::mirror::Unpassable;
use super::post::likeness;
use super::pump::{Pump, Waits};
use super::waited::Unmade;
use crate::call::McpCall;
use crate::config::limits;
use crate::intake::{Answer, no_body, text_body};
use crate::mesh::Endpoint;
use crate::policy::Denial;
use crate::telemetry::RecordGuard;
use crate::upstream::InBody;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{McpHead, ResponseForm, ServerKind, ServerMessage, UnknownName, denial};

/// An error body of a server that is read, bytes; what is longer is dropped.
const MAX_ERROR_BODY: usize = 64 << 10;

/// What an answer must be the answer to.
#[derive(Debug, Clone)]
pub(super) struct Awaited {
    /// The request's id; absent for notifications, GET and DELETE.
    pub(super) id: Option<Id>,
    /// The id under which the server has it; in a session another one.
    pub(super) sent: Option<Id>,
    /// The request.
    pub(super) call: McpCall,
}

impl Awaited {
    /// Whether `message` is the answer; then it is under the client's own id from here on.
    pub(super) fn takes(&self, message: &mut ServerMessage) -> bool {
        let (Some(id), Some(sent)) = (&self.id, &self.sent) else { return false };
        let answers = message.answers(sent);
        if answers && id != sent {
            message.rename(id);
        }
        answers
    }
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
    /// Cancelled when the caller's tunnel should come to its end.
    pub(super) leaving: CancellationToken,
    /// When one whole answer has to be there.
    pub(super) due: Instant,
    /// The line that tells other replicas of the session that began with it, while it is not known to be with them.
    pub(super) begun: Option<u64>,
}

/// Passes the answer to a POST.
pub(super) async fn pass(reply: Reply, answered: Response<InBody>) -> Answer {
    let (parts, body) = answered.into_parts();
    if !parts.status.is_success() {
        return reply.failure(&parts, body).await;
    }
    match (ResponseForm::read(&parts.headers), reply.awaited.id.is_some()) {
        (Ok(ResponseForm::Json), true) => reply.whole(parts, body).await,
        (Ok(ResponseForm::EventStream), true) => Box::pin(reply.stream(parts, body)).await,
        (Ok(_), _) => reply.empty(&parts),
        (Err(_), _) => reply.bad(),
    }
}

impl Reply {
    /// One JSON message.
    async fn whole(mut self, parts: response::Parts, body: InBody) -> Answer {
        let shared = Arc::clone(&self.shared);
        let read = tokio::select! {
            read = timeout_at(self.due, collect(body, limits::MAX_LIST, &mut self.hold)) => read,
            denial = self.standing.revoked(&shared.published) => return self.revoked(denial),
        };
        let read = match read {
            Ok(Some(read)) => read,
            Ok(None) => return self.bad(),
            Err(_elapsed) => return self.late(),
        };
        let Some(message) = self.parsed(&read).await else { return self.bad() };
        self.answered();
        if let Some(Err(denial)) = self.standing.turned_now(&shared.published) {
            return self.revoked(denial);
        }
        if let Err(fault) = self.learn(&parts.headers, &message, None) {
            return self.answer_with(fault);
        }
        let body = match self.fitted(&read, message).await {
            Ok(body) => body,
            Err(Unmade::Revoked(denial)) => return self.revoked(denial.map(|denial| *denial)),
            Err(Unmade::Unpassable(Unpassable::Refused(denial))) => return self.refused(*denial),
            Err(Unmade::Unpassable(unpassable)) => return self.answer_with(unpassable.fault()),
        };
        self.record.status(parts.status);
        self.record.meter().sent(body.len());
        let headers = self.passable(parts.headers, "application/json");
        let mut response = Response::new(HeldBody::whole(body, self.hold));
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers;
        Answer::Response(response)
    }

    /// A stream of events, one of which is the answer.
    async fn stream(mut self, parts: response::Parts, body: InBody) -> Answer {
        self.record.status(parts.status);
        let fields = owned(parts.headers);
        let first = &*self.awaited.call.method == "initialize";
        let mut headers = self.passable(fields.clone(), "text/event-stream");
        let waits = Waits::Answer { headers: Box::new(fields) };
        let mut pump = Pump::new(self, waits, body);
        if first {
            // What the session's id is to say stands in the answer, and the id in front of it.
            pump.read_answer().await;
            headers = pump.reply().passable(headers, "text/event-stream");
        }
        let mut response = Response::new(pump.into_body());
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers;
        Answer::Response(response)
    }

    /// A success that holds no message.
    fn empty(mut self, parts: &response::Parts) -> Answer {
        self.record.status(parts.status);
        let mut response = Response::new(no_body());
        *response.status_mut() = parts.status;
        *response.headers_mut() = self.passable(parts.headers.clone(), "");
        Answer::Response(response)
    }

    /// A refusal of the server's own: its status, and its error where that is one.
    pub(super) async fn failure(mut self, parts: &response::Parts, body: InBody) -> Answer {
        if let (StatusCode::NOT_FOUND, Some(bound)) = (parts.status, self.session.take()) {
            self.shared.sessions.end(&bound);
            // Without the request's id, as where it is not read at all: the client begins anew by the status.
            return answer::mcp_proxy_fault(self.record, None, ProxyFault::SessionUnknown);
        }
        self.answered();
        if !stays_here(parts, &self.standing) {
            return self.bad();
        }
        let read = timeout_at(self.due, collect(body, MAX_ERROR_BODY, &mut self.hold)).await.ok().flatten();
        let told = read.and_then(|bytes| ServerMessage::parse(&bytes).ok());
        let told = told.filter(|message| *message.kind() == ServerKind::Error);
        let seen = told.and_then(|mut message| {
            self.awaited.takes(&mut message);
            self.see_through(&self.awaited.call, &mut message, false).ok().map(|untold| (untold, message.canonical()))
        });
        let told = match seen {
            Some((untold, body)) => {
                let told = self.tell(untold).await.is_ok();
                // By other rules it might be another.
                let stands = told && self.standing.turned_now(&self.shared.published).is_none();
                stands.then_some(body)
            }
            None => None,
        };
        let body = told
            .unwrap_or_else(|| denial::error(self.awaited.id.as_ref(), -32603, "the server refused the request", None));
        self.record.status(parts.status);
        self.record.meter().sent(body.len());
        let mut response = Response::new(text_body(body));
        *response.status_mut() = parts.status;
        *response.headers_mut() = self.passable(parts.headers.clone(), "application/json");
        Answer::Response(response)
    }

    /// No other answer to the request will come: its id is free.
    pub(super) fn answered(&self) {
        if let (Some(bound), Some(sent)) = (&self.session, &self.awaited.sent) {
            bound.session.settled(sent);
        }
    }

    /// A server's fields, without what spoke of its bytes, and with the session's id as its client knows it: the server's
    /// own is no client's. `content_type` is ours, or none where it is empty.
    pub(super) fn passable(&self, headers: HeaderMap, content_type: &'static str) -> HeaderMap {
        let mut headers = passable(headers, content_type);
        if let Some(way) = self.standing.asked().way() {
            way.response(&mut headers);
        }
        let begins = &*self.awaited.call.method == "initialize";
        if headers.remove(SESSION_ID).is_none() && !begins {
            return headers;
        }
        let token = self.session.as_ref().and_then(|bound| HeaderValue::from_str(bound.token.as_deref()?).ok());
        if let Some(token) = token {
            headers.insert(SESSION_ID, token);
        }
        headers
    }

    fn bad(self) -> Answer {
        self.answer_with(ProxyFault::BadAnswer)
    }

    /// The answer did not come whole in time.
    fn late(self) -> Answer {
        self.answer_with(ProxyFault::AnswerTimeout)
    }

    fn answer_with(self, fault: ProxyFault) -> Answer {
        self.answered();
        answer::mcp_proxy_fault(self.record, self.awaited.id.as_ref(), fault)
    }

    /// Refused after all, before anything of the answer went out: as if it had been refused at once.
    fn revoked(mut self, denial: Option<Denial>) -> Answer {
        note::revoked(&mut self.record, &self.standing, denial.as_ref());
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
    ///
    /// # Errors
    /// [`ProxyFault::Unsealed`] for a session whose id cannot be: its client would go on without one, and could not tell why
    /// its server does not know it.
    pub(super) fn learn(
        &mut self,
        headers: &HeaderMap,
        message: &ServerMessage,
        events: Option<Events>,
    ) -> Result<(), ProxyFault> {
        let first = &*self.awaited.call.method == "initialize";
        let target = self.standing.asked().target().served_by();
        self.shared.manners.keep(target, Manner::new(headers, events, first));
        if first {
            self.bind(headers, message)?;
        } else if let Some(wording) = UnknownName::learn(&self.awaited.call, message) {
            self.shared.wordings.keep(target, &self.awaited.call, wording);
        }
        Ok(())
    }

    /// The session that an answer begins, if it begins one. An id that is too long or in use begins none: its client gets none.
    fn bind(&mut self, headers: &HeaderMap, message: &ServerMessage) -> Result<(), ProxyFault> {
        let (Ok(head), Some(result)) = (McpHead::read(headers), message.result()) else { return Ok(()) };
        let Some(id) = head.session() else { return Ok(()) };
        self.session = None;
        let Some(sealed) = Sealed::of(&self.endpoint.id, id, result) else {
            tracing::warn!(endpoint = %self.endpoint.id, length = id.len(), "a server's session id is too long");
            return Ok(());
        };
        match self.shared.sessions.begin(self.standing.asked().holder(), &sealed, SystemTime::now()) {
            Ok(bound) => self.begin_labels(bound),
            Err(fault) => {
                tracing::warn!(endpoint = %self.endpoint.id, %fault, "no session");
                if let NotBegun::Seal(_) = fault {
                    return Err(ProxyFault::Unsealed);
                }
            }
        }
        Ok(())
    }
}

impl Reply {
    /// The session has begun, without labels.
    pub(super) fn begin_labels(&mut self, bound: Bound) {
        let asked = self.standing.asked();
        if asked.target().rules.labels_sessions() {
            let (ticket, line) = Ticket::begun(&self.shared.owners, &bound, &asked.holder());
            self.standing.labelled(ticket);
            self.begun = Some(line);
        }
        self.session = Some(bound);
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
        // Most are whole in one frame, and need no copy.
        if held.is_empty() && body.is_end_stream() {
            return Some(data);
        }
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

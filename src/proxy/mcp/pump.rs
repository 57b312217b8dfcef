//! A server's event stream, event by event: decoded, matched, filtered, written anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::super::answer::{ProxyFault, mcp_refusal};
use super::super::http::{outgoing, upstream_version};
use super::super::note;
use super::super::sessions::Session;
use super::manner::Events;
use super::mirror::Unpassable;
use super::reply::{Reply, note_revoked};
use super::sse as sse_session;
use crate::call::McpCall;
use crate::config::limits;
use crate::intake::{BodyFault, ResponseBody};
use crate::policy::Denial;
use crate::upstream::{InBody, OutBody};
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{McpHead, ServerKind, ServerMessage, Version, denial, forward_stream_headers, is_list};
use crate::wire::sse;

/// Time in which a server must take our answer to a request of its own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// JSON-RPC's internal error.
const INTERNAL_ERROR: i64 = -32603;
const UNREADABLE: &str = "the server's answer cannot be passed on";

/// What the stream belongs to.
pub(super) enum Waits {
    /// A POST: the stream holds the answer, and these were its headers.
    Answer {
        /// Fields of the server's response.
        headers: Box<HeaderMap>,
    },
    /// A GET: answers to earlier requests of the session may come.
    Session {
        /// Whether it goes on where an earlier stream was cut off (`Last-Event-ID`): then answers may come again.
        resumed: bool,
    },
}

/// One stream on its way.
pub(super) struct Pump {
    reply: Reply,
    waits: Waits,
    body: InBody,
    parser: sse::Parser,
    frames: VecDeque<sse::Frame>,
    /// Bytes in `frames`: counted along, since a server can make thousands of frames of one read.
    queued: usize,
    /// Bytes held for the request.
    base: usize,
    /// The events so far.
    seen: Events,
    /// Our own answers, where clients read them here alone: this stream began a session that ends with it.
    injected: Option<sse_session::Injected>,
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let (Some(_), Some(bound)) = (&self.injected, &self.reply.session) {
            self.reply.shared.sessions.forget(&bound.key);
        }
    }
}

impl Pump {
    pub(super) fn new(reply: Reply, waits: Waits, body: InBody) -> Self {
        let list = matches!(waits, Waits::Session { .. }) || is_list(&reply.awaited.call.method);
        let limit = if list { limits::MAX_LIST } else { limits::MAX_EVENT };
        let base = reply.hold.bytes();
        Self {
            reply,
            waits,
            body,
            parser: sse::Parser::new(limit),
            frames: VecDeque::new(),
            queued: 0,
            base,
            seen: Events::default(),
            injected: None,
        }
    }

    /// The body of the answer: each event goes out as soon as it is whole. Dropping it ends the upstream's stream.
    pub(super) fn into_body(self) -> ResponseBody {
        let events = stream::unfold(Some(self), |pump| async move {
            let mut pump = pump?;
            match pump.next().await {
                Some(Ok(bytes)) => {
                    pump.reply.record.meter().sent(bytes.len());
                    Some((Ok(Frame::data(bytes)), Some(pump)))
                }
                Some(Err(fault)) => Some((Err(fault), None)),
                None => None,
            }
        });
        StreamBody::new(events).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Result<Bytes, BodyFault>> {
        let shared = Arc::clone(&self.reply.shared);
        loop {
            // Also before what was read earlier: the caller may have taken its time.
            if let Some(denial) = self.reply.standing.revoked(&shared.published).now_or_never() {
                return Some(Err(self.revoked(denial.as_ref())));
            }
            if let Some(frame) = self.frames.pop_front() {
                self.queued = self.queued.saturating_sub(size(&frame));
                match self.pass(frame).await {
                    Ok(Some(bytes)) => return Some(self.held(bytes.len()).map(|()| bytes)),
                    Ok(None) => continue,
                    Err(fault) => return Some(Err(fault)),
                }
            }
            let frame = tokio::select! {
                biased;
                denial = self.reply.standing.revoked(&shared.published) => {
                    return Some(Err(self.revoked(denial.as_ref())));
                }
                Some(bytes) = injected(&mut self.injected) => return Some(self.held(bytes.len()).map(|()| bytes)),
                frame = self.body.frame() => frame,
            };
            let data = match frame? {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(_cut) => return Some(Err(self.failed(ProxyFault::BadAnswer))),
            };
            let mut frames = Vec::new();
            if self.parser.push(&data, &mut frames).is_err() {
                return Some(Err(self.failed(ProxyFault::BadAnswer)));
            }
            self.queued += frames.iter().map(size).sum::<usize>();
            self.frames.extend(frames);
            if let Err(fault) = self.held(0) {
                return Some(Err(fault));
            }
        }
    }

    /// Accounts for what is held: the request, the block that has begun, whole ones, and `out` bytes on their way.
    fn held(&mut self, out: usize) -> Result<(), BodyFault> {
        let held = self.base + self.parser.held() + self.queued + out;
        let kept = self.reply.hold.set(held);
        kept.map_err(|_over_budget| self.failed(ProxyFault::OverBudget))
    }

    fn revoked(&mut self, denial: Option<&Denial>) -> BodyFault {
        note_revoked(&mut self.reply.record, &self.reply.standing, denial);
        BodyFault::Ended
    }

    /// What goes out for one frame, nothing where that is for us.
    async fn pass(&mut self, frame: sse::Frame) -> Result<Option<Bytes>, BodyFault> {
        let shared = Arc::clone(&self.reply.shared);
        let passed = shared.heavy.run(size(&frame), || self.event(frame)).await;
        match passed.map_err(|fault| self.failed(fault))? {
            Passed::Out(bytes) => Ok(Some(bytes)),
            Passed::Dropped => Ok(None),
            // From 2026-07-28 on a server asks nothing in an event, and nothing is posted to it for an answer.
            Passed::Asked(..) if self.is_modern() => Ok(None),
            Passed::Asked(method, id) => {
                // Rare, and larger than everything else that is kept for a stream.
                let answering = Box::pin(self.answer_server(&method, &id));
                // A server that does not take its answer must not keep the stream beyond its permit.
                tokio::select! {
                    biased;
                    denial = self.reply.standing.revoked(&shared.published) => Err(self.revoked(denial.as_ref())),
                    () = answering => Ok(None),
                }
            }
        }
    }

    /// Whether an event begins a session of 2024-11-05: the first of its name on a GET without a session.
    fn begins(&self, event: &sse::Event) -> bool {
        let get = matches!(self.waits, Waits::Session { .. }) && self.reply.session.is_none();
        get && event.event.as_deref() == Some(sse_session::ENDPOINT)
    }

    fn is_modern(&self) -> bool {
        let version = self.reply.awaited.call.version.as_deref().and_then(Version::parse);
        version.is_some_and(Version::is_modern)
    }

    fn failed(&mut self, fault: ProxyFault) -> BodyFault {
        self.reply.record.failed(&fault);
        BodyFault::Upstream
    }

    /// What becomes of one event.
    fn event(&mut self, frame: sse::Frame) -> Result<Passed, ProxyFault> {
        let mut out = Vec::new();
        let sse::Frame::Event(mut event) = frame else {
            frame.write(&mut out);
            return Ok(Passed::Out(out.into()));
        };
        if let Some(data) = event.as_message() {
            let message = ServerMessage::parse(data.as_bytes()).map_err(|_fault| ProxyFault::BadAnswer)?;
            if let (ServerKind::Request(method), Some(id)) = (message.kind(), message.id())
                && !self.reply.may_pass_on(method, id, &message)
            {
                return Ok(Passed::Asked(method.clone(), id.clone()));
            }
            self.seen.answer(&event);
            let Some(message) = self.message(message) else { return Ok(Passed::Dropped) };
            let text = String::from_utf8(message).map_err(|_not_utf8| ProxyFault::BadAnswer)?;
            event.data = Some(text.into());
        } else if self.begins(&event) {
            let Some((endpoint, injected)) = self.reply.begin(&event) else { return Ok(Passed::Dropped) };
            self.injected = Some(injected);
            event = endpoint;
        } else if event.data.as_ref().is_some_and(|data| !data.is_empty()) {
            // Clients do not read events of other names; nothing is in them for a caller.
            return Ok(Passed::Dropped);
        } else {
            self.seen.before(&event);
        }
        if let (Some(bound), Some(id)) = (&self.reply.session, &event.id) {
            bound.session.issued(id);
        }
        event.write(&mut out);
        Ok(Passed::Out(out.into()))
    }

    /// The message as it may pass, or nothing. A request of the server was decided on before.
    fn message(&mut self, mut message: ServerMessage) -> Option<Vec<u8>> {
        match message.kind() {
            ServerKind::Request(_) => return Some(message.canonical()),
            ServerKind::Notification(method) => {
                let method = method.clone();
                return self.reply.see_notice(&method, &mut message).then(|| message.canonical());
            }
            ServerKind::Result | ServerKind::Error => {}
        }
        let request = self.answered(&message)?;
        // A server may send on a GET again what it answered long ago, under an id that is in use for another call.
        let late = matches!(self.waits, Waits::Session { .. });
        let id = message.id().cloned()?;
        match self.reply.see_through(&request, &mut message, late) {
            Ok(()) => Some(message.canonical()),
            Err(Unpassable::Refused(denial)) => {
                let told = mcp_refusal(&self.reply.record, &id, &request, &denial);
                self.reply.record.denied(note::denial(&denial, self.reply.standing.asked().target()));
                Some(told)
            }
            Err(Unpassable::Bad) => Some(denial::error(Some(&id), INTERNAL_ERROR, UNREADABLE, None)),
        }
    }

    /// The request that a response answers; a response to nothing that was asked is dropped.
    fn answered(&self, message: &ServerMessage) -> Option<McpCall> {
        let Reply { awaited, session, .. } = &self.reply;
        if let Waits::Answer { headers } = &self.waits
            && awaited.id.as_ref().is_some_and(|id| message.answers(id))
        {
            self.reply.learn(headers, message, Some(self.seen.clone()));
            if let (Some(bound), Some(id)) = (session, &awaited.id) {
                bound.session.answered(id);
            }
            return Some(awaited.call.clone());
        }
        let resumed = matches!(self.waits, Waits::Session { resumed: true });
        let known = |session: &Session, id: &Id| if resumed { session.replayed(id) } else { session.answered(id) };
        let asked = session.as_ref().and_then(|bound| known(&bound.session, message.id()?));
        match asked {
            Some(call) => Some(call),
            None => {
                self.reply.shared.telemetry.metrics().fault(&ProxyFault::UnaskedAnswer);
                None
            }
        }
    }

    /// Answers a server's request that does not reach the client: it is told that there is no such method, except that a
    /// `ping` is answered, since a server may end a session that does not answer it.
    fn answer_server(&self, method: &str, id: &Id) -> impl Future<Output = ()> + use<> {
        let body = if method == "ping" { denial::empty_result(id) } else { denial::method_not_found(id) };
        let request = self.answering(body.into());
        let (shared, endpoint) = (Arc::clone(&self.reply.shared), Arc::clone(&self.reply.endpoint));
        let version = upstream_version(self.reply.standing.asked().target());
        async move {
            let Some(request) = request else { return };
            let sending = shared.upstreams.send(&endpoint, version, request);
            if tokio::time::timeout(ANSWER_TIMEOUT, sending).await.is_err() {
                tracing::debug!(endpoint = %endpoint.id, "server did not take the answer to its request");
            }
        }
    }

    /// The POST of an answer, with the fields of the request that opened this stream as far as they fit.
    fn answering(&self, body: Bytes) -> Option<http::Request<OutBody>> {
        let asked = self.reply.standing.asked();
        let mut headers = asked.head()?.headers.clone();
        let mcp = McpHead::read(&headers).ok()?;
        forward_stream_headers(&mut headers, &mcp);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.remove("last-event-id");
        if let Waits::Answer { headers: answered } = &self.waits
            && let Some(session) = answered.get("mcp-session-id")
        {
            headers.insert("mcp-session-id", session.clone());
        }
        let mut request = outgoing(asked, headers, body).ok()?;
        *request.method_mut() = http::Method::POST;
        Some(request)
    }
}

/// The next of our own answers, where there will be any.
async fn injected(answers: &mut Option<sse_session::Injected>) -> Option<Bytes> {
    match answers {
        Some(answers) => answers.recv().await,
        None => std::future::pending().await,
    }
}

/// What becomes of a frame.
enum Passed {
    /// It goes out so.
    Out(Bytes),
    /// It does not.
    Dropped,
    /// It is a request, to be answered by us.
    Asked(Box<str>, Id),
}

/// Bytes of text in a frame.
fn size(frame: &sse::Frame) -> usize {
    match frame {
        sse::Frame::Event(event) => event.data.as_ref().map_or(0, |data| data.len()),
        sse::Frame::Comment => 0,
    }
}

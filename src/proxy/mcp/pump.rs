//! A server's event stream, event by event: decoded, matched, filtered, written anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::super::answer::ProxyFault;
use super::super::http::{outgoing, upstream_version};
use super::super::stages::Revoked;
use super::reply::{Reply, filter, note_revoked};
use crate::call::McpCall;
use crate::config::limits;
use crate::intake::{BodyFault, ResponseBody};
use crate::upstream::InBody;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{ServerKind, ServerMessage, denial, is_list};
use crate::wire::sse;

/// Time in which a server must take our answer to a request of its own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the stream belongs to.
pub(super) enum Waits {
    /// A POST: the stream holds the answer.
    Answer {
        /// The session that the response's head began, where it could be read. Not the head itself: its fields would
        /// keep the upstream connection's read buffer for as long as the stream lasts.
        session: Option<Arc<str>>,
    },
    /// A GET: answers to earlier requests of the session may come.
    Session,
}

/// One stream on its way.
pub(super) struct Pump {
    reply: Reply,
    waits: Waits,
    body: InBody,
    parser: sse::Parser,
    frames: VecDeque<sse::Frame>,
}

impl Pump {
    pub(super) fn new(reply: Reply, waits: Waits, body: InBody) -> Self {
        let list = matches!(waits, Waits::Session) || is_list(&reply.awaited.call.method);
        let limit = if list { limits::MAX_LIST } else { limits::MAX_EVENT };
        Self { reply, waits, body, parser: sse::Parser::new(limit), frames: VecDeque::new() }
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
        loop {
            while let Some(frame) = self.frames.pop_front() {
                match self.event(frame).await {
                    Ok(Some(bytes)) => return Some(Ok(bytes)),
                    Ok(None) => {}
                    Err(fault) => return Some(Err(self.failed(fault))),
                }
            }
            let shared = Arc::clone(&self.reply.shared);
            let frame = tokio::select! {
                biased;
                Revoked(denial) = self.reply.standing.revoked(&shared.published) => {
                    note_revoked(&mut self.reply.record, &self.reply.standing, denial.as_ref());
                    return Some(Err(BodyFault::Ended));
                }
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
            self.frames.extend(frames);
        }
    }

    fn failed(&mut self, fault: ProxyFault) -> BodyFault {
        self.reply.record.failed(&fault);
        BodyFault::Upstream
    }

    /// What goes out for one event; nothing for what does not pass.
    async fn event(&self, frame: sse::Frame) -> Result<Option<Bytes>, ProxyFault> {
        let mut out = Vec::new();
        let sse::Frame::Event(mut event) = frame else {
            frame.write(&mut out);
            return Ok(Some(out.into()));
        };
        if let Some(data) = event.as_message() {
            let message = ServerMessage::parse(data.as_bytes()).map_err(|_fault| ProxyFault::BadAnswer)?;
            let Some(message) = self.message(message).await else { return Ok(None) };
            let text = String::from_utf8(message.canonical()).map_err(|_not_utf8| ProxyFault::BadAnswer)?;
            event.data = Some(text.into());
        } else if event.data.as_ref().is_some_and(|data| !data.is_empty()) {
            // Clients do not read events of other names; nothing is in them for a caller.
            return Ok(None);
        }
        event.write(&mut out);
        Ok(Some(out.into()))
    }

    /// The message as it may pass, or nothing.
    async fn message(&self, mut message: ServerMessage) -> Option<ServerMessage> {
        match message.kind().clone() {
            ServerKind::Notification(_) => Some(message),
            ServerKind::Request(method) => {
                let id = message.id().cloned()?;
                // Rare, and larger than everything else that is kept for a stream.
                Box::pin(self.answer_server(&method, &id)).await;
                None
            }
            ServerKind::Result | ServerKind::Error => {
                let request = self.answered(&message)?;
                let hidden = filter(&self.reply.standing, &request, &mut message);
                self.reply.shared.telemetry.metrics().list_entries_hidden(hidden);
                Some(message)
            }
        }
    }

    /// The request that a response answers; a response to nothing that was asked is dropped.
    fn answered(&self, message: &ServerMessage) -> Option<McpCall> {
        let Reply { awaited, session, .. } = &self.reply;
        if let Waits::Answer { session: began } = &self.waits
            && awaited.id.as_ref().is_some_and(|id| message.answers(id))
        {
            self.reply.learn(began.as_deref(), message);
            if let (Some(bound), Some(id)) = (session, &awaited.id) {
                bound.session.answered(id.as_json());
            }
            return Some(awaited.call.clone());
        }
        let asked = session.as_ref().and_then(|bound| bound.session.answered(message.id()?.as_json()));
        match asked {
            Some(method) => Some(McpCall { method, object: crate::call::McpObject::Other, ..awaited.call.clone() }),
            None => {
                self.reply.shared.telemetry.metrics().fault(&ProxyFault::UnaskedAnswer);
                None
            }
        }
    }

    /// Answers a server's request in the client's stead: it is told that the client knows no such method, except that
    /// a `ping` is answered, since a server may end a session that does not answer it.
    async fn answer_server(&self, method: &str, id: &Id) {
        let body = if method == "ping" { denial::empty_result(id) } else { denial::method_not_found(id) };
        let asked = self.reply.standing.asked();
        let Some(head) = asked.head() else { return };
        let mut headers = head.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.remove("last-event-id");
        if let Waits::Answer { session: Some(began) } = &self.waits
            && let Ok(session) = HeaderValue::from_str(began)
        {
            headers.insert("mcp-session-id", session);
        }
        let Ok(mut request) = outgoing(asked, headers, body.into()) else { return };
        *request.method_mut() = http::Method::POST;
        let sending = self.reply.shared.upstreams.send(&self.reply.endpoint, upstream_version(asked.target()), request);
        if tokio::time::timeout(ANSWER_TIMEOUT, sending).await.is_err() {
            tracing::debug!(endpoint = %self.reply.endpoint.id, "server did not take the answer to its request");
        }
    }
}

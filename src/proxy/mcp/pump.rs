//! A server's event stream, event by event: decoded, matched, filtered, written anew.

mod answered;
mod answering;
mod labelling;
mod leaving;
mod lists;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::header::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::time::{Instant, timeout_at};

use super::super::answer::{ProxyFault, mcp_refusal};
use super::super::labels::Unshared;
use super::super::note;
use super::super::sessions::Sessional;
use super::manner::Events;
use super::mirror::Unpassable;
use super::reply::Reply;
use super::sse as sse_session;
use crate::config::limits;
use crate::intake::{BodyFault, ResponseBody};
use crate::policy::Denial;
use crate::upstream::InBody;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{ServerKind, ServerMessage, Version, denial, is_list};
use crate::wire::sse;

/// JSON-RPC's internal error, and that for parameters which name nothing.
const INTERNAL_ERROR: i64 = -32603;
const INVALID_PARAMS: i64 = -32602;
/// Room for an event beside its data, bytes.
const SPARE: usize = 128;
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
    /// Bytes in `frames`, and what is being read ahead: counted along, as one read can make thousands of frames.
    queued: usize,
    /// Bytes held for the request.
    base: usize,
    /// The events so far.
    seen: Events,
    /// What was read ahead: until the answer came, where the head has to say what is in it.
    ready: VecDeque<Bytes>,
    /// Whether the answer came.
    answered: bool,
    /// When it ends, between two events, once its tunnel is leaving.
    leaves: Option<Instant>,
    /// How it ended, while what was read ahead is still to go out.
    over: Option<Option<BodyFault>>,
    /// Our own answers, where clients read them here alone: this stream began a session that ends with it.
    injected: Option<sse_session::Injected>,
    /// Of which changes of lists its client hears.
    told: lists::Told,
    /// Other labels of its session, other lists.
    relabelled: lists::Relabelled,
    /// What the event that is read puts on its session, with the request that it answers, if it does.
    untold: Option<Box<(Unshared, Option<Sessional>)>>,
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let (Some(_), Some(bound)) = (&self.injected, &self.reply.session) {
            self.reply.shared.sessions.forget(&bound.key);
        }
    }
}

impl Pump {
    pub(super) fn new(mut reply: Reply, waits: Waits, body: InBody) -> Self {
        reply.standing.lasts();
        let list = matches!(waits, Waits::Session { .. }) || is_list(&reply.awaited.call.method);
        let limit = if list { limits::MAX_LIST } else { limits::MAX_EVENT };
        let base = reply.hold.bytes();
        let session = reply.session.as_ref().filter(|_| matches!(waits, Waits::Session { .. }));
        let told = session.map(|bound| lists::Told::of_session(bound.session.announced)).unwrap_or_default();
        let relabelled = lists::Relabelled::of(session.and_then(|_| reply.standing.listen()));
        Self {
            reply,
            waits,
            body,
            parser: sse::Parser::new(limit),
            frames: VecDeque::new(),
            queued: 0,
            base,
            seen: Events::default(),
            ready: VecDeque::new(),
            answered: false,
            leaves: None,
            over: None,
            injected: None,
            told,
            relabelled,
            untold: None,
        }
    }

    /// What the stream is the answer to.
    pub(super) fn reply(&self) -> &Reply {
        &self.reply
    }

    /// Reads on until the answer has come, or as much else as one event may hold, or its time is over.
    pub(super) async fn read_answer(&mut self) {
        let (mut ready, mut ahead) = (VecDeque::new(), 0);
        while !self.answered && self.over.is_none() && ahead <= limits::MAX_EVENT {
            let Ok(next) = timeout_at(self.reply.due, self.next()).await else {
                self.over = Some(Some(self.failed(ProxyFault::AnswerTimeout)));
                break;
            };
            match next {
                Some(Ok(bytes)) => {
                    (ahead, self.queued) = (ahead + bytes.len(), self.queued + bytes.len());
                    ready.push_back(bytes);
                }
                Some(Err(fault)) => self.over = Some(Some(fault)),
                None => self.over = Some(None),
            }
        }
        self.queued = self.queued.saturating_sub(ahead);
        self.ready = ready;
    }

    /// The body of the answer: each event goes out as soon as it is whole. Dropping it ends the upstream's stream.
    pub(super) fn into_body(self) -> ResponseBody {
        // Boxed, as each event hands it over and back.
        let events = stream::unfold(Some(Box::new(self)), |pump| async move {
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
            match self.reply.standing.turned_now(&shared.published) {
                Some(Err(denial)) => return Some(Err(self.revoked(denial.as_ref()))),
                Some(Ok(())) => self.ready.extend(self.told.events()),
                None => {}
            }
            if let Some(bytes) = self.ready.pop_front() {
                return Some(Ok(bytes));
            }
            if let Some(over) = self.over.take() {
                return over.map(Err);
            }
            if let Some(frame) = self.frames.pop_front() {
                self.queued = self.queued.saturating_sub(size(&frame));
                match self.pass(frame).await {
                    Ok(Some(bytes)) => return Some(self.held(bytes.len()).map(|()| bytes)),
                    Ok(None) => continue,
                    Err(fault) => return Some(Err(fault)),
                }
            }
            self.note_leaving();
            let frame = tokio::select! {
                biased;
                turned = self.reply.standing.turned(&shared.published) => {
                    if let Err(denial) = turned {
                        return Some(Err(self.revoked(denial.as_ref())));
                    }
                    self.ready.extend(self.told.events());
                    continue;
                }
                () = self.relabelled.heard() => {
                    self.ready.extend(self.told.events());
                    continue;
                }
                Some(bytes) = injected(&mut self.injected) => return Some(self.held(bytes.len()).map(|()| bytes)),
                frame = self.body.frame() => frame,
                () = leaving::leave(&self.reply.leaving, self.leaves), if self.goes_on_elsewhere() => match self.leaves {
                    Some(_) => return None,
                    None => continue,
                },
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
        let ready = self.ready.iter().map(Bytes::len).sum::<usize>();
        let held = self.base + self.parser.held() + self.queued + ready + out;
        let kept = self.reply.hold.set(held);
        kept.map_err(|_over_budget| self.failed(ProxyFault::OverBudget))
    }

    fn revoked(&mut self, denial: Option<&Denial>) -> BodyFault {
        note::revoked(&mut self.reply.record, &self.reply.standing, denial);
        BodyFault::Ended
    }

    /// What goes out for one frame, nothing where that is for us.
    async fn pass(&mut self, frame: sse::Frame) -> Result<Option<Bytes>, BodyFault> {
        let shared = Arc::clone(&self.reply.shared);
        let passed = shared.heavy.run(size(&frame), || self.event(frame)).await.map_err(|fault| self.failed(fault))?;
        let waits = self.untold.is_some() || self.reply.begun.is_some();
        let passed = if waits { Box::pin(self.tell(passed)).await? } else { passed };
        match passed {
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
        let mut out = Vec::with_capacity(size(&frame) + SPARE);
        let sse::Frame::Event(mut event) = frame else {
            frame.write(&mut out);
            return Ok(Passed::Out(out.into()));
        };
        if let Some(data) = event.as_message() {
            let mut message = ServerMessage::parse(data.as_bytes()).map_err(|_fault| ProxyFault::BadAnswer)?;
            self.reply.see_request(&mut message);
            if let (ServerKind::Request(method), Some(id)) = (message.kind(), message.id()) {
                let asked = Passed::Asked(method.clone(), id.clone());
                let Some(told) = self.reply.may_pass_on(method, id, &message) else { return Ok(asked) };
                message.rename(&told);
                if self.reply.tell_tasks(&self.reply.awaited.call, &mut message).is_err() {
                    return Ok(asked);
                }
            }
            self.seen.answer(&event);
            let Some(message) = self.message(message) else { return Ok(Passed::Dropped) };
            let text = String::from_utf8(message).map_err(|_not_utf8| ProxyFault::BadAnswer)?;
            event.data = Some(text.into());
        } else if self.begins(&event) {
            let Some((endpoint, injected)) = self.reply.begin(&event) else { return Ok(Passed::Dropped) };
            self.injected = Some(injected);
            self.relabelled = lists::Relabelled::of(self.reply.standing.listen());
            event = endpoint;
        } else if event.data.as_ref().is_some_and(|data| !data.is_empty()) {
            // Clients do not read events of other names; nothing is in them for a caller.
            return Ok(Passed::Dropped);
        } else {
            self.seen.before(&event);
        }
        if let (Some(bound), Some(id)) = (&self.reply.session, &event.id) {
            event.id = Some(bound.session.event(id).into());
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
                if let Some(bound) = &self.reply.session {
                    message.rename_cancelled(|id| bound.session.questioned(id));
                }
                self.told.note_agreed(&self.reply.awaited.call, &message);
                let untold = self.reply.see_notice(&method, &mut message).ok()?;
                self.untold = untold.map(|untold| Box::new((untold, None)));
                return Some(message.canonical());
            }
            ServerKind::Result | ServerKind::Error => {}
        }
        let Sessional { id, call: request } = self.answered(&mut message)?;
        if self.injected.is_some() {
            self.told.note_begun(&request, &message);
        }
        // What another stream was to bring is read with all doubt that there can be.
        let late = matches!(self.waits, Waits::Session { .. });
        match self.reply.see_through(&request, &mut message, late) {
            Ok(untold) => {
                self.untold = untold.map(|untold| Box::new((untold, Some(Sessional { id, call: request }))));
                Some(message.canonical())
            }
            Err(Unpassable::Refused(denial)) => {
                let told = mcp_refusal(&self.reply.record, &id, &request, &denial);
                self.reply.record.denied(note::denial(&denial, self.reply.standing.asked().target()));
                Some(told)
            }
            Err(Unpassable::Bad) => Some(denial::error(Some(&id), INTERNAL_ERROR, UNREADABLE, None)),
            Err(unpassable @ (Unpassable::OtherTask | Unpassable::Unsealed)) => {
                let fault = unpassable.fault();
                self.reply.record.failed(&fault);
                let code = if fault == ProxyFault::TaskUnknown { INVALID_PARAMS } else { INTERNAL_ERROR };
                Some(denial::error(Some(&id), code, &fault.to_string(), None))
            }
        }
    }
}

/// The next of our own answers, where there will be any.
async fn injected(answers: &mut Option<sse_session::Injected>) -> Option<Bytes> {
    match answers {
        Some(answers) => answers.next().await,
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

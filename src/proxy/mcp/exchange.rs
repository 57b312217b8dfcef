use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::HeaderValue;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;

use super::super::Shared;
use super::super::answer::{self, ProxyFault};
use super::super::authenticate::{Authenticated, authenticate};
use super::super::budget::{Hold, waiting};
use super::super::cursors::Cursor;
use super::super::http::Calls;
use super::super::route::{is_one_backend, is_there};
use super::super::sessions::{Bound, Holder, Sessional, subject};
use super::super::tasks::Made;
use super::sse::{self, Address};
use crate::call::{HttpHead, McpCall, McpObject, Task};
use crate::config::limits;
use crate::fault::Faulty;
use crate::id::Peer;
use crate::intake::{Answer, Body, BodyFault};
use crate::mesh::Target;
use crate::policy::Claims;
use crate::telemetry::RecordGuard;
use crate::wire::json;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{Decoded, Kind, McpHead, Version};

/// One MCP request and what is known of it before its body: who, to what, with which token, in which session.
pub(super) struct Exchange {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<Peer>,
    pub(super) target: Arc<Target>,
    pub(super) head: HttpHead,
    /// The head as it was sent, where the token made another of it.
    pub(super) sent: Option<Box<HttpHead>>,
    pub(super) mcp: McpHead,
    pub(super) claims: Option<Claims>,
    pub(super) session: Option<Bound>,
    pub(super) record: RecordGuard,
    /// Cancelled when the caller's tunnel should come to its end.
    pub(super) leaving: CancellationToken,
}

/// What a message turned out to be about, with what only its exchange knows.
pub(super) struct Meant {
    /// A response is about the request that it answers, a task about the tool that was called.
    pub(super) call: McpCall,
    /// The endpoint that must have it, where one must.
    pub(super) endpoint: Option<Arc<str>>,
    /// Whether no other one may have it: by the id of a task another one may know another caller's.
    pub(super) alone: bool,
    /// The id under which the server gets it, where that is another than the client's.
    pub(super) sent: Option<Id>,
    /// The task that a request is a part of, beside what it is about.
    pub(super) related: Option<Task>,
}

impl Exchange {
    /// Notes a keyed digest of what the call is made with.
    pub(super) fn digest_arguments(&mut self, decoded: &Decoded) {
        if let Some(arguments) = decoded.call().arguments() {
            let mut text = Vec::with_capacity(json::FIRST);
            json::write_object(arguments, &mut text);
            self.record.arguments(self.shared.telemetry.keyed().arguments(&text));
        }
    }

    /// Verifies the token and looks the session up.
    ///
    /// # Errors
    /// The answer: 401 for a token that is not valid, 404 for a session that is not this caller's.
    pub(super) async fn open(
        calls: &Calls,
        target: Arc<Target>,
        head: HttpHead,
        mcp: McpHead,
    ) -> Result<Self, Box<Answer>> {
        let shared = Arc::clone(calls.shared());
        let mut record = calls.record(&target);
        record.trace_parent(&head.headers);
        let Authenticated { head, sent, claims } = match authenticate(&target, head).await {
            Ok(request) => request,
            Err(fault) => return Err(Box::new(answer::mcp_bad_token(record, fault))),
        };
        if let Some(claims) = &claims {
            record.subject(shared.telemetry.keyed().subject(claims.issuer(), claims.subject().unwrap_or_default()));
        }
        let (peer, leaving) = (Arc::clone(calls.peer()), calls.leaving().clone());
        let mut exchange = Self { shared, peer, target, head, sent, mcp, claims, session: None, record, leaving };
        match exchange.find_session() {
            Ok(session) => {
                exchange.session = session;
                Ok(exchange)
            }
            // Clients take any other answer to a GET than these for the end of everything.
            Err(ProxyFault::VersionChanged) if exchange.head.method == http::Method::GET => {
                Err(Box::new(answer::mcp_proxy_fault(exchange.record, None, ProxyFault::NoStream)))
            }
            Err(fault) => Err(Box::new(answer::mcp_proxy_fault(exchange.record, None, fault))),
        }
    }

    /// The session id's digest, for records and rules.
    pub(super) fn session_digest(&self) -> Option<Arc<str>> {
        self.session.as_ref().map(|bound| self.shared.telemetry.keyed().session(&bound.key.id))
    }

    /// For whom what is sealed in this exchange is.
    pub(super) fn holder(&self) -> Holder {
        let subject = self.claims.as_ref().map(subject);
        Holder { owner: self.peer.id().clone(), subject, target: self.target.key.clone() }
    }

    /// The session that a POST is addressed to, as clients of 2024-11-05 do: its address is sealed, and from here on the
    /// server's own. A server's own address, or one that names a session in any words, is nobody's.
    fn find_stream(&mut self) -> Result<Option<Bound>, ProxyFault> {
        if self.head.method != http::Method::POST {
            return Ok(None);
        }
        if let Some(sealed) = sse::sealed_address(&self.head) {
            let holder = self.holder();
            let address = Address::open(self.shared.sessions.sealer(), &holder, sealed);
            let bound = address
                .as_ref()
                .and_then(|address| self.shared.sessions.find_stream(&address.key(&holder.target), &holder));
            let (Some(Address { path, query, .. }), Some(bound)) = (address, bound) else {
                return Err(ProxyFault::SessionUnknown);
            };
            (self.head.path, self.head.query) = (path, query);
            return Ok(Some(bound));
        }
        let query = self.head.query.as_deref();
        let guarded = self.shared.addresses.guards(&self.target.key, &self.head.path, query);
        if guarded || sse::names_session(query) { Err(ProxyFault::SessionUnknown) } else { Ok(None) }
    }

    /// What a message is about; in a session, where the ids of requests are ours, it goes out under the other side's.
    ///
    /// # Errors
    /// [`ProxyFault`] for a response to nothing that was asked in this session, and for a task or a cursor that is not this
    /// caller's.
    pub(super) fn meant(&self, decoded: &mut Decoded) -> Result<Meant, ProxyFault> {
        let mut call = decoded.call().clone();
        let related = decoded.related_task().map(str::to_owned);
        let mut endpoint = self.name_tasks(decoded)?;
        let alone = endpoint.is_some();
        if decoded.kind() == Kind::Response {
            let digest = call.session.clone();
            let asked = self.session.as_ref().zip(decoded.id()).and_then(|(bound, id)| bound.session.reply(id, digest));
            let Sessional { id, call } = asked.ok_or(ProxyFault::UnexpectedResponse)?;
            decoded.forward_under(&id);
            return Ok(Meant { call, endpoint: None, alone, sent: None, related: None });
        }
        if let McpObject::Task(task) = &mut call.object {
            self.find_task(task)?;
        }
        if let McpObject::Subscription(wanted) = &mut call.object {
            Arc::make_mut(wanted).tasks.iter_mut().try_for_each(|task| self.find_task(task))?;
        }
        if let Some(sealed) = decoded.cursor() {
            let cursor = Cursor::open(self.shared.sessions.sealer(), &self.holder(), &call.method, sealed);
            let Cursor { endpoint: from, text } = cursor.ok_or(ProxyFault::CursorUnknown)?;
            decoded.go_on_after(&text);
            endpoint = endpoint.or(self.goes_on_at(from)?);
        }
        let sent = self.rename(decoded, &call)?;
        let related = related.and_then(|sealed| self.made(&sealed)).map(Made::task);
        Ok(Meant { call, endpoint, alone, sent, related })
    }

    /// Where a list goes on that `from` began; none where any endpoint will do. Those of one Service page alike, but where
    /// routes lead, another backend's server would read a cursor as one of its own.
    fn goes_on_at(&self, from: Arc<str>) -> Result<Option<Arc<str>>, ProxyFault> {
        let there = is_there(&self.shared, &self.target, &from);
        if self.target.routes.is_some() {
            let at = self.session.as_ref().map_or(&from, |bound| &bound.key.endpoint);
            if !there || !is_one_backend(&self.shared, &self.target, &from, at) {
                return Err(ProxyFault::CursorUnknown);
            }
        }
        Ok(there.then_some(from))
    }

    /// Has a message of a session name its request as the server knows it.
    fn rename(&self, decoded: &mut Decoded, call: &McpCall) -> Result<Option<Id>, ProxyFault> {
        let Some(bound) = &self.session else { return Ok(None) };
        if let Some(waiting) = decoded.cancels().and_then(|id| bound.session.waiting(&id)) {
            decoded.cancel_under(&waiting);
        }
        let Some(id) = decoded.id().filter(|_| decoded.kind() == Kind::Request) else { return Ok(None) };
        let sent = bound.session.sent_id(id, call).map_err(|fault| {
            tracing::warn!(%fault, "a request's id was not sealed");
            ProxyFault::Unsealed
        })?;
        decoded.forward_under(&sent);
        Ok(Some(sent))
    }

    /// Has the server get its own ids of tasks; the endpoint that has them. Of several endpoints' tasks those of the others are
    /// unknown.
    fn name_tasks(&self, decoded: &mut Decoded) -> Result<Option<Arc<str>>, ProxyFault> {
        let mut endpoint: Option<Arc<str>> = None;
        // A request is asked for the time of its task before it goes out; of the rest what is known to be of another is none.
        let asks = decoded.kind() == Kind::Request;
        let mut own = |sealed: &str| {
            let made = self.made(sealed).filter(|made| asks || self.shared.tasks.has(&self.holder(), made))?;
            let at = endpoint.get_or_insert_with(|| Arc::clone(&made.endpoint));
            (*at == made.endpoint).then(|| made.id.to_string())
        };
        decoded.name_tasks(&mut own).map_err(|_unknown| ProxyFault::TaskUnknown)?;
        Ok(endpoint)
    }

    /// Notes a task's own id and tool, and when it was made.
    fn find_task(&self, task: &mut Task) -> Result<(), ProxyFault> {
        let Some(sealed) = task.id.known() else { return Ok(()) };
        *task = self.made(sealed).ok_or(ProxyFault::TaskUnknown)?.task();
        Ok(())
    }

    /// The caller's task of this id, where the endpoint that made it is the one that will be asked: by the same id another
    /// one may know another caller's.
    fn made(&self, sealed: &str) -> Option<Made> {
        let made = self.shared.tasks.open(&self.holder(), sealed)?;
        let asked = match &self.session {
            Some(bound) => bound.key.endpoint == made.endpoint,
            None => is_there(&self.shared, &self.target, &made.endpoint),
        };
        asked.then_some(made)
    }

    fn find_session(&mut self) -> Result<Option<Bound>, ProxyFault> {
        // Whatever the headers say, a server of 2024-11-05 knows a session by the address alone.
        let streamed = self.find_stream()?;
        // From 2026-07-28 on the header has no meaning, and it is not forwarded.
        let modern = self.mcp.version().is_some_and(Version::is_modern);
        if modern {
            return if streamed.is_none() { Ok(None) } else { Err(ProxyFault::VersionChanged) };
        }
        let Some(id) = self.mcp.session() else { return Ok(streamed) };
        if streamed.is_some() {
            return Err(ProxyFault::SessionUnknown);
        }
        let bound = self.shared.sessions.open(&self.holder(), id, SystemTime::now());
        let Some(bound) = bound.filter(|bound| is_there(&self.shared, &self.target, &bound.key.endpoint)) else {
            self.record.session(self.shared.telemetry.keyed().session(id));
            return Err(ProxyFault::SessionUnknown);
        };
        self.record.session(self.shared.telemetry.keyed().session(&bound.key.id));
        // From here on it is the server's own.
        let own = HeaderValue::from_str(&bound.key.id).map_err(|_invisible| ProxyFault::SessionUnknown)?;
        if let Some(sent) = &mut self.sent {
            sent.headers.insert(super::SESSION_ID, own.clone());
        }
        self.head.headers.insert(super::SESSION_ID, own);
        match (self.mcp.version(), bound.session.version) {
            (Some(said), Some(agreed)) if said != agreed => Err(ProxyFault::VersionChanged),
            _ => Ok(Some(bound)),
        }
    }
}

/// Reads a whole body within its limit, its time and the memory budget, of which the request takes its share too as long as
/// it waits.
pub(in crate::proxy) async fn read_body(
    mut body: Body,
    (hold, head): (&mut Hold, &HttpHead),
    record: &RecordGuard,
) -> Result<Bytes, ReadFault> {
    let meter = record.meter();
    let reading = async {
        let mut held = BytesMut::new();
        let mut waits = None;
        loop {
            let frame = match body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    if waits.is_none() {
                        waits = Some(hold.beside(waiting(head)).map_err(|_full| ReadFault::OverBudget)?);
                    }
                    body.frame().await
                }
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame?.into_data() else { continue };
            meter.received(data.len());
            if held.len().saturating_add(data.len()) > limits::MAX_BODY {
                return Err(ReadFault::Body(BodyFault::TooLarge));
            }
            hold.grow(data.len()).map_err(|_full| ReadFault::OverBudget)?;
            // Most are whole in one frame, and need no copy.
            if held.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            held.extend_from_slice(&data);
        }
        Ok(held.freeze())
    };
    tokio::time::timeout(limits::BODY_TIMEOUT, reading).await.unwrap_or(Err(ReadFault::Body(BodyFault::Timeout)))
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum ReadFault {
    /// The body.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// Ours.
    #[error("over the decoding budget")]
    OverBudget,
}

impl ReadFault {
    /// The answer.
    pub(super) fn answer(self, record: RecordGuard) -> Answer {
        match self {
            Self::Body(fault) => answer::mcp_fault(record, None, &fault as &dyn Faulty),
            Self::OverBudget => answer::mcp_proxy_fault(record, None, ProxyFault::OverBudget),
        }
    }
}

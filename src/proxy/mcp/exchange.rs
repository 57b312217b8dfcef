use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::super::Shared;
use super::super::answer::{self, ProxyFault};
use super::super::budget::Hold;
use super::super::http::Calls;
use super::super::sessions::{self, Session, SessionKey};
use super::sse;
use crate::call::{HttpHead, McpCall, McpObject, Task};
use crate::config::limits;
use crate::fault::Faulty;
use crate::id::Peer;
use crate::intake::{Answer, Body, BodyFault};
use crate::mesh::Target;
use crate::policy::Claims;
use crate::telemetry::RecordGuard;
use crate::wire::mcp::{Decoded, Kind, McpHead};

/// One MCP request and what is known of it before its body: who, to what, with which token, in which session.
pub(super) struct Exchange {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<Peer>,
    pub(super) target: Arc<Target>,
    pub(super) head: HttpHead,
    pub(super) mcp: McpHead,
    pub(super) claims: Option<Claims>,
    pub(super) session: Option<Bound>,
    pub(super) record: RecordGuard,
}

/// A session that is this caller's.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) key: SessionKey,
    pub(super) session: Arc<Session>,
}

impl Exchange {
    /// Verifies the token and looks the session up.
    ///
    /// # Errors
    /// The answer: 401 for a token that is not valid, 404 for a session that is not this caller's.
    pub(super) fn open(calls: &Calls, target: Arc<Target>, head: HttpHead, mcp: McpHead) -> Result<Self, Box<Answer>> {
        let shared = Arc::clone(calls.shared());
        let mut record = calls.record(&target);
        record.trace_parent(&head.headers);
        let claims = match &target.tokens {
            None => None,
            Some(tokens) => match tokens.verify(&head, SystemTime::now()) {
                Ok(claims) => claims,
                Err(fault) => return Err(Box::new(answer::bad_token(record, &fault))),
            },
        };
        if let Some(claims) = &claims {
            record.subject(shared.telemetry.keyed().subject(claims.issuer(), claims.subject().unwrap_or_default()));
        }
        let mut exchange =
            Self { shared, peer: Arc::clone(calls.peer()), target, head, mcp, claims, session: None, record };
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

    /// The session that a POST is addressed to by its path and query, as clients of 2024-11-05 do. An address that names
    /// a session which is not this caller's is that of none.
    fn find_stream(&self) -> Result<Option<Bound>, ProxyFault> {
        if self.head.method != http::Method::POST {
            return Ok(None);
        }
        let query = self.head.query.as_deref();
        let key = sse::key(&self.target.key, &self.head.path, query);
        let subject = self.claims.as_ref().map(sessions::subject);
        match self.shared.sessions.find(&key, self.peer.id(), subject.as_deref()) {
            Some(session) => Ok(Some(Bound { key, session })),
            None if self.shared.sessions.knows(&key) || sse::names_session(query) => Err(ProxyFault::SessionUnknown),
            // A session may be named by the path alone, whatever is asked beside it.
            None if self.shared.sessions.knows(&sse::key(&self.target.key, &self.head.path, None)) => {
                Err(ProxyFault::SessionUnknown)
            }
            None => Ok(None),
        }
    }

    /// What a message is about, with what only its exchange knows, and the endpoint that must have it, where one must: a
    /// response is about the request that it answers, a task about the tool that was called.
    ///
    /// # Errors
    /// [`ProxyFault`] for a response to nothing that was asked in this session, and for a task that is not this caller's.
    pub(super) fn meant(&self, decoded: &Decoded) -> Result<(McpCall, Option<Arc<str>>), ProxyFault> {
        let mut call = decoded.call().clone();
        if decoded.kind() == Kind::Response {
            let asked = self.session.as_ref().zip(decoded.id()).and_then(|(bound, id)| bound.session.reply(id));
            return asked.map(|call| (call, None)).ok_or(ProxyFault::UnexpectedResponse);
        }
        let mut endpoint = None;
        if let McpObject::Task(task) = &mut call.object {
            endpoint = self.find_task(task)?;
        }
        if let McpObject::Subscription(wanted) = &mut call.object {
            for task in &mut Arc::make_mut(wanted).tasks {
                endpoint = endpoint.or(self.find_task(task)?);
            }
        }
        Ok((call, endpoint))
    }

    /// Notes the tool of a task; its endpoint, if that is still one of the target's.
    fn find_task(&self, task: &mut Task) -> Result<Option<Arc<str>>, ProxyFault> {
        let Some(id) = task.id.known() else { return Ok(None) };
        let subject = self.claims.as_ref().map(sessions::subject);
        let made = self.shared.tasks.find(&self.target.key, id, self.peer.id(), subject.as_deref());
        let made = made.ok_or(ProxyFault::TaskUnknown)?;
        task.tool = Some(made.tool);
        Ok(self.target.endpoints.iter().any(|endpoint| endpoint.id == made.endpoint).then_some(made.endpoint))
    }

    fn find_session(&mut self) -> Result<Option<Bound>, ProxyFault> {
        // Whatever the headers say, a server of 2024-11-05 knows a session by the address alone.
        let streamed = self.find_stream()?;
        // From 2026-07-28 on the header has no meaning, and it is not forwarded.
        let modern = self.mcp.version().is_some_and(crate::wire::mcp::Version::is_modern);
        if modern {
            return if streamed.is_none() { Ok(None) } else { Err(ProxyFault::VersionChanged) };
        }
        let Some(id) = self.mcp.session() else { return Ok(streamed) };
        if streamed.is_some() {
            return Err(ProxyFault::SessionUnknown);
        }
        let key = SessionKey { target: self.target.key.clone(), id: id.into() };
        self.record.session(self.shared.telemetry.keyed().session(id));
        let subject = self.claims.as_ref().map(sessions::subject);
        let session = self.shared.sessions.find(&key, self.peer.id(), subject.as_deref());
        let session = session.ok_or(ProxyFault::SessionUnknown)?;
        match (self.mcp.version(), session.version) {
            (Some(said), Some(agreed)) if said != agreed => Err(ProxyFault::VersionChanged),
            _ => Ok(Some(Bound { key, session })),
        }
    }
}

/// Reads a whole body within its limit, its time and the memory budget.
pub(in crate::proxy) async fn read_body(
    mut body: Body,
    hold: &mut Hold,
    record: &RecordGuard,
) -> Result<Bytes, ReadFault> {
    let meter = record.meter();
    let reading = async {
        let mut held = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            meter.received(data.len());
            if held.len().saturating_add(data.len()) > limits::MAX_BODY {
                return Err(ReadFault::Body(BodyFault::TooLarge));
            }
            hold.grow(data.len()).map_err(|_full| ReadFault::OverBudget)?;
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

//! Whose an MCP session is: a bounded table that binds an `Mcp-Session-Id` to the caller it was issued to and to the
//! endpoint that issued it. Another caller's, an unknown and a forgotten id look alike from outside.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::budget::Hold;
use crate::call::McpCall;
use crate::id::WorkloadId;
use crate::mesh::TargetKey;
use crate::policy::Claims;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{UnknownName, Version, is_list};

/// What a session is known by: the upstream's id is unique only within the target that issued it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionKey {
    /// The target.
    pub(super) target: TargetKey,
    /// The value of `Mcp-Session-Id`.
    pub(super) id: Arc<str>,
}

/// One MCP session, as its `initialize` left it.
#[derive(Debug)]
pub(super) struct Session {
    /// Who began it; nobody else may use it.
    pub(super) owner: WorkloadId,
    /// Of the token that it was begun with, where there was one; see [`subject`].
    pub(super) subject: Option<Arc<str>>,
    /// The endpoint that issued the id; every request of the session goes there.
    pub(super) endpoint: Arc<str>,
    /// The version that the server chose, where it is one that we know.
    pub(super) version: Option<Version>,
    /// How a server that calls itself so answers an unknown name.
    pub(super) wording: Option<UnknownName>,
    /// Where our own answers go, for a session whose client reads them on one stream only.
    pub(super) stream: Option<mpsc::Sender<Bytes>>,
    asked: Arc<Mutex<Asked>>,
    /// What the server asked of its client, until that is answered.
    questions: Mutex<Vec<Question>>,
    /// Hashes of the ids of events that went to the client, oldest first.
    events: Mutex<VecDeque<u64>>,
    /// Of those hashes: nobody outside can say which ids have the same.
    keys: RandomState,
}

/// Requests whose answer has not been seen, oldest first, without their arguments.
#[derive(Debug, Default)]
struct Asked {
    calls: BTreeMap<u64, (Id, McpCall)>,
    next: u64,
    /// Requests that were answered, oldest first: an answer that was lost on its way comes again when its stream is
    /// resumed.
    answered: VecDeque<(Id, McpCall)>,
    /// Hashes of the ids of requests that were forgotten while their answers may yet come.
    spent: BTreeSet<u64>,
}

/// A server's request that went to the client.
#[derive(Debug)]
struct Question {
    id: Id,
    call: McpCall,
    _held: Hold,
}

/// Why a request may not be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAsked {
    /// One with an id that servers take for the same has no answer yet.
    #[error("the id is in use")]
    InFlight,
    /// Too many lists were asked for and never answered.
    #[error("too many requests without an answer")]
    TooMany,
}

/// Issuer and subject of a token as one text: of two tokens, the same only where both are.
pub(super) fn subject(claims: &Claims) -> Arc<str> {
    let issuer = claims.issuer();
    format!("{}:{issuer}{}", issuer.len(), claims.subject().unwrap_or_default()).into()
}

/// Requests of one session that are remembered for an answer that comes by another stream.
const MAX_ASKED: usize = 256;
/// Answered requests of one session that are remembered for an answer that comes again.
const MAX_ANSWERED: usize = 64;
/// Ids of one session that stay spent, as their answers may yet come; beyond, nothing more is asked in it.
const MAX_SPENT: usize = 4_096;
/// Events of one session from which a stream may be resumed.
const MAX_EVENTS: usize = 1_024;
/// Requests of one session's server that its client may have unanswered.
const MAX_QUESTIONS: usize = 64;

impl Session {
    /// A session just answered by its server.
    pub(super) fn new(owner: WorkloadId, subject: Option<Arc<str>>, endpoint: Arc<str>) -> Self {
        Self {
            owner,
            subject,
            endpoint,
            version: None,
            wording: None,
            stream: None,
            asked: Arc::default(),
            questions: Mutex::default(),
            events: Mutex::default(),
            keys: RandomState::new(),
        }
    }

    /// The same, of a client that reads answers on `stream` alone.
    pub(super) fn streaming(
        owner: WorkloadId,
        subject: Option<Arc<str>>,
        endpoint: Arc<str>,
        stream: mpsc::Sender<Bytes>,
    ) -> Self {
        Self { stream: Some(stream), ..Self::new(owner, subject, endpoint) }
    }

    /// Goes on with what `before`, bound under the same id, asked: its answers may yet come.
    fn inherit(&mut self, before: &Self) {
        self.asked = Arc::clone(&before.asked);
        self.keys = before.keys.clone();
    }

    fn is_of(&self, caller: &WorkloadId, subject: Option<&str>) -> bool {
        self.owner == *caller && self.subject.as_deref() == subject
    }

    /// Remembers that request `id` is `call`, so that an answer on any stream of the session is known for what
    /// it is. Beyond [`MAX_ASKED`] the oldest that is no list is forgotten; its late answer is then dropped as unknown.
    ///
    /// # Errors
    /// An id in flight may not be asked again: servers send an answer to whoever asked last under its id, and it would
    /// be taken for the answer to something else, unfiltered and by other rules. For the same reason no list is
    /// forgotten, and the id of what is forgotten stays spent.
    pub(super) fn ask(&self, id: &Id, call: &McpCall) -> Result<(), NotAsked> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = asked.spent.contains(&self.keys.hash_one(id.plain()));
        if spent || asked.calls.values().any(|(other, _)| other.collides(id)) {
            return Err(NotAsked::InFlight);
        }
        if asked.calls.len() >= MAX_ASKED {
            let oldest = asked.calls.iter().find(|(_, (_, call))| !is_list(&call.method)).map(|(ticket, _)| *ticket);
            let oldest = oldest.filter(|_| asked.spent.len() < MAX_SPENT).ok_or(NotAsked::TooMany)?;
            if let Some((id, _)) = asked.calls.remove(&oldest) {
                asked.spent.insert(self.keys.hash_one(id.plain()));
            }
        }
        asked.answered.retain(|(other, _)| !other.collides(id));
        let ticket = asked.next;
        asked.next += 1;
        asked.calls.insert(ticket, (id.clone(), call.without_arguments()));
        Ok(())
    }

    /// The answer to `id` came, or never will: what it answers. Its id is free again.
    pub(super) fn answered(&self, id: &Id) -> Option<McpCall> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = asked.calls.iter().find(|(_, (asked_id, _))| asked_id == id).map(|(ticket, _)| *ticket)?;
        let (id, call) = asked.calls.remove(&ticket)?;
        if asked.answered.len() >= MAX_ANSWERED {
            asked.answered.pop_front();
        }
        asked.answered.push_back((id, call.clone()));
        Some(call)
    }

    /// The way on which the answer to `id` was to come is gone, but the answer may come by another: nothing else is asked
    /// under its id.
    pub(super) fn lost(&self, id: &Id) {
        let spent =
            |asked: &mut Asked| asked.spent.len() < MAX_SPENT && asked.spent.insert(self.keys.hash_one(id.plain()));
        if spent(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.answered(id);
        }
    }

    /// An event under `id` went to the client.
    pub(super) fn issued(&self, id: &str) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(self.keys.hash_one(id));
    }

    /// Whether a stream may be resumed after the event `id`: one that went to this session's client. Servers that keep
    /// the events of all sessions together would else replay another's.
    pub(super) fn resumes(&self, id: &str) -> bool {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.contains(&self.keys.hash_one(id))
    }

    /// What an answer to `id` on a resumed stream answers: it may come a second time.
    pub(super) fn replayed(&self, id: &Id) -> Option<McpCall> {
        self.answered(id).or_else(|| {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.answered.iter().rev().find(|(other, _)| other == id).map(|(_, call)| call.clone())
        })
    }

    /// The server asks its client `call` under `id`; `held` is what remembering it costs. False where the id is in use,
    /// or too many are unanswered: then it must not be passed on, as its answer could not be told from another's.
    #[must_use]
    pub(super) fn question(&self, id: &Id, call: McpCall, held: Hold) -> bool {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let free = questions.len() < MAX_QUESTIONS && !questions.iter().any(|asked| asked.id.collides(id));
        if free {
            questions.push(Question { id: id.clone(), call, _held: held });
        }
        free
    }

    /// What the client answers under `id`, once; none where nothing is asked under exactly that id.
    pub(super) fn reply(&self, id: &Id) -> Option<McpCall> {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let at = questions.iter().position(|asked| asked.id == *id)?;
        Some(questions.swap_remove(at).call)
    }
}

/// The table. Cheap to share; the lock is held for a look-up only.
#[derive(Debug)]
pub(super) struct Sessions {
    table: Mutex<Table>,
    capacity: usize,
    idle: Duration,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<SessionKey, (u64, Instant, Arc<Session>)>,
    by_use: BTreeMap<u64, SessionKey>,
    clock: u64,
}

impl Sessions {
    /// At most `capacity` sessions, each forgotten when unused for `idle`.
    pub(super) fn new(capacity: usize, idle: Duration) -> Self {
        Self { table: Mutex::default(), capacity, idle }
    }

    /// Binds a new session; the one unused for longest is forgotten when the table is full. An id that is another
    /// caller's stays so: one of several servers could else hand a session out again. One that its caller begins anew
    /// still waits for what it asked before.
    pub(super) fn bind(&self, key: SessionKey, mut session: Arc<Session>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget_idle(self.idle);
        if let Some((_, _, bound)) = table.sessions.get(&key) {
            let own = bound.is_of(&session.owner, session.subject.as_deref());
            let Some(session) = Arc::get_mut(&mut session).filter(|_| own) else {
                tracing::warn!(target = %key.target, endpoint = %session.endpoint, "a server issued a session id in use");
                return;
            };
            session.inherit(bound);
        }
        table.insert(key, session);
        while table.sessions.len() > self.capacity {
            let Some((_, oldest)) = table.by_use.pop_first() else { break };
            table.sessions.remove(&oldest);
        }
    }

    /// Binds a new session under a key that is not in use; says whether it did.
    #[must_use]
    pub(super) fn bind_new(&self, key: SessionKey, session: Arc<Session>) -> bool {
        if self.knows(&key) {
            return false;
        }
        self.bind(key, session);
        true
    }

    /// Whether the key is in use, whoever's.
    pub(super) fn knows(&self, key: &SessionKey) -> bool {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).sessions.contains_key(key)
    }

    /// The session, if `caller` owns it with the same token subject.
    pub(super) fn find(&self, key: &SessionKey, caller: &WorkloadId, subject: Option<&str>) -> Option<Arc<Session>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget_idle(self.idle);
        let (_, _, session) = table.sessions.get(key)?;
        let session = session.is_of(caller, subject).then(|| Arc::clone(session))?;
        table.insert(key.clone(), Arc::clone(&session));
        Some(session)
    }

    /// Forgets a session that its server ended.
    pub(super) fn forget(&self, key: &SessionKey) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((used, _, _)) = table.sessions.remove(key) {
            table.by_use.remove(&used);
        }
    }

    /// How many sessions are bound.
    pub(super) fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).sessions.len()
    }
}

impl Table {
    fn insert(&mut self, key: SessionKey, session: Arc<Session>) {
        self.clock += 1;
        let clock = self.clock;
        if let Some((used, _, _)) = self.sessions.insert(key.clone(), (clock, Instant::now(), session)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(clock, key);
    }

    fn forget_idle(&mut self, idle: Duration) {
        while let Some((used, key)) = self.by_use.first_key_value() {
            let unused = self.sessions.get(key).is_none_or(|(_, at, _)| at.elapsed() > idle);
            if !unused {
                return;
            }
            let (used, key) = (*used, key.clone());
            self.by_use.remove(&used);
            self.sessions.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;

//! What one replica remembers of a session while it lasts here. All of it can be lost.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::budget::{Budget, Hold};
use super::ids::Ids;
use super::{Announced, Holder, Sealed, SessionKey};
use crate::call::McpCall;
use crate::seal::{Purpose, SealFault, Sealer};
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{UnknownName, Version};

/// Requests of one session that are remembered until their answers come.
const MAX_ASKED: usize = 256;
/// What remembering a request costs beside its texts, bytes.
const ASKED: usize = 256;
/// Requests of one session whose answers came and are not passed on again.
const MAX_DONE: usize = 256;
/// Requests of one session's server that its client may have unanswered.
const MAX_QUESTIONS: usize = 64;

/// One MCP session.
#[derive(Debug)]
pub(in crate::proxy) struct Session {
    holder: Holder,
    /// The version that the server chose, where it is one that we know.
    pub(in crate::proxy) version: Option<Version>,
    /// How a server that calls itself so answers an unknown name.
    pub(in crate::proxy) wording: Option<UnknownName>,
    /// Which changes of lists the server tells of.
    pub(in crate::proxy) announced: Announced,
    /// Where our own answers go, for a session whose client reads them on one stream only.
    pub(in crate::proxy) stream: Option<mpsc::Sender<Bytes>>,
    ids: Ids,
    asked: Mutex<Asked>,
    /// Of what is remembered of requests: their callers may have gone, and answers may never come.
    memory: Arc<Budget>,
    /// What the server asked of its client here, until that is answered.
    questions: Mutex<Vec<Question>>,
    keys: RandomState,
}

/// Requests. What they ask is said by the ids under which the server has them.
#[derive(Debug, Default)]
struct Asked {
    /// Whose answers have not been seen, oldest first.
    calls: VecDeque<Pending>,
    /// Hashes of the ids of those whose answers have, oldest first.
    done: VecDeque<u64>,
}

#[derive(Debug)]
struct Pending {
    /// Under which the server has it.
    sent: Id,
    /// Under which the client sent it.
    id: Id,
    /// The digest of the session's id, as the request came.
    session: Option<Arc<str>>,
    _held: Hold,
}

/// A server's request that went to the client.
#[derive(Debug)]
struct Question {
    /// Under which the client has it.
    told: Id,
    /// Under which the server sent it.
    id: Id,
    call: McpCall,
    _held: Hold,
}

/// A message as it goes out in a session, where ids are ours: an id, and what is under it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::proxy) struct Sessional {
    /// The id that the other side knows.
    pub(in crate::proxy) id: Id,
    /// What it is the id of.
    pub(in crate::proxy) call: McpCall,
}

/// An id is in use: a request under it has no answer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id is in use")]
pub(in crate::proxy) struct InFlight;

impl Session {
    /// As its sealed id says.
    pub(super) fn new(
        (sealer, memory): (&Sealer, &Arc<Budget>),
        holder: Holder,
        key: &SessionKey,
        sealed: &Sealed,
    ) -> Self {
        let version = sealed.version;
        let (wording, announced) = (sealed.wording(), sealed.announced);
        Self { version, wording, announced, ..Self::begun((sealer, memory), holder, key, None) }
    }

    /// One of a client that reads answers on `stream` alone, where it has one.
    pub(super) fn begun(
        (sealer, memory): (&Sealer, &Arc<Budget>),
        holder: Holder,
        key: &SessionKey,
        stream: Option<mpsc::Sender<Bytes>>,
    ) -> Self {
        let ids = Ids::new(sealer.clone(), &holder, key);
        Self {
            holder,
            version: None,
            wording: None,
            announced: Announced::default(),
            stream,
            ids,
            asked: Mutex::default(),
            memory: Arc::clone(memory),
            questions: Mutex::default(),
            keys: RandomState::new(),
        }
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The id under which its server gets the request `call`. Servers send an answer to whoever asked last under its id:
    /// with ids of ours no answer comes for another one, whichever replica asked.
    pub(in crate::proxy) fn sent_id(&self, id: &Id, call: &McpCall) -> Result<Id, SealFault> {
        self.ids.seal(Purpose::Request, id, call)
    }

    /// Remembers that a request went out. Beyond [`MAX_ASKED`], or where there is no memory for it, the oldest is forgotten
    /// here; its id still says what it was.
    ///
    /// # Errors
    /// An id in flight is not asked again: clients take the first answer under it for the answer to either.
    pub(in crate::proxy) fn ask(&self, id: &Id, sent: &Id, call: &McpCall) -> Result<(), InFlight> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.calls.iter().any(|pending| pending.id.collides(id)) {
            return Err(InFlight);
        }
        if asked.calls.len() >= MAX_ASKED {
            asked.calls.pop_front();
        }
        // An id is there as JSON and as text.
        let cost = ASKED + 2 * (sent.plain().len() + id.plain().len());
        let mut held = self.memory.hold(&self.holder.owner);
        while held.grow(cost).is_err() {
            if asked.calls.pop_front().is_none() {
                return Ok(());
            }
        }
        let session = call.session.clone();
        asked.calls.push_back(Pending { sent: sent.clone(), id: id.clone(), session, _held: held });
        Ok(())
    }

    /// The answer to what was sent under `sent` has come: it is not passed on again, and its id is free.
    pub(in crate::proxy) fn settled(&self, sent: &Id) {
        let hash = self.keys.hash_one(sent.plain());
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.calls.retain(|pending| pending.sent != *sent);
        asked.note_done(hash);
    }

    /// No answer to what was sent under `sent` will come here: its id is free again.
    pub(in crate::proxy) fn given_up(&self, sent: &Id) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.calls.retain(|pending| pending.sent != *sent);
    }

    /// What a server's answer under `sent` answers, and under which id: once, or each time that it comes on a stream that
    /// was `resumed`. None where that was never asked in this session. `digest` is the digest of the session's id.
    pub(in crate::proxy) fn answered(&self, sent: &Id, resumed: bool, digest: Option<Arc<str>>) -> Option<Sessional> {
        let (id, mut call) = self.ids.open(Purpose::Request, sent, digest)?;
        let hash = self.keys.hash_one(sent.plain());
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !resumed && asked.done.contains(&hash) {
            return None;
        }
        let at = asked.calls.iter().position(|pending| pending.sent == *sent);
        if let Some(pending) = at.and_then(|at| asked.calls.remove(at)) {
            call.session = pending.session.or(call.session);
        }
        asked.note_done(hash);
        Some(Sessional { id, call })
    }

    /// The id under which the server has what the client asked under `id` and waits for, as far as that is known here.
    pub(in crate::proxy) fn waiting(&self, id: &Id) -> Option<Id> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.calls.iter().find(|pending| pending.id == *id).map(|pending| pending.sent.clone())
    }

    /// The server asks its client `call` under `id`; `held` is what remembering it costs. The id under which the client is
    /// asked; none where the server's is in use, or too many are unanswered: then it must not be passed on.
    #[must_use]
    pub(in crate::proxy) fn question(&self, id: &Id, call: McpCall, held: Hold) -> Option<Id> {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = questions.iter().find(|asked| asked.id == *id && asked.call == call) {
            // Told again, on a stream that goes on after an earlier event.
            return Some(asked.told.clone());
        }
        if questions.len() >= MAX_QUESTIONS || questions.iter().any(|asked| asked.id.collides(id)) {
            return None;
        }
        let told = self.ids.seal(Purpose::Question, id, &call).ok()?;
        questions.push(Question { told: told.clone(), id: id.clone(), call, _held: held });
        Some(told)
    }

    /// What the client answers under `told`, and the server's id for it; none where this session's server asked nothing
    /// under exactly that id. Once, where the question came this way.
    pub(in crate::proxy) fn reply(&self, told: &Id, digest: Option<Arc<str>>) -> Option<Sessional> {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = self.keys.hash_one(told.plain());
        if asked.done.contains(&hash) {
            return None;
        }
        let at = questions.iter().position(|asked| asked.told == *told);
        let found = match at.map(|at| questions.swap_remove(at)) {
            Some(Question { id, call, .. }) => Sessional { id, call },
            None => {
                let (id, call) = self.ids.open(Purpose::Question, told, digest)?;
                Sessional { id, call }
            }
        };
        asked.note_done(hash);
        Some(found)
    }

    /// The id under which the client has what the server asked under `id`, as far as that is known here.
    pub(in crate::proxy) fn questioned(&self, id: &Id) -> Option<Id> {
        let questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        questions.iter().find(|asked| asked.id == *id).map(|asked| asked.told.clone())
    }

    /// An event's id as the client gets it.
    pub(in crate::proxy) fn event(&self, id: &str) -> String {
        self.ids.mark(id)
    }

    /// The server's id of the event after which a client resumes a stream: of one that went to this session's client.
    /// Servers that keep the events of all sessions together would else replay another's.
    pub(in crate::proxy) fn resumes<'a>(&self, event: &'a str) -> Option<&'a str> {
        self.ids.unmark(event)
    }
}

impl Asked {
    fn note_done(&mut self, hash: u64) {
        if self.done.contains(&hash) {
            return;
        }
        if self.done.len() >= MAX_DONE {
            self.done.pop_front();
        }
        self.done.push_back(hash);
    }
}

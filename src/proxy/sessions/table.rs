//! The sessions that this replica serves now, and those that ended here: bounded, with a share per principal, and nothing
//! that may not be forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::budget::{Budget, Hold};
use super::{Bound, Holder, Sealed, Session, SessionKey};
use crate::config::limits::{MAX_ASKED_BYTES, MAX_ASKED_BYTES_PER_PRINCIPAL};
use crate::id::WorkloadId;
use crate::seal::{Purpose, SealFault, Sealer};

/// Seals and opens session ids, and keeps what is remembered of sessions. Cheap to share; the lock is held for a look-up
/// only.
#[derive(Debug)]
pub(in crate::proxy) struct Sessions {
    sealer: Sealer,
    /// For what sessions remember of requests, either way.
    memory: Arc<Budget>,
    table: Mutex<Table>,
    capacity: usize,
    share: usize,
    idle: Duration,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<SessionKey, Entry>,
    by_use: BTreeMap<u64, SessionKey>,
    of: HashMap<WorkloadId, BTreeMap<u64, SessionKey>>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    used: u64,
    at: Instant,
    owner: WorkloadId,
    state: State,
}

#[derive(Debug)]
enum State {
    Live(Arc<Session>),
    /// Its client ended it, or its server forgot it. Its id would still open.
    Ended,
}

/// Why a session did not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum NotBegun {
    /// Its server gave its id to another caller, or to another subject, whose session goes on.
    #[error("a server issued a session id in use")]
    InUse,
    /// The id.
    #[error("a session id was not sealed: {0}")]
    Seal(#[from] SealFault),
}

impl Sessions {
    /// At most `capacity` sessions, `share` of one principal, each forgotten when unused for `idle`.
    pub(in crate::proxy) fn new(sealer: Sealer, capacity: usize, share: usize, idle: Duration) -> Self {
        let memory = Budget::new(MAX_ASKED_BYTES, MAX_ASKED_BYTES_PER_PRINCIPAL);
        Self { sealer, memory, table: Mutex::default(), capacity, share, idle }
    }

    /// What seals.
    pub(in crate::proxy) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// For what is remembered of a server's request to `owner`.
    pub(in crate::proxy) fn hold(&self, owner: &WorkloadId) -> Hold {
        self.memory.hold(owner)
    }

    /// A session that its server just began for `holder`.
    ///
    /// # Errors
    /// [`NotBegun`]: then its client must not get the id.
    pub(in crate::proxy) fn begin(&self, holder: Holder, sealed: &Sealed, now: SystemTime) -> Result<Bound, NotBegun> {
        let token = self.sealer.seal(Purpose::Session, &holder.fields().into_bytes(), &sealed.write(now))?;
        let key = sealed.key(&holder);
        let session = Arc::new(Session::new((&self.sealer, &self.memory), holder, &key, sealed));
        self.bind(key.clone(), &session)?;
        Ok(Bound { key, session, token: Some(token.into()) })
    }

    /// The session of 2024-11-05 that is known by `key`, with the stream on which its client reads our answers; none where
    /// the key is in use.
    pub(in crate::proxy) fn begin_stream(
        &self,
        holder: Holder,
        key: SessionKey,
        stream: mpsc::Sender<Bytes>,
    ) -> Option<Bound> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.sessions.contains_key(&key) {
            return None;
        }
        let session = Arc::new(Session::begun((&self.sealer, &self.memory), holder, &key, Some(stream)));
        table.insert(key.clone(), session.holder().owner.clone(), State::Live(Arc::clone(&session)));
        self.fit(&mut table, &session.holder().owner);
        drop(table);
        Some(Bound { key, session, token: None })
    }

    /// What `token` stands for, if it was sealed for `holder`, has not expired and was not seen to end.
    pub(in crate::proxy) fn open(&self, holder: &Holder, token: &str, now: SystemTime) -> Option<Bound> {
        let opened = self.sealer.open(Purpose::Session, &holder.fields().into_bytes(), token)?;
        let sealed = Sealed::read(&opened, now)?;
        let key = sealed.key(holder);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget_idle(self.idle);
        let session = match table.sessions.get(&key).map(|entry| &entry.state) {
            Some(State::Live(session)) if session.holder() == holder => Arc::clone(session),
            Some(State::Live(_) | State::Ended) => return None,
            // Begun at another replica, before a restart, or forgotten.
            None => Arc::new(Session::new((&self.sealer, &self.memory), holder.clone(), &key, &sealed)),
        };
        table.insert(key.clone(), holder.owner.clone(), State::Live(Arc::clone(&session)));
        self.fit(&mut table, &holder.owner);
        drop(table);
        Some(Bound { key, session, token: Some(token.into()) })
    }

    /// The session of 2024-11-05 known by `key`, if it is `holder`'s.
    pub(in crate::proxy) fn find_stream(&self, key: &SessionKey, holder: &Holder) -> Option<Bound> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Live(session) = &table.sessions.get(key)?.state else { return None };
        let session = (session.holder() == holder).then(|| Arc::clone(session))?;
        table.insert(key.clone(), holder.owner.clone(), State::Live(Arc::clone(&session)));
        Some(Bound { key: key.clone(), session, token: None })
    }

    /// Bytes of what is remembered of requests.
    #[cfg(test)]
    pub(in crate::proxy) fn remembered(&self) -> usize {
        self.memory.used()
    }

    /// Whether something is remembered under the key.
    #[cfg(test)]
    pub(in crate::proxy) fn knows(&self, key: &SessionKey) -> bool {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).sessions.contains_key(key)
    }

    /// A session that has ended: its id does not open here any longer.
    pub(in crate::proxy) fn end(&self, bound: &Bound) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = bound.session.holder().owner.clone();
        table.insert(bound.key.clone(), owner, State::Ended);
    }

    /// Forgets a session, as one whose stream has ended: its key may be in use again.
    pub(in crate::proxy) fn forget(&self, key: &SessionKey) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// How many sessions are remembered.
    pub(in crate::proxy) fn len(&self) -> usize {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.sessions.values().filter(|entry| matches!(entry.state, State::Live(_))).count()
    }

    /// An id that is another holder's stays so: a server could else hand a session out again.
    fn bind(&self, key: SessionKey, session: &Arc<Session>) -> Result<(), NotBegun> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget_idle(self.idle);
        if let Some(State::Live(bound)) = table.sessions.get(&key).map(|entry| &entry.state)
            && bound.holder() != session.holder()
        {
            return Err(NotBegun::InUse);
        }
        let owner = session.holder().owner.clone();
        table.insert(key, owner.clone(), State::Live(Arc::clone(session)));
        self.fit(&mut table, &owner);
        Ok(())
    }

    /// Forgets what is beyond the share of `owner`, and beyond the capacity: of whoever has most.
    fn fit(&self, table: &mut Table, owner: &WorkloadId) {
        if table.of.get(owner).is_some_and(|theirs| theirs.len() > self.share) {
            table.forget_oldest_of(&owner.clone());
        }
        if table.sessions.len() > self.capacity {
            let most = table.of.iter().max_by_key(|(_, theirs)| theirs.len()).map(|(owner, _)| owner.clone());
            most.iter().for_each(|owner| table.forget_oldest_of(owner));
        }
    }
}

impl Sealed {
    fn key(&self, holder: &Holder) -> SessionKey {
        SessionKey { target: holder.target.clone(), endpoint: Arc::clone(&self.endpoint), id: Arc::clone(&self.id) }
    }
}

impl Table {
    fn insert(&mut self, key: SessionKey, owner: WorkloadId, state: State) {
        self.remove(&key);
        self.clock += 1;
        let used = self.clock;
        self.by_use.insert(used, key.clone());
        self.of.entry(owner.clone()).or_default().insert(used, key.clone());
        self.sessions.insert(key, Entry { used, at: Instant::now(), owner, state });
    }

    fn remove(&mut self, key: &SessionKey) {
        let Some(entry) = self.sessions.remove(key) else { return };
        self.by_use.remove(&entry.used);
        if let Some(theirs) = self.of.get_mut(&entry.owner) {
            theirs.remove(&entry.used);
            if theirs.is_empty() {
                self.of.remove(&entry.owner);
            }
        }
    }

    fn forget_oldest_of(&mut self, owner: &WorkloadId) {
        let oldest = self.of.get(owner).and_then(|theirs| theirs.first_key_value()).map(|(_, key)| key.clone());
        oldest.iter().for_each(|key| self.remove(key));
    }

    fn forget_idle(&mut self, idle: Duration) {
        while let Some((_, key)) = self.by_use.first_key_value() {
            if self.sessions.get(key).is_some_and(|entry| entry.at.elapsed() <= idle) {
                return;
            }
            let key = key.clone();
            self.remove(&key);
        }
    }
}

//! Whose a task is. The id that a client gets is ours, sealed: it says which server's task on which endpoint it stands for,
//! when that was made and which tool was called, and opens only for the caller whose call made it, with the same token's
//! subject, on the same target. So any replica serves a task, and a restart keeps it. Another caller's, an unknown and a forged
//! id look alike from outside, as none of them opens. The same task has the same id for as long as one key seals, as clients
//! compare them.
//!
//! A server that begins anew may count from one again, and its next task have the id of an earlier one, of another caller. So
//! a task is its id and when it was made (`createdAt`, which every task has): what a server says of a task of another time is
//! nobody's answer, and before it is asked for anything that does not say the time, it is asked for that: so also before a
//! request goes out as a part of one. What a server says is a part of a task (`related-task`) says no time, and comes to
//! whoever is spoken to: it is told as of the last one of that id that was heard of.
//!
//! Beside it there is a bounded table of the tasks that were seen here: servers list tasks and tell of them by ids of their
//! own, and no id may be two callers'. What it has forgotten is in no list until its caller asks for it again.

use std::cell::LazyCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::sessions::Holder;
use crate::call::{Knowable, McpCall, Task};
use crate::id::WorkloadId;
use crate::mesh::TargetKey;
use crate::seal::{Fields, Purpose, Reading, SealFault, Sealer};
use crate::wire::mcp::ServerMessage;

/// One task, as the answer that made it left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    /// The server's own id, unique within the endpoint that made it, until that begins anew.
    pub(super) id: Arc<str>,
    /// The endpoint that has the task.
    pub(super) endpoint: Arc<str>,
    /// The tool that was called: the task is decided on as its call.
    pub(super) tool: Arc<str>,
    /// When, as the server says.
    pub(super) created: Arc<str>,
}

impl Made {
    /// As what a call is about.
    pub(super) fn task(self) -> Task {
        Task { id: Knowable::Known(self.id), tool: Some(self.tool), created: Some(self.created) }
    }
}

/// Seals and opens ids, and keeps the table. The lock is held for a look-up only.
#[derive(Debug)]
pub(super) struct Tasks {
    sealer: Sealer,
    table: Mutex<Table>,
    capacity: usize,
    share: usize,
}

type Key = (TargetKey, Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct Table {
    tasks: HashMap<Key, Kept>,
    /// Of each principal, by age.
    of: HashMap<WorkloadId, VecDeque<Key>>,
}

/// For whom it is, of which tool and when.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    owner: WorkloadId,
    /// See [`super::sessions::subject`].
    subject: Option<Arc<str>>,
    tool: Arc<str>,
    created: Arc<str>,
}

impl Kept {
    fn of(holder: &Holder, made: &Made) -> Self {
        Self {
            owner: holder.owner.clone(),
            subject: holder.subject.clone(),
            tool: Arc::clone(&made.tool),
            created: Arc::clone(&made.created),
        }
    }

    fn is_of(&self, holder: &Holder) -> bool {
        self.owner == holder.owner && self.subject == holder.subject
    }
}

impl Tasks {
    /// Remembers at most `capacity` tasks, `share` of one principal; its oldest is forgotten first, and beyond the capacity
    /// that of whoever has most.
    pub(super) fn new(sealer: Sealer, capacity: usize, share: usize) -> Self {
        Self { sealer, table: Mutex::default(), capacity, share }
    }

    /// Binds a task of which its server just told to `holder`. An id that is another caller's stays so, and that of another
    /// tool too: a server could else make one task of what two rules are about. One of another time is gone: its server began
    /// anew.
    ///
    /// Returns whether the task is bound to what was said.
    #[must_use]
    pub(super) fn bind(&self, holder: &Holder, made: &Made) -> bool {
        let key = key(holder, &made.endpoint, &made.id);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bound) = table.tasks.get(&key).filter(|bound| bound.created == made.created) {
            return *bound == Kept::of(holder, made);
        }
        table.forget(&key);
        self.keep(&mut table, key, Kept::of(holder, made));
        true
    }

    fn keep(&self, table: &mut Table, key: Key, kept: Kept) {
        let owner = kept.owner.clone();
        let theirs = table.of.entry(owner.clone()).or_default();
        theirs.push_back(key.clone());
        if theirs.len() > self.share {
            table.forget_oldest_of(&owner);
        }
        table.tasks.insert(key, kept);
        if table.tasks.len() > self.capacity {
            let most = table.of.iter().max_by_key(|(_, theirs)| theirs.len()).map(|(owner, _)| owner.clone());
            most.iter().for_each(|owner| table.forget_oldest_of(owner));
        }
    }

    /// The task that `endpoint` calls `id`, where it is `holder`'s, was seen here, and was made then if that is said.
    pub(super) fn find(&self, holder: &Holder, endpoint: &Arc<str>, id: &str, created: Option<&str>) -> Option<Made> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = table.tasks.get(&key(holder, endpoint, id)).filter(|kept| kept.is_of(holder))?;
        let then = created.is_none_or(|created| *kept.created == *created);
        let (tool, created) = (Arc::clone(&kept.tool), Arc::clone(&kept.created));
        then.then(|| Made { id: id.into(), endpoint: Arc::clone(endpoint), tool, created })
    }

    /// Whether a task is the last of its id that was heard of.
    pub(super) fn has(&self, holder: &Holder, made: &Made) -> bool {
        self.find(holder, &made.endpoint, &made.id, Some(&made.created)).is_some()
    }

    /// The id of a task as its holder gets it.
    ///
    /// # Errors
    /// [`SealFault`]: then nothing may go out that says the server's.
    fn seal(&self, holder: &Holder, made: &Made) -> Result<String, SealFault> {
        let mut fields = Fields::default();
        fields.text(&made.id).text(&made.endpoint).text(&made.tool).text(&made.created);
        self.sealer.seal_alike(Purpose::Task, &holder.fields().into_bytes(), &fields.into_bytes())
    }

    /// Has a message of `endpoint`, an answer to `request` where it is one, tell its holder of its tasks by the ids that it has
    /// them by; who that is is asked for only by a message that names a task. One that was not seen to be the holder's keeps its server's id, which no request can name.
    ///
    /// # Errors
    /// [`SealFault`] for one that is: then the message must not pass.
    pub(super) fn tell(
        &self,
        (holder, endpoint): (impl FnOnce() -> Holder, &Arc<str>),
        request: &McpCall,
        message: &mut ServerMessage,
    ) -> Result<(), SealFault> {
        let holder = LazyCell::new(holder);
        let mut all = Ok(());
        let mut told = |id: &str| {
            let sealed = self.seal(&holder, &self.find(&holder, endpoint, id, None)?);
            sealed.map_err(|fault| all = Err(fault)).ok()
        };
        message.tell_tasks(request, &mut told);
        all
    }

    /// What an id stands for, if it was sealed for `holder`; from here on it is in the table too, unless there is one of
    /// another time, as which of them the server has now only that can say.
    pub(super) fn open(&self, holder: &Holder, sealed: &str) -> Option<Made> {
        let opened = self.sealer.open(Purpose::Task, &holder.fields().into_bytes(), sealed)?;
        let mut reading = Reading::new(&opened);
        let (id, endpoint) = (reading.text()?.into(), reading.text()?.into());
        let (tool, created) = (reading.text()?.into(), reading.text()?.into());
        let made = Made { id, endpoint, tool, created };
        if !reading.is_over() {
            return None;
        }
        let (key, kept) = (key(holder, &made.endpoint, &made.id), Kept::of(holder, &made));
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        match table.tasks.get(&key) {
            // A server that gave one id to two callers, one of them at another replica, gets neither's here but the first one's.
            Some(bound) if bound.created == kept.created => (*bound == kept).then_some(made),
            Some(_of_another_time) => Some(made),
            None => {
                self.keep(&mut table, key, kept);
                Some(made)
            }
        }
    }
}

fn key(holder: &Holder, endpoint: &Arc<str>, id: &str) -> Key {
    (holder.target.clone(), Arc::clone(endpoint), id.into())
}

impl Table {
    fn forget(&mut self, key: &Key) {
        let Some(kept) = self.tasks.remove(key) else { return };
        let Some(theirs) = self.of.get_mut(&kept.owner) else { return };
        theirs.retain(|other| other != key);
        if theirs.is_empty() {
            self.of.remove(&kept.owner);
        }
    }

    fn forget_oldest_of(&mut self, owner: &WorkloadId) {
        let Some(theirs) = self.of.get_mut(owner) else { return };
        let oldest = theirs.pop_front();
        if theirs.is_empty() {
            self.of.remove(owner);
        }
        oldest.iter().for_each(|key| drop(self.tasks.remove(key)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::TargetKind;
    use crate::seal::Secret;

    fn holder(name: &str, subject: Option<&str>, service: &str) -> Holder {
        let owner = WorkloadId::parse(&format!("spiffe://td/ns/agents/sa/{name}")).unwrap();
        let kind = TargetKind::Service;
        let target = TargetKey { kind, namespace: "tools".into(), name: service.into(), port: 80, at: None };
        Holder { owner, subject: subject.map(Into::into), target }
    }

    fn who(name: &str) -> Holder {
        holder(name, None, "repo")
    }

    fn made(id: &str, tool: &str) -> Made {
        Made { id: id.into(), endpoint: "e".into(), tool: tool.into(), created: "1".into() }
    }

    fn tasks(key: u8, capacity: usize, share: usize) -> Tasks {
        Tasks::new(Sealer::new(&Secret::new([key; 32]), &[]).unwrap(), capacity, share)
    }

    #[test]
    fn a_task_is_its_makers_alone() {
        let tasks = tasks(1, 8, 8);
        assert!(tasks.bind(&who("a"), &made("t", "x")));
        assert!(tasks.bind(&who("a"), &made("t", "x")), "said twice");
        assert!(!tasks.bind(&who("b"), &made("t", "x")));
        assert!(!tasks.bind(&who("a"), &made("t", "y")));
        let find = |holder: &Holder, endpoint: &str| tasks.find(holder, &endpoint.into(), "t", None);
        assert_eq!(find(&who("a"), "e").unwrap(), made("t", "x"));
        for other in [who("b"), holder("a", Some("s"), "repo"), holder("a", None, "other")] {
            assert!(find(&other, "e").is_none());
        }
        // Another endpoint may count from one as well.
        assert!(find(&who("a"), "f").is_none());
        assert!(tasks.bind(&who("b"), &Made { endpoint: "f".into(), ..made("t", "x") }));
    }

    #[test]
    fn an_id_opens_for_its_caller_at_every_replica() {
        let (one, other, foreign) = (tasks(1, 8, 8), tasks(1, 8, 8), tasks(2, 8, 8));
        let sealed = one.seal(&who("a"), &made("t-s3cret", "x")).unwrap();
        assert_eq!(one.seal(&who("a"), &made("t-s3cret", "x")).unwrap(), sealed, "clients compare them");
        assert_ne!(one.seal(&who("a"), &made("t-other", "x")).unwrap(), sealed);
        assert_ne!(one.seal(&who("b"), &made("t-s3cret", "x")).unwrap(), sealed);
        assert!(!sealed.contains("s3cret"));
        assert_eq!(other.open(&who("a"), &sealed).unwrap(), made("t-s3cret", "x"));
        assert!(other.find(&who("a"), &"e".into(), "t-s3cret", Some("1")).is_some(), "it is in lists from here on");
        for holder in [who("b"), holder("a", Some("s"), "repo"), holder("a", None, "other")] {
            assert!(other.open(&holder, &sealed).is_none());
        }
        assert!(foreign.open(&who("a"), &sealed).is_none());
        for unknown in ["t-s3cret", "", sealed.trim_start_matches(|first| sealed.starts_with(first))] {
            assert!(one.open(&who("a"), unknown).is_none(), "{unknown}");
        }
        // The server gave the same id to somebody else here.
        let taken = tasks(1, 8, 8);
        assert!(taken.bind(&who("b"), &made("t-s3cret", "x")));
        assert!(taken.open(&who("a"), &sealed).is_none());
    }

    #[test]
    fn an_id_that_is_given_again_is_another_task() {
        let (one, other) = (tasks(1, 8, 8), tasks(1, 8, 8));
        let again = Made { created: "2".into(), ..made("1", "x") };
        assert!(one.bind(&who("a"), &made("1", "x")));
        let old = one.seal(&who("a"), &made("1", "x")).unwrap();
        // The server began anew, and another's call made its first task.
        assert!(one.bind(&who("b"), &again));
        assert_ne!(one.seal(&who("b"), &again).unwrap(), old);
        let at = |tasks: &Tasks, name: &str, created: &str| tasks.find(&who(name), &"e".into(), "1", Some(created));
        assert_eq!((at(&one, "a", "1"), at(&one, "a", "2"), at(&one, "b", "1")), (None, None, None));
        assert_eq!(at(&one, "b", "2"), Some(again.clone()));
        // The old id still says what it said, to be held against what the server says, and takes nobody's place.
        assert_eq!(one.open(&who("a"), &old).unwrap(), made("1", "x"));
        assert_eq!(at(&one, "b", "2"), Some(again.clone()));
        assert_eq!(one.table.lock().unwrap().of.len(), 1);
        // Where the old one was known first, the new one is found once its server told of it.
        let new = one.seal(&who("b"), &again).unwrap();
        assert!(other.open(&who("a"), &old).is_some());
        assert_eq!(other.open(&who("b"), &new).unwrap(), again);
        assert_eq!(at(&other, "b", "2"), None);
        assert!(other.bind(&who("b"), &again));
        assert_eq!((at(&other, "b", "2"), at(&other, "a", "1")), (Some(again), None));
    }

    #[test]
    fn without_a_key_no_id_goes_out() {
        let tasks = Tasks::new(Sealer::without_keys(), 8, 8);
        assert!(tasks.bind(&who("a"), &made("t-own", "x")));
        let text = br#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"t-own"}}}"#;
        let call = McpCall::base("tools/call", None, None);
        let mut message = ServerMessage::parse(text).unwrap();
        assert_eq!(tasks.tell((|| who("a"), &"e".into()), &call, &mut message), Err(SealFault::Cipher));
        let silent = br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#;
        let asked = || -> Holder { panic!("it names no task") };
        assert_eq!(tasks.tell((asked, &"e".into()), &call, &mut ServerMessage::parse(silent).unwrap()), Ok(()));
        // What is nobody's here needs none.
        assert_eq!(tasks.tell((|| who("b"), &"e".into()), &call, &mut ServerMessage::parse(text).unwrap()), Ok(()));
    }

    #[test]
    fn the_oldest_goes_first_when_full() {
        let tasks = tasks(1, 2, 2);
        for id in ["1", "2", "3"] {
            assert!(tasks.bind(&who("a"), &made(id, "x")));
        }
        assert!(tasks.find(&who("a"), &"e".into(), "1", None).is_none());
        assert!(tasks.find(&who("a"), &"e".into(), "3", None).is_some());
    }

    #[test]
    fn whoever_makes_many_forgets_its_own() {
        let tasks = tasks(1, 6, 4);
        let found = |id: &str, owner: &str| tasks.find(&who(owner), &"e".into(), id, None).is_some();
        assert!(tasks.bind(&who("b"), &made("first", "x")));
        for id in 0..50 {
            assert!(tasks.bind(&who("a"), &made(&id.to_string(), "x")));
        }
        assert!(found("first", "b") && found("49", "a") && found("46", "a") && !found("45", "a"));
        for id in 0..4 {
            assert!(tasks.bind(&who("c"), &made(&format!("c{id}"), "x")));
        }
        assert!(found("first", "b") && found("c3", "c"), "of those with most");
    }
}

//! Whose a task is. The id that a client gets is ours, sealed: it says which server's task on which endpoint it stands for and
//! which tool was called, and opens only for the caller whose call made it, with the same token's subject, on the same target.
//! So any replica serves a task, and a restart keeps it. Another caller's, an unknown and a forged id look alike from outside,
//! as none of them opens. The same task has the same id for as long as one key seals, as clients compare them.
//!
//! Beside it there is a bounded table of the tasks that were seen here: servers list tasks and tell of them by ids of their
//! own, and no id may be two callers'. What it has forgotten is in no list until its caller asks for it again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::sessions::Holder;
use crate::id::WorkloadId;
use crate::mesh::TargetKey;
use crate::seal::{Fields, Purpose, Reading, Sealer};

/// One task, as the answer that made it left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    /// The server's own id, unique within the endpoint that made it.
    pub(super) id: Arc<str>,
    /// The endpoint that has the task.
    pub(super) endpoint: Arc<str>,
    /// The tool that was called: the task is decided on as its call.
    pub(super) tool: Arc<str>,
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

/// For whom it is, and of which tool.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    owner: WorkloadId,
    /// See [`super::sessions::subject`].
    subject: Option<Arc<str>>,
    tool: Arc<str>,
}

impl Kept {
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

    /// Binds a task to `holder`. An id that is another caller's stays so, and that of another tool too: a server could else
    /// make one task of what two rules are about.
    ///
    /// Returns whether the task is bound to what was said.
    #[must_use]
    pub(super) fn bind(&self, holder: &Holder, made: &Made) -> bool {
        let key = key(holder, &made.endpoint, &made.id);
        let kept = Kept { owner: holder.owner.clone(), subject: holder.subject.clone(), tool: Arc::clone(&made.tool) };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bound) = table.tasks.get(&key) {
            return *bound == kept;
        }
        let theirs = table.of.entry(holder.owner.clone()).or_default();
        theirs.push_back(key.clone());
        if theirs.len() > self.share {
            table.forget_oldest_of(&holder.owner);
        }
        table.tasks.insert(key, kept);
        if table.tasks.len() > self.capacity {
            let most = table.of.iter().max_by_key(|(_, theirs)| theirs.len()).map(|(owner, _)| owner.clone());
            most.iter().for_each(|owner| table.forget_oldest_of(owner));
        }
        true
    }

    /// The task that `endpoint` calls `id`, where it is `holder`'s and was seen here.
    pub(super) fn find(&self, holder: &Holder, endpoint: &Arc<str>, id: &str) -> Option<Made> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = table.tasks.get(&key(holder, endpoint, id)).filter(|kept| kept.is_of(holder))?;
        Some(Made { id: id.into(), endpoint: Arc::clone(endpoint), tool: Arc::clone(&kept.tool) })
    }

    /// The id of a task as its holder gets it.
    pub(super) fn seal(&self, holder: &Holder, made: &Made) -> Option<String> {
        let mut fields = Fields::default();
        fields.text(&made.id).text(&made.endpoint).text(&made.tool);
        self.sealer.seal_alike(Purpose::Task, &holder.fields().into_bytes(), &fields.into_bytes()).ok()
    }

    /// What an id stands for, if it was sealed for `holder`; from here on it is in the table too.
    pub(super) fn open(&self, holder: &Holder, sealed: &str) -> Option<Made> {
        let opened = self.sealer.open(Purpose::Task, &holder.fields().into_bytes(), sealed)?;
        let mut reading = Reading::new(&opened);
        let (id, endpoint, tool) = (reading.text()?.into(), reading.text()?.into(), reading.text()?.into());
        let made = Made { id, endpoint, tool };
        // A server that gave one id to two callers, one of them at another replica, gets neither's here but the first one's.
        (reading.is_over() && self.bind(holder, &made)).then_some(made)
    }
}

fn key(holder: &Holder, endpoint: &Arc<str>, id: &str) -> Key {
    (holder.target.clone(), Arc::clone(endpoint), id.into())
}

impl Table {
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
        Made { id: id.into(), endpoint: "e".into(), tool: tool.into() }
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
        let find = |holder: &Holder, endpoint: &str| tasks.find(holder, &endpoint.into(), "t");
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
        assert!(other.find(&who("a"), &"e".into(), "t-s3cret").is_some(), "it is in lists from here on");
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
    fn the_oldest_goes_first_when_full() {
        let tasks = tasks(1, 2, 2);
        for id in ["1", "2", "3"] {
            assert!(tasks.bind(&who("a"), &made(id, "x")));
        }
        assert!(tasks.find(&who("a"), &"e".into(), "1").is_none());
        assert!(tasks.find(&who("a"), &"e".into(), "3").is_some());
    }

    #[test]
    fn whoever_makes_many_forgets_its_own() {
        let tasks = tasks(1, 6, 4);
        let found = |id: &str, owner: &str| tasks.find(&who(owner), &"e".into(), id).is_some();
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

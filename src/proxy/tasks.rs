//! Whose a task is: a bounded table that binds a task's id to the caller whose call made it, and to the tool that was
//! called. Another caller's, an unknown and a forgotten task look alike from outside.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::WorkloadId;
use crate::mesh::TargetKey;

/// One task, as the answer that made it left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    /// Whose call made it; nobody else may use it.
    pub(super) owner: WorkloadId,
    /// Of the token of that call, where there was one; see [`super::sessions::subject`].
    pub(super) subject: Option<Arc<str>>,
    /// The tool that was called: the task is decided on as its call.
    pub(super) tool: Arc<str>,
    /// The endpoint that has the task.
    pub(super) endpoint: Arc<str>,
}

/// The table. The lock is held for a look-up only.
#[derive(Debug)]
pub(super) struct Tasks {
    table: Mutex<Table>,
    capacity: usize,
    share: usize,
}

type Key = (TargetKey, Arc<str>);

#[derive(Debug, Default)]
struct Table {
    tasks: HashMap<Key, Made>,
    /// Of each principal, by age.
    of: HashMap<WorkloadId, VecDeque<Key>>,
}

impl Tasks {
    /// At most `capacity` tasks, `share` of one principal; its oldest is forgotten first, and beyond the capacity that of
    /// whoever has most.
    pub(super) fn new(capacity: usize, share: usize) -> Self {
        Self { table: Mutex::default(), capacity, share }
    }

    /// Binds a new task. An id that is another caller's stays so, and that of another tool too: a server could else make
    /// one task of what two rules are about.
    ///
    /// Returns whether the task is bound to what `made` says.
    #[must_use]
    pub(super) fn bind(&self, target: &TargetKey, id: &str, made: Made) -> bool {
        let key = (target.clone(), id.into());
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bound) = table.tasks.get(&key) {
            return *bound == made;
        }
        let theirs = table.of.entry(made.owner.clone()).or_default();
        theirs.push_back(key.clone());
        if theirs.len() > self.share {
            table.forget_oldest_of(&made.owner);
        }
        table.tasks.insert(key, made);
        if table.tasks.len() > self.capacity {
            let most = table.of.iter().max_by_key(|(_, theirs)| theirs.len()).map(|(owner, _)| owner.clone());
            most.iter().for_each(|owner| table.forget_oldest_of(owner));
        }
        true
    }

    /// The task, if `caller` made it with the same token subject.
    pub(super) fn find(
        &self,
        target: &TargetKey,
        id: &str,
        caller: &WorkloadId,
        subject: Option<&str>,
    ) -> Option<Made> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let made = table.tasks.get(&(target.clone(), id.into()))?;
        (made.owner == *caller && made.subject.as_deref() == subject).then(|| made.clone())
    }
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

    fn target() -> TargetKey {
        TargetKey { kind: TargetKind::Service, namespace: "tools".into(), name: "repo".into(), port: 80, at: None }
    }

    fn who(name: &str) -> WorkloadId {
        WorkloadId::parse(&format!("spiffe://td/ns/agents/sa/{name}")).unwrap()
    }

    fn made(owner: &str, tool: &str) -> Made {
        Made { owner: who(owner), subject: None, tool: tool.into(), endpoint: "e".into() }
    }

    #[test]
    fn a_task_is_its_makers_alone() {
        let tasks = Tasks::new(8, 8);
        assert!(tasks.bind(&target(), "t", made("a", "x")));
        assert!(tasks.bind(&target(), "t", made("a", "x")), "said twice");
        assert!(!tasks.bind(&target(), "t", made("b", "x")));
        assert!(!tasks.bind(&target(), "t", made("a", "y")));
        assert_eq!(tasks.find(&target(), "t", &who("a"), None).unwrap(), made("a", "x"));
        assert!(tasks.find(&target(), "t", &who("b"), None).is_none());
        assert!(tasks.find(&target(), "t", &who("a"), Some("s")).is_none());
        let elsewhere = TargetKey { name: "other".into(), ..target() };
        assert!(tasks.find(&elsewhere, "t", &who("a"), None).is_none());
    }

    #[test]
    fn the_oldest_goes_first_when_full() {
        let tasks = Tasks::new(2, 2);
        for id in ["1", "2", "3"] {
            assert!(tasks.bind(&target(), id, made("a", "x")));
        }
        assert!(tasks.find(&target(), "1", &who("a"), None).is_none());
        assert!(tasks.find(&target(), "3", &who("a"), None).is_some());
    }

    #[test]
    fn whoever_makes_many_forgets_its_own() {
        let tasks = Tasks::new(6, 4);
        let found = |id: &str, owner: &str| tasks.find(&target(), id, &who(owner), None).is_some();
        assert!(tasks.bind(&target(), "first", made("b", "x")));
        for id in 0..50 {
            assert!(tasks.bind(&target(), &id.to_string(), made("a", "x")));
        }
        assert!(found("first", "b") && found("49", "a") && found("46", "a") && !found("45", "a"));
        for id in 0..4 {
            assert!(tasks.bind(&target(), &format!("c{id}"), made("c", "x")));
        }
        assert!(found("first", "b") && found("c3", "c"), "of those with most");
    }
}

//! Whose tasks and contexts are whose: a bounded table, learnt from answers to those who began them.
//!
//! The first owner stays: an agent that names another's task in an answer binds nothing. What was forgotten, or was
//! learnt by another process, is nobody's, which `ownership: Enforce` refuses.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::call::{A2aCall, Named, Owner};
use crate::id::WorkloadId;
use crate::mesh::TargetKey;

/// A task or a context: agents number them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::proxy) enum Kind {
    Task,
    Context,
}

/// Ids are unique within what issued them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    target: TargetKey,
    tenant: Option<Arc<str>>,
    kind: Kind,
    id: Arc<str>,
}

/// The table.
#[derive(Debug)]
pub(in crate::proxy) struct Owners {
    table: Mutex<Table>,
    total: usize,
    share: usize,
}

#[derive(Debug, Default)]
struct Table {
    owners: HashMap<Key, (Arc<Owner>, u64)>,
    /// Of each principal, by when they were last used.
    used: HashMap<WorkloadId, BTreeMap<u64, Key>>,
    now: u64,
}

impl Owners {
    /// For `total` ids of all principals, `share` of one.
    pub(in crate::proxy) fn new(total: usize, share: usize) -> Self {
        Self { table: Mutex::default(), total, share }
    }

    /// How many ids have an owner.
    pub(in crate::proxy) fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).owners.len()
    }

    /// Says of everything that `call` names whose it is.
    pub(in crate::proxy) fn fill(&self, target: &TargetKey, call: &mut A2aCall) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = call.tenant.clone();
        let mut find = |kind: Kind, named: &mut Named| {
            let key = Key { target: target.clone(), tenant: tenant.clone(), kind, id: Arc::clone(&named.id) };
            named.owner = table.touch(&key);
        };
        if let Some(task) = &mut call.task {
            find(Kind::Task, task);
        }
        if let Some(context) = &mut call.context {
            find(Kind::Context, context);
        }
        for task in &mut call.references {
            find(Kind::Task, task);
        }
    }

    /// Binds an id to `owner`, if nobody has it yet. Whether it is `owner`'s now.
    pub(in crate::proxy) fn bind(
        &self,
        (target, tenant): (&TargetKey, Option<&Arc<str>>),
        kind: Kind,
        id: &str,
        owner: &Arc<Owner>,
    ) -> bool {
        let key = Key { target: target.clone(), tenant: tenant.cloned(), kind, id: id.into() };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.touch(&key) {
            return known == *owner;
        }
        let theirs = table.used.get(&owner.id).map_or(0, BTreeMap::len);
        if theirs >= self.share {
            table.forget_oldest(&owner.id.clone());
        } else if table.owners.len() >= self.total {
            table.forget_of_largest();
        }
        table.keep(key, Arc::clone(owner));
        true
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn touch(&mut self, key: &Key) -> Option<Arc<Owner>> {
        let now = self.tick();
        let (owner, used) = self.owners.get_mut(key)?;
        let theirs = self.used.entry(owner.id.clone()).or_default();
        if let Some(key) = theirs.remove(used) {
            theirs.insert(now, key);
        }
        *used = now;
        Some(Arc::clone(owner))
    }

    fn keep(&mut self, key: Key, owner: Arc<Owner>) {
        let now = self.tick();
        self.used.entry(owner.id.clone()).or_default().insert(now, key.clone());
        self.owners.insert(key, (owner, now));
    }

    fn forget_oldest(&mut self, principal: &WorkloadId) {
        let Some(theirs) = self.used.get_mut(principal) else { return };
        if let Some((_, key)) = theirs.pop_first() {
            self.owners.remove(&key);
        }
        if theirs.is_empty() {
            self.used.remove(principal);
        }
    }

    fn forget_of_largest(&mut self) {
        let largest = self.used.iter().max_by_key(|(_, theirs)| theirs.len()).map(|(principal, _)| principal.clone());
        if let Some(principal) = largest {
            self.forget_oldest(&principal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::TargetKind;

    fn owner(name: &str, subject: Option<&str>) -> Arc<Owner> {
        let id = WorkloadId::parse(&format!("spiffe://td/ns/agents/sa/{name}")).unwrap();
        Arc::new(Owner { id, subject: subject.map(Arc::from) })
    }

    fn target(name: &str) -> TargetKey {
        TargetKey { kind: TargetKind::Service, namespace: "a".into(), name: name.into(), port: 80, at: None }
    }

    #[test]
    fn the_first_owner_stays() {
        let owners = Owners::new(10, 10);
        let (a, b, a_of_eve) = (owner("a", None), owner("b", None), owner("a", Some("eve")));
        let place = target("x");
        assert!(owners.bind((&place, None), Kind::Task, "t", &a));
        assert!(owners.bind((&place, None), Kind::Task, "t", &a));
        assert!(!owners.bind((&place, None), Kind::Task, "t", &b));
        assert!(!owners.bind((&place, None), Kind::Task, "t", &a_of_eve));
        assert!(owners.bind((&place, None), Kind::Context, "t", &b));
        assert!(owners.bind((&place, Some(&"acme".into())), Kind::Task, "t", &b));
        assert!(owners.bind((&target("y"), None), Kind::Task, "t", &b));
        assert_eq!(owners.len(), 4);
    }

    #[test]
    fn whoever_fills_the_table_forgets_its_own() {
        let owners = Owners::new(8, 4);
        let (a, b) = (owner("a", None), owner("b", None));
        let place = target("x");
        let bind = |id: &str, owner| owners.bind((&place, None), Kind::Task, id, owner);
        assert!(bind("first", &b));
        for at in 0..100 {
            assert!(bind(&at.to_string(), &a));
        }
        assert_eq!(owners.len(), 5);
        assert!(!bind("first", &a));
        assert!(bind("0", &b), "the oldest of a's was forgotten");
        assert!(!bind("99", &b));
    }

    #[test]
    fn a_full_table_forgets_of_whoever_has_most_what_was_used_longest_ago() {
        let owners = Owners::new(4, 4);
        let (a, b) = (owner("a", None), owner("b", None));
        let place = target("x");
        let bind = |id: &str, owner| owners.bind((&place, None), Kind::Task, id, owner);
        for id in ["1", "2", "3"] {
            bind(id, &a);
        }
        bind("4", &b);
        bind("1", &a);
        bind("5", &b);
        assert_eq!(owners.len(), 4);
        assert!(!bind("1", &b) && !bind("4", &a));
        let mut call = A2aCall::new(
            crate::call::A2aOperation::GetTask,
            crate::call::A2aBinding::Grpc,
            crate::call::A2aVersion::V1_0,
        );
        call.task = Some(Named::new("2"));
        owners.fill(&place, &mut call);
        assert_eq!(call.task.unwrap().owner, None);
    }
}

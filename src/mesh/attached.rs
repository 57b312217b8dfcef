//! What is attached to which target: an index from targets to policies, closures and the like, by position in a list.

use std::collections::{BTreeSet, HashMap};

use super::TargetKind;

/// Attachments of one kind of document.
#[derive(Debug, Default)]
pub(super) struct Attached<'a> {
    by_owner: HashMap<Owned<'a>, Vec<(Option<&'a str>, usize)>>,
    by_namespace: HashMap<&'a str, Vec<usize>>,
    everywhere: Vec<usize>,
}

/// A Service or ServiceEntry by name.
pub(super) type Owned<'a> = (TargetKind, &'a str, &'a str);

/// One port as `sectionName` can name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PortName<'a> {
    pub(super) number: u16,
    pub(super) name: Option<&'a str>,
}

impl PortName<'_> {
    /// Whether `section` is this port: by name, or by number as text.
    pub(super) fn is(&self, section: &str) -> bool {
        self.name == Some(section) || section.parse() == Ok(self.number)
    }
}

impl<'a> Attached<'a> {
    /// Attaches `item` to one target, or to one port of it.
    pub(super) fn add_to_owner(&mut self, owner: Owned<'a>, section: Option<&'a str>, item: usize) {
        self.by_owner.entry(owner).or_default().push((section, item));
    }

    /// Attaches `item` to all targets of a namespace.
    pub(super) fn add_to_namespace(&mut self, namespace: &'a str, item: usize) {
        self.by_namespace.entry(namespace).or_default().push(item);
    }

    /// Attaches `item` to all targets.
    pub(super) fn add_to_all(&mut self, item: usize) {
        self.everywhere.push(item);
    }

    /// What is attached to `port` of `owner`, each once and in order.
    pub(super) fn of(&self, owner: Owned<'_>, port: PortName<'_>) -> BTreeSet<usize> {
        let mut found = self.directly(owner, port);
        found.extend(self.by_namespace.get(owner.1).into_iter().flatten());
        found.extend(&self.everywhere);
        found
    }

    /// What is attached to ports that `owner` does not have, `ports` being those that it has.
    pub(super) fn of_absent(&self, owner: Owned<'_>, ports: &[PortName<'_>]) -> BTreeSet<usize> {
        let here = self.by_owner.get(&owner).into_iter().flatten();
        let absent = |section: &str| !ports.iter().any(|port| port.is(section));
        here.filter(|(section, _)| section.is_some_and(absent)).map(|(_, item)| *item).collect()
    }

    /// Whether `item` names this port of `owner`, and not the whole.
    pub(super) fn is_of_port(&self, owner: Owned<'_>, port: PortName<'_>, item: usize) -> bool {
        let here = self.by_owner.get(&owner).into_iter().flatten();
        here.filter(|(_, other)| *other == item).any(|(section, _)| section.is_some_and(|section| port.is(section)))
    }

    /// As [`Attached::of`], without what is attached to namespaces or to everything.
    pub(super) fn directly(&self, owner: Owned<'_>, port: PortName<'_>) -> BTreeSet<usize> {
        let here = self.by_owner.get(&owner).into_iter().flatten();
        here.filter(|(section, _)| section.is_none_or(|section| port.is(section))).map(|(_, item)| *item).collect()
    }
}

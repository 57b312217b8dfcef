//! The mesh as it changes: documents over the world, edition by edition.
//!
//! A change of the world settles again the services that it touches and no others. A change of documents settles all that
//! is fronted, from what was compiled before wherever the documents that decide are the same. Either way what came out the
//! same is the same: its `Arc` stays, and an edition copies only the parts of its maps in which something changed.

mod law;
mod places;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::build::Settings;
use super::cache::Cache;
use super::closed::Closed;
use super::destination_rules::RuleBook;
use super::found::Found;
use super::policies::Policies;
use super::providers;
use super::routes::RouteBook;
use super::ruled::Compiler;
use super::snapshot::{Counts, Snapshot};
use super::target::Target;
use super::world::{self, Change, Dirty, Docs, Here, World};
use crate::document::{Documents, Problem};

use law::Law;
use places::{Placed, Places};

/// What is in force, and what it is made from.
#[derive(Debug)]
pub struct Live {
    settings: Settings,
    world: World,
    cache: Cache,
    places: Places,
}

/// One edition, to be published.
#[derive(Debug)]
pub struct Edition<'l> {
    /// What is in force.
    pub snapshot: &'l Snapshot,
    /// The rows it is made from.
    pub world: &'l World,
    /// Whether any target is another than before: if not, nobody who waits on one need look.
    pub targets_changed: bool,
    /// Targets that are closed since the edition before, or for other reasons.
    pub closed: Vec<Arc<Target>>,
    /// Targets with other endpoints that get no calls than in the edition before.
    pub held: Vec<Arc<Target>>,
    /// What is wrong, sorted, where that changed.
    pub problems: Option<Vec<Problem>>,
}

impl Live {
    /// Nothing is known yet.
    pub fn new(settings: Settings, here: Here) -> Self {
        Self { settings, world: World::new(here), cache: Cache::default(), places: Places::default() }
    }

    /// Puts `documents` – none: they have not come yet, and everything is refused – in force over the world as it is; then
    /// each change of the world that `next` gives, until it gives none. `next` is handed every edition before it is asked.
    ///
    /// Compiles CEL: call it within [`crate::policy::on_compile_thread`].
    pub fn under(&mut self, documents: Option<&Documents>, mut next: impl FnMut(Edition<'_>) -> Option<Change>) {
        let none = Documents::default();
        let set = documents.unwrap_or(&none);
        let mut found = Found::of(set);
        let policies = Policies::of(set, &self.settings, &mut self.cache, &mut found);
        let docs = Docs::of(set);
        let routes = RouteBook::of(set, &docs.ports(), &mut found);
        let rules = RuleBook::of(set, (&self.settings, policies.terms.root()), &mut found);
        let closures = std::mem::take(&mut found.closures);
        let closed = Closed::of(&closures, &self.settings, &policies.terms);
        let law = Law {
            policies: &policies,
            routes: &routes,
            rules: &rules,
            closed: &closed,
            docs: &docs,
            has_documents: documents.is_some(),
        };
        let own = std::mem::take(&mut found.problems);
        self.places.snapshot.has_documents = documents.is_some();
        let mut warnings = self.relink(&law);
        self.places.ask(providers::of_world(&self.places.snapshot, &self.world, (&policies, &rules, &docs)));
        self.cache.sweep();
        let mut problems = Some(self.problems(&own, &warnings));
        let here = found.refused();
        let (loaded, refused) = (set.loaded.saturating_sub(here), set.refused + here);
        self.places.snapshot.counts = Counts { loaded, refused, skipped: set.skipped };
        loop {
            self.places.snapshot.replicas = self.world.replicas();
            self.places.snapshot.ready = self.world.ready();
            let targets_changed = self.places.take_changed();
            let (closed, held, told) = (self.places.take_closed(), self.places.take_held(), problems.take());
            let (snapshot, world) = (&self.places.snapshot, &self.world);
            let edition = Edition { snapshot, world, targets_changed, closed, held, problems: told };
            let Some(change) = next(edition) else { return };
            let dirty = self.world.apply(change);
            let told = self.amend(dirty, &law);
            if policies.terms.providers.iter().next().is_some() {
                self.places.ask(providers::of_world(&self.places.snapshot, &self.world, (&policies, &rules, &docs)));
            }
            if told {
                warnings = self.warnings(&law);
                problems = Some(self.problems(&own, &warnings));
            }
        }
    }

    /// Settles everything that is or was fronted; the warnings.
    fn relink(&mut self, law: &Law<'_, '_>) -> Vec<Problem> {
        let Self { world, cache, places, .. } = self;
        let fronted = world.services().filter(|row| world.fronts(row)).map(|row| Arc::clone(&row.parts().key));
        let keys: BTreeSet<Arc<str>> = fronted.chain(places.keys()).collect();
        let mut compiler = Compiler::new((law.policies, law.routes, law.rules), cache);
        for key in keys {
            let settled = law.settle(world, &mut compiler, &key, (places.of(&key), false));
            places.put(&key, settled);
        }
        let mut found = Found::empty();
        compiler.finish(&mut found);
        let mut warnings = found.problems;
        let fronted = self.world.workloads().filter(|row| self.world.fronts_workload(row));
        let uids = fronted.map(|row| Arc::clone(&row.parts().uid)).chain(self.places.uids());
        self.workloads(uids.collect::<BTreeSet<_>>(), law);
        warnings.extend(self.warnings(law));
        warnings
    }

    /// Settles what a change touched. Whether there may be other problems than before.
    fn amend(&mut self, dirty: Dirty, law: &Law<'_, '_>) -> bool {
        let Self { world, cache, places, .. } = self;
        let mut compiler = Compiler::new((law.policies, law.routes, law.rules), cache);
        let mut uids = dirty.workloads;
        let mut told = dirty.rows;
        let all: Vec<Arc<str>> = if dirty.everything {
            world.services().map(|row| Arc::clone(&row.parts().key)).chain(places.keys()).collect()
        } else {
            dirty.services.into_iter().collect()
        };
        for key in all {
            let settled = law.settle(world, &mut compiler, &key, (places.of(&key), true));
            told |= problems_of(places.of(&key)) != problems_of(settled.as_ref());
            if places.put(&key, settled) {
                uids.extend(world.behind(&key).into_iter().map(|row| Arc::clone(&row.parts().uid)));
            }
        }
        if dirty.addresses {
            places.snapshot.mesh_ips = world.holders().clone();
        }
        if dirty.everything {
            uids.extend(world.workloads().map(|row| Arc::clone(&row.parts().uid)));
        }
        self.workloads(uids, law);
        told
    }

    fn workloads(&mut self, uids: impl IntoIterator<Item = Arc<str>>, law: &Law<'_, '_>) {
        let Self { world, cache, places, .. } = self;
        let mut compiler = Compiler::new((law.policies, law.routes, law.rules), cache);
        let mut others = HashMap::new();
        for uid in uids {
            let row = world.workload(&uid).filter(|row| world.fronts_workload(row));
            let now = row.map(|row| {
                let namespace = &row.parts().namespace;
                let other =
                    others.entry(Arc::clone(namespace)).or_insert_with(|| law.other_ports(&mut compiler, namespace));
                world::workload(world, row, |service, port| places.of(service)?.target(port), other)
            });
            places.put_workload(&uid, now.unwrap_or_default());
        }
    }

    fn warnings(&self, law: &Law<'_, '_>) -> Vec<Problem> {
        if !law.has_documents || !self.world.is_synced() {
            return Vec::new();
        }
        let mut found = Found::empty();
        law.policies.warn_of_nothing(
            &self.places.ports(),
            |owned| law.why_not(&self.world, owned),
            &self.settings,
            &mut found,
        );
        found.problems
    }

    fn problems(&self, own: &[Problem], warnings: &[Problem]) -> Vec<Problem> {
        let mut all: Vec<Problem> = own.iter().chain(warnings).chain(self.places.problems()).cloned().collect();
        all.sort();
        all.dedup();
        all
    }
}

fn problems_of(placed: Option<&Placed>) -> &[Problem] {
    placed.map_or(&[], |placed| &placed.problems)
}

#[cfg(test)]
mod tests;

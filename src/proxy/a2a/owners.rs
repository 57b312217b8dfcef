//! Whose tasks and contexts are whose: a bounded table, learnt from answers to those who began them. And the public card of
//! each agent as it was last seen, for rules on calls to it. Tasks of MCP are here as well ([`mcp`]): their ids say whose they
//! are, but servers list them by ids of their own.
//!
//! The first owner stays: an agent that names another's task in an answer binds nothing. What was forgotten is nobody's,
//! which `ownership: Enforce` refuses. What is bound is told to the other replicas of this waypoint ([`replicas`]) and
//! kept in a file ([`store`]), both as lines of one journal ([`journal`]); of one id of which two replicas heard different
//! owners nobody is the owner.

mod cards;
mod journal;
mod mcp;
mod record;
mod replicas;
mod roll;
mod store;

use std::sync::{Arc, Mutex, PoisonError};

pub(in crate::proxy) use mcp::McpTask;
pub(in crate::proxy) use replicas::{Replicas, is_of_replicas};
pub use store::StoreFault;
pub(in crate::proxy) use store::keep;

use super::super::labels::{self, Labels};
use super::super::shares::{OfPrincipal, Shares};
use crate::call::{A2aCall, Card, Named, Owner, TaskState};
use crate::config::limits::{LABELS_SETTLE, MAX_LABELLED, MAX_LABELLED_PER_PRINCIPAL, OWNERS_SETTLE, REPLICA_DOUBT};
use crate::id::WorkloadId;
use crate::mesh::{Target, TargetKey};
use cards::{Cards, Seen};
use journal::{Journal, Sink, Whose};
use record::{LabelsTold, Record};
use roll::Roll;

/// A task or a context: agents number them apart. A task of an MCP server is another thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::proxy) enum Kind {
    Task,
    Context,
    McpTask,
}

/// Within which ids are unique: what issues them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) target: TargetKey,
    /// Which of the target's agents; none where it has one. Of an MCP task, the endpoint that made it.
    agent: Option<Arc<str>>,
    /// Of an MCP task, when it was made.
    tenant: Option<Arc<str>>,
}

impl Place {
    /// Where `call` names something.
    pub(super) fn of(target: &TargetKey, call: &A2aCall) -> Self {
        Self { target: target.clone(), agent: call.mount.agent().cloned(), tenant: call.tenant.clone() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    place: Place,
    kind: Kind,
    id: Arc<str>,
}

/// What is known of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// In whose share of the table it is.
    principal: WorkloadId,
    /// Whose it is; none where that is disputed.
    owner: Option<Arc<Owner>>,
    /// Of a task, as it was last seen.
    state: Option<TaskState>,
    /// Of an MCP task, the tool whose call made it.
    tool: Option<Arc<str>>,
}

/// The table.
#[derive(Debug)]
pub(in crate::proxy) struct Owners {
    table: Mutex<Table>,
    /// Of MCP sessions, which are told by the same links.
    labels: Labels,
    journal: Journal,
    roll: Roll,
}

#[derive(Debug)]
struct Table {
    ids: Shares<Key, Entry>,
    cards: Cards,
}

/// Whether an id is its caller's now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Bound {
    /// It was already.
    Known,
    /// It is since the line of that number, which is not told to everybody yet.
    New(u64),
    /// It is another's, or disputed.
    Others,
}

impl Owners {
    /// For `total` ids of all principals, `share` of one.
    pub(in crate::proxy) fn new(total: usize, share: usize) -> Self {
        let labels = Labels::new(MAX_LABELLED, MAX_LABELLED_PER_PRINCIPAL);
        let table = Table { ids: Shares::new(total, share), cards: Cards::default() };
        Self { table: Mutex::new(table), labels, journal: Journal::new(), roll: Roll::new() }
    }

    /// How many ids have an owner.
    pub(in crate::proxy) fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).ids.len()
    }

    /// Says of everything that `call` to `target` names whose it is, of its task how it stands, and of the agent what its
    /// card was when these rules last looked at it.
    pub(in crate::proxy) fn fill(&self, target: &Target, call: &mut A2aCall) {
        let agents = target.agents();
        self.name(&agents, call);
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        call.card = table.cards.of(&agents, &call.mount, target.rules.revision().as_u64());
    }

    fn name(&self, target: &TargetKey, call: &mut A2aCall) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Place::of(target, call);
        let mut find = |kind: Kind, named: &mut Named| {
            let key = Key { place: place.clone(), kind, id: Arc::clone(&named.id) };
            if let Some(entry) = table.ids.touch(&key) {
                (named.owner, named.state) = (entry.owner.clone(), entry.state);
            }
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

    /// Binds an id to `owner`, if nobody has it yet.
    pub(super) fn bind(&self, place: &Place, kind: Kind, id: &str, owner: &Arc<Owner>) -> Bound {
        let key = Key { place: place.clone(), kind, id: id.into() };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.ids.touch(&key) {
            return if known.owner.as_ref() == Some(owner) { Bound::Known } else { Bound::Others };
        }
        let entry = Entry { principal: owner.id.clone(), owner: Some(Arc::clone(owner)), state: None, tool: None };
        Bound::New(self.enter(&mut table, key, entry, true))
    }

    /// Notes how a task stands that is somebody's.
    pub(super) fn note(&self, place: &Place, id: &str, state: TaskState) {
        let key = Key { place: place.clone(), kind: Kind::Task, id: id.into() };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = table.ids.get_mut(&key) else { return };
        if entry.state != Some(state) {
            entry.state = Some(state);
            let entry = entry.clone();
            self.journal.tell(true, || Record::of(&key, &entry));
        }
    }

    /// Keeps what was decided of the public card at `path` of `target`: the card, or none where it was refused. The line
    /// that tells it, where it is news.
    pub(super) fn saw(&self, target: &Target, path: &Arc<str>, card: Option<Card>) -> Option<u64> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let agents = target.agents();
        let seen = table.cards.decide((&agents, path), target.rules.revision().as_u64(), card)?;
        Some(self.journal.tell(true, || Record::of_card(&agents, path, &seen)))
    }

    /// Waits until what is told by line `seq` is with every replica that is there, and in the file; some time at most.
    pub(in crate::proxy) async fn settled(&self, seq: u64) {
        self.journal.reached(seq, OWNERS_SETTLE).await;
    }

    /// Labels of MCP sessions.
    pub(in crate::proxy) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Notes that a session begins; the line that tells it.
    pub(in crate::proxy) fn begin_session(&self, key: labels::Key, principal: &WorkloadId) -> u64 {
        self.labels.begin(key, principal, |entry| self.tell_labels(&key, entry, true))
    }

    /// Puts labels on a session; the line that tells them. None where they cannot be kept.
    pub(in crate::proxy) fn label(&self, key: &labels::Key, labels: &[Arc<str>]) -> Option<u64> {
        self.labels.add(key, labels, |entry| self.tell_labels(key, entry, false))
    }

    fn tell_labels(&self, key: &labels::Key, entry: &labels::Entry, whole: bool) -> u64 {
        self.journal.tell(true, || Record::Labels(LabelsTold::of(key, entry, whole)))
    }

    /// Whether every other replica tells us what it learns, and hears it from us.
    pub(in crate::proxy) fn is_whole(&self) -> bool {
        if self.roll.lost_for() >= REPLICA_DOUBT {
            self.give_up();
        }
        self.roll.is_whole()
    }

    /// Gives links of which nothing was heard for too long the time to answer, where there are any: this process may have stood
    /// still, and what it knows may be old.
    pub(in crate::proxy) async fn renewed(&self) {
        let fresh = async {
            while self.roll.is_stale() {
                tokio::time::sleep(LABELS_SETTLE / 100).await;
            }
        };
        let _late = tokio::time::timeout(LABELS_SETTLE, fresh).await;
    }

    /// Takes for gone who has been missing for too long. Whoever that is may have given us up, and have put labels since: what
    /// is known from before goes first.
    fn give_up(&self) {
        self.labels.forget_all();
        self.roll.give_up();
    }

    /// Whether every other replica has what line `seq` tells, within [`LABELS_SETTLE`].
    pub(in crate::proxy) async fn is_told(&self, seq: u64) -> bool {
        self.journal.reached(seq, LABELS_SETTLE).await && self.is_whole()
    }

    /// Who the other replicas are.
    pub(in crate::proxy) fn roll(&self) -> &Roll {
        &self.roll
    }

    /// Takes what another replica, or the file, says.
    fn adopt(&self, record: &Record) {
        match record {
            // A file does not know what was told while nobody wrote it.
            Record::Labels(_) => {}
            Record::Owned(owned) => {
                if let Some((key, told)) = owned.parts() {
                    self.adopt_owner(key, told);
                }
            }
            Record::Card(card) => {
                let (target, path, told) = card.parts();
                let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
                let differs = told.clone();
                if let Some(now) = table.cards.adopt(&target, &path, told) {
                    // That two contradict each other is known here alone.
                    self.journal.tell(now != differs, || Record::of_card(&target, &path, &now));
                }
            }
        }
    }

    /// Takes what another replica says of a session's labels; `since` as for [`Labels::adopt`].
    fn adopt_labels(&self, told: &LabelsTold, since: Option<u64>) {
        if let Some((key, entry)) = told.parts() {
            self.labels.adopt(key, entry, since, |entry| self.tell_labels(&key, entry, false));
        }
    }

    fn adopt_owner(&self, key: Key, told: Entry) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = table.ids.get_mut(&key) else {
            self.enter(&mut table, key, told, false);
            return;
        };
        let mut now = known.clone();
        let disputed = now.owner.is_some() && (&now.owner, &now.tool) != (&told.owner, &told.tool);
        if disputed {
            tracing::warn!(target = %key.place.target, kind = ?key.kind, "two callers are told to own one id: nobody does");
            now.owner = None;
        }
        // Who was not told of an end for a while tells of an earlier state: no task comes back from its end.
        if !now.state.is_some_and(TaskState::is_end) {
            now.state = told.state.or(now.state);
        }
        if *known != now {
            *known = now.clone();
            // Whoever told it may have forgotten the other owner: that it is disputed is known here alone.
            self.journal.tell(disputed, || Record::of(&key, &now));
        }
    }

    /// What our own file is to hold.
    fn told(&self) -> (Told, Sink) {
        self.told_to(Whose::File)
    }

    /// Every owner, used longest ago first, every card, and what is told from then on.
    fn told_to(&self, whose: Whose) -> (Told, Sink) {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let (labels, sink) = self.labels.at_once(|| self.journal.sink(whose));
        let mut entries: Vec<_> = table.ids.iter().collect();
        entries.sort_unstable_by_key(|(.., used)| *used);
        let owners = entries.into_iter().map(|(key, entry, _)| (key.clone(), entry.clone())).collect();
        let cards =
            table.cards.all().map(|(target, path, seen)| (target.clone(), Arc::clone(path), seen.clone())).collect();
        (Told { owners, cards, labels }, sink)
    }

    fn enter(&self, table: &mut Table, key: Key, entry: Entry, ours: bool) -> u64 {
        // Told while the table is locked, so that lines come in the order of what they say.
        let seq = self.journal.tell(ours, || Record::of(&key, &entry));
        table.ids.put(key, entry);
        seq
    }
}

/// What is known at one moment.
struct Told {
    owners: Vec<(Key, Entry)>,
    cards: Vec<(TargetKey, Arc<str>, Seen)>,
    labels: Vec<(labels::Key, labels::Entry)>,
}

impl Told {
    /// As lines. They are made one by one: all at once would be as much again as the table.
    fn lines(&self) -> impl Iterator<Item = String> {
        let cards = self.cards.iter().map(|(target, path, seen)| Record::of_card(target, path, seen));
        let owners = self.owners.iter().map(|(key, entry)| Record::of(key, entry));
        cards.chain(owners).filter_map(|record| record.line())
    }

    /// Labels of sessions, which are for other replicas alone.
    fn labels(&self) -> impl Iterator<Item = String> {
        let labels = self.labels.iter().map(|(key, entry)| Record::Labels(LabelsTold::of(key, entry, entry.whole)));
        labels.filter_map(|record| record.line())
    }
}

impl OfPrincipal for Entry {
    fn principal(&self) -> &WorkloadId {
        &self.principal
    }
}

#[cfg(test)]
mod tests;

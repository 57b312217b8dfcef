use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::super::shares::{OfPrincipal, Shares};
use super::Key;
use crate::config::limits::MAX_LABELS;
use crate::id::WorkloadId;

/// What is known of the labels of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proxy) struct Entry {
    /// In whose share of the table it is.
    pub(in crate::proxy) principal: WorkloadId,
    /// In the order in which they were heard of.
    pub(in crate::proxy) labels: Vec<Arc<str>>,
    /// Whether these are all: it was seen to begin, or told of by who saw that. Else there may be more.
    pub(in crate::proxy) whole: bool,
}

/// Labels of sessions: bounded, with a share per principal. What is forgotten is not known, and so not without labels.
#[derive(Debug)]
pub(in crate::proxy) struct Labels(Mutex<Table>);

#[derive(Debug)]
struct Table {
    sessions: Shares<Key, Kept>,
    forgotten: u64,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    /// The line by which its labels are told to the others; none where they were not told by us.
    line: Option<u64>,
    /// How many it has, for streams of the session; none where nobody asked.
    count: Option<watch::Sender<usize>>,
}

impl Labels {
    /// For `total` sessions of all principals, `share` of one.
    pub(in crate::proxy) fn new(total: usize, share: usize) -> Self {
        Self(Mutex::new(Table { sessions: Shares::new(total, share), forgotten: 0 }))
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins without labels, unless it is known to have some. `tell` is called with the table locked, so that
    /// lines come in the order of what they say.
    pub(in crate::proxy) fn begin(&self, key: Key, principal: &WorkloadId, tell: impl FnOnce(&Entry) -> u64) -> u64 {
        let mut table = self.table();
        let known = table.sessions.get(&key).map(|kept| kept.entry.labels.clone()).unwrap_or_default();
        let entry = Entry { principal: principal.clone(), labels: known, whole: true };
        let line = tell(&entry);
        table.put(key, entry, Some(line));
        line
    }

    /// Adds labels to a session; the line by which they are told. None where it is not known, or has too many.
    pub(in crate::proxy) fn add(
        &self,
        key: &Key,
        labels: &[Arc<str>],
        tell: impl FnOnce(&Entry) -> u64,
    ) -> Option<u64> {
        let mut table = self.table();
        let kept = table.sessions.touch(key)?;
        let more = kept.entry.with(labels);
        if more.labels.len() > MAX_LABELS {
            return None;
        }
        if let Some(line) = kept.line.filter(|_| more == kept.entry) {
            return Some(line);
        }
        let line = tell(&more);
        (kept.entry, kept.line) = (more, Some(line));
        kept.count();
        Some(line)
    }

    /// Takes what another replica says. `since` is how many were forgotten here when it began to say all that it knew: what
    /// was known here then, and is not now, may have had more labels than those. None: it says what it has just learnt,
    /// which is told on where it is news, as the other may not know everybody that we know.
    pub(in crate::proxy) fn adopt(&self, key: Key, told: Entry, since: Option<u64>, tell: impl FnOnce(&Entry) -> u64) {
        let mut table = self.table();
        let whole = told.whole && since.is_none_or(|since| since == table.forgotten);
        let known = table.sessions.get(&key);
        let (was, line) = known.map_or((None, None), |kept| (Some(kept.entry.clone()), kept.line));
        let was = was.unwrap_or_else(|| Entry { principal: told.principal.clone(), labels: Vec::new(), whole: false });
        let mut now = was.with(&told.labels);
        now.whole |= whole;
        let news = now.labels.len() > was.labels.len();
        let line = match (news, since) {
            (false, _) => line,
            (true, Some(_)) => None,
            (true, None) => Some(tell(&now)),
        };
        table.put(key, now, line);
    }

    /// All labels of a session; none where they are not known.
    pub(in crate::proxy) fn of(&self, key: &Key) -> Option<Vec<Arc<str>>> {
        let mut table = self.table();
        table.sessions.touch(key).filter(|kept| kept.entry.whole).map(|kept| kept.entry.labels.clone())
    }

    /// How many a session has, as that changes; none where it is not known. It ends when the session is forgotten.
    pub(in crate::proxy) fn listen(&self, key: &Key) -> Option<watch::Receiver<usize>> {
        let mut table = self.table();
        let kept = table.sessions.get_mut(key)?;
        let labels = kept.entry.labels.len();
        Some(kept.count.get_or_insert_with(|| watch::Sender::new(labels)).subscribe())
    }

    /// Whether all labels of a session are known.
    pub(in crate::proxy) fn knows(&self, key: &Key) -> bool {
        self.table().sessions.get(key).is_some_and(|kept| kept.entry.whole)
    }

    /// How many sessions there are.
    pub(in crate::proxy) fn len(&self) -> usize {
        self.table().sessions.len()
    }

    /// How many were forgotten so far.
    pub(in crate::proxy) fn forgotten(&self) -> u64 {
        self.table().forgotten
    }

    /// Forgets all: others may have labelled them meanwhile.
    pub(in crate::proxy) fn forget_all(&self) {
        let mut table = self.table();
        table.sessions.clear();
        table.forgotten += 1;
    }

    /// Every session at one moment, and what `then` makes of that moment.
    pub(in crate::proxy) fn at_once<T>(&self, then: impl FnOnce() -> T) -> (Vec<(Key, Entry)>, T) {
        let table = self.table();
        let all = table.sessions.iter().map(|(key, kept, _)| (*key, kept.entry.clone())).collect();
        (all, then())
    }
}

impl Entry {
    /// With these labels too.
    fn with(&self, labels: &[Arc<str>]) -> Self {
        let mut more = self.clone();
        for label in labels {
            if !more.labels.contains(label) {
                more.labels.push(Arc::clone(label));
            }
        }
        more
    }
}

impl Kept {
    /// Tells whoever listens, if anybody still does.
    fn count(&mut self) {
        let now = self.entry.labels.len();
        self.count = self.count.take().filter(|count| !count.is_closed());
        if let Some(count) = &self.count {
            count.send_if_modified(|known| std::mem::replace(known, now) != now);
        }
    }
}

impl OfPrincipal for Kept {
    fn principal(&self) -> &WorkloadId {
        &self.entry.principal
    }
}

impl Table {
    fn put(&mut self, key: Key, entry: Entry, line: Option<u64>) {
        let count = self.sessions.get_mut(&key).and_then(|kept| kept.count.take());
        let mut kept = Kept { entry, line, count };
        kept.count();
        self.forgotten += u64::from(self.sessions.put(key, kept));
    }
}

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::document::{Problem, Severity};
use crate::mesh::Snapshot;

/// Documents that are not in force, by where they are from, and why.
pub type Unenforced = Arc<BTreeMap<String, String>>;

/// What assembling found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Mutex<Vec<Problem>>,
    unenforced: watch::Sender<Unenforced>,
    editions: AtomicU64,
    errors: AtomicU64,
}

impl Findings {
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn editions(&self) -> u64 {
        self.editions.load(Ordering::Relaxed)
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(super) fn unenforced(&self) -> watch::Receiver<Unenforced> {
        self.unenforced.subscribe()
    }

    /// Looks which documents are not in force in `snapshot`: those with errors, and those whose targets are closed, by
    /// whatever that is. After [`Findings::tell`].
    pub(super) fn look(&self, snapshot: &Snapshot) {
        let closed = snapshot.unenforced();
        let mut all: BTreeMap<String, String> =
            closed.into_iter().map(|(source, why)| (source.display().to_string(), why)).collect();
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        // What a document does wrong itself says more than what it closed.
        for problem in problems.iter().rev().filter(|problem| problem.severity == Severity::Error) {
            let (field, reason) = (&problem.field, &problem.reason);
            let why = if field.is_empty() { reason.clone() } else { format!("{field}: {reason}") };
            all.insert(problem.place.file.display().to_string(), why);
        }
        drop(problems);
        self.unenforced.send_if_modified(|known| {
            let news = **known != all;
            if news {
                *known = Arc::new(all);
            }
            news
        });
    }

    pub(super) fn published(&self) {
        self.editions.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers `problems`, which are sorted, and logs those that are new.
    pub(super) fn tell(&self, problems: Vec<Problem>) {
        let mut last = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, problems.clone());
        drop(last);
        for problem in problems.iter().filter(|problem| before.binary_search(problem).is_err()) {
            let Problem { severity, place, document, field, reason } = problem;
            match severity {
                Severity::Error => {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(file = %place.file.display(), line = place.line, document, field, "{reason}");
                }
                Severity::Warning => {
                    tracing::warn!(file = %place.file.display(), line = place.line, document, field, "{reason}");
                }
            }
        }
    }
}

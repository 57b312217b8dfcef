use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::document::{Problem, Severity};

/// What assembling found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Mutex<Vec<Problem>>,
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

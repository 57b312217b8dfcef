//! How the servers of each target answer an unknown name, learnt from their real answers, so that a hidden refusal can
//! look the same.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::mesh::TargetKey;
use crate::wire::mcp::UnknownName;

/// Targets whose wording is kept; beyond, nothing more is learnt.
const MAX_WORDINGS: usize = 4_096;

/// The wordings learnt so far.
#[derive(Debug, Default)]
pub(super) struct Wordings(Mutex<HashMap<TargetKey, UnknownName>>);

impl Wordings {
    /// The wording of a target's servers, where one was seen.
    pub(super) fn find(&self, target: &TargetKey) -> Option<UnknownName> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }

    /// Keeps a wording; a newer one replaces it.
    pub(super) fn keep(&self, target: &TargetKey, wording: UnknownName) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_WORDINGS || kept.contains_key(target) {
            kept.insert(target.clone(), wording);
        }
    }
}

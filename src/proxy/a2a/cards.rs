//! Agents' public cards as they were last seen, for rules on calls to them: bounded, of this replica, and of no use once the
//! target's documents have changed, as what was verified may be so no more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::call::Card;
use crate::config::limits::MAX_CARDS;
use crate::mesh::{Target, TargetKey};
use crate::policy::Revision;

/// The table.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Cards(Mutex<HashMap<TargetKey, (Revision, Arc<Card>)>>);

impl Cards {
    /// Remembers the card of `target`; beyond [`MAX_CARDS`] of others none.
    pub(super) fn saw(&self, target: &Target, card: Card) {
        let mut cards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cards.len() < MAX_CARDS || cards.contains_key(&target.key) {
            cards.insert(target.key.clone(), (target.rules.revision(), Arc::new(card)));
        }
    }

    /// The card of `target`, as its rules of now looked at it.
    pub(super) fn of(&self, target: &Target) -> Option<Arc<Card>> {
        let cards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (revision, card) = cards.get(&target.key)?;
        (*revision == target.rules.revision()).then(|| Arc::clone(card))
    }
}

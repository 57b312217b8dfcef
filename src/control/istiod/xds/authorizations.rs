use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Policies;
use crate::mesh::l4::Authorization;

/// The policies that ztunnel enforces at workloads, as istiod sends them: what is in force at the pod, whatever anybody
/// wrote. A clone shares the state.
#[derive(Debug, Clone)]
pub struct Authorizations {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    by_name: Mutex<BTreeMap<Arc<str>, Arc<Authorization>>>,
    /// Counts changes; 0: nothing was told yet.
    edition: watch::Sender<u64>,
}

impl Default for Authorizations {
    fn default() -> Self {
        Self { state: Arc::new(State { by_name: Mutex::default(), edition: watch::Sender::new(0) }) }
    }
}

impl Authorizations {
    /// Whether istiod has told all of them by now.
    pub fn is_synced(&self) -> bool {
        *self.state.edition.borrow() > 0
    }

    /// The policy `namespace/name`.
    pub fn get(&self, name: &str) -> Option<Arc<Authorization>> {
        self.state.by_name.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All of them, in order of `namespace/name`.
    pub fn all(&self) -> Vec<Arc<Authorization>> {
        self.state.by_name.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Counts changes.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.state.edition.subscribe()
    }

    /// Takes a change.
    pub fn change(&self, policies: Policies) {
        let mut by_name = self.state.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, policy) in policies {
            match policy {
                Some(policy) => drop(by_name.insert(name, policy)),
                None => drop(by_name.remove(&name)),
            }
        }
        drop(by_name);
        self.state.edition.send_modify(|edition| *edition += 1);
    }
}

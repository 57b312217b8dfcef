use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::{decode, policies};
use crate::control::delta::{Keeper, Push, Rejected, Resource};
use crate::mesh::l4::Authorization;
use crate::mesh::world::{Change, Interner};

/// `istio.workload.Address`
const ADDRESS: &str = "type.googleapis.com/istio.workload.Address";
/// `istio.security.Authorization`
const AUTHORIZATION: &str = "type.googleapis.com/istio.security.Authorization";

/// Decodes services and workloads and hands each push on as one change.
pub struct Addresses<F> {
    interner: Interner,
    changed: F,
}

impl<F: FnMut(Change) + Send> Addresses<F> {
    /// Tells `changed`.
    pub fn new(changed: F) -> Self {
        Self { interner: Interner::default(), changed }
    }
}

#[tonic::async_trait]
impl<F: FnMut(Change) + Send> Keeper for Addresses<F> {
    fn type_url(&self) -> &'static str {
        ADDRESS
    }

    async fn apply(&mut self, push: Push) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        let mut rows = HashMap::with_capacity(push.resources.len() + push.removed.len());
        rows.extend(push.removed.into_iter().map(|name| (Arc::from(name), None)));
        for Resource { name, body, .. } in push.resources {
            match decode::row(&name, &body, &mut self.interner) {
                Ok(row) => drop(rows.insert(Arc::clone(row.key()), Some(row))),
                Err(reason) => rejected.push(Rejected { name, reason }),
            }
        }
        // The first push is everything there is.
        (self.changed)(Change { rows, synced: true, ..Change::default() });
        self.interner.sweep();
        rejected
    }
}

impl<F> fmt::Debug for Addresses<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").finish_non_exhaustive()
    }
}

/// Policies that ztunnel enforces by their names, or none where they are no more.
pub type Policies = HashMap<Arc<str>, Option<Arc<Authorization>>>;

/// Decodes the policies that ztunnel enforces and hands each push on as one change.
pub struct Enforced<F> {
    changed: F,
}

impl<F: FnMut(Policies) + Send> Enforced<F> {
    /// Tells `changed`.
    pub fn new(changed: F) -> Self {
        Self { changed }
    }
}

impl<F> fmt::Debug for Enforced<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enforced").finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl<F: FnMut(Policies) + Send> Keeper for Enforced<F> {
    fn type_url(&self) -> &'static str {
        AUTHORIZATION
    }

    async fn apply(&mut self, push: Push) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        let mut all = HashMap::with_capacity(push.resources.len() + push.removed.len());
        all.extend(push.removed.into_iter().map(|name| (Arc::from(name), None)));
        for Resource { name, body, .. } in push.resources {
            match policies::policy(&name, &body) {
                Ok(policy) => drop(all.insert(Arc::from(name), Some(Arc::new(policy)))),
                Err(reason) => rejected.push(Rejected { name, reason }),
            }
        }
        (self.changed)(all);
        rejected
    }
}

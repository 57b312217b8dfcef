use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::forbidden::readings;
use super::providers::Asked;
use super::sharded::Sharded;
use super::world::{Addressed, Few, Holders};
use super::{Endpoint, Hold, Target, TargetKey, TargetKind};
use crate::wire::authority::Authority;

/// Every port that this waypoint fronts, at one moment. Immutable; editions share what did not change between them.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(super) by_key: Sharded<TargetKey, Arc<Target>>,
    pub(super) by_addr: Sharded<SocketAddr, Arc<Target>>,
    /// Lower-case host name to its ports.
    pub(super) by_host: Sharded<Arc<str>, Few<(u16, Arc<Target>)>>,
    /// Workloads that are fronted by their own addresses.
    pub(super) by_workload: Sharded<IpAddr, Arc<Addressed>>,
    /// Virtual and workload addresses of the mesh, fronted or not.
    pub(super) mesh_ips: Sharded<IpAddr, Holders>,
    /// By the provider's name: where it is asked. None where its service is not there.
    pub(super) providers: Arc<Asked>,
    pub(super) counts: Counts,
    pub(super) has_documents: bool,
    pub(super) replicas: Option<Arc<[IpAddr]>>,
    /// Ready replicas of this waypoint, as far as the mesh tells.
    pub(super) ready: usize,
}

/// How many documents a snapshot was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Documents in force.
    pub loaded: usize,
    /// Documents refused.
    pub refused: usize,
    /// Documents of kinds that are nobody's concern here.
    pub skipped: usize,
}

impl Snapshot {
    /// Before the first documents: nothing is fronted, and the reason for every refusal is that there are none.
    pub fn no_documents() -> Self {
        Self::default()
    }

    /// Whether documents were ever read, as against [`Snapshot::no_documents`].
    pub fn has_documents(&self) -> bool {
        self.has_documents
    }

    /// How many ready replicas this waypoint has: those that share what is one limit for all. One where nobody tells.
    pub fn ready_replicas(&self) -> usize {
        self.ready.max(1)
    }

    #[cfg(test)]
    pub(crate) fn with_ready(self, ready: usize) -> Self {
        Self { ready, ..self }
    }

    /// The target that a CONNECT authority names; `None` is "unknown or not ours", which callers answer alike.
    pub fn find(&self, authority: &Authority) -> Option<Arc<Target>> {
        match authority {
            Authority::Addr(addr) => {
                let workload = || self.by_workload.get(&addr.ip())?.target(addr.port());
                self.by_addr.get(addr).cloned().or_else(workload)
            }
            Authority::Host { host, port } => {
                let ports = self.by_host.get(host)?;
                ports.iter().find(|(number, _)| number == port).map(|(_, target)| Arc::clone(target))
            }
        }
    }

    /// The target of that key.
    pub fn get(&self, key: &TargetKey) -> Option<Arc<Target>> {
        if key.kind != TargetKind::Workload {
            return self.by_key.get(key).cloned();
        }
        let ip: IpAddr = key.at.as_deref()?.parse().ok()?;
        self.by_workload.get(&ip)?.target(key.port).filter(|target| target.key == *key)
    }

    /// Where an authorization provider is asked; `None` where no service is what its definition names.
    pub fn provider(&self, name: &str) -> Option<Arc<[Arc<Endpoint>]>> {
        self.providers.get(name).cloned()
    }

    /// All targets, ordered by key; of workloads, the ports that a Service leads to.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = &Arc<Target>> {
        let workloads = self.by_workload.iter().flat_map(|(_, workload)| workload.targets());
        let mut all: Vec<_> = self.by_key.iter().map(|(_, target)| target).chain(workloads).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all.into_iter()
    }

    /// Closed targets and why, for logs, `check` and the admin pages.
    pub fn closed(&self) -> BTreeMap<String, String> {
        let closed = self.targets().filter_map(|target| Some((target.key.to_string(), target.closed()?.to_owned())));
        closed.collect()
    }

    /// Policies that a closed target keeps from deciding, by where they are from, and why: the first of several targets.
    pub fn unenforced(&self) -> BTreeMap<Arc<PathBuf>, String> {
        let mut out: BTreeMap<Arc<PathBuf>, (&TargetKey, &str)> = BTreeMap::new();
        for (key, target) in self.by_key.iter() {
            let Some(reason) = target.closed() else { continue };
            for source in target.unenforced.iter() {
                let first = out.entry(Arc::clone(source)).or_insert((key, reason));
                if key < first.0 {
                    *first = (key, reason);
                }
            }
        }
        out.into_iter().map(|(source, (key, reason))| (source, format!("{key} is closed: {reason}"))).collect()
    }

    /// How many endpoints get no calls, by why; the same of several ports counts for each.
    pub fn held(&self) -> BTreeMap<Hold, usize> {
        let mut counts: BTreeMap<Hold, usize> = Hold::ALL.into_iter().map(|why| (why, 0)).collect();
        for held in self.by_key.iter().flat_map(|(_, target)| &target.held) {
            *counts.entry(held.why).or_default() += 1;
        }
        counts
    }

    /// Whether `address`, in any form, is a VIP or an endpoint of the mesh: what a name outside may not resolve to.
    pub fn is_mesh_address(&self, address: IpAddr) -> bool {
        readings(address).any(|ip| self.mesh_ips.get(&ip).is_some())
    }

    /// The same with the addresses of this waypoint's replicas, ourselves among them, where istiod told the whole mesh.
    #[must_use]
    pub fn with_replicas(self, replicas: Option<Arc<[IpAddr]>>) -> Self {
        Self { replicas, ..self }
    }

    /// Addresses of this waypoint's replicas, ourselves among them; none where nobody said, or not yet.
    pub fn replicas(&self) -> Option<&[IpAddr]> {
        self.replicas.as_deref()
    }

    /// Document counts.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{At, Endpoint, Target, TargetKey, Via};
use crate::wire::authority::Authority;

/// Every port that this waypoint fronts, at one moment. Immutable.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) by_key: BTreeMap<TargetKey, Arc<Target>>,
    pub(super) by_addr: HashMap<SocketAddr, Arc<Target>>,
    /// Lower-case host name to its ports.
    pub(super) by_host: HashMap<Arc<str>, Vec<(u16, Arc<Target>)>>,
    pub(super) counts: Counts,
    pub(super) has_documents: bool,
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

    /// The target that a CONNECT authority names; `None` is "unknown or not ours", which callers answer alike.
    pub fn find(&self, authority: &Authority) -> Option<Arc<Target>> {
        match authority {
            Authority::Addr(addr) => self.by_addr.get(addr).cloned(),
            Authority::Host { host, port } => {
                let ports = self.by_host.get(host)?;
                ports.iter().find(|(number, _)| number == port).map(|(_, target)| Arc::clone(target))
            }
        }
    }

    /// The target of that key.
    pub fn get(&self, key: &TargetKey) -> Option<&Arc<Target>> {
        self.by_key.get(key)
    }

    /// All targets, ordered by key.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = &Arc<Target>> {
        self.by_key.values()
    }

    /// Closed targets and why, for logs, `check` and the admin pages.
    pub fn closed(&self) -> BTreeMap<String, String> {
        let closed = self.targets().filter_map(|target| Some((target.key.to_string(), target.closed()?.to_owned())));
        closed.collect()
    }

    /// Whether `address` is a VIP or an endpoint of the mesh: what a name outside may not resolve to.
    pub fn is_mesh_address(&self, address: IpAddr) -> bool {
        let of_mesh = |endpoint: &Endpoint| {
            !matches!(endpoint.via, Via::Tls { .. }) && matches!(endpoint.at, At::Addr(addr) if addr.ip() == address)
        };
        self.by_addr.keys().any(|vip| vip.ip() == address)
            || self.targets().flat_map(|target| &target.endpoints).any(|endpoint| of_mesh(endpoint))
    }

    /// Document counts.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

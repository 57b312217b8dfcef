//! Which target is found where: by key, address and host name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::document::Problem;
use crate::mesh::attached::{Owned, PortName};
use crate::mesh::providers::Asked;
use crate::mesh::snapshot::Snapshot;
use crate::mesh::target::{Target, TargetKind};
use crate::mesh::world::{Addressed, Endpoints, Few, ServiceRow, is_of_pod};

/// A service that is fronted.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) row: Arc<ServiceRow>,
    /// Its virtual addresses on our network.
    pub(super) vips: Few<IpAddr>,
    pub(super) kind: TargetKind,
    /// When its document was created, RFC 3339; none: not known.
    pub(super) created: Option<Arc<str>>,
    /// Its ports as policies can name them.
    pub(super) names: Few<(u16, Option<Box<str>>)>,
    pub(super) targets: Few<Arc<Target>>,
    pub(super) endpoints: Endpoints,
    /// Name of the guard that its workloads have to have; none: none.
    pub(super) guard: Option<Arc<str>>,
    pub(super) problems: Vec<Problem>,
}

/// After every point in time: no document has come.
const NEVER: &str = "~";

impl Placed {
    pub(super) fn target(&self, port: u16) -> Option<Arc<Target>> {
        self.targets.iter().find(|target| target.key.port == port).cloned()
    }

    /// Who comes before whom where two claim one address or name: the canonical one, Services before ServiceEntries, the
    /// older document, as istiod has it for names too, then by key. Which was told of first plays no part: every replica must
    /// say the same, and no new ServiceEntry takes the calls of one that is there.
    fn rank(&self) -> (bool, TargetKind, &str, &str) {
        let created = self.created.as_deref().unwrap_or(NEVER);
        (!self.row.parts().canonical, self.kind, created, &self.row.parts().key)
    }

    fn vips(&self) -> impl Iterator<Item = IpAddr> {
        self.vips.iter().copied()
    }

    fn ports(&self) -> impl Iterator<Item = u16> {
        self.targets.iter().map(|target| target.key.port)
    }

    /// Whether it is found in the same places as the same targets.
    fn is_as(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<Target>, &Arc<Target>)| Arc::ptr_eq(a, b);
        self.targets.len() == other.targets.len()
            && self.targets.iter().zip(&other.targets).all(same)
            && self.vips == other.vips
            && self.rank() == other.rank()
    }
}

/// Keys of those who claim one address or name, in the order of their ranks. Nearly always one.
type Claims = Few<Arc<str>>;
type ByKey = HashMap<Arc<str>, Box<Placed>>;

/// Puts `now` among those who claim it already, who are in `placed` as they claimed it.
fn claim(claims: &mut Claims, now: &Placed, placed: &ByKey) {
    let key = &now.row.parts().key;
    if claims.contains(key) {
        return;
    }
    let rank = now.rank();
    let at = claims.partition_point(|other| placed.get(other).is_some_and(|other| other.rank() < rank));
    let (before, after) = claims.split_at(at);
    *claims = before.iter().chain([key]).chain(after).cloned().collect();
}

/// Takes `key` from among them; whether anybody else is left.
fn unclaim(claims: &mut Claims, key: &Arc<str>) -> bool {
    *claims = claims.iter().filter(|other| *other != key).cloned().collect();
    !claims.is_empty()
}

/// All of them, and the snapshot that they make.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) snapshot: Snapshot,
    placed: ByKey,
    by_vip: HashMap<IpAddr, Claims>,
    by_host: HashMap<Arc<str>, Claims>,
    /// Fronted workloads by each of their addresses, and the addresses of each.
    by_ip: HashMap<IpAddr, BTreeMap<Arc<str>, Arc<Addressed>>>,
    ips: HashMap<Arc<str>, Vec<IpAddr>>,
    changed: bool,
    closed: Vec<Arc<Target>>,
    held: Vec<Arc<Target>>,
}

impl Places {
    /// Puts providers where they are asked now.
    pub(super) fn ask(&mut self, asked: Asked) {
        if *self.snapshot.providers != asked {
            self.snapshot.providers = Arc::new(asked);
        }
    }

    pub(super) fn of(&self, key: &str) -> Option<&Placed> {
        self.placed.get(key).map(|placed| &**placed)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Arc<str>> {
        self.placed.keys().cloned()
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.placed.values().flat_map(|placed| &placed.problems)
    }

    /// Ports of everything placed, as policies can name them.
    pub(super) fn ports(&self) -> HashMap<Owned<'_>, Vec<PortName<'_>>> {
        let mut out: HashMap<_, Vec<_>> = HashMap::new();
        for placed in self.placed.values() {
            let parts = placed.row.parts();
            let names = placed.names.iter().map(|(number, name)| PortName { number: *number, name: name.as_deref() });
            out.entry((placed.kind, &*parts.namespace, &*parts.name)).or_default().extend(names);
        }
        out
    }

    /// Whether any target changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Targets that were closed, or for other reasons than before, since the last call.
    pub(super) fn take_closed(&mut self) -> Vec<Arc<Target>> {
        std::mem::take(&mut self.closed)
    }

    /// Targets with other endpoints that get no calls than before, since the last call.
    pub(super) fn take_held(&mut self) -> Vec<Arc<Target>> {
        std::mem::take(&mut self.held)
    }

    /// Puts a service where it is to be found now, or nowhere. Whether anything changed for those who call it.
    pub(super) fn put(&mut self, key: &Arc<str>, now: Option<Placed>) -> bool {
        let now = now.map(Box::new);
        let before = self.placed.remove(key);
        let same = match (&before, &now) {
            (Some(before), Some(now)) => before.is_as(now),
            (before, now) => before.is_none() && now.is_none(),
        };
        if same {
            self.placed.extend(now.map(|now| (Arc::clone(key), now)));
            return false;
        }
        self.changed = true;
        let both = || before.iter().chain(&now).map(|placed| &**placed);
        let vips: BTreeSet<IpAddr> = both().flat_map(Placed::vips).collect();
        let ports: BTreeSet<u16> = both().flat_map(Placed::ports).collect();
        let hosts: BTreeSet<Arc<str>> = both().map(|placed| Arc::clone(&placed.row.parts().hostname)).collect();
        self.by_key(before.as_deref(), now.as_deref());
        if let Some(before) = &before {
            self.unclaim(before);
        }
        if let Some(now) = now {
            self.claim(&now);
            self.placed.insert(Arc::clone(key), now);
        }
        vips.iter().for_each(|ip| self.address(*ip, &ports));
        hosts.iter().for_each(|host| self.host(host));
        true
    }

    fn by_key(&mut self, before: Option<&Placed>, now: Option<&Placed>) {
        let targets = |placed: Option<&Placed>| placed.map(|placed| placed.targets.to_vec()).unwrap_or_default();
        let now = targets(now);
        for old in targets(before) {
            if now.iter().all(|new| new.key != old.key) {
                self.snapshot.by_key.remove(&old.key);
            }
        }
        for new in now {
            let old = self.snapshot.by_key.get(&new.key);
            if old.is_none_or(|old| !Arc::ptr_eq(old, &new)) {
                if new.closed().is_some() && old.and_then(|old| old.closed()) != new.closed() {
                    self.closed.push(Arc::clone(&new));
                }
                if old.map_or(&[][..], |old| &old.held) != new.held {
                    self.held.push(Arc::clone(&new));
                }
                self.snapshot.by_key.insert(new.key.clone(), new);
            }
        }
    }

    fn claim(&mut self, now: &Placed) {
        for ip in now.vips() {
            claim(self.by_vip.entry(ip).or_default(), now, &self.placed);
        }
        let host = Arc::clone(&now.row.parts().hostname);
        claim(self.by_host.entry(host).or_default(), now, &self.placed);
    }

    fn unclaim(&mut self, before: &Placed) {
        let parts = before.row.parts();
        for ip in before.vips() {
            if self.by_vip.get_mut(&ip).is_some_and(|claims| !unclaim(claims, &parts.key)) {
                self.by_vip.remove(&ip);
            }
        }
        if self.by_host.get_mut(&parts.hostname).is_some_and(|claims| !unclaim(claims, &parts.key)) {
            self.by_host.remove(&parts.hostname);
        }
    }

    /// Settles who has these ports of an address.
    fn address(&mut self, ip: IpAddr, ports: &BTreeSet<u16>) {
        for port in ports {
            let claims = self.by_vip.get(&ip).into_iter().flatten();
            let first = claims.filter_map(|key| self.placed.get(key)?.target(*port)).next();
            let addr = SocketAddr::new(ip, *port);
            match first {
                None => self.snapshot.by_addr.remove(&addr),
                Some(target) if self.snapshot.by_addr.get(&addr).is_some_and(|old| Arc::ptr_eq(old, &target)) => {}
                Some(target) => self.snapshot.by_addr.insert(addr, target),
            }
        }
    }

    /// Settles who has the ports of a host name.
    fn host(&mut self, host: &Arc<str>) {
        let mut ports: BTreeMap<u16, Arc<Target>> = BTreeMap::new();
        for key in self.by_host.get(host).into_iter().flatten() {
            for target in self.placed.get(key).into_iter().flat_map(|placed| &placed.targets) {
                ports.entry(target.key.port).or_insert_with(|| Arc::clone(target));
            }
        }
        if ports.is_empty() {
            self.snapshot.by_host.remove(host);
        } else {
            self.snapshot.by_host.insert(Arc::clone(host), ports.into_iter().collect());
        }
    }

    /// Workloads that are fronted by their own addresses.
    pub(super) fn uids(&self) -> impl Iterator<Item = Arc<str>> {
        self.ips.keys().cloned()
    }

    /// Puts a workload where it is to be found by its own addresses. One that two pods have is nobody's: who is there, and
    /// whose rules hold, nobody can say. A pod's is the pod's, whoever registers a machine there.
    pub(super) fn put_workload(&mut self, uid: &Arc<str>, now: Vec<(IpAddr, Arc<Addressed>)>) {
        let before = self.ips.remove(uid).unwrap_or_default();
        if before.is_empty() && now.is_empty() {
            return;
        }
        self.changed = true;
        let mut touched: BTreeSet<IpAddr> = before.into_iter().collect();
        for ip in &touched {
            if let Some(claims) = self.by_ip.get_mut(ip) {
                claims.remove(uid);
            }
        }
        if !now.is_empty() {
            self.ips.insert(Arc::clone(uid), now.iter().map(|(ip, _)| *ip).collect());
        }
        for (ip, workload) in now {
            touched.insert(ip);
            self.by_ip.entry(ip).or_default().insert(Arc::clone(uid), workload);
        }
        for ip in touched {
            match self.by_ip.get(&ip).and_then(holder) {
                Some(workload) => self.snapshot.by_workload.insert(ip, workload),
                None => self.snapshot.by_workload.remove(&ip),
            }
            if self.by_ip.get(&ip).is_some_and(BTreeMap::is_empty) {
                self.by_ip.remove(&ip);
            }
        }
    }
}

/// Whose an address is among those who claim it: the one pod's, else the only claimant's.
fn holder(claims: &BTreeMap<Arc<str>, Arc<Addressed>>) -> Option<Arc<Addressed>> {
    let only = |pods: bool| {
        let mut of = claims.iter().filter(|(uid, _)| !pods || is_of_pod(uid)).map(|(_, workload)| workload);
        (of.next(), of.next())
    };
    match only(true) {
        (None, _) => match only(false) {
            (Some(one), None) => Some(Arc::clone(one)),
            _ => None,
        },
        (Some(one), None) => Some(Arc::clone(one)),
        (Some(_), Some(_)) => None,
    }
}

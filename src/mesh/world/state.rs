//! The rows and their indices, kept up to date change by change.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use super::holders::{Addresses, Holder, Holders, is_pod};
use super::near::Place;
use super::rows::{Gateway, Row, ServiceRow, WorkloadRow};
use crate::mesh::l4::{self, Action, Authorization, Scope};
use crate::mesh::sharded::Sharded;

/// Which Gateway of which mesh this process is.
#[derive(Debug, Clone)]
pub struct Here {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name, which is also its Service's.
    pub gateway: Arc<str>,
    /// Domain of Services' host names, `cluster.local` most often.
    pub cluster_domain: Arc<str>,
    /// The network that we are on; empty: the only one.
    pub network: Arc<str>,
    /// Our cluster, as istiod calls it.
    pub cluster: Arc<str>,
    /// Our pod's own addresses.
    pub ips: Box<[IpAddr]>,
}

impl Here {
    /// Key of our own Service.
    pub(super) fn own_service(&self) -> String {
        let Self { namespace, gateway, cluster_domain, .. } = self;
        format!("{namespace}/{gateway}.{namespace}.svc.{cluster_domain}")
    }
}

/// Rows and policies that are new or changed, and those that are no more.
#[derive(Debug, Default)]
pub struct Change {
    /// By key: the row, or none where it is no more.
    pub rows: HashMap<Arc<str>, Option<Row>>,
    /// By `namespace/name`: what ztunnel enforces, or none where it is no more.
    pub policies: HashMap<Arc<str>, Option<Arc<Authorization>>>,
    /// Whether the whole mesh was told by now.
    pub synced: bool,
    /// Whether all policies were told by now.
    pub enforced: bool,
}

impl Change {
    /// Takes what is newer over what waits.
    pub fn merge(&mut self, newer: Self) {
        self.rows.extend(newer.rows);
        self.policies.extend(newer.policies);
        self.synced |= newer.synced;
        self.enforced |= newer.enforced;
    }
}

/// What a change may have made different.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Dirty {
    /// Keys of services.
    pub(in crate::mesh) services: BTreeSet<Arc<str>>,
    /// Uids of workloads.
    pub(in crate::mesh) workloads: BTreeSet<Arc<str>>,
    /// Whether an address came or went.
    pub(in crate::mesh) addresses: bool,
    /// Whether a service itself changed, and not only who is behind it.
    pub(in crate::mesh) rows: bool,
    /// Our own Service changed: who fronts what by address may be different.
    pub(in crate::mesh) everything: bool,
}

/// A workload as it is found by its uid, which is kept once.
#[derive(Debug)]
struct ByUid(Arc<WorkloadRow>);

impl Borrow<str> for ByUid {
    fn borrow(&self) -> &str {
        &self.0.parts.uid
    }
}

impl Hash for ByUid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.parts.uid.hash(state);
    }
}

impl PartialEq for ByUid {
    fn eq(&self, other: &Self) -> bool {
        self.0.parts.uid == other.0.parts.uid
    }
}

impl Eq for ByUid {}

/// All rows.
#[derive(Debug)]
pub struct World {
    here: Here,
    own: Arc<str>,
    services: HashMap<Arc<str>, Arc<ServiceRow>>,
    workloads: HashSet<ByUid>,
    /// Workloads by the key of a service, whether that is known yet or not.
    members: HashMap<Arc<str>, HashSet<Arc<str>>>,
    addresses: Addresses,
    /// Policies that may be guards: those that refuse, by selector.
    guards: HashMap<Arc<str>, Arc<Authorization>>,
    synced: bool,
    enforced: bool,
}

impl World {
    /// Nothing is known yet.
    pub fn new(here: Here) -> Self {
        let own = here.own_service().into();
        Self {
            here,
            own,
            services: HashMap::new(),
            workloads: HashSet::new(),
            members: HashMap::new(),
            addresses: Addresses::default(),
            guards: HashMap::new(),
            synced: false,
            enforced: false,
        }
    }

    /// Which Gateway we are.
    pub fn here(&self) -> &Here {
        &self.here
    }

    /// Whether the whole mesh was told by now, and what ztunnel enforces.
    pub fn is_synced(&self) -> bool {
        self.synced && self.enforced
    }

    /// The service of that key.
    pub fn service(&self, key: &str) -> Option<&Arc<ServiceRow>> {
        self.services.get(key)
    }

    /// The workload of that uid.
    pub fn workload(&self, uid: &str) -> Option<&Arc<WorkloadRow>> {
        self.workloads.get(uid).map(|row| &row.0)
    }

    /// Who has which address, and who claims it.
    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Who has which address of our network by right.
    pub(in crate::mesh) fn holders(&self) -> &Sharded<IpAddr, Holders> {
        self.addresses.held()
    }

    /// All services, in no order.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &Arc<ServiceRow>> {
        self.services.values()
    }

    /// All workloads, in no order.
    pub fn workloads(&self) -> impl ExactSizeIterator<Item = &Arc<WorkloadRow>> {
        self.workloads.iter().map(|row| &row.0)
    }

    /// The workloads behind a service, in order of their uids.
    pub fn behind(&self, service: &str) -> Vec<&Arc<WorkloadRow>> {
        let uids = self.members.get(service).into_iter().flatten();
        let mut out: Vec<_> = uids.filter_map(|uid| self.workload(uid)).collect();
        out.sort_by(|a, b| a.parts.uid.cmp(&b.parts.uid));
        out
    }

    /// Addresses of the workloads of our own Service, our own among them; none before the whole mesh was told.
    pub fn replicas(&self) -> Option<Arc<[IpAddr]>> {
        let near = |row: &&&Arc<WorkloadRow>| same_network(&row.parts.network, &self.here.network);
        let ours = self.behind(&self.own);
        self.synced.then(|| ours.iter().filter(near).flat_map(|row| row.parts.ips.iter().copied()).collect())
    }

    /// Ready workloads of our own Service: we, and our like.
    pub(in crate::mesh) fn ready(&self) -> usize {
        let uids = self.members.get(&self.own).into_iter().flatten();
        uids.filter_map(|uid| self.workload(uid)).filter(|row| row.parts.healthy).count()
    }

    /// Where we are, by the row of our own pod; none before istiod told of it.
    pub(super) fn place(&self) -> Option<&Arc<Place>> {
        let rows = self.here.ips.iter().flat_map(|ip| self.addresses.workloads(*ip));
        let mut pods = rows.filter_map(|uid| self.workload(uid)).filter(|row| is_pod(row));
        pods.next().map(|row| &row.parts.place)
    }

    /// Whether that waypoint is us.
    pub(super) fn is_us(&self, gateway: &Gateway) -> bool {
        match gateway {
            Gateway::Host { namespace, host } => {
                self.own.strip_prefix(&**namespace).and_then(|rest| rest.strip_prefix('/')) == Some(host)
            }
            Gateway::Ip { network, ip } => self.services.get(&self.own).is_some_and(|own| {
                own.parts.vips.iter().any(|vip| vip.ip == *ip && same_network(&vip.network, network))
            }),
        }
    }

    /// Whether this waypoint fronts the service. Its own Service it does not, nor any whose workloads are waypoints: there
    /// would be no end to it.
    pub fn fronts(&self, service: &ServiceRow) -> bool {
        service.parts.key != self.own && service.parts.waypoints.iter().any(|gateway| self.is_us(gateway))
    }

    /// Whether this waypoint fronts calls to the workload's own addresses.
    pub fn fronts_workload(&self, workload: &WorkloadRow) -> bool {
        let parts = &workload.parts;
        same_network(&parts.network, &self.here.network)
            && parts.own_ips
            && !parts.is_waypoint
            && parts.waypoint.as_ref().is_some_and(|gateway| self.is_us(gateway))
    }

    /// Takes a change; what it may have made different.
    pub(in crate::mesh) fn apply(&mut self, change: Change) -> Dirty {
        let mut dirty = Dirty::default();
        let place = self.place().cloned();
        for (key, row) in change.rows {
            match row {
                Some(Row::Service(row)) => self.put_service(row, &mut dirty),
                Some(Row::Workload(row)) => self.put_workload(row, &mut dirty),
                None => {
                    self.drop_service(&key, &mut dirty);
                    self.drop_workload(&key, &mut dirty);
                }
            }
        }
        // What is near to us is another then.
        dirty.everything |= self.place() != place.as_ref();
        self.enforce(change.policies, &mut dirty);
        self.synced |= change.synced;
        self.enforced |= change.enforced;
        dirty
    }

    /// Takes policies; the services of pods that list one that changed are to be looked at.
    fn enforce(&mut self, policies: HashMap<Arc<str>, Option<Arc<Authorization>>>, dirty: &mut Dirty) {
        let may_guard = |one: &Arc<Authorization>| one.action == Action::Deny && one.scope == Scope::WorkloadSelector;
        let mut changed = HashSet::new();
        for (key, policy) in policies {
            let other = match policy.filter(may_guard) {
                Some(policy) if self.guards.get(&key).is_some_and(|before| *before == policy) => continue,
                Some(policy) => {
                    self.guards.insert(Arc::clone(&key), policy);
                    true
                }
                None => self.guards.remove(&key).is_some(),
            };
            if other {
                changed.insert(key);
            }
        }
        if changed.is_empty() {
            return;
        }
        let lists = |row: &&Arc<WorkloadRow>| row.parts.policies.iter().any(|key| changed.contains(key));
        for row in self.workloads().filter(lists) {
            dirty.services.extend(row.parts.services.iter().map(|member| Arc::clone(&member.service)));
        }
    }

    /// Whether ztunnel before the workload is sent the policy `name` of its namespace, and that lets only a finite list of
    /// identities reach `port`.
    pub(super) fn is_guarded(&self, workload: &WorkloadRow, name: &str, port: u16) -> bool {
        let parts = &workload.parts;
        let is = |key: &&Arc<str>| key.split_once('/') == Some((&*parts.namespace, name));
        let guard = parts.policies.iter().find(is).and_then(|key| self.guards.get(key));
        guard.is_some_and(|guard| l4::only([&**guard], port).is_some())
    }

    fn put_service(&mut self, row: Arc<ServiceRow>, dirty: &mut Dirty) {
        let key = Arc::clone(&row.parts.key);
        if self.services.get(&key).is_some_and(|old| *old == row) {
            return;
        }
        self.drop_service(&key, dirty);
        self.vips(&row, true, dirty);
        // Who is addressed past the service is decided on by its rules too.
        dirty.workloads.extend(self.members.get(&key).into_iter().flatten().cloned());
        dirty.everything |= key == self.own;
        dirty.rows = true;
        dirty.services.insert(Arc::clone(&key));
        self.services.insert(key, row);
    }

    fn drop_service(&mut self, key: &Arc<str>, dirty: &mut Dirty) {
        let Some(old) = self.services.remove(key) else { return };
        self.vips(&old, false, dirty);
        dirty.workloads.extend(self.members.get(key).into_iter().flatten().cloned());
        dirty.everything |= *key == self.own;
        dirty.rows = true;
        dirty.services.insert(Arc::clone(key));
    }

    fn put_workload(&mut self, row: Arc<WorkloadRow>, dirty: &mut Dirty) {
        let uid = Arc::clone(&row.parts.uid);
        if self.workload(&uid).is_some_and(|old| *old == row) {
            return;
        }
        self.drop_workload(&uid, dirty);
        self.ips(&row, true, dirty);
        for member in &row.parts.services {
            self.members.entry(Arc::clone(&member.service)).or_default().insert(Arc::clone(&uid));
            dirty.services.insert(Arc::clone(&member.service));
        }
        dirty.workloads.insert(uid);
        self.workloads.insert(ByUid(row));
    }

    fn drop_workload(&mut self, uid: &Arc<str>, dirty: &mut Dirty) {
        let Some(ByUid(old)) = self.workloads.take(&**uid) else { return };
        self.ips(&old, false, dirty);
        for member in &old.parts.services {
            if let Some(members) = self.members.get_mut(&member.service) {
                members.remove(uid);
                if members.is_empty() {
                    self.members.remove(&member.service);
                }
            }
            dirty.services.insert(Arc::clone(&member.service));
        }
        dirty.workloads.insert(Arc::clone(uid));
    }

    fn vips(&mut self, row: &ServiceRow, there: bool, dirty: &mut Dirty) {
        if !self.here.is_service(row) {
            return;
        }
        let vips: Vec<IpAddr> = self.here.vips(row).collect();
        for ip in vips {
            self.holder(ip, Holder::Service(Arc::clone(&row.parts.key)), there, dirty);
        }
    }

    fn ips(&mut self, row: &WorkloadRow, there: bool, dirty: &mut Dirty) {
        let (by_right, uid) = (self.here.has_by_right(row), &row.parts.uid);
        for ip in row.parts.ips.iter().copied() {
            if by_right {
                self.holder(ip, Holder::Workload(Arc::clone(uid)), there, dirty);
            }
            match (is_pod(row), there) {
                (true, _) => {}
                (false, true) => self.addresses.claim(ip, uid),
                (false, false) => self.addresses.unclaim(ip, uid),
            }
        }
    }

    /// Somebody has an address by right, or no more: who only claims it may be reached otherwise now.
    fn holder(&mut self, ip: IpAddr, holder: Holder, there: bool, dirty: &mut Dirty) {
        if there {
            self.addresses.add(ip, holder);
        } else {
            self.addresses.remove(ip, &holder);
        }
        dirty.addresses = true;
        for uid in self.addresses.claims(ip) {
            dirty.workloads.insert(Arc::clone(uid));
            let services = self.workload(uid).into_iter().flat_map(|row| &row.parts.services);
            dirty.services.extend(services.map(|member| Arc::clone(&member.service)));
        }
    }
}

/// Networks that are not named are the only one.
pub(super) fn same_network(a: &str, b: &str) -> bool {
    a.is_empty() || b.is_empty() || a == b
}

//! Who has which address of the mesh, and what may be dialled at an address that somebody only claims.
//!
//! Pods have their addresses by their kubelet's word, Services theirs by the API server's: nobody takes those. A
//! WorkloadEntry is a machine that somebody registered: two of different namespaces that claim one address get no calls
//! either, as nobody can say whose it is. What a ServiceEntry or an EndpointSlice lists is a tenant's word alone: it takes no
//! address from anybody else, and where somebody has the address by right, it does not lead there past that one's rules.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::reach::via;
use super::rows::{Reach, ServiceRow, WorkloadRow};
use super::state::{Here, World, same_network};
use crate::id::WorkloadId;
use crate::mesh::endpoint::Via;
use crate::mesh::forbidden::{forbidden, readings};
use crate::mesh::held::Hold;
use crate::mesh::sharded::Sharded;
use crate::mesh::{TargetKey, TargetKind};

/// Somebody who has an address by right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mesh) enum Holder {
    /// A Service, by its key.
    Service(Arc<str>),
    /// A workload, by its uid.
    Workload(Arc<str>),
}

/// Everybody who has an address by right; nearly always one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mesh) enum Holders {
    One(Holder),
    More(Vec<Holder>),
}

impl Holders {
    fn iter(&self) -> impl Iterator<Item = &Holder> {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
        .iter()
    }
}

/// The addresses of our network.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses {
    held: Sharded<IpAddr, Holders>,
    /// Workloads that are no pods, by the addresses that they claim.
    claimed: HashMap<IpAddr, BTreeSet<Arc<str>>>,
}

impl Addresses {
    pub(super) fn held(&self) -> &Sharded<IpAddr, Holders> {
        &self.held
    }

    /// Who has this address in any of its forms.
    fn holders(&self, ip: IpAddr) -> impl Iterator<Item = &Holder> {
        readings(ip).filter_map(|ip| self.held.get(&ip)).flat_map(Holders::iter)
    }

    /// The workloads that are no pods and claim this address.
    pub(super) fn claims(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<str>> {
        self.claimed.get(&ip.to_canonical()).into_iter().flatten()
    }

    /// The workloads that have this address by right.
    pub(super) fn workloads(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<str>> {
        self.held.get(&ip.to_canonical()).into_iter().flat_map(Holders::iter).filter_map(|holder| match holder {
            Holder::Workload(uid) => Some(uid),
            Holder::Service(_) => None,
        })
    }

    pub(super) fn add(&mut self, ip: IpAddr, holder: Holder) {
        let ip = ip.to_canonical();
        let holders = match self.held.get(&ip) {
            None => Holders::One(holder),
            Some(known) if known.iter().any(|one| *one == holder) => return,
            Some(known) => Holders::More(known.iter().cloned().chain([holder]).collect()),
        };
        self.held.insert(ip, holders);
    }

    pub(super) fn remove(&mut self, ip: IpAddr, holder: &Holder) {
        let ip = ip.to_canonical();
        let Some(known) = self.held.get(&ip) else { return };
        let mut left: Vec<Holder> = known.iter().filter(|one| *one != holder).cloned().collect();
        match left.len() {
            0 => self.held.remove(&ip),
            1 => {
                if let Some(one) = left.pop() {
                    self.held.insert(ip, Holders::One(one));
                }
            }
            _ => self.held.insert(ip, Holders::More(left)),
        }
    }

    /// Under every address that it may reach, so that it is looked at again when somebody comes to have one of them.
    pub(super) fn claim(&mut self, ip: IpAddr, uid: &Arc<str>) {
        for ip in readings(ip) {
            self.claimed.entry(ip).or_default().insert(Arc::clone(uid));
        }
    }

    pub(super) fn unclaim(&mut self, ip: IpAddr, uid: &Arc<str>) {
        for ip in readings(ip) {
            if let Some(claims) = self.claimed.get_mut(&ip) {
                claims.remove(uid);
                if claims.is_empty() {
                    self.claimed.remove(&ip);
                }
            }
        }
    }
}

impl Here {
    /// Whether a workload is of our own cluster. What istiod lists of others' policies is what it has itself: the ztunnels
    /// there are told by their own.
    pub(super) fn has(&self, row: &WorkloadRow) -> bool {
        row.parts.uid.split('/').next() == Some(&*self.cluster)
    }

    /// Whether the row is a Kubernetes Service's. A ServiceEntry may have the host name of one, and any address with it.
    pub(in crate::mesh) fn is_service(&self, row: &ServiceRow) -> bool {
        let parts = &row.parts;
        if !parts.of_kubernetes {
            return false;
        }
        let rest = parts.hostname.strip_prefix(&*parts.name).and_then(|rest| rest.strip_prefix('.'));
        let rest = rest.and_then(|rest| rest.strip_prefix(&*parts.namespace));
        rest.and_then(|rest| rest.strip_prefix(".svc.")) == Some(&*self.cluster_domain)
    }

    /// What a row is, where it is fronted, and what tells it from others of its name.
    pub(in crate::mesh) fn kind(&self, row: &ServiceRow) -> (TargetKind, Option<Arc<str>>) {
        if self.is_service(row) {
            return (TargetKind::Service, None);
        }
        (TargetKind::ServiceEntry, Some(Arc::clone(&row.parts.hostname)))
    }

    /// The target that a port of a row is, where it is fronted, whoever else has its name.
    pub(in crate::mesh) fn target(&self, row: &ServiceRow, port: u16) -> TargetKey {
        let ((kind, at), parts) = (self.kind(row), &row.parts);
        let (namespace, name) = (Arc::clone(&parts.namespace), Arc::clone(&parts.name));
        TargetKey { kind, namespace, name, port, at }
    }

    /// The virtual addresses of a service that are of our network: those of others may be anybody's here.
    pub(in crate::mesh) fn vips(&self, row: &ServiceRow) -> impl Iterator<Item = IpAddr> {
        row.parts.vips.iter().filter(|vip| same_network(&vip.network, &self.network)).map(|vip| vip.ip)
    }

    /// Whether the workload has its addresses by right, and not because somebody listed them.
    pub(super) fn has_by_right(&self, row: &WorkloadRow) -> bool {
        same_network(&row.parts.network, &self.network)
            && (self.is_vouched(row) || kind(&row.parts.uid) == "WorkloadEntry")
    }

    /// Whether somebody other than tenants vouches for its addresses: a pod's kubelet, or the API server for its own, which
    /// an EndpointSlice tells. No claim that nobody vouches for takes such an address, or keeps calls from it.
    fn is_vouched(&self, row: &WorkloadRow) -> bool {
        let api_server = || format!("default/kubernetes.default.svc.{}", self.cluster_domain);
        let of_api_server = || row.parts.services.iter().any(|member| *member.service == *api_server());
        is_pod(row) || kind(&row.parts.uid) == "EndpointSlice" && of_api_server()
    }
}

/// Whether istiod says that the row is a pod, whose addresses its kubelet told. A uid is `CLUSTER/GROUP/KIND/NAMESPACE/NAME`.
pub(super) fn is_pod(row: &WorkloadRow) -> bool {
    is_of_pod(&row.parts.uid)
}

/// Whether the uid is a pod's.
pub fn is_of_pod(uid: &str) -> bool {
    kind(uid) == "Pod"
}

fn kind(uid: &str) -> &str {
    uid.split('/').nth(2).unwrap_or_default()
}

impl World {
    /// The way to `workload` at `ip`: as `planned`, unless somebody else has the address by right. `more` are identities
    /// that are accepted beside its own.
    pub(super) fn way(
        &self,
        workload: &WorkloadRow,
        ip: IpAddr,
        planned: Via,
        more: &[Arc<WorkloadId>],
    ) -> Result<Via, Hold> {
        if readings(ip).any(|ip| self.here().ips.contains(&ip)) {
            return Err(Hold::Ourselves);
        }
        if is_pod(workload) {
            return Ok(planned);
        }
        if forbidden(ip) {
            return Err(Hold::NoServer);
        }
        if planned != Via::Plain {
            return self.proven(workload, ip).map_or(Ok(planned), Err);
        }
        let mut pods = Vec::new();
        for holder in self.addresses().holders(ip) {
            match holder {
                Holder::Service(_) => return Err(Hold::OfService),
                Holder::Workload(uid) if *uid == workload.parts.uid => {}
                Holder::Workload(uid) => {
                    let Some(other) = self.workload(uid) else { continue };
                    if self.here().is_vouched(workload) && !self.here().is_vouched(other) {
                        continue;
                    }
                    if other.parts.namespace != workload.parts.namespace {
                        return Err(Hold::OfOthers);
                    }
                    pods.push(other);
                }
            }
        }
        // A workload of the same namespace is reached as itself where it speaks HBONE.
        let mut hbone = pods.into_iter().filter(|pod| pod.parts.own_ips && pod.parts.reach != Reach::Plain);
        match (hbone.next(), hbone.next()) {
            (None, _) => Ok(planned),
            (Some(one), None) => via(one, more).ok_or(Hold::OfOthers),
            (Some(_), Some(_)) => Err(Hold::OfOthers),
        }
    }

    /// Why a workload that has to prove an identity is not called at `ip`. Nobody else can prove one of its own namespace; but
    /// to call it where somebody is of whom it is known that he cannot shows nothing but failures, and those would count
    /// against him: an endpoint is known by its address, whoever leads there.
    fn proven(&self, workload: &WorkloadRow, ip: IpAddr) -> Option<Hold> {
        let of_others = |uid: &Arc<str>| {
            let other = self.workload(uid).filter(|other| self.here().is_vouched(other));
            other.is_some_and(|other| other.parts.namespace != workload.parts.namespace)
        };
        self.addresses().holders(ip).find_map(|holder| match holder {
            Holder::Service(_) => Some(Hold::OfService),
            Holder::Workload(uid) => of_others(uid).then_some(Hold::OfOthers),
        })
    }
}

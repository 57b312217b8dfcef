//! What ztunnel enforces before each pod, found quickly.

use std::collections::HashMap;
use std::sync::Arc;

use super::input::{Name, Pod, Sent, SentWorkload};
use crate::mesh::l4::{Authorization, Scope};

/// [`Sent`], by whom it is about.
#[derive(Debug)]
pub(super) struct Enforced<'a> {
    sent: &'a Sent,
    /// By namespace; those of the whole mesh under `""`.
    broad: HashMap<&'a str, Vec<&'a Authorization>>,
}

impl<'a> Enforced<'a> {
    pub(super) fn of(sent: &'a Sent) -> Self {
        let mut broad: HashMap<&str, Vec<&Authorization>> = HashMap::new();
        for policy in sent.authorizations.values() {
            match policy.scope {
                Scope::Global => broad.entry("").or_default().push(policy),
                Scope::Namespace => broad.entry(&policy.namespace).or_default().push(policy),
                Scope::WorkloadSelector => {}
            }
        }
        Self { sent, broad }
    }

    /// The policy `namespace/name`.
    pub(super) fn policy(&self, key: &str) -> Option<&'a Authorization> {
        self.sent.authorizations.get(key).map(|policy| &**policy)
    }

    /// Uids of endpoints behind a Service that no guard of ours is before.
    pub(super) fn far(&self, service: &Name) -> &'a [Arc<str>] {
        self.sent.far.get(service).map_or(&[], Vec::as_slice)
    }

    /// The policies that ztunnel enforces before a pod; none where istiod does not know the pod yet.
    pub(super) fn at(&self, pod: &Pod) -> Option<(&'a SentWorkload, Vec<&'a Authorization>)> {
        let name = Name { namespace: Arc::clone(&pod.namespace), name: Arc::clone(&pod.name) };
        let workload = self.sent.workloads.get(&name)?;
        let broad = ["", &*pod.namespace].into_iter().filter_map(|of| self.broad.get(of)).flatten().copied();
        let listed = workload.listed.iter().filter_map(|key| self.policy(key));
        let listed = listed.filter(|policy| policy.scope == Scope::WorkloadSelector);
        Some((workload, broad.chain(listed).collect()))
    }
}

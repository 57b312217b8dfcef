//! Which workloads a service prefers: those near to who calls, as the Service says (`trafficDistribution`,
//! `internalTrafficPolicy`, Istio's `networking.istio.io/traffic-distribution`) and istiod puts it.

use std::sync::Arc;

/// Where a workload runs. What is not known is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// `topology.kubernetes.io/region` of its node.
    pub region: Arc<str>,
    /// `topology.kubernetes.io/zone` of its node.
    pub zone: Arc<str>,
    /// `topology.istio.io/subzone` of its node.
    pub subzone: Arc<str>,
    /// Its node.
    pub node: Arc<str>,
    /// Its cluster.
    pub cluster: Arc<str>,
}

/// What two workloads can have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The network.
    Network,
    /// The region.
    Region,
    /// The zone. Its name counts alone: a region stands before it in what istiod sends.
    Zone,
    /// The part of a zone.
    Subzone,
    /// The node.
    Node,
    /// The cluster.
    Cluster,
    /// One of a later Istio, which nothing has in common here.
    Unknown,
}

/// Which workloads a service prefers; the default: none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preference {
    /// What they are to have in common with us, in order: one counts only where all before it do.
    pub scopes: Box<[Scope]>,
    /// Whether those that have not all of it get no calls at all. Else they get calls where no nearer one can.
    pub strict: bool,
}

impl Preference {
    /// How far `there` is from `here`, 0 for as near as can be; none where it gets no calls.
    ///
    /// Only workloads of our own network are asked about. What is unknown on both sides is the same, as ztunnel has it;
    /// where istiod has not told yet where we are, nothing is.
    pub(super) fn distance<'w>(&self, here: impl FnOnce() -> Option<&'w Arc<Place>>, there: &Place) -> Option<u8> {
        if self.scopes.is_empty() {
            return Some(0);
        }
        let here = here();
        let same = |scope: &Scope| match scope {
            Scope::Network => true,
            Scope::Unknown => false,
            Scope::Region => here.is_some_and(|here| here.region == there.region),
            Scope::Zone => here.is_some_and(|here| here.zone == there.zone),
            Scope::Subzone => here.is_some_and(|here| here.subzone == there.subzone),
            Scope::Node => here.is_some_and(|here| here.node == there.node),
            Scope::Cluster => here.is_some_and(|here| here.cluster == there.cluster),
        };
        let apart = self.scopes.len() - self.scopes.iter().take_while(|scope| same(scope)).count();
        (apart == 0 || !self.strict).then(|| u8::try_from(apart).unwrap_or(u8::MAX))
    }
}

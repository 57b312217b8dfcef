//! What the node proxies know of the mesh: istiod's `istio.workload.Address` and `istio.security.Authorization`, in the
//! names of their protobuf messages and with addresses as text.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use agent_waypoint::id::{TrustDomain, WorkloadId};
use anyhow::Context as _;
use serde::Deserialize;

use crate::authz::Authorization;

/// Everything, as one file holds it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct World {
    pub(crate) addresses: Vec<Address>,
    pub(crate) authorizations: Vec<Authorization>,
}

/// `istio.workload.Address`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Address {
    Workload(Workload),
    Service(Service),
}

/// `istio.workload.Workload`
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Workload {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// To be resolved, where there are no addresses.
    #[serde(default)]
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) tunnel_protocol: TunnelProtocol,
    #[serde(default)]
    pub(crate) trust_domain: String,
    #[serde(default)]
    pub(crate) service_account: String,
    pub(crate) waypoint: Option<GatewayAddress>,
    /// By `namespace/hostname`.
    #[serde(default)]
    pub(crate) services: BTreeMap<String, PortList>,
    /// Policies with a selector that selects it, `namespace/name`. Others do not concern it.
    #[serde(default)]
    pub(crate) authorization_policies: Vec<String>,
    #[serde(default)]
    pub(crate) status: Health,
    #[serde(default)]
    pub(crate) network_mode: NetworkMode,
}

/// `istio.workload.Service`
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) addresses: Vec<NetworkAddress>,
    #[serde(default)]
    pub(crate) ports: Vec<Port>,
    pub(crate) waypoint: Option<GatewayAddress>,
}

/// `istio.workload.NetworkAddress`; there is one network.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NetworkAddress {
    pub(crate) address: IpAddr,
}

/// `istio.workload.GatewayAddress`
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct GatewayAddress {
    pub(crate) hostname: NamespacedHostname,
}

/// `istio.workload.NamespacedHostname`
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NamespacedHostname {
    pub(crate) namespace: String,
    pub(crate) hostname: String,
}

/// `istio.workload.PortList`
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PortList {
    pub(crate) ports: Vec<Port>,
}

/// `istio.workload.Port`; a target port of 0 is one that istiod could not resolve.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Port {
    pub(crate) service_port: u16,
    #[serde(default)]
    pub(crate) target_port: u16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum TunnelProtocol {
    #[default]
    None,
    Hbone,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Health {
    #[default]
    Healthy,
    Unhealthy,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum NetworkMode {
    #[default]
    Standard,
    /// Shares its node's address, which says nothing about it then.
    HostNetwork,
}

impl World {
    /// Reads a file whole.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        serde_json::from_str(text).context("not a world")
    }

    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.addresses.iter().filter_map(|address| match address {
            Address::Workload(workload) => Some(workload),
            Address::Service(_) => None,
        })
    }

    fn services(&self) -> impl Iterator<Item = &Service> {
        self.addresses.iter().filter_map(|address| match address {
            Address::Service(service) => Some(service),
            Address::Workload(_) => None,
        })
    }

    pub(crate) fn workload(&self, uid: &str) -> Option<&Workload> {
        self.workloads().find(|workload| workload.uid == uid)
    }

    /// The workload that has an address for itself.
    pub(crate) fn workload_at(&self, ip: IpAddr) -> Option<&Workload> {
        let standard = |workload: &&Workload| workload.network_mode == NetworkMode::Standard;
        self.workloads().filter(standard).find(|workload| workload.addresses.contains(&ip))
    }

    pub(crate) fn service_at(&self, ip: IpAddr) -> Option<&Service> {
        self.services().find(|service| service.addresses.iter().any(|at| at.address == ip))
    }

    pub(crate) fn service_named(&self, hostname: &str) -> Option<&Service> {
        self.services().find(|service| service.hostname == hostname)
    }

    pub(crate) fn service(&self, name: &NamespacedHostname) -> Option<&Service> {
        self.services().find(|service| service.namespace == name.namespace && service.hostname == name.hostname)
    }

    /// Healthy workloads behind a service's port, each with the port it listens on, in the family of `like`.
    pub(crate) fn endpoints(&self, service: &Service, port: u16, like: IpAddr) -> Vec<(&Workload, SocketAddr)> {
        let key = format!("{}/{}", service.namespace, service.hostname);
        let target_of = |ports: &[Port]| {
            let found = ports.iter().find(|candidate| candidate.service_port == port)?;
            (found.target_port != 0).then_some(found.target_port)
        };
        let healthy = self.workloads().filter(|workload| workload.status == Health::Healthy);
        healthy
            .filter_map(|workload| {
                let own = workload.services.get(&key)?;
                let target = target_of(&own.ports).or_else(|| target_of(&service.ports))?;
                Some((workload, SocketAddr::new(workload.address_like(like)?, target)))
            })
            .collect()
    }
}

impl Workload {
    /// The identity that its certificate must prove.
    pub(crate) fn identity(&self) -> anyhow::Result<WorkloadId> {
        let trust_domain = if self.trust_domain.is_empty() { "cluster.local" } else { &self.trust_domain };
        let account = if self.service_account.is_empty() { "default" } else { &self.service_account };
        Ok(WorkloadId::of_istio(&TrustDomain::parse(trust_domain)?, &self.namespace, account)?)
    }

    /// Its address of the same family, else its first.
    pub(crate) fn address_like(&self, like: IpAddr) -> Option<IpAddr> {
        let same = self.addresses.iter().find(|ip| ip.is_ipv4() == like.is_ipv4());
        same.or_else(|| self.addresses.first()).copied()
    }
}

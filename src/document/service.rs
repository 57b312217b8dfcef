//! core/v1 `Service` and `ConfigMap`, discovery.k8s.io/v1 `EndpointSlice`: the fields that a waypoint reads; the rest is
//! Kubernetes' and passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::nearest::nearest;
use super::tree::Node;
use super::{FieldProblem, Severity};

/// Annotation that the controller puts on a Service as it feeds it: the `AuthorizationPolicy` of its namespace by which
/// ztunnel takes calls to its pods from its waypoints only. Without it none is to be.
pub const GUARDED_BY: &str = "agent-waypoint.dev/guarded-by";

/// `spec` of a `Service`.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// First virtual IP, `None` for headless ones.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// Virtual IPs of both families.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Labels of the workloads behind it; empty: none by label.
    pub selector: BTreeMap<String, String>,
    /// `ClusterIP`, `ExternalName`, ..
    pub r#type: Option<String>,
    /// DNS name behind a Service of type `ExternalName`.
    pub external_name: Option<String>,
    /// Whether one client's calls go to one endpoint.
    pub session_affinity: SessionAffinity,
}

/// `sessionAffinity`. For how long (`sessionAffinityConfig`) does not matter here: it is not remembered, but follows from the
/// address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
pub enum SessionAffinity {
    /// By the client's address.
    #[serde(rename = "ClientIP")]
    ClientIp,
    /// None.
    #[default]
    #[serde(other)]
    None,
}

/// Fields of `spec` in Kubernetes' API, and of one entry of `ports`.
const SPEC: [&str; 20] = [
    "ports",
    "selector",
    "clusterIP",
    "clusterIPs",
    "type",
    "externalIPs",
    "sessionAffinity",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "externalName",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "publishNotReadyAddresses",
    "sessionAffinityConfig",
    "ipFamilies",
    "ipFamilyPolicy",
    "allocateLoadBalancerNodePorts",
    "loadBalancerClass",
    "internalTrafficPolicy",
    "trafficDistribution",
];
const PORT: [&str; 6] = ["name", "protocol", "appProtocol", "port", "targetPort", "nodePort"];

/// Fields that are nearly ones that are read: a port whose `appprotocol` is passed over would be open. Other unknown
/// fields are those of a newer Kubernetes.
pub(super) fn misspelt(root: &Node) -> Vec<FieldProblem> {
    let Some(spec) = root.get("spec") else { return Vec::new() };
    let mut found = Vec::new();
    let mut look = |node: &Node, at: &str, known: &[&'static str]| {
        for field in node.fields().iter().filter(|field| !known.contains(&field.key.as_str())) {
            if let Some(near) = nearest(&field.key, known.iter().copied()) {
                let (field, reason) = (format!("{at}.{}", field.key), format!("unknown field; did you mean `{near}`?"));
                found.push(FieldProblem { severity: Severity::Error, field, reason });
            }
        }
    };
    look(spec, "spec", &SPEC);
    for (index, port) in spec.get("ports").and_then(Node::items).unwrap_or_default().iter().enumerate() {
        look(port, &format!("spec.ports[{index}]"), &PORT);
    }
    found
}

/// What Kubernetes' API server would refuse too: without ports there is nothing to call, and every call is a 404.
pub(super) fn check(spec: &ServiceSpec) -> Vec<FieldProblem> {
    let portless = spec.r#type.as_deref() == Some("ExternalName") || spec.cluster_ip.as_deref() == Some("None");
    if !spec.ports.is_empty() || portless {
        return Vec::new();
    }
    let reason = "names no port, so that nothing can be called; name at least one".to_owned();
    vec![FieldProblem { severity: Severity::Error, field: "spec.ports".to_owned(), reason }]
}

/// One entry of `spec.ports`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Required where there is more than one port.
    pub name: Option<String>,
    /// The Service's port.
    pub port: NonZeroU16,
    /// The workload's port, by number or name; the same as `port` where absent.
    pub target_port: Option<PortRef>,
    /// Transport.
    #[serde(default)]
    pub protocol: Transport,
    /// What the port speaks.
    pub app_protocol: Option<String>,
}

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Transport {
    /// TCP
    #[default]
    Tcp,
    /// Not carried by HBONE.
    Udp,
    /// Not carried by HBONE.
    Sctp,
}

/// A workload's port, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortRef {
    /// A number.
    Number(NonZeroU16),
    /// A name that the workload gives to a port of its own.
    Name(String),
}

impl<'de> Deserialize<'de> for PortRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortRefVisitor)
    }
}

struct PortRefVisitor;

impl Visitor<'_> for PortRefVisitor {
    type Value = PortRef;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port number from 1 to 65535 or the name of a port")
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<PortRef, E> {
        let number = u16::try_from(value).ok().and_then(NonZeroU16::new);
        number.map(PortRef::Number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<PortRef, E> {
        let number = u16::try_from(value).ok().and_then(NonZeroU16::new);
        number.map(PortRef::Number).ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<PortRef, E> {
        if value.is_empty() || value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(E::custom(format_args!("must be a name or, without quotes, a number; not the text {value:?}")));
        }
        Ok(PortRef::Name(value.to_owned()))
    }
}

/// An `EndpointSlice`, which has no `spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// `IPv4`, `IPv6`; `FQDN` ones are not dialled.
    pub address_type: Option<String>,
    /// The endpoints.
    pub endpoints: Vec<SliceEndpoint>,
    /// The ports of every endpoint; the name is the Service port's.
    pub ports: Vec<SlicePort>,
}

/// One entry of `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceEndpoint {
    /// Addresses of one workload.
    pub addresses: Vec<String>,
    /// Conditions; ready where absent.
    #[serde(default)]
    pub conditions: SliceConditions,
}

/// `endpoints[].conditions`
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SliceConditions {
    /// Unknown counts as ready (API reference of EndpointConditions).
    pub ready: Option<bool>,
}

/// One entry of `ports`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlicePort {
    /// Name of the Service's port; empty where that has none.
    #[serde(default)]
    pub name: String,
    /// The workload's port; all ports where absent, which is of no use here.
    pub port: Option<NonZeroU16>,
    /// Transport.
    #[serde(default)]
    pub protocol: Transport,
}

/// A `ConfigMap`, read for certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(default)]
pub struct ConfigMap {
    /// Text by key.
    pub data: BTreeMap<String, String>,
}

//! networking.istio.io `ServiceEntry` and `WorkloadEntry`, in Istio's own fields, every one known by name.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use serde::Deserialize;

/// `spec` of a `ServiceEntry`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceEntrySpec {
    /// DNS names of the service.
    pub hosts: Vec<String>,
    /// Virtual IPs, or CIDR prefixes.
    pub addresses: Vec<String>,
    /// Ports.
    pub ports: Vec<EntryPort>,
    /// In the mesh or not.
    pub location: Location,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Where calls go.
    pub endpoints: Vec<WorkloadEntrySpec>,
    /// Workloads by label, in place of `endpoints`.
    pub workload_selector: Option<WorkloadSelector>,
    /// Namespaces that see it. One waypoint's documents are all of one audience: no effect here.
    pub export_to: Vec<String>,
    /// Identities accepted beside the endpoints' own.
    pub subject_alt_names: Vec<String>,
}

/// One entry of `ports`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryPort {
    /// The service's port.
    pub number: NonZeroU16,
    /// What it speaks.
    pub protocol: Option<String>,
    /// Its name.
    pub name: String,
    /// The endpoint's port; the same as `number` where absent.
    pub target_port: Option<NonZeroU16>,
}

/// `location`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside the mesh.
    #[default]
    MeshExternal,
    /// Part of the mesh.
    MeshInternal,
}

/// `resolution`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The address that the client called is the endpoint.
    #[default]
    None,
    /// Addresses in `endpoints`, else `addresses`.
    Static,
    /// DNS names in `endpoints`, else `hosts`.
    Dns,
    /// As `Dns`.
    DnsRoundRobin,
    /// Whatever name the client asks for.
    DynamicDns,
}

/// `workloadSelector`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkloadSelector {
    /// All must match.
    pub labels: BTreeMap<String, String>,
}

/// `spec` of a `WorkloadEntry`, and one entry of a ServiceEntry's `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkloadEntrySpec {
    /// IP address; a DNS name where the ServiceEntry resolves names.
    pub address: String,
    /// Port by port name, over the service's own target port.
    pub ports: BTreeMap<String, NonZeroU16>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Network; only one network is served.
    pub network: Option<String>,
    /// Locality; no effect yet.
    pub locality: Option<String>,
    /// Relative share of calls; 1 where absent.
    pub weight: Option<u32>,
    /// Service account in the entry's namespace; `default` where absent.
    pub service_account: Option<String>,
}

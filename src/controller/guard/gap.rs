//! A way round that is left.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Why an endpoint is not guarded: the label `reason` of `agent_waypoint_unguarded_endpoints`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// ztunnel is not yet sent the guard.
    Pending,
    /// No ztunnel stands before the pod.
    UncapturedPod,
    /// The pod uses its node's network, where none can.
    HostNetwork,
    /// The Service's endpoints are written by hand: there are no labels to select them by.
    NoSelector,
    /// The endpoints are outside the mesh.
    External,
    /// Another policy or object stands in the guard's place, or what ztunnel is sent lets others through.
    Conflict,
    /// Another port of the pod is open.
    SiblingPort,
    /// The guard is set to Report.
    Report,
    /// A waypoint is in front of the pod's own address, and no Service that uses one selects it, so that there is no guard.
    Addressed,
    /// The pod is of another cluster, where this one's guards are not sent.
    OtherCluster,
}

impl Reason {
    /// All of them, for metrics that fall back to zero.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::UncapturedPod,
        Self::HostNetwork,
        Self::NoSelector,
        Self::External,
        Self::Conflict,
        Self::SiblingPort,
        Self::Report,
        Self::Addressed,
        Self::OtherCluster,
    ];

    /// As a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::UncapturedPod => "uncaptured_pod",
            Self::HostNetwork => "host_network",
            Self::NoSelector => "no_selector",
            Self::External => "external",
            Self::Conflict => "conflict",
            Self::SiblingPort => "sibling_port",
            Self::Report => "report",
            Self::Addressed => "addressed",
            Self::OtherCluster => "other_cluster",
        }
    }

    /// As the reason of a condition.
    pub fn condition(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::UncapturedPod => "UncapturedPod",
            Self::HostNetwork => "HostNetwork",
            Self::NoSelector => "NoSelector",
            Self::External => "External",
            Self::Conflict => "Conflict",
            Self::SiblingPort => "SiblingPort",
            Self::Report => "Report",
            Self::Addressed => "Addressed",
            Self::OtherCluster => "OtherCluster",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Pending => {
                "wait; if it stays, istiod does not translate the policy: see its own status and istiod's log"
            }
            Self::UncapturedPod => {
                "label the namespace istio.io/dataplane-mode=ambient, take ambient.istio.io/bypass-inbound-capture away, or close the pod by a NetworkPolicy"
            }
            Self::HostNetwork => "take the pod off the host's network, or close its port by a firewall",
            Self::NoSelector => "give the Service a selector, or close its endpoints by a NetworkPolicy",
            Self::External => "only the external service itself can refuse others: have it ask for a credential",
            Self::Conflict => "remove or mend what stands in the way",
            Self::SiblingPort => "set agent-waypoint.dev/guard-scope: Workload, or do not serve on it",
            Self::Report => "set agent-waypoint.dev/guard: Enforce",
            Self::Addressed => "have a Service that selects the pod use the waypoint (istio.io/waypoint-for: all)",
            Self::OtherCluster => {
                "with guard: Enforce it gets no calls; call a Service of that cluster through a waypoint there, or set agent-waypoint.dev/guard: Report"
            }
        }
    }
}

/// One endpoint that can be reached past the waypoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Gap {
    /// Why.
    pub reason: Reason,
    /// The pod's name, or that of what has no pod.
    pub endpoint: Arc<str>,
    /// The port, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What more there is to say; may be empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: Arc<str>,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

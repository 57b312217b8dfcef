//! Endpoints that the mesh names and that get no calls.

use std::fmt;
use std::sync::Arc;

/// An endpoint that gets no calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// As [`super::Endpoint::id`].
    pub id: Arc<str>,
    /// Why.
    pub why: Hold,
}

/// Why an endpoint gets no calls.
///
/// Whoever may write a ServiceEntry, a WorkloadEntry or an EndpointSlice names addresses as they like, and a waypoint that
/// dials whatever it is told is everybody's way past firewalls, guards and other tenants' rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hold {
    /// The address is this host's, its link's, a cloud's metadata service's or multicast.
    NoServer,
    /// The address is our own.
    Ourselves,
    /// The address is a Service's: calls belong there by its name, so that its rules hold.
    OfService,
    /// The address is that of a workload of another namespace, which is reached as that one or not at all.
    OfOthers,
    /// Workloads that are reached differently have the same address.
    Contested,
    /// What istiod sends to ztunnel does not hold the pod's guard yet.
    Unguarded,
    /// It is to be guarded, and is of another cluster, where nobody here sees its guard.
    OtherCluster,
    /// It is not where its Service's calls stay (`internalTrafficPolicy: Local`).
    Elsewhere,
}

impl Hold {
    /// All of them, for metrics that fall back to zero.
    pub const ALL: [Self; 8] = [
        Self::NoServer,
        Self::Ourselves,
        Self::OfService,
        Self::OfOthers,
        Self::Contested,
        Self::Unguarded,
        Self::OtherCluster,
        Self::Elsewhere,
    ];

    /// As a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoServer => "no_server",
            Self::Ourselves => "ourselves",
            Self::OfService => "of_service",
            Self::OfOthers => "of_others",
            Self::Contested => "contested",
            Self::Unguarded => "unguarded",
            Self::OtherCluster => "other_cluster",
            Self::Elsewhere => "elsewhere",
        }
    }

    /// As the reason of a fault.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoServer | Self::Ourselves | Self::OfService | Self::OfOthers | Self::Contested => "endpoint_refused",
            Self::Unguarded | Self::OtherCluster => "endpoint_unguarded",
            Self::Elsewhere => "endpoint_elsewhere",
        }
    }

    /// Whether what the endpoint is named by has to be mended.
    pub(super) fn is_wrong(self) -> bool {
        !matches!(self, Self::Unguarded | Self::OtherCluster | Self::Elsewhere)
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoServer => "no server can be at its address (this host, its link, a metadata service, multicast)",
            Self::Ourselves => "its address is the waypoint's own",
            Self::OfService => "its address is a Service's; name that Service instead",
            Self::OfOthers => "its address is that of a workload of another namespace; call that one's Service instead",
            Self::Contested => {
                "workloads that are reached differently have its address, so that nobody can say whom a call would reach"
            }
            Self::Unguarded => {
                "its pod's guard is not in force yet: nobody would have to go through the waypoint (agent-waypoint guard --list)"
            }
            Self::OtherCluster => {
                "its pod is of another cluster, where nobody here sees whether it is guarded: call a Service of that cluster through a waypoint there, or set agent-waypoint.dev/guard: Report"
            }
            Self::Elsewhere => {
                "its Service's calls stay near (internalTrafficPolicy: Local), and it is not where the waypoint is; run a waypoint there, or leave that field out"
            }
        })
    }
}

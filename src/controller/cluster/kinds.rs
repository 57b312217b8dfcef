use kube::core::{ApiResource, GroupVersionKind};

/// Kinds whose objects go to waypoints as they are, beside Services and Gateways. Read as plain JSON: what a field means
/// is `document`'s to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DocumentKind {
    /// agent-waypoint.dev
    AgentPolicy,
    /// security.istio.io
    AuthorizationPolicy,
    /// security.istio.io
    RequestAuthentication,
    /// gateway.networking.k8s.io
    HttpRoute,
    /// gateway.networking.k8s.io
    GrpcRoute,
    /// gateway.networking.k8s.io
    TcpRoute,
    /// gateway.networking.k8s.io
    TlsRoute,
    /// gateway.networking.k8s.io
    BackendTlsPolicy,
    /// gateway.networking.k8s.io
    ReferenceGrant,
    /// networking.istio.io
    ServiceEntry,
    /// networking.istio.io
    DestinationRule,
}

/// Machines outside the cluster, by the label of which a waypoint is in front of their own addresses; in each version, the best
/// first. Waypoints hear of them from istiod.
pub(super) fn workload_entries() -> impl Iterator<Item = ApiResource> {
    versions(WORKLOAD_ENTRY, ("networking.istio.io", "workloadentries", &["v1", "v1beta1"]))
}

/// Its kind.
pub(super) const WORKLOAD_ENTRY: &str = "WorkloadEntry";

const GATEWAY: &str = "gateway.networking.k8s.io";

/// Group, plural, and versions, the best first: an older cluster serves only a later one.
type Served = (&'static str, &'static str, &'static [&'static str]);

/// The API resource of a kind in each version.
fn versions(kind: &'static str, (group, plural, versions): Served) -> impl Iterator<Item = ApiResource> {
    versions
        .iter()
        .map(move |version| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural))
}

impl DocumentKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::AgentPolicy,
        Self::AuthorizationPolicy,
        Self::RequestAuthentication,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::TcpRoute,
        Self::TlsRoute,
        Self::BackendTlsPolicy,
        Self::ReferenceGrant,
        Self::ServiceEntry,
        Self::DestinationRule,
    ];

    /// Those of routes.
    pub const ROUTES: [Self; 4] = [Self::HttpRoute, Self::GrpcRoute, Self::TcpRoute, Self::TlsRoute];

    /// `kind`, as in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AgentPolicy => "AgentPolicy",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::RequestAuthentication => "RequestAuthentication",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::TcpRoute => "TCPRoute",
            Self::TlsRoute => "TLSRoute",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::ServiceEntry => "ServiceEntry",
            Self::DestinationRule => "DestinationRule",
        }
    }

    fn api(self) -> Served {
        match self {
            Self::AgentPolicy => ("agent-waypoint.dev", "agentpolicies", &["v1alpha1"]),
            Self::AuthorizationPolicy => ("security.istio.io", "authorizationpolicies", &["v1", "v1beta1"]),
            Self::RequestAuthentication => ("security.istio.io", "requestauthentications", &["v1", "v1beta1"]),
            Self::HttpRoute => (GATEWAY, "httproutes", &["v1"]),
            Self::GrpcRoute => (GATEWAY, "grpcroutes", &["v1"]),
            Self::TcpRoute => (GATEWAY, "tcproutes", &["v1", "v1alpha2"]),
            Self::TlsRoute => (GATEWAY, "tlsroutes", &["v1", "v1alpha3", "v1alpha2"]),
            Self::BackendTlsPolicy => (GATEWAY, "backendtlspolicies", &["v1", "v1alpha3"]),
            Self::ReferenceGrant => (GATEWAY, "referencegrants", &["v1", "v1beta1"]),
            Self::ServiceEntry => ("networking.istio.io", "serviceentries", &["v1", "v1beta1"]),
            Self::DestinationRule => ("networking.istio.io", "destinationrules", &["v1", "v1beta1"]),
        }
    }

    /// The API resource in each version, the best first.
    pub fn resources(self) -> impl Iterator<Item = ApiResource> {
        versions(self.as_str(), self.api())
    }

    /// The API resource in the best version.
    pub fn resource(self) -> ApiResource {
        let (group, plural, versions) = self.api();
        let version = versions.first().copied().unwrap_or("v1");
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.as_str()), plural)
    }

    /// What to do where the kind is not served.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::AgentPolicy => "apply manifests/crds: until then every port that is declared MCP or A2A is closed",
            Self::AuthorizationPolicy | Self::RequestAuthentication | Self::ServiceEntry | Self::DestinationRule => {
                "install Istio's CRDs"
            }
            Self::TcpRoute => "install the Gateway API's CRDs of the experimental channel, if TCP routes are wanted",
            Self::HttpRoute | Self::GrpcRoute | Self::TlsRoute | Self::BackendTlsPolicy | Self::ReferenceGrant => {
                "install the Gateway API's CRDs, if such documents are wanted"
            }
        }
    }
}

//! Which kinds are understood here, which are nobody's concern, and which are misspelt.

use super::nearest::{nearest, within};

/// Kinds that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Service,
    ConfigMap,
    Namespace,
    EndpointSlice,
    ServiceEntry,
    WorkloadEntry,
    AgentPolicy,
    AuthorizationPolicy,
    RequestAuthentication,
    BackendTlsPolicy,
    DestinationRule,
    HttpRoute,
    GrpcRoute,
    TcpRoute,
    TlsRoute,
    ReferenceGrant,
    Gateway,
}

/// What `apiVersion` and `kind` together say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    Read(Kind),
    Skipped,
    /// Meant, very likely, as `meant`; the field that is wrong, and why.
    Misspelt {
        field: &'static str,
        reason: String,
        meant: Option<Kind>,
    },
}

const OURS: &str = "agent-waypoint.dev";
const GATEWAY: &str = "gateway.networking.k8s.io";

/// Kind, name, group, versions; the first version is the one to recommend.
const READ: &[(Kind, &str, &str, &[&str])] = &[
    (Kind::Service, "Service", "", &["v1"]),
    (Kind::ConfigMap, "ConfigMap", "", &["v1"]),
    (Kind::Namespace, "Namespace", "", &["v1"]),
    (Kind::EndpointSlice, "EndpointSlice", "discovery.k8s.io", &["v1"]),
    (Kind::ServiceEntry, "ServiceEntry", "networking.istio.io", &["v1", "v1beta1", "v1alpha3"]),
    (Kind::WorkloadEntry, "WorkloadEntry", "networking.istio.io", &["v1", "v1beta1", "v1alpha3"]),
    (Kind::AgentPolicy, "AgentPolicy", OURS, &["v1alpha1"]),
    (Kind::AuthorizationPolicy, "AuthorizationPolicy", "security.istio.io", &["v1", "v1beta1"]),
    (Kind::RequestAuthentication, "RequestAuthentication", "security.istio.io", &["v1", "v1beta1"]),
    (Kind::BackendTlsPolicy, "BackendTLSPolicy", GATEWAY, &["v1", "v1alpha3"]),
    (Kind::DestinationRule, "DestinationRule", "networking.istio.io", &["v1", "v1beta1", "v1alpha3"]),
    (Kind::HttpRoute, "HTTPRoute", GATEWAY, &["v1", "v1beta1"]),
    (Kind::GrpcRoute, "GRPCRoute", GATEWAY, &["v1"]),
    (Kind::TcpRoute, "TCPRoute", GATEWAY, &["v1", "v1alpha2"]),
    (Kind::TlsRoute, "TLSRoute", GATEWAY, &["v1", "v1alpha3", "v1alpha2"]),
    (Kind::ReferenceGrant, "ReferenceGrant", GATEWAY, &["v1", "v1beta1"]),
    (Kind::Gateway, "Gateway", GATEWAY, &["v1", "v1beta1"]),
];

/// Kinds of the groups above that exist and say nothing to a waypoint of documents; they are skipped.
const OTHERS: &[(&str, &str)] = &[
    ("security.istio.io", "PeerAuthentication"),
    ("networking.istio.io", "VirtualService"),
    ("networking.istio.io", "Gateway"),
    ("networking.istio.io", "Sidecar"),
    ("networking.istio.io", "EnvoyFilter"),
    ("networking.istio.io", "WorkloadGroup"),
    ("networking.istio.io", "ProxyConfig"),
];

impl Kind {
    /// The name in `kind`.
    pub(super) fn name(self) -> &'static str {
        READ.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, ..)| name)
    }

    /// Whether the kind says who may do what, or on what terms: what it leaves out then matters.
    pub(super) fn is_policy(self) -> bool {
        matches!(
            self,
            Self::AgentPolicy | Self::AuthorizationPolicy | Self::RequestAuthentication | Self::BackendTlsPolicy
        )
    }

    /// Whether the kind is ours or Istio's, so that an unknown field beside `spec` is an error.
    pub(super) fn is_strict(self) -> bool {
        READ.iter().any(|(kind, _, group, _)| *kind == self && (*group == OURS || group.ends_with(".istio.io")))
    }
}

/// Classifies a document by its `apiVersion` and `kind`.
pub(super) fn classify(api_version: &str, kind: &str) -> Class {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if let Some((read, _, _, versions)) = READ.iter().find(|(_, name, g, _)| *name == kind && *g == group) {
        if versions.contains(&version) {
            return Class::Read(*read);
        }
        let known: Vec<String> = versions.iter().map(|version| full(group, version)).collect();
        let reason =
            format!("{api_version:?} is not a version of {kind} that is known here; write {}", known.join(" or "));
        return Class::Misspelt { field: "apiVersion", reason, meant: Some(*read) };
    }
    if OTHERS.contains(&(group, kind)) {
        return Class::Skipped;
    }
    let found = misspelt_kind(group, kind).or_else(|| misspelt_version(api_version, kind));
    found.or_else(|| misplaced(api_version, kind)).unwrap_or(Class::Skipped)
}

/// The group is right: is the kind nearly right, or one that the group does not have?
fn misspelt_kind(group: &str, kind: &str) -> Option<Class> {
    let of_group = READ.iter().filter(|(_, _, g, _)| *g == group);
    let others = OTHERS.iter().filter(|(g, _)| *g == group);
    let names: Vec<&str> = of_group.map(|(_, name, ..)| *name).chain(others.map(|(_, name)| *name)).collect();
    let near = nearest(kind, names.iter().copied());
    let whole = group == OURS || matches!(group, "security.istio.io" | "networking.istio.io");
    let reason = match near {
        Some(near) => format!("{kind:?} is not a kind; did you mean {near}?"),
        None if whole => format!("{kind:?} is not a kind of {group}; its kinds here: {}", names.join(", ")),
        None => return None,
    };
    let meant = READ.iter().find(|(_, name, g, _)| *g == group && Some(*name) == near).map(|(kind, ..)| *kind);
    Some(Class::Misspelt { field: "kind", reason, meant })
}

/// The group is unknown here: is it nearly the group of that kind, or of a kind so spelt?
fn misspelt_version(api_version: &str, kind: &str) -> Option<Class> {
    let unique = |group: &str| group == OURS || group.ends_with(".istio.io");
    let candidates = READ.iter().filter(|(_, name, group, _)| *name == kind && !group.is_empty());
    let mut forms = candidates.flat_map(|(read, _, group, versions)| {
        versions
            .iter()
            .flat_map(move |version| [(*read, *group, full(group, version)), (*read, *group, (*group).to_owned())])
    });
    let found =
        forms.find(|(read, _, form)| *read == Kind::AgentPolicy || nearest(api_version, [form.as_str()]).is_some());
    if let Some((read, group, _)) = found {
        let (_, _, _, versions) = READ.iter().find(|(kind, ..)| *kind == read)?;
        let reason = format!("{api_version:?} is not an API of {kind}; write {}", full(group, versions.first()?));
        return Some(Class::Misspelt { field: "apiVersion", reason, meant: Some(read) });
    }
    // Both misspelt: only where the kind can hardly be another's.
    let ours = READ.iter().filter(|(_, _, group, _)| unique(group));
    let group = api_version.split('/').next().unwrap_or(api_version);
    let mut near = ours.filter(|(_, name, g, _)| nearest(kind, [*name]).is_some() && nearest(group, [*g]).is_some());
    let (read, name, group, versions) = near.next()?;
    let reason =
        format!("{api_version:?} {kind:?} is not known; did you mean {} {name}?", full(group, versions.first()?));
    Some(Class::Misspelt { field: "kind", reason, meant: Some(*read) })
}

/// A kind that is read, in a group that cannot have it: Kubernetes' own groups (no dot, or `.k8s.io`) and Istio's are
/// known to have no other of that name. And what is nearly `AgentPolicy` is so in whatever group.
fn misplaced(api_version: &str, kind: &str) -> Option<Class> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let closed = !group.contains('.') || group.ends_with(".k8s.io") || group.contains("istio");
    let own = READ.iter().find(|(_, name, ..)| *name == kind).filter(|_| closed);
    if let Some((read, _, right, versions)) = own {
        let reason = format!("{api_version:?} is not an API of {kind}; write {}", full(right, versions.first()?));
        return Some(Class::Misspelt { field: "apiVersion", reason, meant: Some(*read) });
    }
    let name = Kind::AgentPolicy.name();
    within(kind, name, NEAR_POLICY).then(|| {
        let reason = format!("{api_version:?} {kind:?} is not known; did you mean {OURS}/v1alpha1 {name}?");
        Class::Misspelt { field: "kind", reason, meant: Some(Kind::AgentPolicy) }
    })
}

/// How far from `AgentPolicy` a kind of any group may be to be taken for it: `AgentPolicies`, not `AgentPool`.
const NEAR_POLICY: usize = 3;

fn full(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_in_each_of_its_versions() {
        for (kind, name, group, versions) in READ {
            for version in *versions {
                assert_eq!(classify(&full(group, version), name), Class::Read(*kind));
            }
            assert_eq!(kind.name(), *name);
        }
    }

    #[test]
    fn kinds_of_others_are_skipped() {
        let rows = [
            ("apps/v1", "Deployment"),
            ("v1", "Secret"),
            ("v1", "Pod"),
            ("v1", "ServiceAccount"),
            ("v1", "Endpoints"),
            ("networking.istio.io/v1", "VirtualService"),
            ("networking.istio.io/v1", "Gateway"),
            ("policy.linkerd.io/v1alpha1", "AuthorizationPolicy"),
            ("gateway.networking.k8s.io/v1", "GatewayClass"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
            ("serving.knative.dev/v1", "Service"),
            ("app.terraform.io/v1alpha2", "AgentPool"),
            ("telemetry.istio.io/v1", "Telemetry"),
            ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ];
        for (api_version, kind) in rows {
            assert_eq!(classify(api_version, kind), Class::Skipped, "{api_version} {kind}");
        }
    }

    /// apiVersion, kind, the wrong field, part of the reason, what was meant.
    const MISSPELT: &[(&str, &str, &str, &str, Option<Kind>)] = &[
        ("agent-waypoint.dev/v1alpha1", "AgentPolicies", "kind", "did you mean AgentPolicy?", Some(Kind::AgentPolicy)),
        ("agent-waypoint.dev/v1alpha1", "Agentpolicy", "kind", "did you mean AgentPolicy?", Some(Kind::AgentPolicy)),
        ("agent-waypoint.dev/v1alpha1", "Zebra", "kind", "its kinds here: AgentPolicy", None),
        (
            "agent-waypoint.dev/v1",
            "AgentPolicy",
            "apiVersion",
            "write agent-waypoint.dev/v1alpha1",
            Some(Kind::AgentPolicy),
        ),
        (
            "agent-waypoint.dev",
            "AgentPolicy",
            "apiVersion",
            "write agent-waypoint.dev/v1alpha1",
            Some(Kind::AgentPolicy),
        ),
        (
            "agentwaypoint.dev/v1alpha1",
            "AgentPolicy",
            "apiVersion",
            "write agent-waypoint.dev/",
            Some(Kind::AgentPolicy),
        ),
        ("example.com/v1", "AgentPolicy", "apiVersion", "write agent-waypoint.dev/v1alpha1", Some(Kind::AgentPolicy)),
        (
            "agent-waypiont.dev/v1alpha1",
            "AgentPolcy",
            "kind",
            "did you mean agent-waypoint.dev/v1alpha1 AgentPolicy?",
            Some(Kind::AgentPolicy),
        ),
        (
            "security.istio.io/v1",
            "AuthorisationPolicy",
            "kind",
            "did you mean AuthorizationPolicy?",
            Some(Kind::AuthorizationPolicy),
        ),
        (
            "security.istio.io/v1alpha1",
            "AuthorizationPolicy",
            "apiVersion",
            "write security.istio.io/v1 or",
            Some(Kind::AuthorizationPolicy),
        ),
        (
            "security.istio/v1",
            "AuthorizationPolicy",
            "apiVersion",
            "write security.istio.io/v1",
            Some(Kind::AuthorizationPolicy),
        ),
        ("networking.istio.io/v1", "ServiceEntries", "kind", "did you mean ServiceEntry?", Some(Kind::ServiceEntry)),
        ("networking.istio.io/v1", "Whatever", "kind", "is not a kind of networking.istio.io", None),
        ("v1", "service", "kind", "did you mean Service?", Some(Kind::Service)),
        ("v2", "Service", "apiVersion", "write v1", Some(Kind::Service)),
        ("v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1", Some(Kind::AuthorizationPolicy)),
        ("apps/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1", Some(Kind::AuthorizationPolicy)),
        ("istio.io/v1", "AuthorizationPolicy", "apiVersion", "security.istio.io/v1", Some(Kind::AuthorizationPolicy)),
        ("rbac.istio.io/v1", "RequestAuthentication", "apiVersion", "write", Some(Kind::RequestAuthentication)),
        ("v1", "HTTPRoute", "apiVersion", "write gateway.networking.k8s.io/v1", Some(Kind::HttpRoute)),
        ("apps/v1", "Service", "apiVersion", "write v1", Some(Kind::Service)),
        ("v1", "AgentPolcy", "kind", "did you mean agent-waypoint.dev/v1alpha1 AgentPolicy?", Some(Kind::AgentPolicy)),
        ("example.com/v1", "agentpolicies", "kind", "AgentPolicy?", Some(Kind::AgentPolicy)),
        ("gateway.networking.k8s.io/v1", "HttpRoute", "kind", "did you mean HTTPRoute?", Some(Kind::HttpRoute)),
    ];

    #[test]
    fn misspellings_name_the_nearest() {
        for (api_version, kind, field, text, meant) in MISSPELT {
            let Class::Misspelt { field: f, reason, meant: m } = classify(api_version, kind) else {
                panic!("{api_version} {kind}: {:?}", classify(api_version, kind));
            };
            assert_eq!((f, m), (*field, *meant), "{api_version} {kind}: {reason}");
            assert!(reason.contains(text), "{api_version} {kind}: {reason}");
        }
    }
}

use kube::core::DynamicObject;
use serde_json::Value;

use super::super::cluster::{DocumentKind, key};
use super::Object;

/// One thing that a document is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// A Service or ServiceEntry.
    Object(Object, String, String),
    /// A Gateway.
    Gateway(String, String),
    /// Every Gateway of a class.
    Class(String),
    /// Everything in a namespace, also where a document does not say what it is about.
    Namespace(String),
}

impl Selected {
    /// What a document is about. Nothing for Istio's policies that select workloads: those are enforced at the pods.
    pub fn by(kind: DocumentKind, document: &DynamicObject) -> Vec<Self> {
        let (namespace, _) = key(document);
        let spec = document.data.get("spec").unwrap_or(&Value::Null);
        match kind {
            DocumentKind::AgentPolicy => Self::refs(spec, namespace).unwrap_or_else(|| vec![whole(namespace)]),
            DocumentKind::AuthorizationPolicy | DocumentKind::RequestAuthentication => {
                Self::refs(spec, namespace).unwrap_or_default()
            }
            // Attached to backends, which may be in front of no waypoint: those of the namespace want to know.
            DocumentKind::BackendTlsPolicy => vec![whole(namespace)],
            DocumentKind::HttpRoute | DocumentKind::GrpcRoute | DocumentKind::TcpRoute | DocumentKind::TlsRoute => {
                let parents = spec.get("parentRefs").and_then(Value::as_array);
                let all = parents.into_iter().flatten().map(|parent| Self::one(parent, namespace, true));
                // A route of another namespace is about that namespace's own callers, and not for the Service's waypoint.
                all.filter(|one| !matches!(one, Self::Object(_, there, _) if there != namespace)).collect()
            }
            DocumentKind::ReferenceGrant => {
                let from = spec.get("from").and_then(Value::as_array).into_iter().flatten();
                from.filter_map(|from| Some(whole(from.get("namespace")?.as_str()?))).collect()
            }
            DocumentKind::ServiceEntry => Vec::new(),
            DocumentKind::DestinationRule => vec![Self::host(spec, namespace)],
        }
    }

    /// Of whose calls a DestinationRule speaks. A host of another namespace may be called by waypoints of this one, and a
    /// ServiceEntry is called otherwise than its hosts: of those whatever is in front of anything here wants to know.
    fn host(spec: &Value, own: &str) -> Self {
        let host = spec.get("host").and_then(Value::as_str).unwrap_or_default();
        let (name, rest) = host.split_once('.').unwrap_or((host, ""));
        let is_own = rest.is_empty() || rest.strip_prefix(own).is_some_and(|rest| rest.starts_with(".svc."));
        if is_own && !matches!(name, "" | "*") {
            return Self::Object(Object::Service, own.to_owned(), name.to_owned());
        }
        whole(own)
    }

    /// `targetRefs` or `targetRef`; `None` where there are none.
    fn refs(spec: &Value, namespace: &str) -> Option<Vec<Self>> {
        let many = spec.get("targetRefs").and_then(Value::as_array).filter(|refs| !refs.is_empty());
        let one = spec.get("targetRef").map(std::slice::from_ref);
        let refs = many.map(Vec::as_slice).or(one)?;
        Some(refs.iter().map(|one| Self::one(one, namespace, false)).collect())
    }

    /// One reference. A policy's targets are in its own namespace; a route's parents may be in another.
    fn one(reference: &Value, own: &str, is_route: bool) -> Self {
        let text = |field: &str| reference.get(field).and_then(Value::as_str);
        let namespace = text("namespace").filter(|_| is_route).unwrap_or(own);
        let (Some(name), kind) = (text("name"), text("kind").unwrap_or(if is_route { "Gateway" } else { "" })) else {
            return whole(own);
        };
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        if let Some(object) = Object::of_kind(kind) {
            return Self::Object(object, namespace, name);
        }
        match kind {
            "Gateway" => Self::Gateway(namespace, name),
            "GatewayClass" => Self::Class(name),
            "Namespace" => whole(own),
            _ => whole(&namespace),
        }
    }
}

fn whole(namespace: &str) -> Selected {
    Selected::Namespace(namespace.to_owned())
}

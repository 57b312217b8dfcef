//! What a document closes when it cannot be in force. Read leniently from the tree, since the document may not type.

use std::collections::BTreeMap;

use super::kind::Kind;
use super::mesh_config::CONFIG_MAP;
use super::metadata;
use super::nearest::within;
use super::problem::Meta;
use super::tree::{Node, Value};

/// Targets that stay closed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// Which.
    pub closes: Closes,
    /// Why, without file or line, so that every replica says the same.
    pub reason: String,
}

/// Which targets are closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closes {
    /// None: the document selects no target of a waypoint.
    Nothing,
    /// These.
    Refs(Vec<ClosedRef>),
    /// All of one namespace, since the document does not say which.
    Namespace(String),
    /// All that have such a workload behind them.
    Workload {
        /// Of the workload.
        namespace: String,
        /// Of the workload.
        labels: BTreeMap<String, String>,
        /// Of the workload, as written.
        address: String,
    },
    /// Those of that host, as a DestinationRule names it, of which rules of that namespace speak.
    Called {
        /// Of the rule.
        namespace: String,
        /// As written; empty where unreadable.
        host: String,
    },
    /// All.
    Everything,
}

/// One target, or one port of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedRef {
    /// `Service`, `ServiceEntry`; `Gateway`, `GatewayClass`: everything, where that is ours.
    pub kind: &'static str,
    /// Namespace of the target; for a `GatewayClass`, that of the policy.
    pub namespace: String,
    /// Name of the target.
    pub name: String,
    /// Port name or number; every port where absent.
    pub section: Option<String>,
}

/// What the document `root`, very likely of kind `kind`, selects or provides. A document of which not even the namespace
/// is known may be about anything.
pub(super) fn of(kind: Option<Kind>, root: &Node) -> Closes {
    let closes = named(kind, root);
    if closes == Closes::Nothing || metadata::is_placed(root) { closes } else { Closes::Everything }
}

fn named(kind: Option<Kind>, root: &Node) -> Closes {
    let meta = metadata::lenient(root);
    let own = |kind| {
        Closes::Refs(vec![ClosedRef {
            kind,
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            section: None,
        }])
    };
    match kind {
        Some(Kind::Service) => own("Service"),
        Some(Kind::ServiceEntry) => own("ServiceEntry"),
        // Whom the mesh's policies mean hangs on it.
        Some(Kind::ConfigMap) if (meta.namespace.as_str(), meta.name.as_str()) == CONFIG_MAP => Closes::Everything,
        // A grant that cannot be read grants nothing.
        Some(Kind::Gateway | Kind::Namespace | Kind::ConfigMap | Kind::ReferenceGrant) => Closes::Nothing,
        Some(Kind::EndpointSlice) => match meta.labels.get(SERVICE_NAME) {
            Some(name) => {
                let namespace = meta.namespace.clone();
                Closes::Refs(vec![ClosedRef { kind: "Service", namespace, name: name.clone(), section: None }])
            }
            None => Closes::Namespace(meta.namespace),
        },
        Some(Kind::DestinationRule) => tls(root, meta),
        Some(Kind::WorkloadEntry) => workload(root, meta),
        Some(Kind::HttpRoute | Kind::GrpcRoute | Kind::TcpRoute | Kind::TlsRoute) => parents(root, &meta.namespace),
        Some(Kind::AgentPolicy | Kind::AuthorizationPolicy | Kind::RequestAuthentication | Kind::BackendTlsPolicy) => {
            targets(root, &meta.namespace)
        }
        // Nobody can say what it was meant to be. It may hold policies, or be one whose writer has just begun.
        None if root.get("spec").is_some() => targets(root, &meta.namespace),
        None if root.fields().is_empty() || root.fields().iter().any(|field| is_heading(&field.key)) => {
            Closes::Everything
        }
        None => Closes::Nothing,
    }
}

/// Label of an EndpointSlice that names its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Keys that every document of Kubernetes begins with; a mapping without any is none, and is told but closes nothing.
fn is_heading(key: &str) -> bool {
    ["apiVersion", "kind", "metadata"].iter().any(|heading| within(key, heading, 1))
}

/// Load balancing decides nothing, so that a rule which cannot be read closes nothing; but where it asks for TLS, or may
/// have, plaintext is not what its writer wanted.
fn tls(root: &Node, meta: Meta) -> Closes {
    let spec = root.get("spec");
    let asks = |key: &str, value: &Value| is_tls(key) && !is_the_meshs(value);
    if spec.is_none_or(|spec| spec.find(&asks).is_none()) {
        return Closes::Nothing;
    }
    let host = spec.and_then(|spec| spec.get("host")).and_then(Node::text).unwrap_or_default();
    Closes::Called { namespace: meta.namespace, host: host.to_ascii_lowercase() }
}

/// `tls`, or what a slip makes of it.
fn is_tls(key: &str) -> bool {
    let mut letters: Vec<char> = key.chars().map(|char| char.to_ascii_lowercase()).collect();
    letters.sort_unstable();
    letters == ['l', 's', 't'] || within(key, "tls", 1)
}

fn is_the_meshs(tls: &Value) -> bool {
    let Value::Map(fields) = tls else { return false };
    let mut modes = fields.iter().filter(|field| field.key == "mode").peekable();
    modes.peek().is_some() && modes.all(|field| matches!(field.node.text(), Some("DISABLE" | "ISTIO_MUTUAL")))
}

fn workload(root: &Node, meta: Meta) -> Closes {
    let spec = root.get("spec");
    let address = spec.and_then(|spec| spec.get("address")).and_then(Node::text);
    let labels = spec.and_then(|spec| spec.get("labels")).map(Node::fields).unwrap_or_default();
    let pairs = labels.iter().map(|field| Some((field.key.clone(), field.node.text()?.to_owned())));
    match (address, pairs.collect::<Option<BTreeMap<_, _>>>()) {
        (Some(address), Some(mut labels)) => {
            labels.extend(meta.labels);
            Closes::Workload { namespace: meta.namespace, labels, address: address.to_owned() }
        }
        _ => Closes::Namespace(meta.namespace),
    }
}

fn targets(root: &Node, namespace: &str) -> Closes {
    let Some(spec) = root.get("spec") else {
        // It ends before its spec begins: its writer may be half way, even within the namespace's name.
        let ends = root.fields().iter().all(|field| is_heading(&field.key));
        return if ends { Closes::Everything } else { Closes::Namespace(namespace.to_owned()) };
    };
    let single = spec.get("targetRef").map(std::slice::from_ref);
    let list = spec.get("targetRefs").and_then(Node::items);
    let mut refs = Vec::new();
    for node in single.into_iter().chain(list).flatten() {
        let section = node.get("sectionName").and_then(Node::word);
        let name = node.get("name").and_then(Node::text);
        let kind = match (node.get("kind").and_then(Node::text), name) {
            (Some("Gateway"), Some(_)) => "Gateway",
            (Some("GatewayClass"), Some(_)) => "GatewayClass",
            (Some("Gateway" | "GatewayClass"), None) => return Closes::Everything,
            (Some("Service"), Some(_)) => "Service",
            (Some("ServiceEntry"), Some(_)) => "ServiceEntry",
            _ => return Closes::Namespace(namespace.to_owned()),
        };
        // A namespace has no place there, which is why the document is refused; but it says what was meant.
        let meant = node.get("namespace").and_then(Node::text).filter(|meant| *meant != namespace);
        let name = name.unwrap_or_default();
        refs.extend(meant.map(|meant| closed(kind, meant, name, section.clone())));
        refs.push(closed(kind, namespace, name, section));
    }
    let selects_pods = spec.get("selector").is_some();
    match (refs.is_empty(), selects_pods) {
        (false, _) => Closes::Refs(refs),
        (true, true) => Closes::Nothing,
        (true, false) => Closes::Namespace(namespace.to_owned()),
    }
}

fn parents(root: &Node, namespace: &str) -> Closes {
    let spec = root.get("spec");
    let Some(list) = spec.and_then(|spec| spec.get("parentRefs")).and_then(Node::items) else {
        return Closes::Namespace(namespace.to_owned());
    };
    let mut refs = Vec::new();
    for node in list {
        // A Service of another namespace is not this route's to lead, nor to close.
        let other = node.get("namespace").and_then(Node::text).is_some_and(|other| other != namespace);
        if other && node.get("kind").and_then(Node::text) == Some("Service") {
            continue;
        }
        let section = node.get("port").and_then(Node::word);
        // `kind` defaults to Gateway (Gateway API, ParentReference).
        match (node.get("kind").map_or(Some("Gateway"), Node::text), node.get("name").and_then(Node::text)) {
            (Some("Gateway"), _) => {}
            (Some("Service"), Some(name)) => refs.push(closed("Service", namespace, name, section)),
            (Some("ServiceEntry"), Some(name)) => refs.push(closed("ServiceEntry", namespace, name, section)),
            _ => return Closes::Namespace(namespace.to_owned()),
        }
    }
    if refs.is_empty() { Closes::Nothing } else { Closes::Refs(refs) }
}

fn closed(kind: &'static str, namespace: &str, name: &str, section: Option<String>) -> ClosedRef {
    ClosedRef { kind, namespace: namespace.to_owned(), name: name.to_owned(), section }
}

//! What becomes of routes: `status.parents`, for the parents that waypoints of ours are in front of.
//!
//! Whether a route is fit to be in force, and where it leads, is asked of the reader that the waypoints have: it is given
//! the route and what it refers to, as the waypoint of each Gateway knows it.

use std::collections::{BTreeSet, HashMap};

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::istio::entry;
use super::reader::{NAMED, Reading, Readings, called, first, told};
use crate::controller::cluster::{DocumentKind, View, key};
use crate::controller::condition::{self, Condition, Holds};
use crate::controller::feed::Resource;
use crate::controller::provision::{CONTROLLER_NAME, is_ours};
use crate::controller::scope::{Fronting, GatewayKey, Object};
use crate::controller::shared::{Entries, List};
use crate::document::{Problem, Severity};
use crate::mesh::NO_EFFECT;
use crate::policy::token::Keyring;

const GATEWAY: &str = "gateway.networking.k8s.io";

/// What the reader says of a route over what one Gateway knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Read {
    /// Why it is not in force; its parents are closed.
    errors: Vec<String>,
    /// References that come to nothing: reason and message.
    unresolved: Vec<(&'static str, String)>,
    /// Ports that it is attached to without effect, in words.
    idle: Vec<String>,
}

/// Plans, and remembers what was read of routes that stay as they are.
#[derive(Debug, Default)]
pub struct RouteStatus {
    read: Reads,
}

impl RouteStatus {
    /// Our entries on every route that names something that a waypoint of ours is in front of, or did.
    pub(super) fn plan(&mut self, view: &View, fronting: &Fronting, now: &str) -> Vec<Entries> {
        self.read.begin();
        let (mut entries, mut declaring) = (Vec::new(), HashMap::new());
        for kind in DocumentKind::ROUTES {
            for route in view.documents(kind).iter() {
                let (read, declaring) = (&mut self.read, &mut declaring);
                let mut one = One { view, fronting, kind, route, read, declaring };
                entries.extend(entry(kind, route, one.parents(now)));
            }
        }
        entries
    }
}

type Reads = Readings<(DocumentKind, String, String, GatewayKey), Read>;

/// One route.
struct One<'a> {
    view: &'a View,
    fronting: &'a Fronting,
    kind: DocumentKind,
    route: &'a DynamicObject,
    read: &'a mut Reads,
    /// By namespace, what policies call its ports.
    declaring: &'a mut HashMap<String, Vec<String>>,
}

impl One<'_> {
    fn parents(&mut self, now: &str) -> Vec<Value> {
        let live: Vec<Value> = List::Parents.of(&self.route.data).to_vec();
        let parents =
            self.route.data.pointer("/spec/parentRefs").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut entries = Vec::new();
        for parent in &parents {
            let Some([accepted, resolved]) = self.parent(parent) else { continue };
            let same = |one: &&Value| List::Parents.is_ours(one) && one.get("parentRef") == Some(parent);
            let before = condition::live(live.iter().find(same));
            let generation = self.route.metadata.generation;
            let conditions = [accepted, resolved].map(|one| one.json(before, generation, now));
            entries.push(json!({"parentRef": parent, "controllerName": CONTROLLER_NAME, "conditions": conditions}));
        }
        entries
    }

    /// What is said for one parent; nothing where it is none of ours.
    fn parent(&mut self, parent: &Value) -> Option<[Condition; 2]> {
        let text = |field: &str| parent.get(field).and_then(Value::as_str);
        let (own, _) = key(self.route);
        let (namespace, name) = (text("namespace").unwrap_or(own), text("name")?);
        match (text("group").unwrap_or(GATEWAY), text("kind").unwrap_or("Gateway")) {
            (GATEWAY, "Gateway") => {
                self.view.gateways.get(namespace, name).filter(|gateway| is_ours(self.view, gateway))?;
                let message = "a waypoint's listener takes HBONE and no routes: name the Service as parent";
                Some([not_accepted("NotAllowedByListeners", message), resolved()])
            }
            ("" | "core", "Service") => {
                let gateways = self.fronting.of_object(Object::Service, namespace, name).clone();
                if gateways.is_empty() {
                    return None;
                }
                if namespace != own {
                    let message = "calls of a Service are led by routes of its own namespace";
                    return Some([not_accepted("UnsupportedValue", message), resolved()]);
                }
                let port = parent.get("port").and_then(Value::as_i64);
                let ports = self.ports(namespace, name);
                if let Some(port) = port.filter(|port| !ports.contains(port)) {
                    let message = format!("Service {namespace}/{name} has no port {port}");
                    return Some([not_accepted("NoMatchingParent", &message), resolved()]);
                }
                let ([accepted, resolved], idle) = self.over(&gateways);
                let without = |port: &i64| {
                    let told = format!(" Service {namespace}/{name}:{port}: ");
                    idle.iter().any(|one| one.contains(&told))
                };
                if accepted.holds == Holds::True && !ports.is_empty() && ports.iter().all(without) {
                    return Some([not_accepted("NoMatchingParent", &first(&idle, NAMED)), resolved]);
                }
                Some([accepted, resolved])
            }
            ("networking.istio.io", "ServiceEntry") => {
                let gateways = self.fronting.of_object(Object::ServiceEntry, namespace, name).clone();
                if gateways.is_empty() { None } else { Some(self.over(&gateways).0) }
            }
            _ => None,
        }
    }

    fn ports(&self, namespace: &str, name: &str) -> BTreeSet<i64> {
        let service = self.view.services.get(namespace, name);
        let ports = service.and_then(|service| service.spec.as_ref()?.ports.as_ref());
        ports.into_iter().flatten().map(|port| i64::from(port.port)).collect()
    }

    /// What every one of these Gateways makes of it, and where it is attached without effect.
    fn over(&mut self, gateways: &BTreeSet<GatewayKey>) -> ([Condition; 2], Vec<String>) {
        let mut whole = Read::default();
        for gateway in gateways {
            let Read { errors, unresolved, idle } = self.read_by(gateway);
            whole.errors.extend(errors);
            whole.unresolved.extend(unresolved);
            whole.idle.extend(idle);
        }
        for lines in [&mut whole.errors, &mut whole.idle] {
            lines.sort();
            lines.dedup();
        }
        let accepted = match whole.errors.is_empty() {
            true => Condition::new("Accepted", true, "Accepted", "its waypoints lead calls by it"),
            false => {
                let wrong = first(&whole.errors, NAMED);
                let message = format!("{wrong}; its parents are closed until it is mended");
                not_accepted("UnsupportedValue", &message)
            }
        };
        let resolved = match whole.unresolved.first() {
            None => resolved(),
            Some((reason, _)) => {
                let mut told: Vec<&str> = whole.unresolved.iter().map(|(_, told)| told.as_str()).collect();
                told.dedup();
                Condition::new("ResolvedRefs", false, reason, first(&told, NAMED))
            }
        };
        ([accepted, resolved], whole.idle)
    }

    fn read_by(&mut self, gateway: &GatewayKey) -> Read {
        let sources = self.sources(gateway);
        let (namespace, name) = key(self.route);
        self.read.of((self.kind, namespace.to_owned(), name.to_owned(), gateway.clone()), sources, read)
    }

    /// The route first, then what it may lead to, as the Gateway's waypoint is told of it.
    fn sources(&mut self, gateway: &GatewayKey) -> Vec<String> {
        let (own, _) = key(self.route);
        let mut sources = vec![Resource::document_text(self.route, self.kind)];
        let mut namespaces = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let rules = || self.route.data.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
        let backends = rules().filter_map(|rule| rule.get("backendRefs")?.as_array()).flatten();
        let filters = rules().filter_map(|rule| rule.get("filters")?.as_array()).flatten();
        let of_filter = |filter: &'_ Value| {
            ["/requestMirror/backendRef", "/externalAuth/backendRef"].map(|path| filter.pointer(path).cloned())
        };
        let of_filters: Vec<Value> = filters.flat_map(of_filter).flatten().collect();
        let backends = backends.chain(&of_filters);
        let parents = self.route.data.pointer("/spec/parentRefs").and_then(Value::as_array).into_iter().flatten();
        for reference in backends.chain(parents) {
            let text = |field: &str| reference.get(field).and_then(Value::as_str);
            let Some(name) = text("name") else { continue };
            let namespace = text("namespace").unwrap_or(own);
            namespaces.insert(namespace.to_owned());
            let kind = if text("kind") == Some("ServiceEntry") { Object::ServiceEntry } else { Object::Service };
            let fronted = self.fronting.of_object(kind, namespace, name).contains(gateway);
            if !fronted || !seen.insert((kind, namespace, name)) {
                continue;
            }
            sources.extend(called(self.view, kind, namespace, name));
        }
        let declaring = self.declaring.entry(own.to_owned()).or_insert_with(|| declaring(self.view, own));
        sources.extend_from_slice(declaring);
        let grants = self.view.documents(DocumentKind::ReferenceGrant);
        for namespace in namespaces.iter().filter(|namespace| *namespace != own) {
            sources
                .extend(grants.within(namespace).map(|one| Resource::document_text(one, DocumentKind::ReferenceGrant)));
        }
        sources
    }
}

/// What policies call ports of the namespace.
fn declaring(view: &View, namespace: &str) -> Vec<String> {
    let policies = view.documents(DocumentKind::AgentPolicy);
    let declaring = policies.within(namespace).filter_map(|policy| {
        let spec = policy.data.get("spec")?;
        let (protocol, targets) = (spec.get("protocol")?, spec.get("targetRefs")?);
        let text = json!({
            "apiVersion": "agent-waypoint.dev/v1alpha1", "kind": "AgentPolicy",
            "metadata": {"namespace": namespace, "name": policy.metadata.name},
            "spec": {"protocol": protocol, "mode": spec.get("mode").and_then(Value::as_str).unwrap_or("Enforce"), "targetRefs": targets},
        });
        Some(text.to_string())
    });
    declaring.collect()
}

fn not_accepted(reason: &'static str, message: &str) -> Condition {
    Condition::new("Accepted", false, reason, message)
}

fn resolved() -> Condition {
    Condition::new("ResolvedRefs", true, "ResolvedRefs", "everything that it refers to is there")
}

fn read(sources: Vec<String>) -> Read {
    let mut read = Read::default();
    for problem in Reading::of(sources, Keyring::default()).problems {
        let told = || told(&problem.field, &problem.reason);
        match (problem.severity, unresolved(&problem)) {
            (Severity::Error, _) => read.errors.push(told()),
            (Severity::Warning, Some(reason)) => read.unresolved.push((reason, told())),
            (Severity::Warning, None) if problem.reason.starts_with(NO_EFFECT) => read.idle.push(problem.reason),
            (Severity::Warning, None) => {}
        }
    }
    read
}

/// The reason of `ResolvedRefs` for a reference that comes to nothing.
fn unresolved(problem: &Problem) -> Option<&'static str> {
    let in_list = || problem.field.rsplit_once("backendRefs[")?.1.split_once("].");
    let (_, field) = in_list().or_else(|| problem.field.rsplit_once("backendRef."))?;
    match field {
        "kind" => Some("InvalidKind"),
        "namespace" => Some("RefNotPermitted"),
        "name" | "port" => Some("BackendNotFound"),
        _ => None,
    }
}

//! What becomes of BackendTLSPolicies: `status.ancestors`, an entry for each Gateway of ours that is in front of what the
//! policy names, as the Gateway API has it (PolicyAncestorStatus). As of routes, it is asked of the reader that waypoints have.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::istio::entry;
use super::routes::{problems, service, told};
use crate::controller::cluster::{DocumentKind, View, key};
use crate::controller::condition::{self, Condition};
use crate::controller::feed::Resource;
use crate::controller::provision::CONTROLLER_NAME;
use crate::controller::scope::{Fronting, GatewayKey, Object};
use crate::controller::shared::{Entries, List};
use crate::document::{Problem, Severity};
use crate::mesh::CONFLICTED;
use crate::policy::on_compile_thread;

const KIND: DocumentKind = DocumentKind::BackendTlsPolicy;
/// So many entries a policy may have, others' among them.
const ANCESTORS: usize = 16;
/// What is wrong, and of which a message names so many.
const NAMED: usize = 8;

/// Plans, and remembers what was read of policies that stay as they are.
#[derive(Debug, Default)]
pub struct TlsStatus {
    read: HashMap<(String, String, GatewayKey), (u64, Vec<Problem>)>,
}

impl TlsStatus {
    /// Our entries on every policy that names something that a waypoint of ours is in front of, or did.
    pub(super) fn plan(&mut self, view: &View, fronting: &Fronting, now: &str) -> Vec<Entries> {
        let before = std::mem::take(&mut self.read);
        let mut entries = Vec::new();
        for policy in view.documents(KIND).iter() {
            let live = List::Ancestors.of(&policy.data);
            let (own, others): (Vec<&Value>, Vec<&Value>) = live.iter().partition(|one| List::Ancestors.is_ours(one));
            let mut ours = Vec::new();
            for gateway in ancestors(view, fronting, policy).into_iter().take(ANCESTORS.saturating_sub(others.len())) {
                let sources = sources(view, fronting, (policy, &gateway));
                let mut hasher = DefaultHasher::new();
                sources.hash(&mut hasher);
                let hash = hasher.finish();
                let (namespace, name) = key(&**policy);
                let of = (namespace.to_owned(), name.to_owned(), gateway.clone());
                let known = before.get(&of).filter(|(known, _)| *known == hash).map(|(_, problems)| problems.clone());
                let problems = known.unwrap_or_else(|| on_compile_thread(|| problems(&sources)));
                let reference = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": gateway.0, "name": gateway.1});
                let before =
                    condition::live(own.iter().find(|one| one.get("ancestorRef") == Some(&reference)).copied());
                let generation = policy.metadata.generation;
                let conditions = conditions(view, policy, &problems).map(|one| one.json(before, generation, now));
                ours.push(
                    json!({"ancestorRef": reference, "controllerName": CONTROLLER_NAME, "conditions": conditions}),
                );
                self.read.insert(of, (hash, problems));
            }
            if !ours.is_empty() || !own.is_empty() {
                entries.extend(entry(KIND, policy, ours));
            }
        }
        entries
    }
}

/// Kind and name of what a policy names.
fn targets(policy: &DynamicObject) -> impl Iterator<Item = (Object, &str)> {
    let refs = policy.data.pointer("/spec/targetRefs").and_then(Value::as_array);
    refs.into_iter().flatten().filter_map(|one| {
        let kind = match one.get("kind")?.as_str()? {
            "Service" => Object::Service,
            "ServiceEntry" => Object::ServiceEntry,
            _ => return None,
        };
        Some((kind, one.get("name")?.as_str()?))
    })
}

/// The Gateways in front of what a policy names; of what is not there, those of its own namespace, as somebody has to say
/// so.
fn ancestors(view: &View, fronting: &Fronting, policy: &DynamicObject) -> BTreeSet<GatewayKey> {
    let (namespace, _) = key(policy);
    let mut gateways = BTreeSet::new();
    for (kind, name) in targets(policy) {
        gateways.extend(fronting.of_object(kind, namespace, name).iter().cloned());
        if !is_there(view, namespace, (kind, name)) {
            gateways.extend(fronting.within(namespace).into_iter().filter(|(of, _)| of == namespace));
        }
    }
    gateways
}

fn is_there(view: &View, namespace: &str, (kind, name): (Object, &str)) -> bool {
    match kind {
        Object::Service => view.services.get(namespace, name).is_some(),
        Object::ServiceEntry => view.documents(DocumentKind::ServiceEntry).get(namespace, name).is_some(),
    }
}

/// The policy first, then what it is about and what else is about that, as the Gateway's waypoint is told of it.
fn sources(view: &View, fronting: &Fronting, (policy, gateway): (&DynamicObject, &GatewayKey)) -> Vec<String> {
    let (namespace, name) = key(policy);
    let mut sources = vec![Resource::document_text(policy, KIND)];
    let policies = view.documents(KIND);
    let others = policies.within(namespace).filter(|other| key(&***other).1 != name);
    sources.extend(others.map(|other| Resource::document_text(other, KIND)));
    let mut seen = BTreeSet::new();
    for (kind, name) in policies.within(namespace).flat_map(|policy| targets(policy)) {
        if !fronting.of_object(kind, namespace, name).contains(gateway) || !seen.insert((kind, name)) {
            continue;
        }
        sources.extend(match kind {
            Object::Service => service(view, namespace, name),
            Object::ServiceEntry => {
                let entries = view.documents(DocumentKind::ServiceEntry);
                entries.get(namespace, name).map(|one| Resource::document_text(one, DocumentKind::ServiceEntry))
            }
        });
    }
    sources.extend(view.roots.within(namespace).map(|map| {
        let metadata = json!({"namespace": namespace, "name": map.metadata.name});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": map.data}).to_string()
    }));
    sources
}

/// `Accepted` and `ResolvedRefs`.
fn conditions(view: &View, policy: &DynamicObject, problems: &[Problem]) -> [Condition; 2] {
    let of = |wanted: &dyn Fn(&Problem) -> bool| -> Vec<String> {
        let mut all: Vec<String> = problems.iter().filter(|one| wanted(one)).map(told).collect();
        all.dedup();
        all
    };
    let error = |one: &Problem| one.severity == Severity::Error;
    let references = of(&|one| error(one) && reference(one).is_some());
    let resolved = match problems.iter().filter(|one| error(one)).find_map(reference) {
        None => Condition::new("ResolvedRefs", true, "ResolvedRefs", "everything that it refers to is there"),
        Some(reason) => Condition::new("ResolvedRefs", false, reason, said(references.clone())),
    };
    let named = policy.data.pointer("/spec/validation/caCertificateRefs").and_then(Value::as_array).map_or(0, Vec::len);
    let no_port = of(&|one| error(one) && one.field.ends_with(".sectionName"));
    let wrong = of(&|one| error(one) && reference(one).is_none() && !one.field.ends_with(".sectionName"));
    let conflicted = of(&|one| one.reason.starts_with(CONFLICTED));
    // What is there and uses no waypoint of ours is others' to speak of.
    let missing = targets(policy).enumerate().filter(|(_, target)| !is_there(view, key(policy).0, *target));
    let missing: Vec<String> = missing.map(|(at, _)| format!("spec.targetRefs[{at}].name")).collect();
    let nothing = of(&|one| missing.contains(&one.field));
    let closed = |told: Vec<String>| format!("{}; what it names is closed until it is mended", said(told));
    let accepted = if !wrong.is_empty() {
        Condition::new("Accepted", false, "Invalid", closed(wrong))
    } else if !no_port.is_empty() {
        Condition::new("Accepted", false, "TargetNotFound", closed(no_port))
    } else if !references.is_empty() && references.len() == named {
        Condition::new("Accepted", false, "NoValidCACertificate", closed(references))
    } else if !references.is_empty() {
        Condition::new("Accepted", false, "Invalid", closed(references))
    } else if !conflicted.is_empty() {
        Condition::new("Accepted", false, "Conflicted", said(conflicted))
    } else if !nothing.is_empty() {
        Condition::new("Accepted", false, "TargetNotFound", said(nothing))
    } else {
        Condition::new("Accepted", true, "Accepted", "its waypoint speaks TLS to what it names")
    };
    [accepted, resolved]
}

fn said(told: Vec<String>) -> String {
    told.into_iter().take(NAMED).collect::<Vec<_>>().join("; ")
}

/// The reason of `ResolvedRefs` for a reference that comes to nothing.
fn reference(problem: &Problem) -> Option<&'static str> {
    let (_, field) = problem.field.rsplit_once("caCertificateRefs[")?.1.split_once("].")?;
    match field {
        "kind" => Some("InvalidKind"),
        "name" => Some("InvalidCACertificateRef"),
        _ => None,
    }
}

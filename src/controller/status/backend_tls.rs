//! What becomes of BackendTLSPolicies: `status.ancestors`, an entry for each Gateway of ours that is in front of what the
//! policy names, as the Gateway API has it (PolicyAncestorStatus). As of routes, it is asked of the reader that waypoints have.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::enforced::{object, targets as references};
use super::istio::entry;
use super::reader::{NAMED, Reading, Readings, called, config_map, first, told};
use crate::controller::cluster::{DocumentKind, View, key};
use crate::controller::condition::{self, Condition};
use crate::controller::feed::Resource;
use crate::controller::provision::CONTROLLER_NAME;
use crate::controller::scope::{Fronting, GatewayKey, Object};
use crate::controller::shared::{Entries, List};
use crate::document::{Problem, Severity};
use crate::mesh::CONFLICTED;
use crate::policy::token::Keyring;

const KIND: DocumentKind = DocumentKind::BackendTlsPolicy;
/// So many entries a policy may have, others' among them.
const ANCESTORS: usize = 16;

/// Plans, and remembers what was read of policies that stay as they are.
#[derive(Debug, Default)]
pub struct TlsStatus {
    read: Readings<(String, String, GatewayKey), Vec<Problem>>,
}

impl TlsStatus {
    /// Our entries on every policy that names something that a waypoint of ours is in front of, or did.
    pub(super) fn plan(&mut self, view: &View, fronting: &Fronting, now: &str) -> Vec<Entries> {
        self.read.begin();
        let mut entries = Vec::new();
        for policy in view.documents(KIND).iter() {
            let live = List::Ancestors.of(&policy.data);
            let (own, others): (Vec<&Value>, Vec<&Value>) = live.iter().partition(|one| List::Ancestors.is_ours(one));
            let mut ours = Vec::new();
            for gateway in ancestors(view, fronting, policy).into_iter().take(ANCESTORS.saturating_sub(others.len())) {
                let sources = sources(view, fronting, (policy, &gateway));
                let (namespace, name) = key(&**policy);
                let of = (namespace.to_owned(), name.to_owned(), gateway.clone());
                let read = |sources| Reading::of(sources, Keyring::default()).problems;
                let problems = self.read.of(of, sources, read);
                let reference = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": gateway.0, "name": gateway.1});
                let before =
                    condition::live(own.iter().find(|one| one.get("ancestorRef") == Some(&reference)).copied());
                let generation = policy.metadata.generation;
                let conditions = conditions(view, policy, &problems).map(|one| one.json(before, generation, now));
                ours.push(
                    json!({"ancestorRef": reference, "controllerName": CONTROLLER_NAME, "conditions": conditions}),
                );
            }
            entries.extend(entry(KIND, policy, ours));
        }
        entries
    }
}

/// Kind and name of what a policy names.
fn targets(policy: &DynamicObject) -> impl Iterator<Item = (Object, &str)> {
    references(policy).filter_map(object)
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
        sources.extend(called(view, kind, namespace, name));
    }
    sources.extend(view.roots.within(namespace).map(|map| config_map(map)));
    sources
}

/// `Accepted` and `ResolvedRefs`.
fn conditions(view: &View, policy: &DynamicObject, problems: &[Problem]) -> [Condition; 2] {
    let of = |wanted: &dyn Fn(&Problem) -> bool| -> Vec<String> {
        let wanted = problems.iter().filter(|one| wanted(one));
        let mut all: Vec<String> = wanted.map(|one| told(&one.field, &one.reason)).collect();
        all.dedup();
        all
    };
    let error = |one: &Problem| one.severity == Severity::Error;
    let references = of(&|one| error(one) && reference(one).is_some());
    let resolved = match problems.iter().filter(|one| error(one)).find_map(reference) {
        None => Condition::new("ResolvedRefs", true, "ResolvedRefs", "everything that it refers to is there"),
        Some(reason) => Condition::new("ResolvedRefs", false, reason, first(&references, NAMED)),
    };
    let named = policy.data.pointer("/spec/validation/caCertificateRefs").and_then(Value::as_array).map_or(0, Vec::len);
    let no_port = of(&|one| error(one) && one.field.ends_with(".sectionName"));
    let wrong = of(&|one| error(one) && reference(one).is_none() && !one.field.ends_with(".sectionName"));
    let conflicted = of(&|one| one.reason.starts_with(CONFLICTED));
    let missing = missing(view, policy);
    let nothing = of(&|one| missing.contains(&one.field));
    let closed = |told: &[String]| format!("{}; what it names is closed until it is mended", first(told, NAMED));
    let accepted = if !wrong.is_empty() {
        Condition::new("Accepted", false, "Invalid", closed(&wrong))
    } else if !no_port.is_empty() {
        Condition::new("Accepted", false, "TargetNotFound", closed(&no_port))
    } else if !references.is_empty() && references.len() == named {
        Condition::new("Accepted", false, "NoValidCACertificate", closed(&references))
    } else if !references.is_empty() {
        Condition::new("Accepted", false, "Invalid", closed(&references))
    } else if !conflicted.is_empty() {
        Condition::new("Accepted", false, "Conflicted", first(&conflicted, NAMED))
    } else if !nothing.is_empty() {
        Condition::new("Accepted", false, "TargetNotFound", first(&nothing, NAMED))
    } else {
        Condition::new("Accepted", true, "Accepted", "its waypoint speaks TLS to what it names")
    };
    [accepted, resolved]
}

/// The fields by which it names what is not there. What is there and uses no waypoint of ours is others' to speak of.
fn missing(view: &View, policy: &DynamicObject) -> Vec<String> {
    let is_missing = |target: &Value| object(target).is_some_and(|target| !is_there(view, key(policy).0, target));
    let missing = references(policy).enumerate().filter(|(_, target)| is_missing(target));
    missing.map(|(at, _)| format!("spec.targetRefs[{at}].name")).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::{TOOLS, view};

    #[test]
    fn what_is_missing_is_named_by_its_place_among_all_targets() {
        let policy = "---
kind: BackendTLSPolicy
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: it, namespace: tools}
spec: {targetRefs: [{group: example.com, kind: Backend, name: b}, {group: '', kind: Service, name: none}]}
";
        let view = view(&format!("{TOOLS}{policy}"));
        let policies = view.documents(KIND);
        assert_eq!(missing(&view, policies.iter().next().unwrap()), ["spec.targetRefs[1].name"]);
    }
}

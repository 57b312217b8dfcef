use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use kube::ResourceExt as _;
use kube::core::DynamicObject;

use super::super::cluster::{DocumentKind, View, key};
use super::super::condition::Condition;
use super::super::feed::Resource;
use super::istio::{KINDS, has_targets};
use super::reader::{Reading, config_map, first, told};
use crate::document::{FieldProblem, Severity, Source, load_json};
use crate::policy::token::{KeyHost, KeyHosts, Keyring};
use crate::policy::{check_agent_policy, on_compile_thread};

/// Where a CUSTOM policy names who is asked.
const PROVIDER: &str = "spec.provider.name";
/// Problems that a message names.
const MAX_PROBLEMS: usize = 16;

/// What `check` says of one policy by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// `field: reason`
    pub errors: Vec<String>,
    /// `field: reason`
    pub warnings: Vec<String>,
    /// Whether it closes anything by itself, as what it means cannot be read.
    pub closes: bool,
}

impl Checked {
    /// Checks an AgentPolicy as a waypoint would. Blocks while expressions are parsed: on the compile thread, please.
    pub fn of(policy: &DynamicObject) -> Self {
        let (namespace, name) = key(policy);
        let document = Resource::document_text(policy, DocumentKind::AgentPolicy);
        let file = Arc::new(PathBuf::from(format!("{namespace}/{name}")));
        let documents = load_json([Source { file, text: document }]);
        let mut checked = Self::default();
        for problem in &documents.problems {
            checked.add(problem.severity, &problem.field, &problem.reason);
        }
        for document in &documents.agent_policies {
            for FieldProblem { severity, field, reason } in check_agent_policy(&document.meta, &document.spec) {
                checked.add(severity, &field, &reason);
            }
        }
        checked
    }

    /// Checks a policy of Istio's as a waypoint would, over the mesh's own settings; `hosts` are those from which every
    /// waypoint may fetch keys, where that is known. As [`Checked::of`] it blocks.
    pub fn of_istio(kind: DocumentKind, policy: &DynamicObject, (view, hosts): (&View, Option<&KeyHosts>)) -> Self {
        let mut sources = vec![Resource::document_text(policy, kind)];
        sources.extend(view.mesh_config.iter().next().filter(|map| map.data.is_some()).map(|map| config_map(map)));
        let keys = hosts.cloned().map_or_else(Keyring::default, Keyring::new);
        let Reading { problems, closes } = Reading::of(sources, keys);
        let mut checked = Self { closes, ..Self::default() };
        // Of warnings the one that the meshConfig alone settles (others are of objects that are not looked at here), and
        // what of a load balancer has no effect.
        let is_told = |severity: Severity, field: &str| {
            severity == Severity::Error || kind == DocumentKind::DestinationRule || field == PROVIDER
        };
        for problem in problems.iter().filter(|one| is_told(one.severity, &one.field)) {
            checked.add(problem.severity, &problem.field, &problem.reason);
        }
        checked
    }

    fn add(&mut self, severity: Severity, field: &str, reason: &str) {
        let lines = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        lines.push(told(field, reason));
    }

    /// `Accepted`
    pub(super) fn condition(&self) -> Condition {
        let told = |lines: &[String]| first(lines, MAX_PROBLEMS);
        match (self.errors.is_empty(), self.warnings.is_empty()) {
            (false, _) => {
                let message = format!("{}; what it selects is closed until it is mended", told(&self.errors));
                Condition::new("Accepted", false, "Invalid", message)
            }
            (true, false) => Condition::new("Accepted", true, "AcceptedWithWarnings", told(&self.warnings)),
            (true, true) => Condition::new("Accepted", true, "Accepted", "fit to be in force"),
        }
    }
}

/// What was checked, by version: only what changed is checked again, and Istio's policies where the meshConfig did, which
/// declares the providers that they name.
#[derive(Debug, Default)]
pub struct Checks {
    known: HashMap<Owned, (Option<String>, Checked)>,
    /// Version of the meshConfig that Istio's policies were checked over.
    mesh: Option<String>,
    hosts: Option<KeyHosts>,
}

type Owned = (DocumentKind, String, String);

impl Checks {
    /// Where it is known from which hosts waypoints may fetch keys, by `--jwks-hosts`; an empty list says nothing.
    pub fn with_hosts(hosts: &[String]) -> Self {
        let all: Vec<KeyHost> = hosts.iter().filter_map(|host| host.parse().ok()).collect();
        Self { hosts: (!hosts.is_empty()).then(|| KeyHosts::new(all)), ..Self::default() }
    }

    /// Checks what is new in a view.
    pub fn update(&mut self, view: &View) {
        let mut before = std::mem::take(&mut self.known);
        let mesh = view.mesh_config.iter().next().and_then(|map| map.resource_version());
        if mesh != self.mesh {
            before.retain(|(kind, ..), _| !KINDS.contains(kind));
            self.mesh = mesh;
        }
        let mut new = Vec::new();
        for kind in [DocumentKind::AgentPolicy, DocumentKind::DestinationRule].into_iter().chain(KINDS) {
            let selected = |policy: &&Arc<DynamicObject>| !KINDS.contains(&kind) || has_targets(policy);
            for policy in view.documents(kind).iter().filter(selected) {
                let (key, version) = (owned(kind, policy), version(policy));
                match before.remove(&key) {
                    Some((known, checked)) if known == version && known.is_some() => {
                        self.known.insert(key, (known, checked));
                    }
                    Some(_) | None => new.push((kind, Arc::clone(policy))),
                }
            }
        }
        if new.is_empty() {
            return;
        }
        let check = |(kind, policy): &(DocumentKind, Arc<DynamicObject>)| {
            let over = (view, self.hosts.as_ref());
            if *kind == DocumentKind::AgentPolicy {
                Checked::of(policy)
            } else {
                Checked::of_istio(*kind, policy, over)
            }
        };
        let checked = on_compile_thread(|| new.iter().map(check).collect::<Vec<_>>());
        for ((kind, policy), checked) in new.iter().zip(checked) {
            if !checked.errors.is_empty() {
                let ((namespace, name), kind) = (key(&**policy), kind.as_str());
                tracing::warn!(kind, namespace, name, errors = checked.errors.join("; "), "not accepted");
            }
            self.known.insert(owned(*kind, policy), (version(policy), checked));
        }
    }

    /// What was found; nothing for one that was not checked.
    pub fn of(&self, kind: DocumentKind, policy: &DynamicObject) -> Checked {
        self.known.get(&owned(kind, policy)).map(|(_, checked)| checked.clone()).unwrap_or_default()
    }
}

fn owned(kind: DocumentKind, policy: &DynamicObject) -> Owned {
    let (namespace, name) = key(policy);
    (kind, namespace.to_owned(), name.to_owned())
}

/// Of what matters to a check: a status that we wrote changes nothing.
fn version(policy: &DynamicObject) -> Option<String> {
    Some(format!("{}.{}", policy.uid()?, policy.metadata.generation?))
}

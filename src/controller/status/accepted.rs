use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use kube::ResourceExt as _;
use kube::core::DynamicObject;

use super::super::cluster::{DocumentKind, View, key};
use super::super::condition::Condition;
use super::super::feed::Resource;
use crate::document::{FieldProblem, Severity, Source, load};
use crate::policy::{check_agent_policy, on_compile_thread};

/// Problems that a message names.
const MAX_PROBLEMS: usize = 16;

/// What `check` says of one policy by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// `field: reason`
    pub errors: Vec<String>,
    /// `field: reason`
    pub warnings: Vec<String>,
}

impl Checked {
    /// Checks an AgentPolicy as a waypoint would. Blocks while expressions are parsed: on the compile thread, please.
    pub fn of(policy: &DynamicObject) -> Self {
        let (namespace, name) = key(policy);
        let document = Resource::document_text(policy, DocumentKind::AgentPolicy);
        let file = Arc::new(PathBuf::from(format!("{namespace}/{name}")));
        let documents = load([Source { file, text: document }]);
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

    fn add(&mut self, severity: Severity, field: &str, reason: &str) {
        let line = if field.is_empty() { reason.to_owned() } else { format!("{field}: {reason}") };
        match severity {
            Severity::Error => self.errors.push(line),
            Severity::Warning => self.warnings.push(line),
        }
    }

    /// `Accepted`
    pub(super) fn condition(&self) -> Condition {
        let told = |lines: &[String]| lines.iter().take(MAX_PROBLEMS).cloned().collect::<Vec<_>>().join("; ");
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

/// What was checked, by version: only what changed is checked again.
#[derive(Debug, Default)]
pub struct Checks(HashMap<(String, String), (Option<String>, Checked)>);

impl Checks {
    /// Checks what is new in a view.
    pub fn update(&mut self, view: &View) {
        let policies = view.documents(DocumentKind::AgentPolicy);
        let mut before = std::mem::take(&mut self.0);
        let mut new = Vec::new();
        for policy in policies.iter() {
            let (key, version) = (owned(policy), version(policy));
            match before.remove(&key) {
                Some((known, checked)) if known == version && known.is_some() => {
                    self.0.insert(key, (known, checked));
                }
                Some(_) | None => new.push(Arc::clone(policy)),
            }
        }
        if new.is_empty() {
            return;
        }
        let checked = on_compile_thread(|| new.iter().map(|policy| Checked::of(policy)).collect::<Vec<_>>());
        for (policy, checked) in new.iter().zip(checked) {
            if !checked.errors.is_empty() {
                let (namespace, name) = key(&**policy);
                tracing::warn!(namespace, name, errors = checked.errors.join("; "), "AgentPolicy is not accepted");
            }
            self.0.insert(owned(policy), (version(policy), checked));
        }
    }

    /// What was found; nothing for one that was not checked.
    pub fn of(&self, policy: &DynamicObject) -> Checked {
        self.0.get(&owned(policy)).map(|(_, checked)| checked.clone()).unwrap_or_default()
    }
}

fn owned(policy: &DynamicObject) -> (String, String) {
    let (namespace, name) = key(policy);
    (namespace.to_owned(), name.to_owned())
}

/// Of what matters to a check: a status that we wrote changes nothing.
fn version(policy: &DynamicObject) -> Option<String> {
    Some(format!("{}.{}", policy.uid()?, policy.metadata.generation?))
}

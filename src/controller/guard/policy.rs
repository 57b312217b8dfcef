//! The guard as an object: an `AuthorizationPolicy` by selector, so that ztunnel enforces it at the pod.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest;
use serde::Serialize;
use serde_json::{Value, json};

use super::input::Name;
use crate::mesh::l4::{Action, Authorization, Group, Match, Rule, Scope, Text};

/// Names of guards begin so; the rest is a hash of the selector.
pub const NAME_PREFIX: &str = "agent-waypoint-guard-";
/// Label that marks what we wrote, and only that.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const MANAGER: &str = "agent-waypoint-guard";
/// Annotation that names the Services that a guard was written for.
pub const SERVICES: &str = "agent-waypoint.dev/guarded-services";

/// One guard: whom the pods of one selector take calls from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuardPolicy {
    /// Namespace and name.
    pub name: Name,
    /// The pods, by the labels of the Services' selector.
    pub selector: BTreeMap<String, String>,
    /// Refuses whatever any of them refuses.
    pub rules: Vec<GuardRule>,
    /// Names of the Services that it is for.
    pub services: BTreeSet<Arc<str>>,
}

/// Refuses everyone but `exempt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuardRule {
    /// Target port; none: every port.
    pub port: Option<u16>,
    /// Principals without `spiffe://` (with it, istiod's policy would refuse the waypoint too).
    pub exempt: BTreeSet<Arc<str>>,
}

impl GuardPolicy {
    /// The name of the guard of a selector: the same selector always has the same, whichever Services share it.
    pub fn name_for(namespace: &str, selector: &BTreeMap<String, String>) -> Name {
        let mut text = Vec::new();
        for (key, value) in selector {
            // Neither may hold a zero byte, so that no two selectors read the same.
            text.extend_from_slice(key.as_bytes());
            text.push(0);
            text.extend_from_slice(value.as_bytes());
            text.push(0);
        }
        let hash = digest::digest(&digest::SHA256, &text);
        let mut name = String::from(NAME_PREFIX);
        for byte in hash.as_ref().iter().take(5) {
            let _infallible = write!(name, "{byte:02x}");
        }
        Name::new(namespace, &name)
    }

    /// Where it stands.
    pub(super) fn namespace(&self) -> &str {
        &self.name.namespace
    }

    /// The namespaces of those that are exempt.
    pub(super) fn exempt_namespaces(&self) -> impl Iterator<Item = &str> {
        let exempt = self.rules.iter().flat_map(|rule| &rule.exempt);
        // `DOMAIN/ns/NAMESPACE/sa/ACCOUNT`
        exempt.filter_map(|principal| principal.split('/').nth(2))
    }

    /// The object to apply.
    pub fn object(&self) -> Value {
        let services: Vec<&str> = self.services.iter().map(|name| &**name).collect();
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {
                "namespace": self.name.namespace,
                "name": self.name.name,
                "labels": {MANAGED_BY: MANAGER},
                "annotations": {SERVICES: services.join(",")},
            },
            "spec": {
                "selector": {"matchLabels": self.selector},
                "action": "DENY",
                "rules": self.rules.iter().map(GuardRule::object).collect::<Vec<_>>(),
            },
        })
    }

    /// What istiod makes of it for ztunnel: one group for a rule, in it one rule for `to` and one for `from`.
    pub fn sent(&self) -> Authorization {
        let group = |rule: &GuardRule| {
            let to = rule.port.map(|port| Match { destination_ports: vec![port], ..Match::default() });
            let exempt = rule.exempt.iter().map(|one| Text::Exact(Arc::clone(one))).collect();
            let from = Match { not_principals: exempt, ..Match::default() };
            Group { rules: to.into_iter().chain([from]).map(|one| Rule { matches: vec![one] }).collect() }
        };
        Authorization {
            name: Arc::clone(&self.name.name),
            namespace: Arc::clone(&self.name.namespace),
            scope: Scope::WorkloadSelector,
            action: Action::Deny,
            groups: self.rules.iter().map(group).collect(),
            dry_run: false,
        }
    }
}

impl GuardRule {
    fn object(&self) -> Value {
        let from = json!([{"source": {"notPrincipals": self.exempt}}]);
        match self.port {
            // istiod takes ports as texts.
            Some(port) => json!({"to": [{"operation": {"ports": [port.to_string()]}}], "from": from}),
            None => json!({"from": from}),
        }
    }
}

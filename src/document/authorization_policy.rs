//! `security.istio.io` `AuthorizationPolicy`, in Istio's own fields. Every field of Istio's API is known by name; what
//! cannot be enforced is refused when compiled, never ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::agent_policy::TargetRef;

/// `spec` of an `AuthorizationPolicy`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthorizationPolicySpec {
    /// Pods by label: ztunnel's business, never enforced at a waypoint.
    pub selector: Option<Selector>,
    /// Older single form of `targetRefs`.
    pub target_ref: Option<TargetRef>,
    /// What the policy protects.
    pub target_refs: Vec<TargetRef>,
    /// ALLOW where absent.
    pub action: Action,
    /// OR; no rules: matches nothing.
    pub rules: Vec<IstioRule>,
    /// CUSTOM only: who decides.
    pub provider: Option<Provider>,
}

/// `selector`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// All must match.
    pub match_labels: BTreeMap<String, String>,
}

/// `provider`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Provider {
    /// Name of one of meshConfig's `extensionProviders`.
    pub name: String,
}

/// `action`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// Permits what matches; everything else is refused.
    #[default]
    Allow,
    /// Refuses what matches.
    Deny,
    /// Marks what matches; decides nothing.
    Audit,
    /// Asks an outside provider about what matches.
    Custom,
}

/// One rule: `from` AND `to` AND `when`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IstioRule {
    /// OR
    pub from: Vec<IstioFrom>,
    /// OR
    pub to: Vec<IstioTo>,
    /// AND
    pub when: Vec<Condition>,
}

/// One entry of `when`: the attribute has one of `values`, if there are some, and none of `notValues`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Condition {
    /// An Istio attribute: istio.io/latest/docs/reference/config/security/conditions/
    pub key: String,
    /// OR
    pub values: Vec<String>,
    /// None of them.
    pub not_values: Vec<String>,
}

/// Wrapper of `source`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IstioFrom {
    /// The source.
    pub source: Source,
}

/// Fields AND, values OR.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[doc = "Names and meaning are Istio's: istio.io/latest/docs/reference/config/security/authorization-policy/#Source"]
pub struct Source {
    pub principals: Vec<String>,
    pub not_principals: Vec<String>,
    pub request_principals: Vec<String>,
    pub not_request_principals: Vec<String>,
    pub namespaces: Vec<String>,
    pub not_namespaces: Vec<String>,
    pub ip_blocks: Vec<String>,
    pub not_ip_blocks: Vec<String>,
    pub remote_ip_blocks: Vec<String>,
    pub not_remote_ip_blocks: Vec<String>,
    pub service_accounts: Vec<String>,
    pub not_service_accounts: Vec<String>,
    pub trust_domains: Vec<String>,
    pub not_trust_domains: Vec<String>,
}

/// Wrapper of `operation`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IstioTo {
    /// The operation.
    pub operation: Operation,
}

/// Fields AND, values OR.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[doc = "Names and meaning are Istio's: istio.io/latest/docs/reference/config/security/authorization-policy/#Operation"]
pub struct Operation {
    pub hosts: Vec<String>,
    pub not_hosts: Vec<String>,
    pub ports: Vec<String>,
    pub not_ports: Vec<String>,
    pub methods: Vec<String>,
    pub not_methods: Vec<String>,
    pub paths: Vec<String>,
    pub not_paths: Vec<String>,
}

//! `security.istio.io` `AuthorizationPolicy`, in Istio's own fields. Every field of Istio's API is known by name; those
//! not enforced yet are refused when compiled, never ignored.

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
    /// CUSTOM only.
    pub provider: Option<serde_json::Value>,
}

/// `selector`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// All must match.
    pub match_labels: BTreeMap<String, String>,
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
    /// Not enforced yet.
    Audit,
    /// Not enforced yet.
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
    /// AND; not enforced yet.
    pub when: Vec<serde_json::Value>,
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

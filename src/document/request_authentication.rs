//! `security.istio.io` `RequestAuthentication`, in Istio's own fields: which tokens are verified, and by whose keys.
//! Every field of Istio's API is known by name; those not enforced yet are refused by [`check`], never ignored.

use serde::Deserialize;

use super::agent_policy::TargetRef;
use super::authorization_policy::Selector;
use super::{FieldProblem, Severity};

/// `spec` of a `RequestAuthentication`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestAuthenticationSpec {
    /// Pods by label: a sidecar's business, never in force at a waypoint.
    pub selector: Option<Selector>,
    /// Older single form of `targetRefs`.
    pub target_ref: Option<TargetRef>,
    /// Whose calls' tokens are verified.
    pub target_refs: Vec<TargetRef>,
    /// Tokens that are accepted.
    pub jwt_rules: Vec<JwtRuleSpec>,
}

/// One entry of `jwtRules`. Tokens are read from `Authorization: Bearer` alone.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtRuleSpec {
    /// `iss` that the token must have.
    pub issuer: String,
    /// One of these must be in `aud`; any where empty.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// JSON Web Key Set, inline.
    #[serde(default)]
    pub jwks: String,
    /// Whether the token goes on to the server; it does not where absent.
    #[serde(default)]
    pub forward_original_token: bool,
    /// Not enforced yet.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// Not enforced yet.
    #[serde(default)]
    pub from_headers: Vec<serde_json::Value>,
    /// Not enforced yet.
    #[serde(default)]
    pub from_params: Vec<String>,
    /// Not enforced yet.
    #[serde(default)]
    pub from_cookies: Vec<String>,
    /// Not enforced yet.
    #[serde(default)]
    pub output_payload_to_header: Option<String>,
    /// Not enforced yet.
    #[serde(default)]
    pub output_claim_to_headers: Vec<serde_json::Value>,
    /// Not enforced yet.
    #[serde(default)]
    pub timeout: Option<String>,
    /// Claims that are lists in one string, besides `scope` and `permission`.
    #[serde(default)]
    pub space_delimited_claims: Vec<String>,
}

/// What stands in `spec` that is not enforced yet or cannot be meant, with the remedy.
pub fn check(spec: &RequestAuthenticationSpec) -> Vec<FieldProblem> {
    let mut out = Vec::new();
    for (index, rule) in spec.jwt_rules.iter().enumerate() {
        let mut refuse = |field: &str, reason: String| {
            let field = format!("spec.jwtRules[{index}].{field}");
            out.push(FieldProblem { severity: Severity::Error, field, reason });
        };
        let unenforced = [
            ("jwksUri", rule.jwks_uri.is_some()),
            ("fromHeaders", !rule.from_headers.is_empty()),
            ("fromParams", !rule.from_params.is_empty()),
            ("fromCookies", !rule.from_cookies.is_empty()),
            ("outputPayloadToHeader", rule.output_payload_to_header.is_some()),
            ("outputClaimToHeaders", !rule.output_claim_to_headers.is_empty()),
            ("timeout", rule.timeout.is_some()),
        ];
        for (field, present) in unenforced {
            if present {
                let remedy = if field == "jwksUri" { "write the keys into jwks" } else { "leave it out" };
                refuse(field, format!("is not enforced yet; {remedy}"));
            }
        }
        if rule.issuer.is_empty() {
            refuse("issuer", "is empty; name the token's issuer".to_owned());
        }
        if rule.jwks.is_empty() && rule.jwks_uri.is_none() {
            refuse("jwks", "is missing; write the issuer's JSON Web Key Set".to_owned());
        }
    }
    out
}

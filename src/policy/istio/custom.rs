use crate::document::authorization_policy::AuthorizationPolicySpec;
use crate::policy::problems::Problems;

/// Fields and attributes that Istio's API server refuses of CUSTOM (`pkg/config/validation`): where Envoy asks a provider,
/// identities are not settled yet.
const SOURCES: &str = "is not known to Istio with CUSTOM (its API server refuses it): ask for what is narrower by `to`, \
                       `ipBlocks` or `when`, and let the provider see the caller";

/// Whether a CUSTOM policy can be meant as it stands; whether there is such a provider is for the mesh to say.
pub(super) fn check(spec: &AuthorizationPolicySpec, problems: &mut Problems) {
    if spec.rules.is_empty() {
        problems.error("spec.rules", "CUSTOM without rules never asks: write `rules: [{}]` to ask about every request");
    }
    if spec.provider.as_ref().is_none_or(|provider| provider.name.is_empty()) {
        problems.error("spec.provider.name", "is missing: name one of meshConfig's extensionProviders");
    }
    for (at, rule) in spec.rules.iter().enumerate() {
        for (from, entry) in rule.from.iter().enumerate() {
            let source = &entry.source;
            let fields = [
                ("principals", &source.principals),
                ("notPrincipals", &source.not_principals),
                ("requestPrincipals", &source.request_principals),
                ("notRequestPrincipals", &source.not_request_principals),
                ("namespaces", &source.namespaces),
                ("notNamespaces", &source.not_namespaces),
                ("serviceAccounts", &source.service_accounts),
                ("notServiceAccounts", &source.not_service_accounts),
                ("trustDomains", &source.trust_domains),
                ("notTrustDomains", &source.not_trust_domains),
            ];
            for (name, _) in fields.iter().filter(|(_, list)| !list.is_empty()) {
                problems.error(format_args!("spec.rules[{at}].from[{from}].source.{name}"), SOURCES);
            }
        }
        for (when, condition) in rule.when.iter().enumerate() {
            let key = condition.key.as_str();
            let of_identity =
                ["source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal"].contains(&key);
            if of_identity || key.starts_with("request.auth.") {
                problems.error(format_args!("spec.rules[{at}].when[{when}].key"), SOURCES);
            }
        }
    }
}

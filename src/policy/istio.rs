//! AuthorizationPolicies to rules. What a field means is Istio's to say, for HTTP and for TCP:
//! <https://istio.io/latest/docs/reference/config/security/authorization-policy/> and `conditions/` beside it.
//!
//! Comparison is by bytes, never by regular expressions made of names (CVE-2026-39350). What Istio's API server refuses is
//! refused here; what cannot be known of a call matches in a rule that denies and does not in one that allows.

mod custom;
mod field;
mod header;
mod identity;
mod path;
mod read;
mod rule;
mod targets;
mod token;

use std::sync::Arc;

use super::decision::RuleName;
use super::problems::Problems;
use super::rule::{Effect, Force, Rule, Test};
use crate::document::Meta;
use crate::document::agent_policy::DenialForm;
use crate::document::authorization_policy::{Action, AuthorizationPolicySpec};

pub(super) use rule::IstioRule;

/// Annotation by which a policy only says what it would do.
const DRY_RUN: &str = "istio.io/dry-run";

/// A compiled AuthorizationPolicy.
#[derive(Debug)]
pub(super) struct IstioPolicy {
    pub(super) effect: Effect,
    pub(super) force: Force,
    pub(super) rules: Vec<Rule>,
    /// CUSTOM: the provider that is asked about what its rules match.
    pub(super) provider: Option<Arc<str>>,
}

/// Compiles one policy, noting all that is wrong or not enforced here. None where it is not for a waypoint at all.
/// `trust_domains`: the mesh's, then its aliases.
pub(super) fn compile(
    meta: &Meta,
    spec: &AuthorizationPolicySpec,
    trust_domains: &[String],
    problems: &mut Problems,
) -> Option<IstioPolicy> {
    if targets::is_for_ztunnel(spec) {
        problems.warning("spec", "selects pods, so it is enforced by ztunnel, not here; `targetRefs` attaches it here");
        return None;
    }
    targets::check(meta, spec, problems);
    let effect = effect(spec, problems)?;
    if spec.action == Action::Deny && spec.rules.is_empty() {
        problems.warning("spec.rules", "DENY without rules never matches: write `rules: [{}]` to deny every request");
    }
    let force = force(meta, (spec.action, effect), problems);
    let policy: Arc<str> = Arc::from(format!("{}/{}", meta.namespace, meta.name));
    let mut reader = read::Reader { namespace: &meta.namespace, trust_domains, problems };
    let mut rules = Vec::with_capacity(spec.rules.len());
    for (at, written) in spec.rules.iter().enumerate() {
        let rule = reader.rule(written, effect, &format!("spec.rules[{at}]"));
        rules.push(Rule {
            name: RuleName {
                policy: Arc::clone(&policy),
                kind: "AuthorizationPolicy",
                rule: format!("rules[{at}]").into(),
                generation: meta.generation,
            },
            effect,
            force,
            form: DenialForm::Auto,
            test: Test::Istio(rule),
        });
    }
    let provider = spec.provider.as_ref().filter(|_| spec.action == Action::Custom);
    Some(IstioPolicy { effect, force, rules, provider: provider.map(|one| one.name.as_str().into()) })
}

/// Whether the annotation says so, in one of the words that Go's `strconv.ParseBool` takes for true.
pub(super) fn is_dry_run(meta: &Meta) -> bool {
    let yes = |value: &String| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True");
    meta.annotations.get(DRY_RUN).is_some_and(yes)
}

fn effect(spec: &AuthorizationPolicySpec, problems: &mut Problems) -> Option<Effect> {
    if spec.provider.is_some() && spec.action != Action::Custom {
        problems.error("spec.provider", "is for action CUSTOM only");
    }
    match spec.action {
        Action::Allow => Some(Effect::Allow),
        Action::Deny => Some(Effect::Deny),
        Action::Audit => Some(Effect::Audit),
        // It matches as a rule that denies: where something cannot be known, the provider is asked.
        Action::Custom => {
            custom::check(spec, problems);
            Some(Effect::Deny)
        }
    }
}

fn force(meta: &Meta, (action, effect): (Action, Effect), problems: &mut Problems) -> Force {
    let Some(value) = meta.annotations.get(DRY_RUN) else { return Force::Enforced };
    let field = format!("metadata.annotations[{DRY_RUN}]");
    if is_dry_run(meta) {
        if effect == Effect::Audit {
            problems.warning(&field, "changes nothing: AUDIT decides nothing anyway");
        }
        if action == Action::Custom {
            problems.warning(&field, "keeps the provider from being asked: what it would say is not known");
        }
        return Force::DryRun;
    }
    if !matches!(value.as_str(), "0" | "f" | "F" | "false" | "FALSE" | "False") {
        problems.warning(&field, format_args!("`{value}` is neither true nor false: the policy is enforced"));
    }
    Force::Enforced
}

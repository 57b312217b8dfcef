//! Decisions in the words of the record.

use std::sync::Arc;

use crate::mesh::Target;
use crate::policy::{Denial, Permit, RuleName, Shadow};
use crate::telemetry::{Outcome, RuleRef, Ruling, Shadow as OtherRuling, Site};

/// A permit, as the record says it.
pub(super) fn permit(permit: &Permit) -> Ruling {
    Ruling {
        reason: if permit.rule().is_some() { "allowed_by_rule" } else { "open" },
        detail: None,
        rule: permit.rule().map(rule),
        revision: Some(permit.revision().as_u64()),
        shadow: permit.shadow().map(shadow),
    }
}

/// A denial, as the record says it.
pub(super) fn denial(denial: &Denial, target: &Target) -> Ruling {
    Ruling {
        reason: denial.reason.as_str(),
        detail: denial.hint.as_deref().or_else(|| target.closed()).map(Arc::from),
        rule: denial.rule.as_ref().map(rule),
        revision: Some(target.rules.revision().as_u64()),
        shadow: denial.shadow.as_ref().map(shadow),
    }
}

/// The target, as the record says it.
pub(super) fn site(target: &Target) -> Arc<Site> {
    let key = &target.key;
    Arc::new(Site {
        host: format!("{}.{}.svc.cluster.local", key.name, key.namespace).into(),
        name: Arc::clone(&key.name),
        namespace: Arc::clone(&key.namespace),
        port: key.port,
    })
}

fn rule(name: &RuleName) -> RuleRef {
    RuleRef {
        kind: name.kind,
        policy: Arc::clone(&name.policy),
        rule: Arc::clone(&name.rule),
        generation: name.generation,
    }
}

fn shadow(shadow: &Shadow) -> OtherRuling {
    OtherRuling {
        outcome: if shadow.refused.is_some() { Outcome::Deny } else { Outcome::Allow },
        rule: shadow.rule.as_ref().map(rule),
    }
}

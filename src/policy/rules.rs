use super::decision::{Decision, Denial, Reason};
use super::explain::Explanation;
use super::{Facts, Revision};
use crate::document::agent_policy::{AgentPolicySpec, DenialForm, Protocol};
use crate::document::authorization_policy::AuthorizationPolicySpec;
use crate::document::{FieldProblem, Meta};

/// The documents that are about one port, as `mesh` selected them.
#[derive(Debug, Clone, Default)]
pub struct RuleSet<'a> {
    /// What an Enforce AgentPolicy or the port's `appProtocol` calls the port; none: plain HTTP or TCP.
    pub declared: Option<Protocol>,
    /// AgentPolicies of the target, DryRun ones too.
    pub agent: Vec<(&'a Meta, &'a AgentPolicySpec)>,
    /// AuthorizationPolicies attached by `targetRefs`; never selector ones.
    pub istio: Vec<(&'a Meta, &'a AuthorizationPolicySpec)>,
}

/// The compiled rules of one port.
#[derive(Debug)]
pub struct Rules {
    revision: Revision,
    closed: Option<Reason>,
}

impl Rules {
    /// Refuses everything, with this reason.
    pub fn closed(reason: impl Into<String>) -> Self {
        let reason: String = reason.into();
        Self { revision: Revision::of(reason.as_bytes()), closed: Some(Reason::Closed(reason.into())) }
    }
    /// Refuses everything, as this process has no documents yet.
    pub fn no_documents() -> Self {
        Self { revision: Revision::of(b""), closed: Some(Reason::NoDocuments) }
    }
    /// The documents that decide.
    pub fn revision(&self) -> Revision {
        self.revision
    }
    /// Decides.
    pub fn decide(&self, _facts: &Facts<'_>) -> Decision {
        let reason = self.closed.clone().unwrap_or(Reason::NotAllowed);
        Decision::Deny(Denial { reason, rule: None, form: DenialForm::Disclosed, shadow: None, hint: None })
    }
    /// Whether one list entry is shown.
    pub fn visible(&self, _facts: &Facts<'_>) -> bool {
        false
    }
    /// A decision taken apart.
    pub fn explain(&self, _facts: &Facts<'_>) -> Explanation {
        Explanation {
            allowed: false,
            reason: self.closed.clone(),
            rule: None,
            revision: self.revision,
            findings: vec![],
        }
    }
    /// Whether any rule reads token claims.
    pub fn reads_jwt(&self) -> bool {
        false
    }
    /// A plain port without any rule.
    pub fn is_open(&self) -> bool {
        false
    }
    /// False iff no allow of the target can match this peer whatever it sends.
    pub fn may_ever_admit(&self, _facts: &Facts<'_>) -> bool {
        false
    }
}

/// Checks one AgentPolicy by itself.
pub fn check_agent_policy(_meta: &Meta, _spec: &AgentPolicySpec) -> Vec<FieldProblem> {
    vec![]
}
/// Checks one AuthorizationPolicy by itself.
pub fn check_authorization_policy(_meta: &Meta, _spec: &AuthorizationPolicySpec) -> Vec<FieldProblem> {
    vec![]
}
/// Compiles the documents of one port.
pub fn compile(_set: &RuleSet<'_>) -> Result<Rules, Vec<FieldProblem>> {
    Ok(Rules::closed("policies are not compiled yet"))
}
/// Runs `f` on a thread with a stack that is deep enough to parse CEL.
pub fn on_compile_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    f()
}

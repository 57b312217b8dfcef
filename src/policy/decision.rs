use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Revision;
use crate::document::agent_policy::DenialForm;

/// Whether a call may go on. There is no default: whoever holds one must look at it.
#[must_use]
#[derive(Debug)]
pub enum Decision {
    /// It may, by this permit.
    Allow(Permit),
    /// It may not.
    Deny(Denial),
}

/// The right to send one call upstream. Only [`super::Rules::decide`] makes one, it cannot be copied, and routing
/// consumes it, so that "upstream without a decision" does not compile.
///
/// ```compile_fail,E0451
/// # use agent_waypoint::policy::Permit;
/// let forged = Permit { rule: None, revision: todo!(), shadow: None };
/// ```
/// ```compile_fail,E0599
/// # use agent_waypoint::policy::Permit;
/// fn twice(permit: Permit) -> (Permit, Permit) {
///     (permit.clone(), permit)
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    rule: Option<RuleName>,
    revision: Revision,
    shadow: Option<Shadow>,
}

impl Permit {
    pub(super) fn new(rule: Option<RuleName>, revision: Revision, shadow: Option<Shadow>) -> Self {
        Self { rule, revision, shadow }
    }

    /// The rule that allowed; none where the port is open and no rule was needed.
    pub fn rule(&self) -> Option<&RuleName> {
        self.rule.as_ref()
    }

    /// `namespace/name` of the policy of that rule.
    pub fn policy(&self) -> Option<&str> {
        self.rule.as_ref().map(|rule| &*rule.policy)
    }

    /// The documents that decided.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What would have been decided were the DryRun policies in force; none where there are none.
    pub fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_ref()
    }
}

/// Why a call may not go on, and how to say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// The rule that refused; none where it was the default.
    pub rule: Option<RuleName>,
    /// How to word it: never `Auto`.
    pub form: DenialForm,
    /// What would have been decided were the DryRun policies in force; none where there are none.
    pub shadow: Option<Shadow>,
    /// For operators, not callers. For [`Reason::NoAgentPolicy`]: the smallest policy that would allow the call, as YAML; for
    /// the refusals of a provider: what came of asking it; for labels: that they are not known, or could not be kept.
    pub hint: Option<String>,
    /// For a limit: in which time the call will be permitted.
    pub retry: Option<Duration>,
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A deny rule matched.
    DeniedByRule,
    /// A requirement did not hold, or failed to evaluate.
    RequirementNotMet,
    /// No allow rule matched.
    NotAllowed,
    /// A deny rule failed to evaluate.
    Undecidable,
    /// The target is closed, with the cause, until its documents are mended.
    Closed(Arc<str>),
    /// The port is declared MCP or A2A and no AgentPolicy is in force for it.
    NoAgentPolicy,
    /// This process has no documents yet.
    NoDocuments,
    /// A method that the protocol does not know, and that no allow rule names.
    UnknownMethod,
    /// `ownership: Enforce`: a task or context that is not the caller's, or whose owner nobody knows.
    NotOwner,
    /// An outside provider that a CUSTOM rule asks denied.
    DeniedByProvider,
    /// An outside provider that a CUSTOM rule asks could not be asked, or gave no answer that could be read.
    ProviderFailed,
    /// A CUSTOM rule asks a provider that nobody declares.
    NoProvider,
    /// A URL to call back that no policy's `a2a.push.hosts` names, or that can be read in two ways.
    PushUrl,
    /// The tool, or its definition, is none of those that a policy pins.
    NotPinned,
    /// As many calls were made as a limit allows.
    LimitReached,
    /// More budgets would have to be kept than there is room for: this one would begin anew.
    LimitsFull,
    /// The answer puts a label on its session that could not be kept, or told to every replica: without it the answer is not
    /// passed on.
    LabelUnkept,
}

impl Reason {
    /// Whether it is what came of asking a provider, which then words the refusal.
    pub fn is_of_provider(&self) -> bool {
        matches!(self, Self::DeniedByProvider | Self::ProviderFailed)
    }

    /// A fixed word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::DeniedByRule => "denied_by_rule",
            Self::RequirementNotMet => "requirement_not_met",
            Self::NotAllowed => "not_allowed",
            Self::Undecidable => "undecidable",
            Self::Closed(_) => "closed",
            Self::NoAgentPolicy => "no_agent_policy",
            Self::NoDocuments => "no_documents",
            Self::UnknownMethod => "unknown_method",
            Self::NotOwner => "not_owner",
            Self::DeniedByProvider => "denied_by_provider",
            Self::ProviderFailed => "provider_failed",
            Self::NoProvider => "no_provider",
            Self::PushUrl => "push_url",
            Self::NotPinned => "not_pinned",
            Self::LimitReached => "limit_reached",
            Self::LimitsFull => "limits_full",
            Self::LabelUnkept => "label_unkept",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(cause) => write!(f, "closed: {cause}"),
            Self::DeniedByRule
            | Self::RequirementNotMet
            | Self::NotAllowed
            | Self::Undecidable
            | Self::NoAgentPolicy
            | Self::NoDocuments
            | Self::UnknownMethod
            | Self::NotOwner
            | Self::DeniedByProvider
            | Self::ProviderFailed
            | Self::NoProvider
            | Self::NotPinned
            | Self::LimitReached
            | Self::LimitsFull
            | Self::LabelUnkept
            | Self::PushUrl => f.write_str(self.as_str()),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A rule by name, for logs, records and denials.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct RuleName {
    /// `namespace/name` of the document.
    pub policy: Arc<str>,
    /// `AgentPolicy` or `AuthorizationPolicy`.
    pub kind: &'static str,
    /// The rule's `name`, else its place: `allow[0]`.
    pub rule: Arc<str>,
    /// `metadata.generation` of the document; 0 from files.
    pub generation: i64,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.kind, self.policy, self.rule)
    }
}

/// What would be decided were the DryRun policies in force too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shadow {
    /// Why it would be refused; none: it would be allowed.
    pub refused: Option<Reason>,
    /// The rule that would decide; none: the default.
    pub rule: Option<RuleName>,
}

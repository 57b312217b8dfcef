//! `results.labels` of an AgentPolicy: what an answer puts on its session, and how rules see it.
//!
//! Nothing is kept here. Labels are only ever added; where they are not known, a rule that needs them has failed, so that
//! one that refuses does, and one that permits does not.

use std::fmt;
use std::sync::Arc;

use super::answers::Answered;
use super::cel::{Condition, Meter};
use super::decision::{Denial, Reason};
use super::facts::Facts;
use super::names::Name;
use super::problems::Problems;
use super::rule::{Effect, Force, Rule, Test};
use super::rules::{Rules, State, answer_scopes};
use super::scope::Scope;
use super::truth::Truth;
use crate::call::{McpCall, McpObject};
use crate::config::limits::CEL_BUDGET;
use crate::document::agent_policy::{self, AgentPolicySpec, DenialForm, Protocol};
use crate::wire::mcp::is_list;

/// Where they stand in the document.
pub(super) const PATH: &str = "spec.results.labels";
/// Longest label, bytes.
const MAX_LABEL: usize = 63;

/// Labels of a session, as they are known when a rule asks.
pub trait Labelled: fmt::Debug + Send + Sync {
    /// All of them; none where it is not known which there are.
    fn labels(&self) -> Option<Vec<Arc<str>>>;
}

/// Labels that a session is supposed to have.
#[derive(Debug, Clone, Default)]
pub struct SupposedLabels(pub Vec<Arc<str>>);

impl Labelled for SupposedLabels {
    fn labels(&self) -> Option<Vec<Arc<str>>> {
        Some(self.0.clone())
    }
}

/// One entry, compiled.
#[derive(Debug)]
pub struct Labeller {
    /// Which answers it is about: as a rule that refuses, so that what cannot be known is labelled.
    pub(super) rule: Rule,
    label: Arc<str>,
}

impl Labeller {
    /// Compiles an entry, whose `from`, `to` and `when` are `rule`.
    pub(super) fn compile(
        rule: Rule,
        written: &agent_policy::Label,
        (path, protocol): (&str, Option<Protocol>),
        problems: &mut Problems,
    ) -> Self {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if written.name.is_empty() || written.name.len() > MAX_LABEL || !written.name.chars().all(fits) {
            let what = format!("must be 1 to {MAX_LABEL} letters, digits, `-`, `_`, `.` or `/`");
            problems.error(format_args!("{path}.name"), what);
        }
        if protocol != Some(Protocol::Mcp) {
            problems.error(path, "only MCP has sessions that can be labelled: say `protocol: MCP` in this policy");
        }
        if rule.force == Force::DryRun {
            problems.warning(path, "is put on no session while the policy is DryRun: its rules see none");
        }
        Self { rule, label: written.name.as_str().into() }
    }

    /// The label.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// The refusal where the label cannot be kept: then nobody gets what it says of.
    pub fn refuse(&self) -> Denial {
        let Rule { form, name, .. } = &self.rule;
        // The call was permitted, so whoever made it may know of what it called.
        let form = if *form == DenialForm::Auto { DenialForm::Disclosed } else { *form };
        let hint = format!("the label {} could not be put on the session, or not told to every replica", self.label);
        let (reason, rule) = (Reason::LabelUnkept, Some(name.clone()));
        Denial { reason, rule, form, shadow: None, hint: Some(hint), retry: None }
    }

    fn applies(&self, scope: &Scope<'_>, meter: &mut Meter) -> bool {
        let (Test::Agent(test), Some(call)) = (&self.rule.test, scope.mcp()) else { return false };
        // A list is no answer of what it lists: clients ask for one before they call.
        let about = if is_list(&call.method) {
            test.about_method(Effect::Deny, scope)
        } else if test.to.is_none() && !brings(call) {
            Truth::False
        } else {
            test.about(Effect::Deny, scope)
        };
        let shows = |condition: &Condition, meter: &mut Meter| condition.truth(scope, meter) != Truth::False;
        about != Truth::False && test.condition.as_ref().is_none_or(|condition| shows(condition, meter))
    }
}

impl Rules {
    /// Whether any policy in force labels sessions.
    pub fn labels_sessions(&self) -> bool {
        match &self.state {
            State::Closed(_) => false,
            State::Open(open) => open.court.labellers.iter().any(|labeller| labeller.rule.force == Force::Enforced),
            State::All(parts) => parts.iter().any(|(_, rules)| rules.labels_sessions()),
        }
    }

    /// What an answer puts on its session.
    pub fn labellers(&self, facts: &Facts<'_>, answered: &Answered<'_>) -> Vec<&Labeller> {
        let court = match &self.state {
            State::Closed(_) => return Vec::new(),
            State::All(parts) => {
                return parts.iter().flat_map(|(to, rules)| rules.labellers(&facts.at(to), answered)).collect();
            }
            State::Open(open) => &open.court,
        };
        if court.labellers.is_empty() {
            return Vec::new();
        }
        let (scopes, mut meter) = (answer_scopes(facts, answered), Meter::new(CEL_BUDGET));
        let enforced = court.labellers.iter().filter(|labeller| labeller.rule.force == Force::Enforced);
        enforced.filter(|labeller| scopes.iter().any(|scope| labeller.applies(scope, &mut meter))).collect()
    }
}

/// What operators are told where a rule refused for want of labels.
pub(super) fn unknown(rule: &Rule, facts: &Facts<'_>) -> Option<String> {
    let known = facts.labels.is_some_and(|labels| labels.labels().is_some());
    let why = "labels of the session are not known here: it is none, or another replica could not be asked";
    (rule.reads_labels() && !known).then(|| why.to_owned())
}

/// Whether an answer brings something of the server's own to whoever asked.
fn brings(call: &McpCall) -> bool {
    !matches!(call.object, McpObject::Base | McpObject::Setting | McpObject::Subscription(_))
}

/// Notes labels that a condition asks for and the policy never puts, and a condition that could never see any.
pub(super) fn check_names(
    condition: &Condition,
    spec: &AgentPolicySpec,
    (field, path): (&str, &str),
    problems: &mut Problems,
) {
    if !condition.reads(Name::SessionLabels) {
        return;
    }
    let declared: Vec<&str> =
        spec.results.iter().flat_map(|results| &results.labels).map(|label| label.name.as_str()).collect();
    let place = format!("{path}.{field}");
    if declared.is_empty() {
        let what = "reads session.labels, and this policy puts none: name them in `results.labels`";
        return problems.error(place, what);
    }
    for unknown in condition.labels().into_iter().filter(|label| !declared.contains(label)) {
        let what = format!("`{unknown}` is no label of this policy; `results.labels` names {}", declared.join(", "));
        problems.error(&place, what);
    }
}

use super::cel::{Condition, Meter};
use super::decision::RuleName;
use super::explain::Outcome;
use super::istio::IstioRule;
use super::matcher::{self, Absence};
use super::names::{Name, OF_ANSWERS};
use super::object::{self, Object};
use super::scope::{Lens, Scope};
use super::source::Source;
use super::truth::Truth;
use crate::call::{Call, McpObject};
use crate::document::agent_policy::{DenialForm, Protocol};

/// What a rule does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Deny,
    Require,
    Allow,
    /// Takes no part in the decision: Istio's AUDIT.
    Audit,
}

impl Effect {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Require => "require",
            Self::Allow => "allow",
            Self::Audit => "audit",
        }
    }

    fn absence(self) -> Absence {
        match self {
            Self::Deny | Self::Require | Self::Audit => Absence::Matches,
            Self::Allow => Absence::Misses,
        }
    }
}

/// Whether a rule decides, or only says what it would decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Force {
    Enforced,
    DryRun,
}

/// One compiled rule, of either kind of document.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: RuleName,
    pub(super) effect: Effect,
    pub(super) force: Force,
    /// How its policy wants refusals worded.
    pub(super) form: DenialForm,
    pub(super) test: Test,
}

/// What a rule looks at.
#[derive(Debug)]
pub(super) enum Test {
    /// An AgentPolicy's `from`, `to`, `when` or `that`.
    Agent(AgentTest),
    /// An AuthorizationPolicy's rule.
    Istio(IstioRule),
}

#[derive(Debug)]
pub(super) struct AgentTest {
    pub(super) from: Option<Box<[Source]>>,
    pub(super) to: Option<Box<[Object]>>,
    /// `when`, or `that` of a requirement.
    pub(super) condition: Option<Condition>,
    /// What the port is declared to speak.
    pub(super) declared: Option<Protocol>,
}

/// What a rule says about a call, once the phase is taken into account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Says {
    /// Whether it is about the call: for `deny` and `allow`, whether it matches.
    pub(super) about: Truth,
    /// `require`: whether the requirement holds. Elsewhere true.
    pub(super) holds: Truth,
}

impl Rule {
    /// What the rule says.
    pub(super) fn says(&self, scope: &Scope<'_>, meter: &mut Meter) -> Says {
        self.says_knowing(self.of_caller(scope), scope, meter)
    }

    /// The part of what it says in which no call differs from the next of the same caller's, in the same HTTP request: all
    /// that an AuthorizationPolicy says, as that knows nothing else.
    pub(super) fn of_caller(&self, scope: &Scope<'_>) -> Truth {
        match &self.test {
            Test::Istio(rule) => rule.truth(scope),
            Test::Agent(test) => test.of_caller(self.effect, scope),
        }
    }

    /// What the rule says, where it is known what it says of the caller.
    pub(super) fn says_knowing(&self, caller: Truth, scope: &Scope<'_>, meter: &mut Meter) -> Says {
        match &self.test {
            Test::Istio(_) => Says { about: caller, holds: Truth::True },
            Test::Agent(test) => {
                let about = caller.and(|| test.of_call(self.effect, scope));
                if about == Truth::False {
                    return Says { about, holds: Truth::True };
                }
                let permits = self.effect != Effect::Deny;
                let condition = test.condition.as_ref().map_or(Truth::True, |cel| cel.settled(scope, meter, permits));
                match self.effect {
                    Effect::Require => Says { about, holds: condition },
                    // Whatever `to` turns out to be, a condition that fails permits nothing.
                    Effect::Allow if condition == Truth::Failed => Says { about: Truth::Failed, holds: Truth::True },
                    Effect::Allow | Effect::Deny | Effect::Audit => {
                        Says { about: about.and(|| condition), holds: Truth::True }
                    }
                }
            }
        }
    }

    /// Whether an AgentPolicy's allow rule can match a request on a plain port.
    pub(super) fn is_plain(&self) -> bool {
        match &self.test {
            Test::Agent(test) => test.to.as_ref().is_none_or(|to| to.iter().any(Object::is_plain)),
            Test::Istio(_) => true,
        }
    }

    /// Whether the rule can be asked only once the call was answered.
    pub(super) fn reads_answer(&self) -> bool {
        let Test::Agent(test) = &self.test else { return false };
        test.condition.as_ref().is_some_and(|condition| OF_ANSWERS.iter().any(|name| condition.reads(*name)))
    }

    /// Whether it asks for the labels of the session.
    pub(super) fn reads_labels(&self) -> bool {
        let Test::Agent(test) = &self.test else { return false };
        test.condition.as_ref().is_some_and(|condition| condition.reads(Name::SessionLabels))
    }

    pub(super) fn reads_jwt(&self) -> bool {
        let test = match &self.test {
            Test::Agent(test) => test,
            Test::Istio(rule) => return rule.reads_jwt(),
        };
        let from = test.from.as_ref().is_some_and(|from| from.iter().any(Source::reads_jwt));
        from || test.condition.as_ref().is_some_and(|condition| condition.reads(Name::Jwt))
    }

    /// In words, for `explain`.
    pub(super) fn outcome(&self, says: Says) -> Outcome {
        match (says.about, says.holds) {
            (Truth::False, _) => Outcome::NotMatched,
            (Truth::Failed, _) | (Truth::True, Truth::Failed) => Outcome::Failed,
            (_, Truth::False) => Outcome::Unmet,
            (Truth::True, Truth::True) => Outcome::Matched,
            (Truth::Unknown, _) | (_, Truth::Unknown) => Outcome::Unknown,
        }
    }

    /// What decided, in words.
    pub(super) fn because(&self, scope: &Scope<'_>, meter: &mut Meter) -> Option<String> {
        let test = match &self.test {
            Test::Agent(test) => test,
            Test::Istio(rule) => return rule.because(scope),
        };
        if test.of_caller(self.effect, scope) == Truth::False {
            return Some("`from` does not match the caller".into());
        }
        if test.of_call(self.effect, scope) == Truth::False {
            return Some("`to` does not match the call".into());
        }
        test.condition.as_ref().map(|condition| condition.because(scope, meter))
    }
}

impl AgentTest {
    pub(super) fn about(&self, effect: Effect, scope: &Scope<'_>) -> Truth {
        self.of_caller(effect, scope).and(|| self.of_call(effect, scope))
    }

    /// The same by those entries of `to` alone that name methods: of a list, whether it is meant itself and not what it lists.
    pub(super) fn about_method(&self, effect: Effect, scope: &Scope<'_>) -> Truth {
        let absence = effect.absence();
        let of_entry = |object: &Object| {
            if matches!(object, Object::Methods(_)) { object.truth(scope, absence) } else { Truth::False }
        };
        self.of_caller(effect, scope).and(|| self.to.as_ref().map_or(Truth::False, |to| matcher::any(to, of_entry)))
    }

    fn of_caller(&self, effect: Effect, scope: &Scope<'_>) -> Truth {
        let absence = effect.absence();
        self.from.as_ref().map_or(Truth::True, |from| matcher::any(from, |source| source.truth(scope, absence)))
    }

    fn of_call(&self, effect: Effect, scope: &Scope<'_>) -> Truth {
        let absence = effect.absence();
        match &self.to {
            Some(to) => matcher::any(to, |object| object.truth(scope, absence)),
            None if effect == Effect::Allow => known_call(self.declared, scope),
            None => Truth::True,
        }
    }
}

/// `to` left out of an allow rule: every call that the declared protocol knows; on plain ports every request.
fn known_call(declared: Option<Protocol>, scope: &Scope<'_>) -> Truth {
    if declared.is_none() {
        return Truth::True;
    }
    // Of all the calls to come, some are known.
    if scope.any_call() {
        return Truth::True;
    }
    match scope.facts.call {
        // What a server asks is no call of a caller: whoever lets it through says so by its method.
        Call::Mcp(call) if matches!(call.object, McpObject::Other | McpObject::ServerRequest(_)) => Truth::False,
        Call::Mcp(_) => (!object::unnamed_raw(scope)).into(),
        Call::A2a(_) => Truth::True,
        Call::Http | Call::Tcp => Truth::False,
    }
}

/// What is neither true nor false of a whole call has failed; of a list entry or of calls to come it is open.
pub(super) fn settle(truth: Truth, scope: &Scope<'_>) -> Truth {
    if truth == Truth::Unknown && scope.lens == Lens::Call { Truth::Failed } else { truth }
}

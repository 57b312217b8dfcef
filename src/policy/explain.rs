use std::fmt;

use serde::Serialize;

use super::cel::Meter;
use super::custom::{Custom, Heard};
use super::decide::{Bench, Court, Question};
use super::decision::{Reason, RuleName};
use super::rule::{Effect, Force, Rule, Test};
use super::rules::{Rules, State};
use super::scope::Scope;
use super::truth::Truth;
use super::{Facts, Revision};
use crate::config::limits::CEL_BUDGET;

/// The effect of a rule by which a provider is asked.
const CUSTOM: &str = "custom";

/// A decision taken apart: the verdict, then every rule in the order in which it was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// Whether the call would be allowed.
    pub allowed: bool,
    /// Why not.
    pub reason: Option<Reason>,
    /// The rule that decided; none: the default.
    pub rule: Option<RuleName>,
    /// The documents that decided.
    pub revision: Revision,
    /// Every rule, in order.
    pub findings: Vec<Finding>,
}

/// What one rule said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: RuleName,
    /// `custom`, `deny`, `require`, `allow` or `audit`; `limit` for a budget of calls, which takes no part in the verdict.
    pub effect: &'static str,
    /// Whether its policy is DryRun, so that it took no part.
    pub dry_run: bool,
    /// What it said.
    pub outcome: Outcome,
    /// What decided that: a field (`from`), or the sub-expression with the values it saw.
    pub because: Option<String>,
}

/// Whether a rule matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It matched (for `require`: it is about the call, and holds).
    Matched,
    /// It did not match (for `require`: it is not about the call).
    NotMatched,
    /// `require` only: it is about the call and does not hold.
    Unmet,
    /// It could not be evaluated.
    Failed,
    /// It depends on what is not known in this phase.
    Unknown,
}

impl Explanation {
    pub(super) fn closed(reason: Reason, revision: Revision) -> Self {
        Self { allowed: false, reason: Some(reason), rule: None, revision, findings: Vec::new() }
    }

    /// The verdict and the rule that made it, in one line.
    pub fn verdict(&self) -> String {
        let said = self.reason.as_ref().map_or_else(|| "ALLOW".to_owned(), |reason| format!("DENY ({reason})"));
        let by = self.rule.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
        format!("{said} by {by}")
    }

    /// Of rules that must all permit: the first refusal, or the first permit, with what all of them say.
    pub(super) fn all(each: impl Iterator<Item = Self>, revision: Revision) -> Self {
        let mut whole = Self { allowed: true, reason: None, rule: None, revision, findings: Vec::new() };
        for one in each {
            if whole.allowed && (!one.allowed || whole.rule.is_none()) {
                (whole.allowed, whole.reason, whole.rule) = (one.allowed, one.reason, one.rule);
            }
            whole.findings.extend(one.findings);
        }
        whole
    }
}

impl Rules {
    /// The decision taken apart, rule by rule; providers are supposed to allow.
    pub fn explain(&self, facts: &Facts<'_>) -> Explanation {
        self.explain_if(facts, true)
    }

    /// The same, where providers are supposed to allow, or to deny.
    pub fn explain_if(&self, facts: &Facts<'_>, allowed: bool) -> Explanation {
        match &self.state {
            State::Closed(reason) => Explanation::closed(reason.clone(), self.revision),
            State::Open(open) => {
                let facts = open.seen(facts);
                let question = Question::of(&facts, open.court.skill(&facts)).hearing(Heard::Supposed(allowed));
                let mut explained = explain(&open.court, &question, self.revision);
                explained.findings.extend(open.court.limits.iter().map(|limit| limit.finding(&facts)));
                explained
            }
            State::All(parts) => {
                let each = parts.iter().map(|(to, rules)| rules.explain_if(&facts.at(to), allowed));
                Explanation::all(each, self.revision)
            }
        }
    }
}

/// Decides, and says of every rule what it said.
pub(super) fn explain(court: &Court, question: &Question<'_>, revision: Revision) -> Explanation {
    let verdict = court.judge(question, Bench::Enforced, &mut Meter::new(CEL_BUDGET));
    let of = |effect: Effect| {
        let agent = court.agent.iter().filter(move |rule| rule.effect == effect);
        let istio = court.istio.iter().filter(move |rule| rule.effect == effect);
        agent.chain(istio)
    };
    let custom = court.custom.iter().map(|custom| asked(custom, question));
    let rules = of(Effect::Deny).chain(of(Effect::Require)).chain(of(Effect::Allow)).chain(of(Effect::Audit));
    Explanation {
        allowed: verdict.refused.is_none(),
        reason: verdict.refused,
        rule: verdict.rule.map(|rule| rule.name.clone()),
        revision,
        findings: custom.chain(rules.map(|rule| finding(rule, question))).chain(of_answers(court, question)).collect(),
    }
}

/// What will be asked of the answer, which is not there yet: rules that read it, what is blacked out of it, and what it puts on the
/// session.
fn of_answers(court: &Court, question: &Question<'_>) -> impl Iterator<Item = Finding> {
    let rules = court.answers.iter().map(|rule| (rule, rule.effect.as_str()));
    let redactors = court.redactors.iter().map(|redactor| (&redactor.rule, "redact"));
    let labellers = court.labellers.iter().map(|labeller| (&labeller.rule, "label"));
    rules.chain(redactors).chain(labellers).map(move |(rule, effect)| {
        let about = match &rule.test {
            Test::Agent(test) => test.about(rule.effect, &question.istio),
            Test::Istio(_) => Truth::Unknown,
        };
        let concerned = about != Truth::False;
        Finding {
            rule: rule.name.clone(),
            effect,
            dry_run: rule.force == Force::DryRun,
            outcome: if concerned { Outcome::Unknown } else { Outcome::NotMatched },
            because: concerned.then(|| "asked once the answer is there".to_owned()),
        }
    })
}

/// Whether a CUSTOM rule would have its provider asked.
fn asked(custom: &Custom, question: &Question<'_>) -> Finding {
    let found = finding(&custom.rule, question);
    let because = match (&custom.provider, found.outcome, found.dry_run) {
        (_, Outcome::NotMatched, _) => found.because,
        (Err(why), ..) => Some(format!("provider {}: {why}", custom.name)),
        (Ok(_), _, true) => Some(format!("provider {} is not asked for a dry run", custom.name)),
        (Ok(_), _, false) => Some(format!("provider {} would be asked{}", custom.name, question.supposition())),
    };
    Finding { effect: CUSTOM, because, ..found }
}

fn finding(rule: &Rule, question: &Question<'_>) -> Finding {
    let scope = light(rule, question);
    let mut meter = Meter::new(CEL_BUDGET);
    let outcome = rule.outcome(rule.says(&scope, &mut meter));
    let because = rule.because(&scope, &mut Meter::new(CEL_BUDGET));
    let dry_run = rule.force == Force::DryRun;
    Finding { rule: rule.name.clone(), effect: rule.effect.as_str(), dry_run, outcome, because }
}

/// The light in which the rule says most: one that refuses where it refuses, one that permits where it permits.
fn light<'a>(rule: &Rule, question: &Question<'a>) -> Scope<'a> {
    if matches!(rule.test, Test::Istio(_)) {
        return question.istio;
    }
    let scopes = if rule.effect == Effect::Allow { &question.permit } else { &question.refuse };
    let telling = |scope: &&Scope<'a>| {
        let says = rule.says(scope, &mut Meter::new(CEL_BUDGET));
        let holds = says.holds == Truth::True || rule.effect != Effect::Require;
        says.about != Truth::False && (rule.effect != Effect::Require || !holds)
    };
    let found = scopes.iter().flatten().find(telling).or_else(|| scopes.iter().flatten().next());
    found.copied().unwrap_or(question.istio)
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.verdict())?;
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Matched => "matched",
            Outcome::NotMatched => "no match",
            Outcome::Unmet => "not met",
            Outcome::Failed => "failed",
            Outcome::Unknown => "unknown",
        };
        write!(f, "{:<8} {:<8} {}", outcome, self.effect, self.rule)?;
        if self.dry_run {
            f.write_str(" (dry run)")?;
        }
        if let Some(because) = &self.because {
            write!(f, ": {because}")?;
        }
        Ok(())
    }
}

//! `limits` of an AgentPolicy: which budgets of calls a permitted call counts against.
//!
//! Nothing is counted here: a [`Charge`] says against what, and whoever keeps the counts says whether there is room.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::decision::{Denial, Reason};
use super::explain::{Finding, Outcome};
use super::facts::Facts;
use super::problems::Problems;
use super::rule::{Force, Rule, Test};
use super::rules::{Rules, State};
use super::scope::{Lens, Scope};
use super::truth::Truth;
use crate::call::{Call, McpObject};
use crate::document::agent_policy::{self, DenialForm, Protocol};
use crate::document::duration;
use crate::wire::mcp::is_list;

/// Most calls that a limit may allow.
const MAX_CALLS: u32 = 1_000_000;
/// Shortest and longest time of a limit.
const PER: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3_600);
/// Methods by which nothing new is asked of a server, so that they are never counted.
const UNCOUNTED: [&str; 8] = [
    "initialize",
    "ping",
    "server/discover",
    "tasks/get",
    "tasks/result",
    "tasks/cancel",
    "tasks/update",
    "tasks/list",
];

/// One entry, compiled.
#[derive(Debug)]
pub(super) struct Limit {
    /// Which calls it is about: as a rule that refuses, so that what cannot be known counts.
    pub(super) rule: Rule,
    pace: Pace,
    parts: Box<[Part]>,
}

/// How many calls in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// At least one.
    pub calls: u32,
    /// At least a second.
    pub per: Duration,
}

/// What calls that count together have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Principal,
    Subject,
    Namespace,
    Service,
    Tool,
}

impl Part {
    const ALL: [Self; 5] = [Self::Principal, Self::Subject, Self::Namespace, Self::Service, Self::Tool];

    fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Subject => "subject",
            Self::Namespace => "namespace",
            Self::Service => "service",
            Self::Tool => "tool",
        }
    }
}

/// That a call counts against one budget.
#[derive(Debug, Clone)]
pub struct Charge<'r> {
    limit: &'r Limit,
    /// Names the budget: equal for calls that count together, and for no others.
    pub key: String,
}

impl Charge<'_> {
    /// How many calls in which time.
    pub fn pace(&self) -> Pace {
        self.limit.pace
    }

    /// The refusal where there is no room; `retry` is when there will be some.
    pub fn refuse(&self, reason: Reason, retry: Duration) -> Denial {
        let Rule { form, name, .. } = &self.limit.rule;
        // The call was permitted, so whoever made it may know of what it called.
        let form = if *form == DenialForm::Auto { DenialForm::Disclosed } else { *form };
        Denial { reason, rule: Some(name.clone()), form, shadow: None, hint: None, retry: Some(retry) }
    }
}

impl Limit {
    /// Compiles an entry, whose `from` and `to` are `rule`.
    pub(super) fn compile(
        rule: Rule,
        written: &agent_policy::Limit,
        (path, protocol): (&str, Option<Protocol>),
        problems: &mut Problems,
    ) -> Self {
        let field = |name: &str| format!("{path}.{name}");
        if !(1..=MAX_CALLS).contains(&written.calls) {
            let what = format!("must be 1 to {MAX_CALLS}; to allow none, write a `deny`");
            problems.error(field("calls"), what);
        }
        let per = duration(&written.per).filter(|per| PER.contains(per)).unwrap_or_else(|| {
            let what = format!("{:?} is no time from 1s to 24h: write `30s`, `1m` or `1h30m`", written.per);
            problems.error(field("per"), what);
            *PER.start()
        });
        let parts = parts(written.key.as_deref(), protocol).unwrap_or_else(|what| {
            problems.error(field("key"), what);
            Box::default()
        });
        for (at, to) in written.to.iter().flatten().enumerate() {
            if let Some(method) = to.methods.iter().find(|method| UNCOUNTED.contains(&method.as_str())) {
                let what = format!("`{method}` is never counted: it asks nothing new of a server");
                problems.error(format_args!("{path}.to[{at}].methods"), what);
            }
        }
        if rule.force == Force::DryRun {
            problems.warning(path, "is not counted while the policy is DryRun, nor does a record tell of it");
        }
        Self { rule, pace: Pace { calls: written.calls.max(1), per }, parts }
    }

    /// What the call counts against, if it does.
    pub(super) fn charge<'r>(&'r self, facts: &Facts<'_>) -> Option<Charge<'r>> {
        let counts = self.rule.force == Force::Enforced && self.is_about(facts) != Truth::False;
        counts.then(|| Charge { limit: self, key: self.key(facts) })
    }

    fn is_about(&self, facts: &Facts<'_>) -> Truth {
        let scope = Scope::of(facts, Lens::Call);
        let Test::Agent(test) = &self.rule.test else { return Truth::False };
        let counted = if test.to.is_some() { can_count(facts.call) } else { counts(facts.call, test.declared) };
        if !counted {
            return Truth::False;
        }
        // A list runs no tool: clients ask for one before they call, without their user's doing.
        let lists = matches!(facts.call, Call::Mcp(call) if is_list(&call.method));
        if lists { test.about_method(self.rule.effect, &scope) } else { test.about(self.rule.effect, &scope) }
    }

    fn key(&self, facts: &Facts<'_>) -> String {
        let name = &self.rule.name;
        let mut key = String::new();
        let mut add = |value: Option<&str>| {
            let Some(value) = value else { return key.push('-') };
            // Its length tells where each ends. Writing to a String never fails.
            let _always = write!(key, "{}:{value}", value.len());
        };
        add(Some(&name.policy));
        add(Some(&name.rule));
        let destination = || [&*facts.destination.namespace, &*facts.destination.service];
        for part in &self.parts {
            match part {
                Part::Principal => add(Some(facts.peer.id().uri())),
                Part::Subject => {
                    add(facts.claims.map(super::Claims::issuer));
                    add(facts.claims.and_then(super::Claims::subject));
                }
                Part::Namespace => {
                    add(Some(facts.peer.id().trust_domain().as_str()));
                    add(facts.peer.id().istio().map(|istio| &*istio.namespace));
                }
                Part::Service => destination().into_iter().for_each(|part| add(Some(part))),
                // A tool is one of its Service's.
                Part::Tool => {
                    let tool = if let Call::Mcp(call) = facts.call { call.tool() } else { None };
                    destination().into_iter().for_each(|part| add(Some(part)));
                    add(tool.map(|tool| &**tool));
                }
            }
        }
        key
    }

    /// For `explain`.
    pub(super) fn finding(&self, facts: &Facts<'_>) -> Finding {
        let outcome = match self.is_about(facts) {
            Truth::False => Outcome::NotMatched,
            Truth::True => Outcome::Matched,
            Truth::Unknown => Outcome::Unknown,
            Truth::Failed => Outcome::Failed,
        };
        Finding {
            rule: self.rule.name.clone(),
            effect: "limit",
            dry_run: self.rule.force == Force::DryRun,
            outcome,
            because: Some(self.to_string()),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pace { calls, per } = self.pace;
        write!(f, "{calls} calls in {per:?} for each ")?;
        for (at, part) in self.parts.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { "+" }, part.as_str())?;
        }
        Ok(())
    }
}

impl Rules {
    /// The budgets that a permitted call counts against.
    pub fn charges(&self, facts: &Facts<'_>) -> Vec<Charge<'_>> {
        match &self.state {
            State::Closed(_) => Vec::new(),
            State::Open(open) if open.court.limits.is_empty() => Vec::new(),
            State::Open(open) => {
                let facts = open.seen(facts);
                open.court.limits.iter().filter_map(|limit| limit.charge(&facts)).collect()
            }
            State::All(parts) => parts.iter().flat_map(|(to, rules)| rules.charges(&facts.at(to))).collect(),
        }
    }
}

/// Whether a limit without `to` is about a call: those that make a server do something.
fn counts(call: &Call, declared: Option<Protocol>) -> bool {
    match call {
        Call::Mcp(call) => match (&call.object, &*call.method) {
            (McpObject::Tool { .. }, "tools/call")
            | (McpObject::Prompt { .. }, "prompts/get")
            | (McpObject::Resource(_), "resources/read")
            | (McpObject::Other, _) => true,
            (
                McpObject::Base
                | McpObject::Tool { .. }
                | McpObject::Prompt { .. }
                | McpObject::Resource(_)
                | McpObject::Task(_)
                | McpObject::Subscription(_)
                | McpObject::Setting
                | McpObject::ServerRequest(_),
                _,
            ) => false,
        },
        Call::A2a(call) => call.operation.sends(),
        Call::Http | Call::Tcp => declared.is_none(),
    }
}

/// Whether a call is ever counted. What a task goes on with was counted when it began, and a client that answers its
/// server asks for nothing.
fn can_count(call: &Call) -> bool {
    match call {
        Call::Mcp(call) => !matches!(call.object, McpObject::Base | McpObject::Task(_) | McpObject::ServerRequest(_)),
        Call::A2a(_) | Call::Http | Call::Tcp => true,
    }
}

fn parts(key: Option<&str>, protocol: Option<Protocol>) -> Result<Box<[Part]>, String> {
    let mut parts = Vec::new();
    for word in key.unwrap_or("principal").split('+') {
        let Some(part) = Part::ALL.into_iter().find(|part| part.as_str() == word) else {
            let known: Vec<_> = Part::ALL.into_iter().map(Part::as_str).collect();
            return Err(format!("`{word}` is none of {}, with `+` between them", known.join(", ")));
        };
        if part == Part::Tool && protocol == Some(Protocol::A2a) {
            return Err("A2A has no tools: name operations in `to`, in an entry of their own".to_owned());
        }
        if parts.contains(&part) {
            return Err(format!("names `{}` twice", part.as_str()));
        }
        parts.push(part);
    }
    // The order in which they are written says nothing.
    parts.sort();
    Ok(parts.into())
}

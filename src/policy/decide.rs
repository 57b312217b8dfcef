//! The decision: the rules of one port, asked in order – deny, require, allow, then the default.
//!
//! Input: compiled rules and what is known of one call. Output: a verdict and the rule that made it. Rules are asked in
//! three-valued logic, so that the same rule decides a call (all is known) and an entry of a list (arguments are not).

use super::a2a::A2aSettings;
use super::answers::Redactor;
use super::caller::{Asked, OfCaller, asked};
use super::cel::Meter;
use super::custom::{self, Ask, Custom, Heard, Verdicts};
use super::decision::Reason;
use super::labels::Labeller;
use super::limit::Limit;
use super::pins::Pins;
use super::rule::{Effect, Force, Rule, Says, Test, settle};
use super::scope::{Lens, Scope};
use super::truth::Truth;
use crate::call::{A2aOperation, Call, HttpHead, Knowable, McpCall, McpObject, Task};
use crate::document::agent_policy::Protocol;

/// The method by which arguments are completed.
const COMPLETION: &str = "completion/complete";

/// Which rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bench {
    /// Those in force.
    Enforced,
    /// Those in force, and those of DryRun policies as if they were.
    WithDryRun,
}

impl Bench {
    pub(super) fn has(self, force: Force) -> bool {
        self == Self::WithDryRun || force == Force::Enforced
    }
}

/// In which lights the rules look at a call: one that refuses in any of `refuse` refuses, one that permits in any of
/// `permit` permits. AuthorizationPolicies see the HTTP request as it is.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) refuse: [Option<Scope<'a>>; 2],
    pub(super) permit: [Option<Scope<'a>>; 2],
    pub(super) istio: Scope<'a>,
    /// Whether it is about how to get a token, which whoever is known may ask.
    discovery: bool,
    /// What providers said.
    heard: Heard<'a>,
    /// What the rules say of the caller, where they were asked before.
    known: Option<&'a OfCaller>,
}

impl<'a> Question<'a> {
    /// One light only.
    pub(super) fn single(scope: Scope<'a>) -> Self {
        let (refuse, permit) = ([Some(scope), None], [Some(scope), None]);
        Self { refuse, permit, istio: scope, discovery: false, heard: Heard::Nothing, known: None }
    }

    /// What providers are supposed to say, in words.
    pub(super) fn supposition(&self) -> &'static str {
        match self.heard {
            Heard::Supposed(true) => ", and is supposed to allow",
            Heard::Supposed(false) => ", and is supposed to deny",
            Heard::Nothing | Heard::Verdicts(_) => "",
        }
    }

    /// With what is known of providers.
    pub(super) fn hearing(self, heard: Heard<'a>) -> Self {
        Self { heard, ..self }
    }

    /// The question that a call puts; `skill` is what an A2A caller says it wants.
    pub(super) fn of(facts: &super::Facts<'a>, skill: Option<&'a str>) -> Self {
        if let Call::A2a(call) = facts.call {
            let scope = Scope { skill, ..Scope::of(facts, Lens::Call) };
            let mut question = Self::single(scope);
            // The public card goes to whoever could be allowed at least one call, and where a rule allows it by name.
            if call.operation == A2aOperation::GetAgentCard {
                question.permit = [Some(scope), Some(Scope { lens: Lens::AnyCall, ..scope })];
            }
            return question;
        }
        let Call::Mcp(call) = facts.call else {
            let discovery = facts.request.is_some_and(is_discovery);
            return Self { discovery, ..Self::single(Scope::of(facts, Lens::Call)) };
        };
        let list = Scope::of(facts, Lens::List);
        match (&call.object, offered_by(call)) {
            // A base method goes through for whoever could be allowed at least one call, unless a rule refuses it
            // by name or refuses everything; so does the list of a caller's own tasks.
            (McpObject::Base | McpObject::Subscription(_) | McpObject::Task(Task { id: Knowable::Unknown, .. }), _) => {
                let any = Scope { lens: Lens::AnyCall, ..list };
                Self { refuse: [Some(list), Some(any)], permit: [Some(any), None], ..Self::single(list) }
            }
            // A task is the call of its tool that goes on, and a completion tells of the prompt or resource that it refers
            // to: what refuses the one refuses the other.
            (object, Some(method)) if matches!(object, McpObject::Task(_)) || &*call.method == COMPLETION => {
                let of = Some(Scope { method, ..list });
                Self { refuse: [Some(list), of], permit: [Some(list), of], ..Self::single(list) }
            }
            // A list goes through where it is allowed itself, or where a call could be that it offers.
            (_, Some(method)) => {
                let offered = Scope { method, ..list };
                Self { permit: [Some(list), Some(offered)], ..Self::single(list) }
            }
            (_, None) => Self::single(Scope::of(facts, Lens::Call)),
        }
    }

    /// Whether one entry of a list is shown: the question that a call of it would put, its arguments not known.
    /// `known` is of the same caller.
    pub(super) fn of_entry(facts: &super::Facts<'a>, known: Option<&'a OfCaller>) -> Self {
        let list = Scope::of(facts, Lens::List);
        let method = list.mcp().and_then(offered_by).unwrap_or(list.method);
        Self { known, ..Self::single(Scope { method, ..list }) }
    }

    /// Whether there is anything that this peer could send.
    pub(super) fn of_anything(facts: &super::Facts<'a>) -> Self {
        Self::single(Scope::of(facts, Lens::Anything))
    }
}

/// Whether a request asks for the documents by which a client learns where to get a token (RFC 9728 section 3, RFC 8414
/// section 3): MCP clients must be able to read them before they may call anything.
fn is_discovery(head: &HttpHead) -> bool {
    const DOCUMENTS: [&str; 3] = [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ];
    let of =
        |document: &str| head.path.strip_prefix(document).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    head.method == http::Method::GET && DOCUMENTS.iter().any(|document| of(document))
}

/// The method that calls what a list method lists, a completion completes, or a task goes on with.
fn offered_by(call: &McpCall) -> Option<&'static str> {
    match (&*call.method, &call.object) {
        ("tools/list", _) | (_, McpObject::Task(_)) => Some("tools/call"),
        ("prompts/list", _) | (COMPLETION, McpObject::Prompt { .. }) => Some("prompts/get"),
        ("resources/list" | "resources/templates/list", _) | (COMPLETION, McpObject::Resource(_)) => {
            Some("resources/read")
        }
        _ => None,
    }
}

/// The calls that one call is made of, all of which must be permitted; none where it is one.
pub(super) fn parts(call: &Call) -> Option<Vec<Call>> {
    let Call::Mcp(whole) = call else { return None };
    let McpObject::Subscription(wanted) = &whole.object else { return None };
    let part = |method: &str, object| Call::Mcp(McpCall { method: method.into(), ..whole.entry(object) });
    let base = Call::Mcp(whole.entry(McpObject::Base));
    // By the names that the same rights have in every version.
    let resources = wanted
        .resources
        .iter()
        .map(|uri| part("resources/subscribe", McpObject::Resource(Knowable::Known(uri.clone()))));
    let tasks = wanted.tasks.iter().map(|task| part("tasks/get", McpObject::Task(task.clone())));
    Some(std::iter::once(base).chain(resources).chain(tasks).collect())
}

/// A decision, and the rule that made it.
#[derive(Debug, Clone)]
pub(super) struct Verdict<'r> {
    pub(super) refused: Option<Reason>,
    pub(super) rule: Option<&'r Rule>,
    /// What came of asking a provider, for operators.
    pub(super) told: Option<String>,
}

impl<'r> Verdict<'r> {
    fn allow(rule: Option<&'r Rule>) -> Self {
        Self { refused: None, rule, told: None }
    }

    pub(super) fn refuse(reason: Reason, rule: Option<&'r Rule>) -> Self {
        Self { refused: Some(reason), rule, told: None }
    }
}

/// The rules of one port, in the order in which they are asked.
#[derive(Debug, Default)]
pub(super) struct Court {
    pub(super) declared: Option<Protocol>,
    /// Every rule of AgentPolicies: deny, then require, then allow.
    pub(super) agent: Vec<Rule>,
    /// Rules of AgentPolicies that are asked once a call was answered: deny, then require.
    pub(super) answers: Vec<Rule>,
    /// What is blacked out of answers.
    pub(super) redactors: Vec<Redactor>,
    /// What is noted of sessions.
    pub(super) labellers: Vec<Labeller>,
    /// How many calls may be made.
    pub(super) limits: Vec<Limit>,
    /// Which definitions of tools were looked at.
    pub(super) pins: Pins,
    /// Rules by which providers are asked, of either kind of policy; by the names of providers.
    pub(super) custom: Vec<Custom>,
    /// Every other rule of AuthorizationPolicies, audited ones too.
    pub(super) istio: Vec<Rule>,
    /// Whether an ALLOW AuthorizationPolicy is attached, with rules or without.
    pub(super) istio_allow: bool,
    /// Whether one is attached that is annotated `istio.io/dry-run`.
    pub(super) istio_dry_allow: bool,
    /// What the policies in force say of A2A beside rules.
    pub(super) a2a: A2aSettings,
    /// How many AgentPolicies are in force, and how many are DryRun.
    pub(super) enforced: usize,
    pub(super) dry_run: usize,
    /// Whether an AuthorizationPolicy is annotated `istio.io/dry-run`.
    pub(super) istio_dry_run: bool,
}

impl Court {
    /// The skill that an A2A caller says it wants, where the policies say how it is said.
    pub(super) fn skill<'a>(&self, facts: &super::Facts<'a>) -> Option<&'a str> {
        let Call::A2a(call) = facts.call else { return None };
        self.a2a.skill(call)
    }

    /// Decides: what providers said, then deny, require, allow, default.
    pub(super) fn judge(&self, question: &Question<'_>, bench: Bench, meter: &mut Meter) -> Verdict<'_> {
        let policies = self.enforced + if bench == Bench::WithDryRun { self.dry_run } else { 0 };
        if self.declared.is_some() && policies == 0 {
            return Verdict::refuse(Reason::NoAgentPolicy, None);
        }
        if let Some(overruled) = self.overruled(question, meter) {
            return overruled;
        }
        let refusing = self.agent(question, bench).filter(|asked| asked.rule.effect != Effect::Allow);
        let scopes = || question.refuse.iter().flatten();
        // Denials of both kinds of document come before requirements, as `agent` is sorted by effect.
        let mut required = None;
        for asked in refusing {
            let rule = asked.rule;
            for scope in scopes() {
                let Some(reason) = refusal(rule.effect, asked.says(scope, meter), scope) else { continue };
                if rule.effect == Effect::Deny {
                    return Verdict::refuse(reason, Some(rule));
                }
                required = required.or(Some((reason, rule)));
            }
        }
        for asked in self.istio(Effect::Deny, question, bench) {
            if let Some(reason) = refusal(Effect::Deny, asked.says(&question.istio, meter), &question.istio) {
                return Verdict::refuse(reason, Some(asked.rule));
            }
        }
        if let Some((reason, rule)) = scopes().find_map(|scope| self.pins.refusal(scope)) {
            return Verdict::refuse(reason, Some(rule));
        }
        // What is said of calls to come is said of none of them.
        if let Some(reason) =
            Some(&question.istio).filter(|scope| !scope.any_call()).and_then(|scope| self.a2a.refusal(&scope.facts))
        {
            return Verdict::refuse(reason, None);
        }
        if let Some((reason, rule)) = required {
            return Verdict::refuse(reason, Some(rule));
        }
        self.permit(question, bench, meter)
    }

    /// The refusal of a provider that a rule in force asks about the call. Those of dry runs are asked by nobody.
    fn overruled(&self, question: &Question<'_>, meter: &mut Meter) -> Option<Verdict<'_>> {
        let destination = question.istio.facts.destination;
        self.concerned(question, meter).into_iter().find_map(|custom| {
            let (reason, told) = custom::refusal(custom, destination, question.heard)?;
            Some(Verdict { told, ..Verdict::refuse(reason, Some(&custom.rule)) })
        })
    }

    /// The CUSTOM rules in force that are about the call.
    fn concerned(&self, question: &Question<'_>, meter: &mut Meter) -> Vec<&Custom> {
        let mut about = |custom: &&Custom| {
            let asks = |scope: &Scope<'_>, meter: &mut Meter| {
                refusal(Effect::Deny, custom.rule.says(scope, meter), scope).is_some()
            };
            match &custom.rule.test {
                Test::Istio(_) => asks(&question.istio, meter),
                Test::Agent(_) => question.refuse.iter().flatten().any(|scope| asks(scope, meter)),
            }
        };
        let enforced = self.custom.iter().filter(|custom| custom.rule.force == Force::Enforced);
        enforced.filter(|custom| about(custom)).collect()
    }

    /// Whom to ask next about the call; none where all have spoken that are to be asked.
    pub(super) fn ask(&self, question: &Question<'_>, verdicts: &Verdicts, meter: &mut Meter) -> Option<Ask> {
        let destination = question.istio.facts.destination;
        self.concerned(question, meter).into_iter().find_map(|custom| custom::ask(custom, destination, verdicts))
    }

    fn permit(&self, question: &Question<'_>, bench: Bench, meter: &mut Meter) -> Verdict<'_> {
        let allows = || self.agent(question, bench).filter(|asked| asked.rule.effect == Effect::Allow);
        let mut permits = |asked: &Asked<'_>, scope: &Scope<'_>| permits(asked.says(scope, meter), scope);
        let by_agent = allows().find(|asked| question.permit.iter().flatten().any(|scope| permits(asked, scope)));
        let by_agent = by_agent.map(|asked| asked.rule);
        let closed = self.declared.is_some() || allows().any(|asked| asked.rule.is_plain());
        let discovery = question.discovery && self.declared == Some(Protocol::Mcp);
        if by_agent.is_none() && closed && !discovery {
            return Verdict::refuse(self.default_reason(question), None);
        }
        let by_istio = self.istio_allow || (bench == Bench::WithDryRun && self.istio_dry_allow);
        if !by_istio {
            return Verdict::allow(by_agent);
        }
        match self.istio(Effect::Allow, question, bench).find(|asked| permits(asked, &question.istio)) {
            Some(asked) => Verdict::allow(by_agent.or(Some(asked.rule))),
            None => Verdict::refuse(Reason::NotAllowed, None),
        }
    }

    /// AgentPolicies' rules.
    fn agent<'r>(&'r self, question: &Question<'_>, bench: Bench) -> impl Iterator<Item = Asked<'r>> {
        let asked = asked(&self.agent, question.known.map_or(&[], |known| &known.agent));
        asked.filter(move |asked| bench.has(asked.rule.force))
    }

    /// AuthorizationPolicies' rules of one effect.
    fn istio<'r>(&'r self, effect: Effect, question: &Question<'_>, bench: Bench) -> impl Iterator<Item = Asked<'r>> {
        let asked = asked(&self.istio, question.known.map_or(&[], |known| &known.istio));
        asked.filter(move |asked| asked.rule.effect == effect && bench.has(asked.rule.force))
    }

    /// Whether nothing in force is about anything: every call goes through.
    pub(super) fn is_open(&self) -> bool {
        let ruled =
            |rules: &[Rule]| rules.iter().any(|rule| Bench::Enforced.has(rule.force) && rule.effect != Effect::Audit);
        let limited = self.limits.iter().any(|limit| Bench::Enforced.has(limit.rule.force));
        self.declared.is_none()
            && self.custom.is_empty()
            && !ruled(&self.agent)
            && !ruled(&self.istio)
            && !self.istio_allow
            && !limited
    }

    /// Whether any rule looks at answers, blacks something out of them, or notes what they show.
    pub(super) fn reads_answers(&self) -> bool {
        !self.answers.is_empty() || !self.redactors.is_empty() || !self.labellers.is_empty()
    }

    /// Whether there is anything that only a shadow decision looks at.
    pub(super) fn has_dry_run(&self) -> bool {
        self.dry_run > 0 || self.istio_dry_run
    }

    /// Decides on the answer to a permitted call: none where it may go to the caller.
    pub(super) fn judge_answer(&self, scopes: &[Scope<'_>], meter: &mut Meter) -> Option<Verdict<'_>> {
        let mut rules = self.answers.iter().filter(|rule| rule.force == Force::Enforced);
        rules.find_map(|rule| {
            let reason = scopes.iter().find_map(|scope| refusal(rule.effect, rule.says(scope, meter), scope))?;
            Some(Verdict::refuse(reason, Some(rule)))
        })
    }

    /// What is to be blacked out of an answer: also where it cannot be told whether it is.
    pub(super) fn redactors_of<'r>(&'r self, scopes: &[Scope<'_>], meter: &mut Meter) -> Vec<&'r Redactor> {
        let enforced = self.redactors.iter().filter(|redactor| redactor.rule.force == Force::Enforced);
        let mut about = |rule: &Rule| scopes.iter().any(|scope| rule.says(scope, meter).about != Truth::False);
        enforced.filter(|redactor| about(&redactor.rule)).collect()
    }

    fn default_reason(&self, question: &Question<'_>) -> Reason {
        let other = matches!(question.istio.object(), Some(McpObject::Other));
        if self.declared.is_some() && other { Reason::UnknownMethod } else { Reason::NotAllowed }
    }
}

/// Why a rule that can refuse does so; none where it does not.
fn refusal(effect: Effect, says: Says, scope: &Scope<'_>) -> Option<Reason> {
    let (about, holds) = (settle(says.about, scope), settle(says.holds, scope));
    if effect == Effect::Deny {
        return match about {
            Truth::True => Some(Reason::DeniedByRule),
            Truth::Failed => Some(Reason::Undecidable),
            Truth::False | Truth::Unknown => None,
        };
    }
    // A requirement that may not be about the call, or may still hold, refuses nothing yet.
    let concerns = matches!(about, Truth::True | Truth::Failed);
    (concerns && matches!(holds, Truth::False | Truth::Failed)).then_some(Reason::RequirementNotMet)
}

/// Whether a rule that can permit does so: surely, or as far as this phase can know.
fn permits(says: Says, scope: &Scope<'_>) -> bool {
    matches!(settle(says.about, scope), Truth::True | Truth::Unknown)
}

use std::sync::Arc;

use super::answers::{Answered, Redactor};
use super::caller::{OfCaller, Viewer};
use super::cel::Meter;
use super::custom::{Heard, Providers, Verdicts};
use super::decide::{Bench, Court, Question, Verdict, parts};
use super::decision::{Decision, Denial, Permit, Reason, Shadow};
use super::hint;
use super::labels;
use super::scope::{Lens, Scope};
use super::{A2aSettings, CardFault, Destination, Facts, Revision};
use crate::call::{Call, Card, McpObject, Object, Phase};
use crate::config::limits::CEL_BUDGET;
use crate::document::Meta;
use crate::document::agent_policy::{AgentPolicySpec, DenialForm, Protocol};
use crate::document::authorization_policy::AuthorizationPolicySpec;

/// The documents that are about one port, as `mesh` selected them.
#[derive(Debug, Clone, Default)]
pub struct RuleSet<'a> {
    /// What an Enforce AgentPolicy or the port's `appProtocol` calls the port; none: plain HTTP or TCP.
    pub declared: Option<Protocol>,
    /// AgentPolicies of the target, DryRun ones too.
    pub agent: Vec<(&'a Meta, &'a AgentPolicySpec)>,
    /// AuthorizationPolicies attached by `targetRefs`; never selector ones.
    pub istio: Vec<(&'a Meta, &'a AuthorizationPolicySpec)>,
    /// The mesh's trust domain, then its aliases (meshConfig `trustDomainAliases`): principals of AuthorizationPolicies
    /// that name one of them stand for all. Where empty, every principal stands for itself.
    pub trust_domains: &'a [String],
    /// Whom CUSTOM rules can ask, of meshConfig; nobody where absent.
    pub providers: Option<&'a Providers>,
}

/// The compiled rules of one port. Immutable: decisions depend on nothing but these and the facts.
#[derive(Debug)]
pub struct Rules {
    pub(super) revision: Revision,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// Everything is refused, for this reason.
    Closed(Reason),
    /// Rules decide.
    Open(Box<Open>),
    /// All of them must permit, each asked about the destination that it is of.
    All(Vec<(Destination, Arc<Rules>)>),
}

#[derive(Debug)]
pub(super) struct Open {
    /// The rules in force; with those of DryRun policies, which say only what they would do.
    pub(super) court: Court,
    /// The same as if the protocol that only a DryRun policy declares were declared: for what is decoded beside a stream.
    pub(super) beside: Option<Court>,
    /// The wording of refusals by default.
    pub(super) form: DenialForm,
}

impl Rules {
    /// Refuses everything until the documents are mended; `reason` is for operators.
    pub fn closed(reason: impl Into<String>) -> Self {
        let reason: Arc<str> = reason.into().into();
        Self { revision: Revision::of(reason.as_bytes()), state: State::Closed(Reason::Closed(reason)) }
    }

    /// Refuses everything, as this process has no documents yet.
    pub fn no_documents() -> Self {
        Self { revision: Revision::of(b""), state: State::Closed(Reason::NoDocuments) }
    }

    /// Rules of several ports that lead to one place: a call needs the permission of all, as whoever is addressed past
    /// a Service is still the Service's. The first one's name stands for the whole. None at all refuse everything.
    pub fn all(parts: Vec<(Destination, Arc<Self>)>) -> Self {
        if parts.is_empty() {
            return Self::closed("no rules");
        }
        let text: Vec<u8> = parts.iter().flat_map(|(_, rules)| rules.revision.as_u64().to_be_bytes()).collect();
        Self { revision: Revision::of(&text), state: State::All(parts) }
    }

    /// The documents that decide: equal documents, equal revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Decides on one call: deny, require, allow, then the default. A call that is made of several is refused with any of
    /// them.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        self.decide_on(facts, &Verdicts::default())
    }

    /// The same, with what providers said of it: a call that a CUSTOM rule is about goes on only where its provider let it.
    pub fn decide_on(&self, facts: &Facts<'_>, verdicts: &Verdicts) -> Decision {
        let Some(parts) = parts(facts.call) else { return self.decide_one(facts, verdicts) };
        let mut permits = Vec::with_capacity(parts.len());
        for part in &parts {
            match self.decide_one(&Facts { call: part, ..*facts }, verdicts) {
                Decision::Allow(permit) => permits.push(permit),
                denied @ Decision::Deny(_) => return denied,
            }
        }
        let refused = |permit: &Permit| permit.shadow().is_some_and(|shadow| shadow.refused.is_some());
        let telling = permits.iter().position(refused).unwrap_or_default();
        match permits.into_iter().nth(telling) {
            Some(permit) => Decision::Allow(permit),
            None => self.decide_one(facts, verdicts),
        }
    }

    fn decide_one(&self, facts: &Facts<'_>, verdicts: &Verdicts) -> Decision {
        let open = match &self.state {
            State::Closed(reason) => return Decision::Deny(Denial::closed(reason.clone())),
            State::All(parts) => return decide_all(parts, facts, verdicts),
            State::Open(open) => open,
        };
        let shadow = open.shadow(facts, matches!(facts.call, Call::Mcp(_) | Call::A2a(_)), verdicts);
        let facts = &open.seen(facts);
        let question = Question::of(facts, open.court.skill(facts)).hearing(Heard::Verdicts(verdicts));
        let verdict = open.court.judge(&question, Bench::Enforced, &mut Meter::new(CEL_BUDGET));
        let rule = verdict.rule.map(|rule| rule.name.clone());
        let Some(reason) = verdict.refused.clone() else {
            return Decision::Allow(Permit::new(rule, self.revision, shadow));
        };
        let hint = match (&reason, open.court.declared) {
            (Reason::NoAgentPolicy, Some(declared)) => Some(hint::smallest_policy(declared, facts)),
            _ => verdict.told.clone().or_else(|| verdict.rule.and_then(|rule| labels::unknown(rule, facts))),
        };
        Decision::Deny(Denial { form: open.form(&verdict, &reason, facts), reason, rule, shadow, hint, retry: None })
    }

    /// Whether any rule in force looks at answers, or blacks something out of them.
    pub fn reads_answers(&self) -> bool {
        match &self.state {
            State::Closed(_) => false,
            State::All(parts) => parts.iter().any(|(_, rules)| rules.reads_answers()),
            State::Open(open) => open.court.reads_answers(),
        }
    }

    /// Decides on what a server answered to a permitted call; none where it may go to the caller.
    pub fn decide_answer(&self, facts: &Facts<'_>, answered: &Answered<'_>) -> Option<Denial> {
        let open = match &self.state {
            State::Closed(_) => return None,
            State::All(parts) => {
                let judge = |(destination, rules): &(Destination, Arc<Self>)| {
                    rules.decide_answer(&facts.at(destination), answered)
                };
                return parts.iter().find_map(judge);
            }
            State::Open(open) => open,
        };
        let scopes = answer_scopes(facts, answered);
        let verdict = open.court.judge_answer(&scopes, &mut Meter::new(CEL_BUDGET))?;
        let reason = verdict.refused.clone()?;
        let (form, rule) = (open.form(&verdict, &reason, facts), verdict.rule.map(|rule| rule.name.clone()));
        Some(Denial { form, reason, rule, shadow: None, hint: None, retry: None })
    }

    /// What is to be blacked out of what a server answered.
    pub fn redactors(&self, facts: &Facts<'_>, answered: &Answered<'_>) -> Vec<&Redactor> {
        let open = match &self.state {
            State::Closed(_) => return Vec::new(),
            State::All(parts) => {
                let each = parts.iter().map(|(destination, rules)| rules.redactors(&facts.at(destination), answered));
                return each.flatten().collect();
            }
            State::Open(open) => open,
        };
        open.court.redactors_of(&answer_scopes(facts, answered), &mut Meter::new(CEL_BUDGET))
    }

    /// Everything that is blacked out of answers, whatever was asked and by whom.
    pub fn all_redactors(&self) -> &[Redactor] {
        let State::Open(open) = &self.state else { return &[] };
        &open.court.redactors
    }

    /// The protocol that only a DryRun policy declares: it is to be decoded beside the stream, for [`Rules::shadow`].
    pub fn decoded_beside(&self) -> Option<Protocol> {
        match &self.state {
            State::Closed(_) => None,
            State::Open(open) => open.beside.as_ref()?.declared,
            State::All(parts) => parts.iter().find_map(|(_, rules)| rules.decoded_beside()),
        }
    }

    /// What the DryRun policies would make of a call that was decoded beside its stream; none where there are none.
    pub fn shadow(&self, facts: &Facts<'_>) -> Option<Shadow> {
        match &self.state {
            State::Closed(_) => None,
            State::Open(open) => open.shadow(facts, true, &Verdicts::default()),
            State::All(parts) => parts.iter().find_map(|(to, rules)| rules.shadow(&facts.at(to))),
        }
    }

    /// Whether one entry of a list is shown: `facts.call` names it, and whatever arguments it has are taken as unknown.
    /// An entry is hidden only where every call of it is surely refused.
    pub fn visible(&self, facts: &Facts<'_>) -> bool {
        match &self.state {
            State::Closed(_) => false,
            State::Open(open) => open.visible(&open.seen(facts), None),
            State::All(parts) => parts.iter().all(|(to, rules)| rules.visible(&facts.at(to))),
        }
    }

    /// For all entries of one list: what the rules say of its caller is asked once.
    pub fn viewer<'a>(&'a self, facts: &Facts<'a>) -> Viewer<'a> {
        Viewer::new(self, facts)
    }

    /// Whether any rule looks at the claims of a token.
    pub fn reads_jwt(&self) -> bool {
        let open = match &self.state {
            State::Closed(_) => return false,
            State::All(parts) => return parts.iter().any(|(_, rules)| rules.reads_jwt()),
            State::Open(open) => open,
        };
        let of_redactors = open.court.redactors.iter().map(|redactor| &redactor.rule);
        let of_redactors = of_redactors.chain(open.court.labellers.iter().map(|labeller| &labeller.rule));
        let of_limits = open.court.limits.iter().map(|limit| &limit.rule);
        let custom = open.court.custom.iter().map(|custom| &custom.rule);
        let others = of_redactors.chain(of_limits).chain(custom);
        let rules = open.court.agent.iter().chain(&open.court.istio).chain(&open.court.answers).chain(others);
        rules.into_iter().any(super::rule::Rule::reads_jwt)
    }

    /// What the policies in force say of A2A beside rules; none where everything is refused, or nothing is declared.
    pub fn a2a(&self) -> Option<&A2aSettings> {
        match &self.state {
            State::Closed(_) => None,
            State::Open(open) => (open.court.declared == Some(Protocol::A2a)).then_some(&open.court.a2a),
            State::All(parts) => parts.iter().find_map(|(_, rules)| rules.a2a()),
        }
    }

    /// What DryRun policies say of A2A beside rules, on a port that only they declare.
    pub fn a2a_beside(&self) -> Option<&A2aSettings> {
        match &self.state {
            State::Closed(_) => None,
            State::Open(open) => open.beside.as_ref().map(|court| &court.a2a),
            State::All(parts) => parts.iter().find_map(|(_, rules)| rules.a2a_beside()),
        }
    }

    /// Whether an agent card is refused that names a place which this waypoint does not front: where any of the rules
    /// that lead there say so.
    pub fn refuses_foreign_cards(&self) -> bool {
        match &self.state {
            State::Closed(_) => true,
            State::Open(open) => open.court.a2a.refuses_foreign_cards(),
            State::All(parts) => parts.iter().any(|(_, rules)| rules.refuses_foreign_cards()),
        }
    }

    /// What is to be known of an agent's card; and why it is not passed on, where any of the rules that lead there say so.
    pub fn look_at_card(&self, card: &Object) -> Option<(Card, Option<CardFault>)> {
        match &self.state {
            State::Closed(_) => None,
            State::Open(open) => Some(open.court.a2a.look_at_card(card)),
            State::All(parts) => {
                let mut all = parts.iter().filter_map(|(_, rules)| rules.look_at_card(card));
                let first = all.next()?;
                Some(all.fold(first, |(known, fault), (other, also)| {
                    let verified = known.verified && other.verified;
                    (Card { verified, ..known }, fault.or(also))
                }))
            }
        }
    }

    /// Whether a card that cannot be looked at whole may pass.
    pub fn trusts_any_card(&self) -> bool {
        match &self.state {
            State::Closed(_) => false,
            State::Open(open) => open.court.a2a.trusts_any_card(),
            State::All(parts) => parts.iter().all(|(_, rules)| rules.trusts_any_card()),
        }
    }

    /// Whether this is a plain port that no rule in force is about: everything goes through.
    pub fn is_open(&self) -> bool {
        match &self.state {
            State::Closed(_) => false,
            State::All(parts) => parts.iter().all(|(_, rules)| rules.is_open()),
            State::Open(open) => open.court.is_open(),
        }
    }

    /// False only where this peer is surely refused whatever it sends, with whatever token: the one case in which the
    /// answer may be HTTP 403 instead of the protocol's own.
    pub fn may_ever_admit(&self, facts: &Facts<'_>) -> bool {
        let open = match &self.state {
            State::Closed(_) => return false,
            State::All(parts) => {
                let admits = |(to, rules): &(Destination, Arc<Self>)| rules.may_ever_admit(&facts.at(to));
                return parts.iter().all(admits);
            }
            State::Open(open) => open,
        };
        let facts = &open.seen(facts);
        let question = Question::of_anything(facts);
        open.court.judge(&question, Bench::Enforced, &mut Meter::new(CEL_BUDGET)).refused.is_none()
    }
}

/// An answered call: all of it is known, but for lists, whose entries are decided on one by one. What a task comes to is
/// the answer to the call that made it too.
pub(super) fn answer_scopes<'a>(facts: &Facts<'a>, answered: &Answered<'a>) -> Vec<Scope<'a>> {
    let list = matches!(facts.call, Call::Mcp(call) if call.phase() == Phase::List);
    let lens = if list { Lens::List } else { Lens::Call };
    let scope = Scope { answered: Some(*answered), ..Scope::of(facts, lens) };
    let task = !list && matches!(scope.object(), Some(McpObject::Task(_)));
    if task { vec![scope, Scope { method: "tools/call", ..scope }] } else { vec![scope] }
}

/// The first refusal, else the first permit.
fn decide_all(parts: &[(Destination, Arc<Rules>)], facts: &Facts<'_>, verdicts: &Verdicts) -> Decision {
    let mut permitted = None;
    for (destination, rules) in parts {
        match rules.decide_on(&facts.at(destination), verdicts) {
            Decision::Allow(permit) => permitted = permitted.or(Some(permit)),
            Decision::Deny(denial) => return Decision::Deny(denial),
        }
    }
    // `Rules::all` makes no empty ones.
    let none = || Decision::Deny(Denial::closed(Reason::Closed("no rules".into())));
    permitted.map_or_else(none, Decision::Allow)
}

impl Open {
    /// On a port that nothing in force declares, an MCP or A2A call is the HTTP request that carries it.
    pub(super) fn seen<'a>(&self, facts: &Facts<'a>) -> Facts<'a> {
        let plain = self.court.declared.is_none() && matches!(facts.call, Call::Mcp(_) | Call::A2a(_));
        Facts { call: if plain { &Call::Http } else { facts.call }, ..*facts }
    }

    pub(super) fn visible(&self, facts: &Facts<'_>, known: Option<&OfCaller>) -> bool {
        let question = Question::of_entry(facts, known);
        self.court.judge(&question, Bench::Enforced, &mut Meter::new(CEL_BUDGET)).refused.is_none()
    }

    /// What providers said counts for what they were asked: nobody is asked for a dry run.
    fn shadow(&self, facts: &Facts<'_>, decoded: bool, verdicts: &Verdicts) -> Option<Shadow> {
        if !self.court.has_dry_run() {
            return None;
        }
        let (court, facts) = match &self.beside {
            Some(beside) if decoded => (beside, *facts),
            _ => (&self.court, self.seen(facts)),
        };
        let heard = if self.court.custom.is_empty() { Heard::Nothing } else { Heard::Verdicts(verdicts) };
        let question = Question::of(&facts, court.skill(&facts)).hearing(heard);
        let verdict = court.judge(&question, Bench::WithDryRun, &mut Meter::new(CEL_BUDGET));
        Some(Shadow { refused: verdict.refused, rule: verdict.rule.map(|rule| rule.name.clone()) })
    }

    /// How a refusal is worded: as the policy of the rule that refused says; for the default, `Auto` unless all agree.
    fn form(&self, verdict: &Verdict<'_>, reason: &Reason, facts: &Facts<'_>) -> DenialForm {
        let form = verdict.rule.map_or(self.form, |rule| rule.form);
        if form != DenialForm::Auto {
            return form;
        }
        let named = match facts.call {
            Call::Mcp(call) => call.name().is_some(),
            Call::A2a(_) if *reason == Reason::NotOwner => return DenialForm::Hidden,
            Call::A2a(_) | Call::Http | Call::Tcp => false,
        };
        let secret = named && *reason != Reason::NoAgentPolicy && !self.visible(facts, None);
        if secret { DenialForm::Hidden } else { DenialForm::Disclosed }
    }
}

impl Denial {
    pub(super) fn closed(reason: Reason) -> Self {
        Self { reason, rule: None, form: DenialForm::Disclosed, shadow: None, hint: None, retry: None }
    }
}

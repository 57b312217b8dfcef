use std::sync::Arc;

use serde::Serialize;

use super::custom::{Custom, Providers};
use super::decide::Court;
use super::problems::Problems;
use super::rule::{Effect, Force, Rule};
use super::rules::{Open, RuleSet, Rules, State};
use super::{A2aSettings, Revision, agent, istio};
use crate::document::agent_policy::{A2aSpec, AgentPolicySpec, DenialForm, Mode, Ownership, Protocol};
use crate::document::authorization_policy::AuthorizationPolicySpec;
use crate::document::{FieldProblem, Meta, Severity};

/// Checks one AgentPolicy by itself, also one that selects nothing yet: errors and warnings, with paths of fields.
pub fn check_agent_policy(meta: &Meta, spec: &AgentPolicySpec) -> Vec<FieldProblem> {
    let mut problems = Problems::default();
    drop(agent::compile(meta, spec, spec.protocol, &mut problems));
    problems.into_vec()
}

/// Checks one AuthorizationPolicy by itself. What Istio's API server refuses, and what is not enforced here, is an error.
pub fn check_authorization_policy(meta: &Meta, spec: &AuthorizationPolicySpec) -> Vec<FieldProblem> {
    let mut problems = Problems::default();
    drop(istio::compile(meta, spec, &[], &mut problems));
    problems.into_vec()
}

/// Compiles the documents of one port. The result depends on the documents alone, not on their order.
///
/// Blocks while expressions are parsed; many sets are best compiled inside one [`super::on_compile_thread`].
///
/// # Errors
/// Everything wrong in any of them, each reason beginning with the document; the port is to be closed.
pub fn compile(set: &RuleSet<'_>) -> Result<Rules, Vec<FieldProblem>> {
    let mut agent = set.agent.clone();
    agent.sort_by_key(|(meta, _)| (&meta.namespace, &meta.name));
    let mut istio = set.istio.clone();
    istio.sort_by_key(|(meta, _)| (&meta.namespace, &meta.name));
    let none = Providers::default();
    let providers = set.providers.unwrap_or(&none);
    let docs = Docs { agent: &agent, istio: &istio, trust_domains: set.trust_domains, providers };
    let court = court(set.declared, &docs)?;
    let beside = agent.iter().filter(|(_, spec)| spec.mode == Mode::DryRun).find_map(|(_, spec)| spec.protocol);
    let beside = match beside.filter(|_| set.declared.is_none()) {
        Some(protocol) => Some(Court { a2a: a2a_beside(&agent), ..self::court(Some(protocol), &docs)? }),
        None => None,
    };
    let revision = revision(set.declared, &docs, &court);
    let open = Open { court, beside, form: common_form(&agent) };
    Ok(Rules { revision, state: State::Open(Box::new(open)) })
}

/// What DryRun policies say of A2A. Not whose tasks are whose: owners are not learnt where nothing is decoded on its way.
fn a2a_beside(agent: &[(&Meta, &AgentPolicySpec)]) -> A2aSettings {
    let mut settings = A2aSettings::default();
    for (meta, spec) in agent.iter().filter_map(|(meta, spec)| Some((meta, spec.a2a.as_ref()?))) {
        let spec = A2aSpec { ownership: Ownership::Learn, ..spec.clone() };
        settings.add(&meta.namespace, &spec, &mut Problems::default());
    }
    settings
}

/// A [`RuleSet`] in order.
struct Docs<'a> {
    agent: &'a [(&'a Meta, &'a AgentPolicySpec)],
    istio: &'a [(&'a Meta, &'a AuthorizationPolicySpec)],
    trust_domains: &'a [String],
    providers: &'a Providers,
}

impl Docs<'_> {
    fn custom(&self, rule: Rule, name: &Arc<str>) -> Custom {
        Custom { rule, name: Arc::clone(name), provider: self.providers.get(name) }
    }
}

/// The rules of a port that speaks `declared`.
fn court(declared: Option<Protocol>, docs: &Docs<'_>) -> Result<Court, Vec<FieldProblem>> {
    let mut errors = Vec::new();
    let mut court = Court { declared, ..Court::default() };
    for (meta, spec) in docs.agent {
        let mut problems = Problems::default();
        let compiled = agent::compile(meta, spec, declared, &mut problems);
        let (answers, calls): (Vec<_>, Vec<_>) = compiled.rules.into_iter().partition(Rule::reads_answer);
        court.agent.extend(calls);
        court.answers.extend(answers);
        court.redactors.extend(compiled.redactors);
        court.labellers.extend(compiled.labellers);
        court.limits.extend(compiled.limits);
        court.pins.merge(compiled.pins);
        court.custom.extend(compiled.external.into_iter().map(|(rule, provider)| docs.custom(rule, &provider)));
        let mut a2a = A2aSettings::default();
        let settings = if spec.mode == Mode::Enforce { &mut court.a2a } else { &mut a2a };
        if let Some(spec) = &spec.a2a {
            settings.add(&meta.namespace, spec, &mut Problems::default());
        }
        match spec.mode {
            Mode::Enforce => court.enforced += 1,
            Mode::DryRun => court.dry_run += 1,
        }
        keep_errors("AgentPolicy", meta, problems, &mut errors);
    }
    for (meta, spec) in docs.istio {
        let mut problems = Problems::default();
        if let Some(policy) = istio::compile(meta, spec, docs.trust_domains, &mut problems) {
            let (allow, dry) = (policy.effect == Effect::Allow, policy.force == Force::DryRun);
            if let Some(provider) = &policy.provider {
                court.custom.extend(policy.rules.into_iter().map(|rule| docs.custom(rule, provider)));
                keep_errors("AuthorizationPolicy", meta, problems, &mut errors);
                continue;
            }
            court.istio_allow |= allow && !dry;
            court.istio_dry_allow |= allow && dry;
            court.istio_dry_run |= dry;
            court.istio.extend(policy.rules);
        }
        keep_errors("AuthorizationPolicy", meta, problems, &mut errors);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    // Stable: within an effect, the order of documents and of the rules in them stays.
    court.agent.sort_by_key(|rule| rule.effect as u8);
    court.answers.sort_by_key(|rule| rule.effect as u8);
    // The order in which Istio puts one behind the other.
    court.custom.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(court)
}

fn keep_errors(kind: &str, meta: &Meta, problems: Problems, errors: &mut Vec<FieldProblem>) {
    let document = format!("{kind} {}/{}", meta.namespace, meta.name);
    errors.extend(
        problems
            .into_vec()
            .into_iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| FieldProblem { reason: format!("{document}: {}", problem.reason), ..problem }),
    );
}

/// `Auto` unless all policies in force agree on something else.
fn common_form(agent: &[(&Meta, &AgentPolicySpec)]) -> DenialForm {
    let mut forms = agent.iter().filter(|(_, spec)| spec.mode == Mode::Enforce).map(|(_, spec)| spec.denial);
    let first = forms.next().unwrap_or_default();
    if forms.all(|form| form == first) { first } else { DenialForm::Auto }
}

/// What a revision is the hash of.
#[derive(Serialize)]
struct Text<'a> {
    declared: Option<Protocol>,
    agent: Vec<Document<'a, AgentPolicySpec>>,
    istio: Vec<Document<'a, AuthorizationPolicySpec>>,
    trust_domains: &'a [String],
    /// Those that are asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    providers: Vec<String>,
}

#[derive(Serialize)]
struct Document<'a, S> {
    namespace: &'a str,
    name: &'a str,
    generation: i64,
    dry_run: bool,
    spec: &'a S,
}

fn revision(declared: Option<Protocol>, docs: &Docs<'_>, court: &Court) -> Revision {
    let (agent, istio) = (documents(docs.agent), documents(docs.istio));
    let providers = court.custom.iter().map(|custom| format!("{:?}", custom.provider)).collect();
    let text = Text { declared, agent, istio, trust_domains: docs.trust_domains, providers };
    // These types have string keys only, so they always serialise; if not, nothing is mistaken for what it is not.
    let text = serde_json::to_vec(&text).unwrap_or_else(|error| error.to_string().into_bytes());
    Revision::of(&text)
}

fn documents<'a, S>(documents: &[(&'a Meta, &'a S)]) -> Vec<Document<'a, S>> {
    let document = |(meta, spec): &(&'a Meta, &'a S)| Document {
        namespace: &meta.namespace,
        name: &meta.name,
        generation: meta.generation,
        dry_run: istio::is_dry_run(meta),
        spec: *spec,
    };
    documents.iter().map(document).collect()
}

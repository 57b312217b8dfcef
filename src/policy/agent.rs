use std::collections::BTreeSet;
use std::sync::Arc;

use super::a2a::A2aSettings;
use super::answers::Redactor;
use super::cel::Condition;
use super::decision::RuleName;
use super::labels::{self, Labeller};
use super::limit::Limit;
use super::names::{A2aName, Name};
use super::object::Object;
use super::pins::Pins;
use super::problems::Problems;
use super::rule::{AgentTest, Effect, Force, Rule, Test};
use super::source::Source;
use crate::config::limits::MAX_LABELS;
use crate::document::Meta;
use crate::document::agent_policy::{self, AgentPolicySpec, Mode, Protocol, TargetKind, TargetRef};

/// Compiles one policy for a port declared `declared`, noting all that is wrong.
pub(super) fn compile(
    meta: &Meta,
    spec: &AgentPolicySpec,
    declared: Option<Protocol>,
    problems: &mut Problems,
) -> Compiled {
    check_targets(meta, spec, problems);
    if let Some(a2a) = &spec.a2a {
        A2aSettings::default().add(&meta.namespace, a2a, problems);
        if spec.protocol == Some(Protocol::Mcp) {
            problems.error("spec.a2a", "says nothing of a port whose protocol is MCP");
        }
    }
    // Accepted and not done would be worse than refused.
    if spec.protocol == Some(Protocol::A2a) && spec.results.is_some() {
        problems.error("spec.results", "is not done for A2A: what agents answer is passed as it came");
    }
    let rules = [spec.allow.len(), spec.deny.len(), spec.require.len()].iter().sum::<usize>();
    if rules == 0
        && spec.protocol.is_none()
        && spec.results.is_none()
        && spec.limits.is_empty()
        && spec.pins.is_none()
        && spec.external.is_empty()
    {
        problems.warning("spec", "has no rules and declares no protocol, so it decides nothing");
    }
    let mut compiler = Compiler {
        meta,
        spec,
        declared,
        policy: format!("{}/{}", meta.namespace, meta.name).into(),
        names: BTreeSet::new(),
        problems,
    };
    let mut rules = Vec::with_capacity(spec.deny.len() + spec.require.len() + spec.allow.len());
    for (at, written) in spec.deny.iter().enumerate() {
        rules.push(compiler.rule(Effect::Deny, at, Written::of(written)));
    }
    for (at, written) in spec.require.iter().enumerate() {
        rules.push(compiler.rule(Effect::Require, at, Written::of_requirement(written)));
    }
    for (at, written) in spec.allow.iter().enumerate() {
        rules.push(compiler.rule(Effect::Allow, at, Written::of(written)));
    }
    let redactions = spec.results.iter().flat_map(|results| &results.redact).enumerate();
    let redactors = redactions.map(|(at, written)| compiler.redactor(at, written)).collect();
    let labels = spec.results.iter().flat_map(|results| &results.labels).enumerate();
    let labellers = labels.map(|(at, written)| compiler.labeller(at, written)).collect();
    let limits = spec.limits.iter().enumerate().map(|(at, written)| compiler.limit(at, written)).collect();
    let pins = spec.pins.as_ref().map(|pins| compiler.pins(pins)).unwrap_or_default();
    let external = spec.external.iter().enumerate().map(|(at, written)| compiler.external(at, written)).collect();
    Compiled { rules, redactors, labellers, limits, pins, external }
}

/// A policy, compiled.
pub(super) struct Compiled {
    pub(super) rules: Vec<Rule>,
    pub(super) redactors: Vec<Redactor>,
    pub(super) labellers: Vec<Labeller>,
    pub(super) limits: Vec<Limit>,
    pub(super) pins: Pins,
    /// Rules by which providers are asked, each with its provider's name.
    pub(super) external: Vec<(Rule, Arc<str>)>,
}

/// What `allow`, `deny` and `require` entries have in common.
#[derive(Default)]
struct Written<'a> {
    name: Option<&'a str>,
    from: Option<&'a [agent_policy::From]>,
    to: Option<&'a [agent_policy::To]>,
    /// The field's name and its source text.
    condition: Option<(&'static str, &'a str)>,
}

impl<'a> Written<'a> {
    fn of(rule: &'a agent_policy::Rule) -> Self {
        Self {
            name: rule.name.as_deref(),
            from: rule.from.as_deref(),
            to: rule.to.as_deref(),
            condition: rule.when.as_deref().map(|source| ("when", source)),
        }
    }

    fn of_redaction(redaction: &'a agent_policy::Redaction) -> Self {
        Self {
            name: redaction.name.as_deref(),
            from: redaction.from.as_deref(),
            to: redaction.to.as_deref(),
            condition: redaction.when.as_deref().map(|source| ("when", source)),
        }
    }

    fn of_label(label: &'a agent_policy::Label) -> Self {
        Self {
            // Several entries may put one label, and a rule may be called like it.
            name: None,
            from: label.from.as_deref(),
            to: label.to.as_deref(),
            condition: label.when.as_deref().map(|source| ("when", source)),
        }
    }

    fn of_limit(limit: &'a agent_policy::Limit) -> Self {
        Self { name: limit.name.as_deref(), from: limit.from.as_deref(), to: limit.to.as_deref(), condition: None }
    }

    fn of_external(external: &'a agent_policy::External) -> Self {
        Self {
            name: external.name.as_deref(),
            from: external.from.as_deref(),
            to: external.to.as_deref(),
            condition: external.when.as_deref().map(|source| ("when", source)),
        }
    }

    fn of_requirement(rule: &'a agent_policy::Requirement) -> Self {
        Self {
            name: rule.name.as_deref(),
            from: rule.from.as_deref(),
            to: rule.to.as_deref(),
            condition: Some(("that", &rule.that)),
        }
    }
}

struct Compiler<'a> {
    meta: &'a Meta,
    spec: &'a AgentPolicySpec,
    declared: Option<Protocol>,
    policy: Arc<str>,
    names: BTreeSet<String>,
    problems: &'a mut Problems,
}

impl Compiler<'_> {
    fn rule(&mut self, effect: Effect, at: usize, written: Written<'_>) -> Rule {
        let path = format!("spec.{}[{at}]", effect.as_str());
        let rule = self.rule_at(&path, effect, format!("{}[{at}]", effect.as_str()), &written);
        if effect == Effect::Allow && rule.reads_answer() {
            let what = "reads the answer, which is not there when a call is allowed: write a `deny` or a `require`";
            self.problems.error(format_args!("{path}.when"), what);
        }
        if self.spec.protocol == Some(Protocol::A2a) && rule.reads_answer() {
            self.problems.error(&path, "reads mcp.result, which no answer of A2A has: it would never be asked");
        }
        rule
    }

    fn redactor(&mut self, at: usize, written: &agent_policy::Redaction) -> Redactor {
        let path = format!("spec.results.redact[{at}]");
        // What cannot be told is replaced, as a deny that cannot be told denies.
        let rule = self.rule_at(&path, Effect::Deny, format!("redact[{at}]"), &Written::of_redaction(written));
        Redactor::compile(rule, written, &path, self.problems)
    }

    fn labeller(&mut self, at: usize, written: &agent_policy::Label) -> Labeller {
        let path = format!("{}[{at}]", labels::PATH);
        // What cannot be told is labelled, as a deny that cannot be told denies.
        let rule = self.rule_at(&path, Effect::Deny, written.name.clone(), &Written::of_label(written));
        if at == MAX_LABELS {
            self.problems.error(&path, format_args!("is one too many: a policy names {MAX_LABELS} labels at most"));
        }
        Labeller::compile(rule, written, (&path, self.spec.protocol), self.problems)
    }

    fn limit(&mut self, at: usize, written: &agent_policy::Limit) -> Limit {
        let path = format!("spec.limits[{at}]");
        let rule = self.rule_at(&path, Effect::Deny, format!("limits[{at}]"), &Written::of_limit(written));
        Limit::compile(rule, written, (&path, self.spec.protocol), self.problems)
    }

    fn pins(&mut self, written: &agent_policy::Pins) -> Pins {
        let rule = self.rule_at("spec.pins", Effect::Deny, "pins".to_owned(), &Written::default());
        Pins::compile(rule, written, self.spec.protocol, self.problems)
    }

    /// Where it cannot be told whether a call is meant, the provider is asked.
    fn external(&mut self, at: usize, written: &agent_policy::External) -> (Rule, Arc<str>) {
        let path = format!("spec.external[{at}]");
        let rule = self.rule_at(&path, Effect::Deny, format!("external[{at}]"), &Written::of_external(written));
        if written.provider.is_empty() {
            self.problems
                .error(format_args!("{path}.provider"), "is empty: name one of meshConfig's extensionProviders");
        }
        if rule.reads_answer() {
            self.problems
                .error(format_args!("{path}.when"), "reads the answer, which is not there when a provider is asked");
        }
        if self.spec.mode == Mode::DryRun {
            self.problems
                .warning(&path, "is not asked while the policy is DryRun: what the provider would say is not known");
        }
        (rule, written.provider.as_str().into())
    }

    fn rule_at(&mut self, path: &str, effect: Effect, place: String, written: &Written<'_>) -> Rule {
        let name = self.name(place, written.name, path);
        let from = written.from.map(|from| self.from(from, path));
        let to = written.to.map(|to| self.to(to, path));
        let condition = written.condition.and_then(|(field, source)| self.condition(field, source, path));
        // One that only notes something refuses nothing.
        let refuses = effect != Effect::Allow && !path.starts_with(labels::PATH);
        if let Some(condition) = condition.as_ref().filter(|_| to.is_none() && refuses) {
            self.warn_of_other_kinds(condition, written.condition.map_or("", |(_, source)| source), path);
        }
        Rule {
            name: RuleName {
                policy: Arc::clone(&self.policy),
                kind: "AgentPolicy",
                rule: name.into(),
                generation: self.meta.generation,
            },
            effect,
            force: if self.spec.mode == Mode::DryRun { Force::DryRun } else { Force::Enforced },
            form: self.spec.denial,
            test: Test::Agent(AgentTest { from, to, condition, declared: self.declared }),
        }
    }

    fn name(&mut self, place: String, name: Option<&str>, path: &str) -> String {
        let Some(name) = name else { return place };
        let field = format!("{path}.name");
        if name.is_empty() || name.len() > 253 || name.chars().any(char::is_control) {
            self.problems.error(&field, "must be 1 to 253 characters, none of them a control character");
        }
        if !self.names.insert(name.to_owned()) {
            self.problems.error(&field, format_args!("`{name}` names two rules of this policy"));
        }
        name.to_owned()
    }

    fn from(&mut self, from: &[agent_policy::From], path: &str) -> Box<[Source]> {
        if from.is_empty() {
            self.problems.error(format_args!("{path}.from"), "is an empty list: leave it out for every caller");
        }
        let entries = from.iter().enumerate();
        let compile =
            |(at, entry)| Source::compile(&self.meta.namespace, entry, &format!("{path}.from[{at}]"), self.problems);
        entries.map(compile).collect()
    }

    fn to(&mut self, to: &[agent_policy::To], path: &str) -> Box<[Object]> {
        if to.is_empty() {
            self.problems.error(format_args!("{path}.to"), "is an empty list: leave it out for every call");
        }
        let entries = to.iter().enumerate();
        let compile =
            |(at, entry)| Object::compile(entry, self.spec.protocol, &format!("{path}.to[{at}]"), self.problems);
        entries.filter_map(compile).collect()
    }

    fn condition(&mut self, field: &str, source: &str, path: &str) -> Option<Condition> {
        match Condition::compile(source) {
            Ok(condition) => {
                labels::check_names(&condition, self.spec, (field, path), self.problems);
                if condition.is_never() {
                    self.problems.warning(format_args!("{path}.{field}"), "is always false, so the rule never matches");
                }
                Some(condition)
            }
            Err(problem) => {
                self.problems.error(format_args!("{path}.{field}"), problem);
                None
            }
        }
    }

    /// A rule that refuses, is about every call, and reads what only tool calls have, refuses every other call.
    fn warn_of_other_kinds(&mut self, condition: &Condition, source: &str, path: &str) {
        let reads = |names: &[Name]| names.iter().any(|name| condition.reads(*name));
        let kinds = [
            ("tool", "tools", &[Name::Tool, Name::ToolArguments]),
            ("prompt", "prompts", &[Name::Prompt, Name::PromptArguments]),
            ("resource", "resources", &[Name::Resource, Name::ResourceUri]),
        ];
        if reads(&[Name::A2a(A2aName::Message)]) && !source.contains("has(a2a.message") {
            let what = "reads a2a.message, which only messages have, and so refuses every other call: add \
                        `to: [{operations: [\"Send*\"]}]`";
            self.problems.warning(path, what);
        }
        let kind = kinds.iter().find(|(_, _, names)| reads(*names)).map(|(kind, field, _)| (kind, field));
        if let Some((kind, field)) = kind.filter(|(kind, _)| !source.contains(&format!("has(mcp.{kind}"))) {
            let what = format!(
                "reads mcp.{kind}, which other calls do not have, and so refuses them all: add `to: [{{{field}: [\"*\"]}}]`"
            );
            self.problems.warning(path, what);
        }
    }
}

fn check_targets(meta: &Meta, spec: &AgentPolicySpec, problems: &mut Problems) {
    if spec.target_refs.is_empty() {
        problems.error("spec.targetRefs", "is empty: name what the policy protects");
    }
    for (at, target) in spec.target_refs.iter().enumerate() {
        let path = format!("spec.targetRefs[{at}]");
        check_target(meta, target, &path, problems);
        let ports = matches!(target.kind, TargetKind::Service | TargetKind::ServiceEntry);
        if spec.protocol.is_some() && !ports {
            let what = "a protocol is declared for Service or ServiceEntry targets only";
            problems.error(format_args!("{path}.kind"), what);
        }
        if spec.target_refs.iter().take(at).any(|earlier| earlier == target) {
            problems.warning(&path, "is named twice");
        }
    }
}

fn check_target(meta: &Meta, target: &TargetRef, path: &str, problems: &mut Problems) {
    let group = match target.kind {
        TargetKind::Service | TargetKind::Namespace => "",
        TargetKind::ServiceEntry => "networking.istio.io",
        TargetKind::Gateway => "gateway.networking.k8s.io",
        TargetKind::GatewayClass => {
            problems.error(format_args!("{path}.kind"), "must be Service, ServiceEntry, Gateway or Namespace");
            return;
        }
    };
    let core = group.is_empty() && target.group == "core";
    if !target.group.is_empty() && target.group != group && !core {
        problems.error(format_args!("{path}.group"), format_args!("must be `{group}` for this kind, or left out"));
    }
    if target.name.is_empty() {
        problems.error(format_args!("{path}.name"), "is empty");
    } else if target.kind == TargetKind::Namespace && target.name != meta.namespace {
        let what = format!("must be the policy's own namespace, `{}`", meta.namespace);
        problems.error(format_args!("{path}.name"), what);
    }
    if let Some(section) = &target.section_name {
        if !matches!(target.kind, TargetKind::Service | TargetKind::ServiceEntry) {
            problems
                .error(format_args!("{path}.sectionName"), "names a port, so the kind must be Service or ServiceEntry");
        } else if section.is_empty() {
            problems.error(format_args!("{path}.sectionName"), "is empty: leave it out for every port");
        }
    }
}

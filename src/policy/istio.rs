use super::decision::RuleName;
use super::matcher::{self, Many};
use super::pattern::Pattern;
use super::problems::Problems;
use super::rule::{Effect, Force, Rule, Test};
use super::scope::{Lens, Scope};
use super::source::service_account;
use super::truth::Truth;
use crate::document::Meta;
use crate::document::agent_policy::{DenialForm, TargetKind, TargetRef};
use crate::document::authorization_policy::{Action, AuthorizationPolicySpec, IstioRule as Written, Operation, Source};

/// One rule of an AuthorizationPolicy: sources OR, operations OR, both AND.
///
/// Semantics are Istio's: <https://istio.io/latest/docs/reference/config/security/authorization-policy/>.
#[derive(Debug)]
pub(super) struct IstioRule {
    from: Box<[IstioSource]>,
    to: Box<[IstioOperation]>,
    effect: Effect,
}

#[derive(Debug)]
struct IstioSource {
    principals: Many,
    namespaces: Many,
    service_accounts: Many,
}

#[derive(Debug)]
struct IstioOperation {
    ports: Many,
    methods: Many,
    paths: Many,
}

/// A compiled AuthorizationPolicy.
#[derive(Debug)]
pub(super) struct IstioPolicy {
    pub(super) effect: Effect,
    pub(super) rules: Vec<Rule>,
}

impl IstioRule {
    /// Whether the rule matches; a rule without sources and operations matches everything.
    pub(super) fn truth(&self, scope: &Scope<'_>) -> Truth {
        if scope.facts.request.is_none() && self.effect == Effect::Allow && self.to.iter().any(IstioOperation::is_http)
        {
            return Truth::False;
        }
        let from = || matcher::any(&self.from, |source| source.matches(scope).into());
        let to = || matcher::any(&self.to, |operation| operation.truth(scope, self.effect));
        let from = if self.from.is_empty() { Truth::True } else { from() };
        from.and(|| if self.to.is_empty() { Truth::True } else { to() })
    }
}

impl IstioSource {
    fn matches(&self, scope: &Scope<'_>) -> bool {
        let id = scope.facts.peer.id();
        (self.principals.is_empty() || self.principals.matches(id.principal()))
            && (self.namespaces.is_empty() || of_identity(id.principal(), &self.namespaces, Part::Namespace))
            && (self.service_accounts.is_empty() || of_identity(id.principal(), &self.service_accounts, Part::Account))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Namespace,
    Account,
}

/// Istio looks for `/ns/NAMESPACE/` (and `sa/NAME`) anywhere in the principal, so that an identity of another shape
/// matches no value and every `not` value.
fn of_identity(principal: &str, many: &Many, part: Part) -> bool {
    let matches = |pattern: &Pattern| {
        let segments = || principal.split('/');
        segments().enumerate().any(|(at, segment)| {
            let mut rest = segments().skip(at + 1);
            match (segment, part, rest.next(), rest.next(), rest.next()) {
                ("ns", Part::Namespace, Some(namespace), Some(_), _) => at > 0 && pattern.matches(namespace),
                ("ns", Part::Account, Some(namespace), Some("sa"), Some(name)) => {
                    at > 0 && matches!(pattern, Pattern::Exact(text) if text.split_once('/') == Some((namespace, name)))
                }
                _ => false,
            }
        })
    };
    (many.any.is_empty() || many.any.iter().any(matches)) && !many.none.iter().any(matches)
}

impl IstioOperation {
    fn truth(&self, scope: &Scope<'_>, effect: Effect) -> Truth {
        let port = scope.facts.destination.port;
        let matches = |pattern: &Pattern| matches!(pattern, Pattern::Exact(text) if text.parse() == Ok(port));
        let ports =
            (self.ports.any.is_empty() || self.ports.any.iter().any(matches)) && !self.ports.none.iter().any(matches);
        Truth::from(ports).and(|| self.http(scope, effect))
    }

    fn is_http(&self) -> bool {
        !self.methods.is_empty() || !self.paths.is_empty()
    }

    fn http(&self, scope: &Scope<'_>, effect: Effect) -> Truth {
        if !self.is_http() {
            return Truth::True;
        }
        if scope.lens == Lens::Anything {
            return Truth::Unknown;
        }
        match scope.facts.request {
            Some(head) => {
                let method = self.methods.is_empty() || self.methods.matches(head.method.as_str());
                (method && (self.paths.is_empty() || self.paths.matches(&head.path))).into()
            }
            // On TCP an ALLOW rule with such a field is dropped as a whole, and a DENY rule loses the field.
            None => Truth::from(effect == Effect::Deny),
        }
    }
}

/// Compiles one policy, noting all that is wrong or not enforced here. None where it is not for a waypoint at all.
pub(super) fn compile(meta: &Meta, spec: &AuthorizationPolicySpec, problems: &mut Problems) -> Option<IstioPolicy> {
    if is_for_ztunnel(spec) {
        problems.warning("spec", "selects pods, so it is enforced by ztunnel, not here; `targetRefs` attaches it here");
        return None;
    }
    check_targets(meta, spec, problems);
    if meta.annotations.get("istio.io/dry-run").is_some_and(|value| value != "false") {
        problems.error("metadata.annotations[istio.io/dry-run]", "is not enforced yet");
    }
    if spec.provider.is_some() {
        problems.error("spec.provider", "is not enforced yet");
    }
    let effect = match spec.action {
        Action::Allow => Effect::Allow,
        Action::Deny => Effect::Deny,
        Action::Audit | Action::Custom => {
            problems.error("spec.action", "is not enforced yet; ALLOW and DENY are");
            return None;
        }
    };
    let policy = std::sync::Arc::from(format!("{}/{}", meta.namespace, meta.name));
    let rules = spec.rules.iter().enumerate().map(|(at, written)| Rule {
        name: RuleName {
            policy: std::sync::Arc::clone(&policy),
            kind: "AuthorizationPolicy",
            rule: format!("rules[{at}]").into(),
            generation: meta.generation,
        },
        effect,
        force: Force::Enforced,
        form: DenialForm::Auto,
        test: Test::Istio(rule(meta, written, effect, (&format!("spec.rules[{at}]"), problems))),
    });
    Some(IstioPolicy { effect, rules: rules.collect() })
}

/// Whether the policy is ztunnel's business: no targets, so it selects pods.
fn is_for_ztunnel(spec: &AuthorizationPolicySpec) -> bool {
    spec.target_refs.is_empty() && spec.target_ref.is_none()
}

fn check_targets(meta: &Meta, spec: &AuthorizationPolicySpec, problems: &mut Problems) {
    if spec.selector.is_some() {
        problems.error("spec.selector", "cannot stand beside `targetRefs`");
    }
    if spec.target_ref.is_some() && !spec.target_refs.is_empty() {
        problems.error("spec.targetRef", "cannot stand beside `targetRefs`");
    }
    let single = spec.target_ref.iter().map(|target| ("spec.targetRef".to_owned(), target));
    let several = spec.target_refs.iter().enumerate().map(|(at, target)| (format!("spec.targetRefs[{at}]"), target));
    for (path, target) in single.chain(several) {
        check_target(meta, target, &path, problems);
    }
}

fn check_target(meta: &Meta, target: &TargetRef, path: &str, problems: &mut Problems) {
    let group = match target.kind {
        TargetKind::Service if target.group == "core" => "core",
        TargetKind::Service => "",
        TargetKind::ServiceEntry => "networking.istio.io",
        TargetKind::Gateway => "gateway.networking.k8s.io",
        TargetKind::Namespace => {
            problems.error(format_args!("{path}.kind"), "must be Service, ServiceEntry or Gateway");
            return;
        }
    };
    if target.group != group {
        problems.error(format_args!("{path}.group"), format_args!("must be `{group}` for this kind"));
    }
    if target.name.is_empty() {
        problems.error(format_args!("{path}.name"), format_args!("is empty: name a target in `{}`", meta.namespace));
    }
    if target.section_name.is_some() {
        problems.error(format_args!("{path}.sectionName"), "is not enforced yet; `operation.ports` narrows to a port");
    }
}

fn rule(meta: &Meta, written: &Written, effect: Effect, (path, problems): (&str, &mut Problems)) -> IstioRule {
    if !written.when.is_empty() {
        problems.error(format_args!("{path}.when"), "is not enforced yet");
    }
    let from = written.from.iter().enumerate();
    let from = from.map(|(at, from)| source(meta, &from.source, &format!("{path}.from[{at}].source"), problems));
    let from: Box<[IstioSource]> = from.collect();
    let to = written.to.iter().enumerate();
    let to = to.map(|(at, to)| operation(&to.operation, &format!("{path}.to[{at}].operation"), problems)).collect();
    IstioRule { from, to, effect }
}

fn source(meta: &Meta, source: &Source, path: &str, problems: &mut Problems) -> IstioSource {
    if *source == Source::default() {
        problems.error(path, "names nobody: leave `from` out for every caller");
    }
    let later = [
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
        ("trustDomains", &source.trust_domains),
        ("notTrustDomains", &source.not_trust_domains),
    ];
    not_yet(path, &later, problems);
    if source.principals.iter().chain(&source.not_principals).any(|text| text.contains("://")) {
        problems
            .warning(format_args!("{path}.principals"), "can never match: principals are written without spiffe://");
    }
    let account = |text: &str| {
        if text.contains('*') { Err("takes no patterns".into()) } else { service_account(&meta.namespace, text) }
    };
    IstioSource {
        principals: problems.many((path, "principals"), (&source.principals, &source.not_principals), Pattern::parse),
        namespaces: problems.many(
            (path, "namespaces"),
            (&source.namespaces, &source.not_namespaces),
            super::source::label,
        ),
        service_accounts: problems.many(
            (path, "serviceAccounts"),
            (&source.service_accounts, &source.not_service_accounts),
            account,
        ),
    }
}

fn operation(operation: &Operation, path: &str, problems: &mut Problems) -> IstioOperation {
    if *operation == Operation::default() {
        problems.error(path, "names nothing: leave `to` out for every operation");
    }
    not_yet(path, &[("hosts", &operation.hosts), ("notHosts", &operation.not_hosts)], problems);
    let port = |text: &str| match text.parse::<u16>() {
        Ok(1..) => Pattern::parse(text),
        _ => Err(format!("`{text}` is no port")),
    };
    let template = |text: &str| {
        if text.contains('{') || text.contains('}') {
            return Err(format!("`{text}`: path templates are not enforced yet"));
        }
        Pattern::parse(text)
    };
    IstioOperation {
        ports: problems.many((path, "ports"), (&operation.ports, &operation.not_ports), port),
        methods: problems.many((path, "methods"), (&operation.methods, &operation.not_methods), Pattern::parse),
        paths: problems.many((path, "paths"), (&operation.paths, &operation.not_paths), template),
    }
}

fn not_yet(path: &str, fields: &[(&str, &Vec<String>)], problems: &mut Problems) {
    for (name, _) in fields.iter().filter(|(_, values)| !values.is_empty()) {
        problems.error(format_args!("{path}.{name}"), "is not enforced yet");
    }
}

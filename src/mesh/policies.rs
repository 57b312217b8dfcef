//! Policies that are fit to be in force, and what they are attached to.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::attached::{Attached, Owned, PortName};
use super::cache::{Cache, Same};
use super::endpoint::Roots;
use super::found::{Found, because};
use super::terms::Terms;
use super::{Settings, TargetKind};
use crate::document::agent_policy::{self, AgentPolicySpec, Mode, TargetRef};
use crate::document::authorization_policy::{Action, AuthorizationPolicySpec};
use crate::document::backend_tls_policy::BackendTlsPolicySpec;
use crate::document::request_authentication::RequestAuthenticationSpec;
use crate::document::{Document, Documents, FieldProblem, Meta, Origin, Severity, nearest};
use crate::policy::{JwtRule, Provider, check_agent_policy, check_authorization_policy};

/// One kind of policy and its attachments by position.
#[derive(Debug)]
pub(super) struct Attachable<'a, T> {
    pub(super) items: Vec<T>,
    pub(super) at: Attached<'a>,
}

impl<T> Default for Attachable<'_, T> {
    fn default() -> Self {
        Self { items: Vec::new(), at: Attached::default() }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Policies<'a> {
    pub(super) agent: Attachable<'a, &'a Arc<Document<AgentPolicySpec>>>,
    /// Those of them, and of the refused, that say what a port speaks: a closed port is refused in its own protocol.
    pub(super) declaring: Attachable<'a, &'a Arc<Document<AgentPolicySpec>>>,
    pub(super) istio: Attachable<'a, &'a Arc<Document<AuthorizationPolicySpec>>>,
    pub(super) tokens: Attachable<'a, Tokens<'a>>,
    pub(super) tls: Attachable<'a, (&'a Document<BackendTlsPolicySpec>, Roots)>,
    /// What holds for the whole mesh.
    pub(super) terms: Terms,
    refs: Vec<Ref<'a>>,
    /// `refs` that name a port.
    sections: Attached<'a>,
}

/// The tokens that one RequestAuthentication accepts.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    pub(super) document: &'a Arc<Document<RequestAuthenticationSpec>>,
    pub(super) rules: Vec<JwtRule>,
}

/// One `targetRefs` entry of a policy in force.
#[derive(Debug)]
struct Ref<'a> {
    meta: &'a Meta,
    origin: &'a Origin,
    field: String,
    target: &'a TargetRef,
    /// What it is if the target has no such port: a policy that decides was meant for one of those it has.
    portless: Severity,
}

impl<'a> Policies<'a> {
    /// Checks every policy by itself; what does not fit is refused and attached to nothing.
    pub(super) fn of(documents: &'a Documents, settings: &Settings, cache: &mut Cache, found: &mut Found<'a>) -> Self {
        let terms = Terms::of(documents, settings, found);
        cache.under(&terms.trust_domains, &terms.providers);
        let mut out = Self {
            agent: Attachable::default(),
            declaring: Attachable::default(),
            istio: Attachable::default(),
            tokens: Attachable::default(),
            tls: Attachable::default(),
            terms,
            refs: Vec::new(),
            sections: Attached::default(),
        };
        out.agent_policies(documents, settings, cache, found);
        out.authorization_policies(documents, settings, cache, found);
        out.request_authentications(documents, settings, found);
        out.backend_tls_policies(documents, settings, found);
        for (item, one) in out.refs.iter().enumerate() {
            if let (Some(kind), Some(section)) = (kind(one.target), one.target.section_name.as_deref()) {
                out.sections.add_to_owner((kind, &one.meta.namespace, &one.target.name), Some(section), item);
            }
        }
        out
    }

    fn agent_policies(
        &mut self,
        documents: &'a Documents,
        settings: &Settings,
        cache: &mut Cache,
        found: &mut Found<'a>,
    ) {
        for document in &documents.agent_policies {
            let check = |same: &Same<AgentPolicySpec>| check_agent_policy(&same.0.meta, &same.0.spec);
            for problem in cache.agent.get_or(Same(Arc::clone(document)), check) {
                found.fault(&document.origin, problem);
            }
            for (at, one) in document.spec.external.iter().enumerate() {
                self.warn_of_provider(&document.origin, format!("spec.external[{at}].provider"), &one.provider, found);
            }
            let mut refs = refs(document, &document.spec.target_refs, None);
            if document.spec.mode == Mode::DryRun {
                refs.iter_mut().for_each(|one| one.portless = Severity::Warning);
            } else if document.spec.protocol.is_some() {
                attach(&mut self.declaring, document, &refs, (settings, &self.terms));
            }
            if !found.is_refused(&document.origin) {
                attach(&mut self.agent, document, &refs, (settings, &self.terms));
                self.refs.extend(refs);
            }
        }
    }

    fn authorization_policies(
        &mut self,
        documents: &'a Documents,
        settings: &Settings,
        cache: &mut Cache,
        found: &mut Found<'a>,
    ) {
        for document in &documents.authorization_policies {
            let refs = refs(document, &document.spec.target_refs, document.spec.target_ref.as_ref());
            if refs.is_empty() {
                elsewhere(&document.origin, found);
                continue;
            }
            let check = |same: &Same<AuthorizationPolicySpec>| check_authorization_policy(&same.0.meta, &same.0.spec);
            for problem in cache.istio.get_or(Same(Arc::clone(document)), check) {
                found.fault(&document.origin, problem);
            }
            if let Some(provider) = document.spec.provider.as_ref().filter(|_| document.spec.action == Action::Custom) {
                self.warn_of_provider(&document.origin, "spec.provider.name".to_owned(), &provider.name, found);
            }
            if !found.is_refused(&document.origin) {
                attach(&mut self.istio, document, &refs, (settings, &self.terms));
                self.refs.extend(refs);
            }
        }
    }

    fn request_authentications(&mut self, documents: &'a Documents, settings: &Settings, found: &mut Found<'a>) {
        for document in &documents.request_authentications {
            let refs = refs(document, &document.spec.target_refs, document.spec.target_ref.as_ref());
            if refs.is_empty() {
                elsewhere(&document.origin, found);
                continue;
            }
            let mut rules = Vec::new();
            for (index, spec) in document.spec.jwt_rules.iter().enumerate() {
                match JwtRule::read(spec, &document.meta.namespace, &settings.keys) {
                    Ok(rule) => rules.push(rule),
                    Err(fault) => {
                        let field = format!("spec.jwtRules[{index}].{}", fault.field);
                        found.refuse(&document.origin, field, fault.reason);
                    }
                }
            }
            if !found.is_refused(&document.origin) {
                let tokens = Tokens { document, rules };
                attach(&mut self.tokens, tokens, &refs, (settings, &self.terms));
                self.refs.extend(refs);
            }
        }
    }

    fn backend_tls_policies(&mut self, documents: &'a Documents, settings: &Settings, found: &mut Found<'a>) {
        let maps = documents.config_maps.iter().map(|map| ((map.meta.namespace.as_str(), map.meta.name.as_str()), map));
        let maps: HashMap<_, _> = maps.collect();
        for document in documents.backend_tls_policies.iter().map(|document| &**document) {
            let refs = refs(document, &document.spec.target_refs, None);
            let mut pem = String::new();
            for (index, reference) in document.spec.validation.ca_certificate_refs.iter().enumerate() {
                let map = maps.get(&(document.meta.namespace.as_str(), reference.name.as_str()));
                let named = format!("ConfigMap {}/{}", document.meta.namespace, reference.name);
                let wrong = match map.and_then(|map| map.spec.data.get("ca.crt")) {
                    Some(text) if !has_certificate(text) => {
                        format!("there is no certificate in PEM form under ca.crt of {named}")
                    }
                    Some(text) => {
                        pem.extend([text, "\n"]);
                        continue;
                    }
                    None => format!("there is no {named} with a key ca.crt"),
                };
                found.refuse(&document.origin, format!("spec.validation.caCertificateRefs[{index}].name"), wrong);
            }
            if !found.is_refused(&document.origin) {
                let roots = if pem.is_empty() { Roots::System } else { Roots::Inline(pem.into()) };
                attach(&mut self.tls, (document, roots), &refs, (settings, &self.terms));
                self.refs.extend(refs);
            }
        }
    }

    /// Warns of targets that name nothing. They are in force the moment that there is something of that name.
    pub(super) fn warn_of_nothing(
        &self,
        ports: &HashMap<Owned<'_>, Vec<PortName<'_>>>,
        why_not: impl Fn(Owned<'_>) -> Option<String>,
        settings: &Settings,
        found: &mut Found<'_>,
    ) {
        for Ref { meta, origin, field, target, .. } in &self.refs {
            let Some(kind) = kind(target) else {
                if target.kind == agent_policy::TargetKind::Gateway && !is_our_gateway(meta, target, settings) {
                    found.warn(origin, format!("{field}.name"), "names another Gateway; not in force here");
                }
                if target.kind == agent_policy::TargetKind::GatewayClass
                    && let Err(reason) = self.terms.class(&meta.namespace, &target.name)
                {
                    found.warn(origin, format!("{field}.name"), reason);
                }
                continue;
            };
            let owned = (kind, meta.namespace.as_str(), target.name.as_str());
            let name = format!("{} {}/{}", kind.as_str(), meta.namespace, target.name);
            if ports.contains_key(&owned) {
                continue;
            }
            let nothing = || {
                let meant = elsewhere_or_near(owned, ports.keys());
                let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
                format!("there is no {name}; in force as soon as there is{hint}")
            };
            found.warn(origin, format!("{field}.name"), why_not(owned).unwrap_or_else(nothing));
        }
    }

    /// Warns who asks a provider whose service is not there.
    pub(super) fn warn_of_askers(&self, provider: &Provider, found: &mut Found<'a>) {
        let asks = |spec: &AuthorizationPolicySpec| {
            spec.action == Action::Custom && spec.provider.as_ref().is_some_and(|one| *one.name == *provider.name)
        };
        let istio = self.istio.items.iter().filter(|document| asks(&document.spec)).map(|document| &document.origin);
        let external = |spec: &AgentPolicySpec| spec.external.iter().any(|one| *one.provider == *provider.name);
        let agent =
            self.agent.items.iter().filter(|document| external(&document.spec)).map(|document| &document.origin);
        for origin in istio.chain(agent) {
            let (host, port) = (&provider.host, provider.port);
            let reason = format!(
                "provider {} is at {host}:{port}, which no document here has: what its rules match is refused",
                provider.name
            );
            found.warn(origin, "spec", reason);
        }
    }

    fn warn_of_provider(&self, origin: &Origin, field: String, name: &str, found: &mut Found<'_>) {
        if let Err(why) = self.terms.providers.get(name) {
            found.warn(origin, field, format!("{why}: what asks it is refused"));
        }
    }

    /// Refuses policies that name a port which their target does not have: one that decides was meant for one of those it
    /// has, so that all are closed until it is named.
    pub(super) fn refuse_portless(&self, ports: &HashMap<Owned<'_>, Vec<PortName<'_>>>, found: &mut Found<'a>) {
        for one in &self.refs {
            let Some(kind) = kind(one.target) else { continue };
            let owned = (kind, one.meta.namespace.as_str(), one.target.name.as_str());
            if let Some(problem) = ports.get(&owned).and_then(|ports| one.portless(kind, ports)) {
                found.fault(one.origin, problem);
            }
        }
    }
}

impl Policies<'_> {
    /// Why a service is closed whose policies name ports that it does not have.
    pub(super) fn portless_reasons(
        &self,
        owned: Owned<'_>,
        ports: &[PortName<'_>],
        found: &mut Found<'_>,
    ) -> BTreeSet<String> {
        let mut reasons = BTreeSet::new();
        for item in self.sections.of_absent(owned, ports) {
            let Some(one) = self.refs.get(item) else { continue };
            let Some(problem) = one.portless(owned.0, ports) else { continue };
            if problem.severity == Severity::Error {
                reasons.insert(because(one.origin, &problem));
            }
            found.problems.push(one.origin.problem(problem));
        }
        reasons
    }
}

impl Ref<'_> {
    /// What is wrong where the target's `ports` do not have the one that is named.
    fn portless(&self, kind: TargetKind, ports: &[PortName<'_>]) -> Option<FieldProblem> {
        let section = self.target.section_name.as_deref()?;
        if ports.iter().any(|port| port.is(section)) {
            return None;
        }
        let known: Vec<String> = ports.iter().map(told).collect();
        let name = format!("{} {}/{}", kind.as_str(), self.meta.namespace, self.target.name);
        let mut reason = format!("{name} has no port {section:?}; its ports: {}", known.join(", "));
        if self.portless == Severity::Error {
            reason.push_str("; all are closed until one is named");
        }
        Some(FieldProblem { severity: self.portless, field: format!("{}.sectionName", self.field), reason })
    }
}

fn has_certificate(pem: &str) -> bool {
    CertificateDer::pem_slice_iter(pem.as_bytes()).next().is_some_and(|first| first.is_ok())
}

fn told(port: &PortName<'_>) -> String {
    port.name.map_or_else(|| port.number.to_string(), |name| format!("{name} ({})", port.number))
}

fn refs<'a, S>(document: &'a Document<S>, list: &'a [TargetRef], single: Option<&'a TargetRef>) -> Vec<Ref<'a>> {
    let (meta, origin) = (&document.meta, &document.origin);
    let list = list.iter().enumerate().map(|(index, target)| (format!("spec.targetRefs[{index}]"), target));
    let all = list.chain(single.map(|target| ("spec.targetRef".to_owned(), target)));
    all.map(|(field, target)| Ref { meta, origin, field, target, portless: Severity::Error }).collect()
}

/// What a target that is not there was very likely meant to be: one of its name in another namespace (where the policy
/// then belongs), or one of nearly its name in its own.
fn elsewhere_or_near<'k>(owned: Owned<'_>, known: impl Iterator<Item = &'k Owned<'k>> + Clone) -> Option<String> {
    let (kind, namespace, name) = owned;
    let told = |namespace: &str, name: &str| format!("{} {namespace}/{name}", kind.as_str());
    let mut other = known.clone().filter(|one| one.0 == kind && one.2 == name).map(|one| one.1).collect::<Vec<_>>();
    other.sort_unstable();
    let mut near: Vec<&str> = known.filter(|one| one.0 == kind && one.1 == namespace).map(|one| one.2).collect();
    near.sort_unstable();
    match (nearest(name, near), other.first()) {
        (Some(near), _) => Some(told(namespace, near)),
        (None, Some(other)) => Some(format!("{} (a policy stands in the namespace of its targets)", told(other, name))),
        (None, None) => None,
    }
}

fn attach<'a, T>(to: &mut Attachable<'a, T>, item: T, refs: &[Ref<'a>], (settings, terms): (&Settings, &Terms)) {
    let index = to.items.len();
    to.items.push(item);
    for Ref { meta, target, .. } in refs {
        match (kind(target), target.kind) {
            (Some(kind), _) => {
                to.at.add_to_owner((kind, &meta.namespace, &target.name), target.section_name.as_deref(), index);
            }
            (None, agent_policy::TargetKind::Namespace) => to.at.add_to_namespace(&meta.namespace, index),
            (None, agent_policy::TargetKind::GatewayClass) => {
                if terms.class(&meta.namespace, &target.name).is_ok() {
                    to.at.add_to_all(index);
                }
            }
            (None, _) if is_our_gateway(meta, target, settings) => to.at.add_to_all(index),
            (None, _) => {}
        }
    }
}

/// From files the process is every Gateway; in a cluster it knows which one it is.
fn is_our_gateway(meta: &Meta, target: &TargetRef, settings: &Settings) -> bool {
    let ours = |(namespace, name): &(String, String)| *namespace == meta.namespace && *name == target.name;
    settings.gateway.as_ref().is_none_or(ours)
}

fn kind(target: &TargetRef) -> Option<TargetKind> {
    match target.kind {
        agent_policy::TargetKind::Service => Some(TargetKind::Service),
        agent_policy::TargetKind::ServiceEntry => Some(TargetKind::ServiceEntry),
        agent_policy::TargetKind::Gateway
        | agent_policy::TargetKind::GatewayClass
        | agent_policy::TargetKind::Namespace => None,
    }
}

fn elsewhere(origin: &Origin, found: &mut Found<'_>) {
    let reason = "names no targetRefs, so it selects pods: ztunnel's or a sidecar's to enforce, not in force here";
    found.warn(origin, "spec", reason);
}

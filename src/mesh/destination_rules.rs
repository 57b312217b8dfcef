//! DestinationRules: which one speaks of a port's calls, and what of it has an effect.
//!
//! Which one, as istiod has it for a waypoint: of the namespace of the waypoint's own Gateway (where that is known), else of
//! the Service's, else of the root namespace; of each the most specific host, then the older rule. A load balancer decides
//! nothing, so that what is not honoured is told and closes nothing; but TLS that its writer wants and nobody makes does.

mod read;

use std::collections::{BTreeSet, HashMap};

use super::build::Settings;
use super::found::Found;
use super::fronted::{Fronted, Port, age};
use super::{Endpoint, TargetKey, TargetKind, ruled};
use crate::document::destination_rule::{
    ClientTls, ConnectionPool, DestinationRuleSpec, LoadBalancer, OutlierDetection, PortPolicy, TlsMode, TrafficPolicy,
};
use crate::document::{Document, Documents, FieldProblem, Severity};

type Rule = Document<DestinationRuleSpec>;

/// A rule that says something of calls.
#[derive(Debug)]
struct Speaker<'a> {
    rule: &'a Rule,
    /// Lower-case.
    host: String,
    policy: &'a TrafficPolicy,
}

/// Every rule that may speak of a port here.
#[derive(Debug, Default)]
pub(super) struct RuleBook<'a> {
    /// By namespace, each older before younger.
    rules: HashMap<&'a str, Vec<Speaker<'a>>>,
    /// Namespace of the Gateway that this process is, where it knows.
    own: Option<String>,
    root: String,
}

impl<'a> RuleBook<'a> {
    /// Those that are no sidecars' alone; of each, what has no effect here is told once.
    pub(super) fn of(documents: &'a Documents, (settings, root): (&Settings, &str), found: &mut Found<'a>) -> Self {
        let own = settings.gateway.as_ref().map(|(namespace, _)| namespace.clone());
        let mut out = Self { rules: HashMap::new(), own, root: root.to_owned() };
        let mut rules: Vec<&'a Rule> = documents.destination_rules.iter().map(|rule| &**rule).collect();
        rules.sort_by_key(|rule| age(&rule.meta));
        for rule in rules {
            if rule.spec.workload_selector.is_some() {
                let reason = "is for sidecars with those labels, and never for a waypoint; no effect here";
                found.warn(&rule.origin, "spec.workloadSelector", reason);
                continue;
            }
            read::told(rule, found);
            let Some(policy) = &rule.spec.traffic_policy else { continue };
            let here = out.rules.entry(&rule.meta.namespace).or_default();
            if let Some(older) = here.iter().find(|other| other.rule.spec.host == rule.spec.host) {
                let by = older.rule.origin.title();
                let reason = format!("is {by}'s already, which is older and holds; write one rule for a host");
                found.warn(&rule.origin, "spec.host", reason);
            }
            here.push(Speaker { rule, host: rule.spec.host.to_ascii_lowercase(), policy });
        }
        out
    }

    /// The rule that speaks of what is fronted.
    fn rule(&self, fronted: &Fronted<'_>) -> Option<&Speaker<'a>> {
        // The mesh's own namespace speaks last, also where a waypoint stands in it.
        let own = self.own.as_deref().filter(|own| *own != self.root);
        let mut places = own.into_iter().chain([fronted.namespace, self.root.as_str()]);
        places.find_map(|namespace| self.of_namespace(namespace, fronted))
    }

    fn of_namespace(&self, namespace: &str, fronted: &Fronted<'_>) -> Option<&Speaker<'a>> {
        let rules = self.rules.get(namespace)?.iter().filter(|one| self.is_seen(one.rule));
        let fits = rules.filter_map(|one| Some((fit((namespace, &one.host), fronted)?, one)));
        // Of equal ones the first, which is the older.
        fits.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, one)| one)
    }

    /// Whether the rule is there for the Gateway's namespace (`exportTo`).
    fn is_seen(&self, rule: &Rule) -> bool {
        let Some(own) = &self.own else { return true };
        let seen = |to: &String| match to.as_str() {
            "*" => true,
            "." => rule.meta.namespace == *own,
            other => other == own,
        };
        rule.spec.export_to.is_empty() || rule.spec.export_to.iter().any(seen)
    }

    /// Whether the rule that speaks of a port wants TLS that nobody would make.
    pub(super) fn closes(&self, fronted: &Fronted<'_>, port: &Port<'_>) -> bool {
        let tls = self.rule(fronted).and_then(|one| of_port(one.policy, port.port.number).1.tls);
        tls.is_some_and(|tls| closing(tls, fronted, port).is_some())
    }

    /// Puts what a rule says of a port's calls on its endpoints; the reasons to close it where that is TLS and cannot be.
    pub(super) fn lay(&self, fronted: &Fronted<'a>, port: &mut Port<'a>, found: &mut Found<'a>) -> BTreeSet<String> {
        let mut reasons = BTreeSet::new();
        let Some(Speaker { rule, policy, .. }) = self.rule(fronted) else { return reasons };
        let (field, policy) = of_port(policy, port.port.number);
        if let Some(reason) = policy.tls.and_then(|tls| closing(tls, fronted, port)) {
            let problem = FieldProblem { severity: Severity::Error, field: format!("{field}.tls.mode"), reason };
            reasons.insert(found.close(&rule.origin, problem));
        }
        let key = TargetKey {
            kind: fronted.kind,
            namespace: fronted.namespace.into(),
            name: fronted.name.into(),
            port: port.port.number,
            at: fronted.at.clone(),
        };
        let traffic = std::sync::Arc::new(read::traffic((key, port.endpoints.len()), &policy));
        for endpoint in &mut port.endpoints {
            let traffic = Some(std::sync::Arc::clone(&traffic));
            *endpoint = std::sync::Arc::new(Endpoint { traffic, ..Endpoint::clone(endpoint) });
        }
        port.traffic = Some(traffic);
        reasons
    }
}

/// How well a rule's host, in lower case, fits: exactly, or by the length of the end that they share.
pub(super) fn fit((namespace, host): (&str, &str), fronted: &Fronted<'_>) -> Option<usize> {
    if let Some(end) = host.strip_prefix('*') {
        // `*.tools.svc.cluster.local`, and `*` for all.
        return full(fronted).any(|name| name.ends_with(end)).then_some(end.len());
    }
    if !host.contains('.') {
        let own = (fronted.kind, fronted.namespace, fronted.name);
        return (own == (TargetKind::Service, namespace, host)).then_some(usize::MAX);
    }
    full(fronted).any(|name| name == host).then_some(usize::MAX)
}

/// Full names: of a Service its first.
fn full<'f>(fronted: &'f Fronted<'_>) -> impl Iterator<Item = &'f String> {
    let most = if fronted.kind == TargetKind::Service { 1 } else { usize::MAX };
    fronted.hosts.iter().take(most)
}

/// What holds for one port.
#[derive(Debug)]
struct OfPort<'p> {
    load_balancer: Option<&'p LoadBalancer>,
    connection_pool: Option<&'p ConnectionPool>,
    outlier_detection: Option<&'p OutlierDetection>,
    tls: Option<&'p ClientTls>,
}

/// The port's own settings, which stand in place of all others, else those of the host; and where they stand.
fn of_port(policy: &TrafficPolicy, number: u16) -> (String, OfPort<'_>) {
    let mut own = policy.port_level_settings.iter().enumerate().filter(|(_, own)| own.port.number.get() == number);
    own.next().map_or_else(|| of_host(policy), of_one)
}

/// The settings of the host.
fn of_host(policy: &TrafficPolicy) -> (String, OfPort<'_>) {
    let said = OfPort {
        load_balancer: policy.load_balancer.as_ref(),
        connection_pool: policy.connection_pool.as_ref(),
        outlier_detection: policy.outlier_detection.as_ref(),
        tls: policy.tls.as_ref(),
    };
    ("spec.trafficPolicy".to_owned(), said)
}

/// Those of one port, by its place in the list.
fn of_one((index, own): (usize, &PortPolicy)) -> (String, OfPort<'_>) {
    let said = OfPort {
        load_balancer: own.load_balancer.as_ref(),
        connection_pool: own.connection_pool.as_ref(),
        outlier_detection: own.outlier_detection.as_ref(),
        tls: own.tls.as_ref(),
    };
    (format!("spec.trafficPolicy.portLevelSettings[{index}]"), said)
}

/// Why a port is closed whose writer wants TLS.
fn closing(tls: &ClientTls, fronted: &Fronted<'_>, port: &Port<'_>) -> Option<String> {
    let target = ruled::target(fronted, port);
    match tls.mode {
        TlsMode::Disable => None,
        // What HBONE is; where there is none there would be nothing.
        TlsMode::IstioMutual => {
            let bare = port.endpoints.iter().any(|endpoint| !matches!(endpoint.via, super::Via::Hbone { .. }));
            bare.then(|| {
                format!(
                    "{target} has endpoints that are not in the mesh, and would be called in plaintext; it is closed"
                )
            })
        }
        TlsMode::Simple | TlsMode::Mutual => Some(format!(
            "is not honoured, and {target} would be called in plaintext; it is closed. For an external ServiceEntry write a \
             BackendTLSPolicy; what is in the mesh is reached by HBONE"
        )),
    }
}

#[cfg(test)]
mod tests;

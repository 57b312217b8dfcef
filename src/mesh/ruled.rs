//! The rules of each port: its protocol settled, its policies compiled, or the reasons why it is closed.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use super::attached::{Owned, PortName};
use super::cache::{Cache, Compiled, RulesKey, Same, Verifiers};
use super::destination_rules::RuleBook;
use super::found::{Found, because};
use super::fronted::{Fronted, Port, age};
use super::policies::Policies;
use super::protocol::Spoken;
use super::route::Routes;
use super::routes::RouteBook;
use super::target::{PortProtocol, TargetRevision};
use super::terms::Terms;
use super::undeclared::Undeclared;
use crate::document::agent_policy::Protocol;
use crate::document::{FieldProblem, Origin, Problem, Severity};
use crate::policy::{JwtRule, RuleSet, Rules, Verifier, compile};
use crate::wire::path::Normalization;

/// Begins what is told of a route that leads nothing on a port, before the port.
pub const NO_EFFECT: &str = "has no effect on ";

/// What decides for one port.
#[derive(Debug, Clone)]
pub(super) struct Ruled {
    pub(super) protocol: PortProtocol,
    pub(super) rules: Arc<Rules>,
    pub(super) tokens: Option<Arc<Verifier>>,
    pub(super) paths: Normalization,
    pub(super) routes: Option<Arc<Routes>>,
    pub(super) bytes: Option<Arc<Routes>>,
    pub(super) closed: Option<Arc<str>>,
    pub(super) unenforced: Arc<[Arc<PathBuf>]>,
    pub(super) revision: TargetRevision,
}

impl Ruled {
    /// Before documents have come: everything is refused, and that is why.
    pub(super) fn no_documents(spoken: Spoken) -> Self {
        // One for all ports of the mesh.
        static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| Arc::new(Rules::no_documents()));
        let rules = Arc::clone(&RULES);
        let revision = TargetRevision(rules.revision().as_u64());
        Self {
            protocol: protocol(None, spoken),
            paths: Normalization::Strict,
            routes: None,
            bytes: None,
            rules,
            tokens: None,
            closed: None,
            unenforced: Arc::default(),
            revision,
        }
    }
}

/// Compiles; ports with the same documents share their rules.
#[derive(Debug)]
pub(super) struct Compiler<'p, 'a> {
    policies: &'p Policies<'a>,
    routes: &'p RouteBook<'a>,
    balancing: &'p RuleBook<'a>,
    cache: &'p mut Cache,
    undeclared: Undeclared,
}

/// Who says that a port speaks a declared protocol.
struct Claim<'a> {
    protocol: Protocol,
    age: (&'a str, &'a str, &'a str),
    origin: &'a Origin,
    field: String,
}

impl<'p, 'a> Compiler<'p, 'a> {
    pub(super) fn new(
        (policies, routes, balancing): (&'p Policies<'a>, &'p RouteBook<'a>, &'p RuleBook<'a>),
        cache: &'p mut Cache,
    ) -> Self {
        Self { policies, routes, balancing, cache, undeclared: Undeclared::default() }
    }

    /// Settles one port. `reasons` are those for which it is closed already; TLS of the port's endpoints is settled too.
    pub(super) fn port(
        &mut self,
        fronted: &Fronted<'a>,
        port: &mut Port<'a>,
        mut reasons: BTreeSet<String>,
        found: &mut Found<'a>,
    ) -> Ruled {
        let declared = self.declared(fronted, port, &mut reasons, found);
        reasons.extend(super::external::originate(self.policies, fronted, port, found));
        reasons.extend(self.balancing.lay(fronted, port, found));
        let owned = fronted.owned();
        let agent: Vec<usize> = self.policies.agent.at.of(owned, port.port).into_iter().collect();
        match declared {
            Some(_) => self.undeclared.declared(&agent),
            None => self.undeclared.plain(&agent, &target(fronted, port)),
        }
        // An AgentPolicy's paths are in one spelling, whatever the mesh makes of others.
        let strict = declared.is_some() || !agent.is_empty();
        let paths = if strict { Normalization::Strict } else { self.policies.terms.paths };
        let istio: Vec<usize> = self.policies.istio.at.of(owned, port.port).into_iter().collect();
        let token: Vec<usize> = self.policies.tokens.at.of(owned, port.port).into_iter().collect();
        let [routes, bytes] = self.routes(fronted, port, declared, (&mut reasons, found));
        let rules =
            if reasons.is_empty() { self.compiled(declared, &agent, &istio, found) } else { Err(String::new()) };
        let tokens = self.verifier(&token);
        reasons.extend(rules.as_ref().err().filter(|reason| !reason.is_empty()).cloned());
        reasons.extend(tokens.as_ref().err().cloned());
        let (rules, closed) = match (rules, reasons.is_empty()) {
            (Ok(rules), true) => (rules, None),
            (Ok(_) | Err(_), _) => {
                let reason = reasons.into_iter().collect::<Vec<_>>().join("; ");
                (Arc::new(Rules::closed(reason.clone())), Some(reason.into()))
            }
        };
        let revision = self.revision(&rules, &token);
        let protocol = protocol(declared, port.spoken);
        let tokens = tokens.unwrap_or(None);
        let unenforced = if closed.is_some() { self.sources(owned, port.port) } else { Arc::default() };
        Ruled { protocol, rules, paths, routes, bytes, tokens, closed, unenforced, revision }
    }

    /// Where the policies of a port are from, those of a whole namespace or Gateway left out: what one tenant closes is not
    /// to look as if the mesh's own policies were not in force.
    fn sources(&self, owned: Owned<'_>, port: PortName<'_>) -> Arc<[Arc<PathBuf>]> {
        let policies = self.policies;
        let agent = policies.agent.at.directly(owned, port);
        let istio = policies.istio.at.directly(owned, port);
        let token = policies.tokens.at.directly(owned, port);
        let agent = agent.iter().filter_map(|item| policies.agent.items.get(*item)).map(|one| &one.origin);
        let istio = istio.iter().filter_map(|item| policies.istio.items.get(*item)).map(|one| &one.origin);
        let token = token.iter().filter_map(|item| policies.tokens.items.get(*item)).map(|one| &one.document.origin);
        agent.chain(istio).chain(token).map(|origin| Arc::clone(origin.source())).collect()
    }

    /// The routes of requests, and of connections. A declared port is closed by routes that would make another call of what
    /// was decided on, and any port by a route that names it and could only be passed over.
    fn routes(
        &self,
        fronted: &Fronted<'a>,
        port: &Port<'a>,
        declared: Option<Protocol>,
        (reasons, found): (&mut BTreeSet<String>, &mut Found<'a>),
    ) -> [Option<Arc<Routes>>; 2] {
        let owned = fronted.owned();
        let speaks = match (declared, port.spoken) {
            (Some(protocol), _) => Some((name(protocol), true)),
            (None, Spoken::Http | Spoken::Http2) => Some(("HTTP", true)),
            (None, Spoken::Tcp) => Some(("TCP", false)),
            (None, _) => None,
        };
        let Some((speaks, requests)) = speaks else {
            let bytes = self.routes.of_bytes(owned, port.port);
            // Where only connections are led, those that turn out to be HTTP are too.
            return [self.routes.routes(owned, port.port).or_else(|| bytes.clone()), bytes];
        };
        for (origin, named) in self.routes.idle(owned, port.port, requests) {
            let severity = if named { Severity::Error } else { Severity::Warning };
            let reason = format!("{NO_EFFECT}{}: the port speaks {speaks}", target(fronted, port));
            let problem = FieldProblem { severity, field: "spec.parentRefs".to_owned(), reason };
            if named {
                reasons.insert(because(origin, &problem));
            }
            found.problems.push(origin.problem(problem));
        }
        if !requests {
            return [None, self.routes.of_bytes(owned, port.port)];
        }
        if declared.is_some() {
            for (origin, mut problem) in self.routes.unfit(owned, port.port) {
                problem.reason = format!("{} ({} speaks {speaks})", problem.reason, target(fronted, port));
                reasons.insert(found.close(origin, problem));
            }
        }
        [self.routes.routes(owned, port.port), None]
    }

    /// Tells what shows only once all ports are settled.
    pub(super) fn finish(self, found: &mut Found<'a>) {
        self.undeclared.warn(self.policies, found);
    }

    /// The protocol that the port is declared to speak: by the older of two that disagree, which closes it.
    fn declared(
        &self,
        fronted: &Fronted<'a>,
        port: &Port<'a>,
        reasons: &mut BTreeSet<String>,
        found: &mut Found<'a>,
    ) -> Option<Protocol> {
        let mut claims = Vec::new();
        if let (Spoken::Declared(protocol), Some(origin)) = (port.spoken, fronted.origin) {
            let field = port.field.clone();
            claims.push(Claim { protocol, age: fronted.age(), origin, field });
        }
        for item in self.policies.declaring.at.directly(fronted.owned(), port.port) {
            let Some(document) = self.policies.declaring.items.get(item) else { continue };
            if let Some(protocol) = document.spec.protocol {
                let field = "spec.protocol".to_owned();
                claims.push(Claim { protocol, age: age(&document.meta), origin: &document.origin, field });
            }
        }
        claims.sort_by(|a, b| a.age.cmp(&b.age));
        let target = target(fronted, port);
        let (first, rest) = claims.split_first()?;
        let mut tell = |claim: &Claim<'a>, reason: String| {
            let problem = FieldProblem { severity: Severity::Error, field: claim.field.clone(), reason };
            reasons.insert(found.close(claim.origin, problem));
        };
        for claim in rest.iter().filter(|claim| claim.protocol != first.protocol) {
            let (own, older) = (name(claim.protocol), name(first.protocol));
            let by = first.origin.title();
            tell(
                claim,
                format!(
                    "conflicted: calls {target} {own}, which the older {by} calls {older}; it is closed until they agree"
                ),
            );
        }
        if port.spoken == Spoken::Tcp {
            tell(
                first,
                format!(
                    "calls {target} {}, but the port itself says TCP or TLS, which cannot be read; it is closed until they agree",
                    name(first.protocol)
                ),
            );
        }
        Some(first.protocol)
    }

    fn compiled(
        &mut self,
        declared: Option<Protocol>,
        agent: &[usize],
        istio: &[usize],
        found: &mut Found<'a>,
    ) -> Result<Arc<Rules>, String> {
        let policies = self.policies;
        let agent = agent.iter().filter_map(|item| policies.agent.items.get(*item));
        let istio = istio.iter().filter_map(|item| policies.istio.items.get(*item));
        let key = (
            declared,
            agent.map(|document| Same(Arc::clone(document))).collect(),
            istio.map(|document| Same(Arc::clone(document))).collect(),
        );
        let terms = &policies.terms;
        self.cache.rules.get_or(key, |key| compile_once(key, terms)).map_err(|(reason, problems)| {
            found.problems.extend(problems);
            reason
        })
    }

    fn jwt_rules(&self, items: &[usize]) -> Vec<&'p JwtRule> {
        let policies = self.policies;
        items.iter().filter_map(|item| policies.tokens.items.get(*item)).flat_map(|tokens| &tokens.rules).collect()
    }

    fn verifier(&mut self, items: &[usize]) -> Verifiers {
        let rules: Vec<JwtRule> = self.jwt_rules(items).into_iter().cloned().collect();
        let documents = items.iter().filter_map(|item| self.policies.tokens.items.get(*item));
        let key = documents.map(|tokens| Same(Arc::clone(tokens.document))).collect();
        self.cache.tokens.get_or(key, |_| match rules.as_slice() {
            [] => Ok(None),
            rules => match Verifier::new(rules) {
                Ok(verifier) => Ok(Some(Arc::new(verifier))),
                Err(fault) => Err(format!("RequestAuthentication: {fault}")),
            },
        })
    }

    fn revision(&self, rules: &Rules, tokens: &[usize]) -> TargetRevision {
        let mut hasher = DefaultHasher::new();
        rules.revision().hash(&mut hasher);
        for rule in self.jwt_rules(tokens) {
            rule.hash(&mut hasher);
        }
        TargetRevision(hasher.finish())
    }
}

fn compile_once((declared, agent, istio): &RulesKey, terms: &Terms) -> Compiled {
    let set = RuleSet {
        declared: *declared,
        agent: agent.iter().map(|one| (&one.0.meta, &one.0.spec)).collect(),
        istio: istio.iter().map(|one| (&one.0.meta, &one.0.spec)).collect(),
        trust_domains: &terms.trust_domains,
        providers: Some(&terms.providers),
    };
    compile(&set).map(Arc::new).map_err(|problems| {
        let agent = agent.iter().map(|one| &one.0.origin);
        let origins: Vec<&Origin> = agent.chain(istio.iter().map(|one| &one.0.origin)).collect();
        let mut told = Vec::new();
        let reasons: BTreeSet<String> =
            problems.into_iter().filter_map(|one| blamed(&origins, one, &mut told)).collect();
        let reason = if reasons.is_empty() {
            "its rules do not compile".to_owned()
        } else {
            reasons.into_iter().collect::<Vec<_>>().join("; ")
        };
        (reason, told)
    })
}

/// Tells of a problem at the document with which its reason begins, and gives the reason to close the port.
fn blamed(origins: &[&Origin], mut problem: FieldProblem, told: &mut Vec<Problem>) -> Option<String> {
    let named = origins.iter().find(|origin| problem.reason.starts_with(&format!("{}: ", origin.title())));
    let origin = named.or_else(|| origins.first())?;
    if let Some(rest) = problem.reason.strip_prefix(&format!("{}: ", origin.title())) {
        problem.reason = rest.to_owned();
    }
    let reason = because(origin, &problem);
    told.push(origin.problem(problem));
    Some(reason)
}

/// The port as problems name it.
pub(super) fn target(fronted: &Fronted<'_>, port: &Port<'_>) -> String {
    format!("{} {}/{}:{}", fronted.kind.as_str(), fronted.namespace, fronted.name, port.port.number)
}

fn protocol(declared: Option<Protocol>, spoken: Spoken) -> PortProtocol {
    match (declared, spoken) {
        (Some(Protocol::Mcp), _) | (None, Spoken::Declared(Protocol::Mcp)) => PortProtocol::Mcp,
        (Some(Protocol::A2a), _) | (None, Spoken::Declared(Protocol::A2a)) => PortProtocol::A2a,
        (None, Spoken::Http | Spoken::Http2) => PortProtocol::Http,
        (None, Spoken::Tcp) => PortProtocol::Tcp,
        (None, Spoken::Udp | Spoken::Nothing) => PortProtocol::Undeclared,
    }
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Mcp => "MCP",
        Protocol::A2a => "A2A",
    }
}

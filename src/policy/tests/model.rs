//! The rules' meaning once more, as plainly as can be and from what is promised, not from the code: a decision must be
//! the same. Conditions are a handful, each with its value worked out by hand.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value as Json, json};

use crate::call::Call;
use crate::document::Meta;
use crate::document::agent_policy::{AgentPolicySpec, From, HttpMatch, Mode, Protocol, Requirement, Rule, To};
use crate::document::authorization_policy::{Action, AuthorizationPolicySpec, IstioFrom, IstioRule, IstioTo};
use crate::document::authorization_policy::{Operation, Source};
use crate::policy::fixture::{World, agent_spec, head, istio_spec, meta, other, prompt, resource, tool, verdict};
use crate::policy::{RuleSet, compile};

/// What a condition says; `None` where it has no value.
type Said = Option<bool>;

/// One call, in the terms in which people think of it.
#[derive(Debug, Clone)]
struct Case {
    declared: bool,
    /// Trust domain, and namespace and account where the identity has them.
    who: (&'static str, Option<(&'static str, &'static str)>),
    ip: &'static str,
    sub: Option<&'static str>,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Tool(&'static str, Json),
    Prompt(&'static str),
    /// As sent, and normalised.
    Resource(&'static str, &'static str),
    Other(&'static str),
    Http(&'static str, &'static str),
    Tcp,
}

impl Case {
    fn principal(&self) -> String {
        match self.who {
            (td, Some((namespace, account))) => format!("{td}/ns/{namespace}/sa/{account}"),
            (td, None) => format!("{td}/odd"),
        }
    }

    /// What an undeclared port sees: nothing of MCP.
    fn seen(&self) -> What {
        let plain = matches!(self.what, What::Http(..) | What::Tcp);
        if self.declared || plain { self.what.clone() } else { What::Http("POST", "/mcp") }
    }

    fn http(&self) -> Option<(&'static str, &'static str)> {
        match self.what {
            What::Tcp => None,
            What::Http(method, path) => Some((method, path)),
            What::Tool(..) | What::Prompt(_) | What::Resource(..) | What::Other(_) => Some(("POST", "/mcp")),
        }
    }

    fn world(&self) -> World {
        let call = match &self.what {
            What::Tool(name, arguments) => tool(name, arguments.clone()),
            What::Prompt(name) => prompt(name),
            What::Resource(raw, normal) => resource(raw, normal),
            What::Other(method) => other(method),
            What::Http(..) => Call::Http,
            What::Tcp => Call::Tcp,
        };
        let mut world = World::calling(call).from(&format!("spiffe://{}", self.principal()));
        let addr = format!("{}:1", self.ip).parse().unwrap();
        world.peer = crate::id::Peer::verified(world.peer.id().clone(), addr, world.peer.not_after());
        world.request = self.http().map(|(method, path)| head(method, path));
        match self.sub {
            Some(sub) => world.claiming(json!({"iss": "i", "sub": sub})),
            None => world,
        }
    }
}

fn pattern(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => pattern == text,
    }
}

/// One of `any`, if there are some, and none of `none`. What is absent matches in a rule that refuses, never in one that
/// permits; a field that is not there is about nothing.
fn field(any: &[String], none: &[String], value: Option<&str>, permits: bool) -> bool {
    let is = |list: &[String]| list.iter().any(|one| value.is_some_and(|value| pattern(one, value)));
    match value {
        _ if any.is_empty() && none.is_empty() => true,
        None => !permits,
        Some(_) => (any.is_empty() || is(any)) && !is(none),
    }
}

fn who(from: &From, case: &Case, permits: bool) -> bool {
    let (td, account) = case.who;
    let both = account.map(|(namespace, name)| format!("{namespace}/{name}"));
    let own = |list: &[String]| -> Vec<String> {
        list.iter().map(|one| if one.contains('/') { one.clone() } else { format!("tools/{one}") }).collect()
    };
    let within = |list: &[String]| list.iter().any(|block| block == "10.0.0.0/8" && case.ip.starts_with("10."));
    let token = case.sub.map(|sub| format!("i/{sub}"));
    field(&from.principals, &from.not_principals, Some(&case.principal()), permits)
        && field(&from.trust_domains, &from.not_trust_domains, Some(td), permits)
        && field(&from.namespaces, &from.not_namespaces, account.map(|one| one.0), permits)
        && field(&own(&from.service_accounts), &own(&from.not_service_accounts), both.as_deref(), permits)
        && field(&from.request_principals, &from.not_request_principals, token.as_deref(), permits)
        && (from.ip_blocks.is_empty() || within(&from.ip_blocks))
        && !within(&from.not_ip_blocks)
}

fn what(to: &To, case: &Case, permits: bool) -> bool {
    let some = |lists: [&Vec<String>; 2]| lists.iter().any(|list| !list.is_empty());
    match case.seen() {
        What::Http(method, path) => to.http.as_ref().is_some_and(|http| {
            field(&http.methods, &http.not_methods, Some(method), permits)
                && field(&http.paths, &http.not_paths, Some(path), permits)
        }),
        What::Tcp => to.http.is_some() && !permits,
        // A method is about every call of it, but permits nothing that could be read in two ways.
        call if some([&to.methods, &to.not_methods]) => {
            let method = match call {
                What::Tool(..) => "tools/call",
                What::Prompt(_) => "prompts/get",
                What::Resource(..) => "resources/read",
                What::Other(method) => method,
                What::Http(..) | What::Tcp => panic!("matched above"),
            };
            field(&to.methods, &to.not_methods, Some(method), permits) && !(permits && two_ways(case))
        }
        What::Tool(name, _) => some([&to.tools, &to.not_tools]) && field(&to.tools, &to.not_tools, Some(name), permits),
        What::Prompt(name) => {
            some([&to.prompts, &to.not_prompts]) && field(&to.prompts, &to.not_prompts, Some(name), permits)
        }
        What::Resource(raw, normal) => {
            let one = |uri| field(&to.resources, &to.not_resources, Some(uri), permits);
            let named = to.resources.iter().any(|one| one == raw);
            let some = some([&to.resources, &to.not_resources]);
            match (raw == normal, permits) {
                (true, _) => some && one(normal),
                (false, true) => some && named && one(raw) && field(&[], &to.not_resources, Some(normal), permits),
                // One exact way to write it may be excepted by name, else the resource itself.
                (false, false) => {
                    let excepted = to.not_resources.iter().any(|one| one == raw);
                    let is = |uri: &str| to.resources.is_empty() || to.resources.iter().any(|one| pattern(one, uri));
                    some && !excepted && (is(raw) || is(normal)) && field(&[], &to.not_resources, Some(normal), true)
                }
            }
        }
        What::Other(_) => false,
    }
}

fn two_ways(case: &Case) -> bool {
    matches!(case.seen(), What::Resource(raw, normal) if raw != normal)
}

/// Whether a rule's `from` and `to` are about the call.
fn about(from: Option<&Vec<From>>, to: Option<&Vec<To>>, case: &Case, permits: bool) -> bool {
    let of_all = match (permits && case.declared, case.seen()) {
        // Every call that the protocol knows.
        (true, What::Other(_) | What::Http(..) | What::Tcp) => false,
        (true, _) => !two_ways(case),
        (false, _) => true,
    };
    from.is_none_or(|from| from.iter().any(|one| who(one, case, permits)))
        && to.map_or(of_all, |to| to.iter().any(|one| what(one, case, permits)))
}

/// Worked out by hand.
type Worked = fn(&Case) -> Said;

/// Conditions and what they say, worked out by hand.
const CONDITIONS: &[(&str, Worked)] = &[
    ("true", |_| Some(true)),
    ("false || false", |_| Some(false)),
    ("mcp.tool.arguments.n == 1", |case| Some(argument(case)? == &json!(1))),
    ("!(mcp.tool.arguments.n < 2)", |case| Some(argument(case)?.as_i64()? >= 2)),
    ("has(mcp.tool.arguments.n)", |case| match case.seen() {
        What::Tool(_, arguments) => Some(arguments.get("n").is_some()),
        What::Prompt(_) | What::Resource(..) | What::Other(_) | What::Http(..) | What::Tcp => Some(false),
    }),
    ("jwt.sub == 'alice'", |case| Some(case.sub? == "alice")),
    ("has(jwt.sub) && jwt.sub == 'alice'", |case| Some(case.sub == Some("alice"))),
    ("source.identity.namespace == 'a'", |case| Some(case.who.1?.0 == "a")),
    ("source.identity.namespace == 'a' || true", |_| Some(true)),
    ("request.method == 'POST'", |case| Some(case.http()?.0 == "POST")),
    ("has(mcp.tool) ? mcp.tool.name == 'get_a' : false", |case| Some(matches!(case.seen(), What::Tool("get_a", _)))),
];

fn argument(case: &Case) -> Option<&Json> {
    match (&case.what, case.declared) {
        (What::Tool(_, arguments), true) => arguments.get("n"),
        _ => None,
    }
}

fn says(condition: &str, case: &Case) -> Said {
    CONDITIONS.iter().find(|(text, _)| *text == condition).unwrap().1(case)
}

fn istio_rule(rule: &IstioRule, case: &Case, action: Action) -> bool {
    let source = |from: &IstioFrom| {
        let Source { principals, not_principals, namespaces, not_namespaces, .. } = &from.source;
        let (accounts, not) = (&from.source.service_accounts, &from.source.not_service_accounts);
        let is = |list: &[String], value: Option<&str>| list.iter().any(|one| value.is_some_and(|v| pattern(one, v)));
        let one = |any: &[String], none: &[String], value: Option<&str>| {
            (any.is_empty() || is(any, value)) && !is(none, value)
        };
        let both = case.who.1.map(|(namespace, name)| format!("{namespace}/{name}"));
        one(principals, not_principals, Some(&case.principal()))
            && one(namespaces, not_namespaces, case.who.1.map(|who| who.0))
            && one(accounts, not, both.as_deref())
    };
    let operation = |to: &IstioTo| {
        let Operation { ports, not_ports, methods, not_methods, paths, not_paths, .. } = &to.operation;
        let port = field(ports, not_ports, Some("8080"), true);
        let some = [methods, not_methods, paths, not_paths].iter().any(|list| !list.is_empty());
        port && match case.http() {
            Some((method, path)) => {
                field(methods, not_methods, Some(method), true) && field(paths, not_paths, Some(path), true)
            }
            None => !some || action == Action::Deny,
        }
    };
    // An ALLOW rule that asks for HTTP is dropped as a whole on TCP.
    let dropped = |to: &IstioTo| {
        let Operation { methods, not_methods, paths, not_paths, .. } = &to.operation;
        [methods, not_methods, paths, not_paths].iter().any(|list| !list.is_empty())
    };
    if case.http().is_none() && action == Action::Allow && rule.to.iter().any(dropped) {
        return false;
    }
    (rule.from.is_empty() || rule.from.iter().any(source)) && (rule.to.is_empty() || rule.to.iter().any(operation))
}

/// Deny, require, allow, default.
fn decide(agent: &[AgentPolicySpec], istio: &[AuthorizationPolicySpec], case: &Case) -> &'static str {
    let enforced: Vec<_> = agent.iter().filter(|spec| spec.mode == Mode::Enforce).collect();
    if case.declared && enforced.is_empty() {
        return "no_agent_policy";
    }
    let condition = |when: &Option<String>| when.as_ref().map_or(Some(true), |text| says(text, case));
    let denies =
        |rule: &Rule| about(rule.from.as_ref(), rule.to.as_ref(), case, false) && condition(&rule.when) != Some(false);
    let unmet = |rule: &Requirement| {
        about(rule.from.as_ref(), rule.to.as_ref(), case, false) && says(&rule.that, case) != Some(true)
    };
    let allows =
        |rule: &Rule| about(rule.from.as_ref(), rule.to.as_ref(), case, true) && condition(&rule.when) == Some(true);
    let matched = |spec: &AuthorizationPolicySpec| spec.rules.iter().any(|rule| istio_rule(rule, case, spec.action));
    let of = |action| istio.iter().filter(move |spec| spec.action == action);
    if enforced.iter().any(|spec| spec.deny.iter().any(denies)) || of(Action::Deny).any(matched) {
        return "denied";
    }
    if enforced.iter().any(|spec| spec.require.iter().any(unmet)) {
        return "requirement_not_met";
    }
    let all: Vec<&Rule> = enforced.iter().flat_map(|spec| &spec.allow).collect();
    let plain = |rule: &&Rule| rule.to.as_ref().is_none_or(|to| to.iter().any(|one| one.http.is_some()));
    let closed = case.declared || all.iter().any(plain);
    let by_agent = all.into_iter().any(allows) || !closed;
    let by_istio = of(Action::Allow).next().is_none() || of(Action::Allow).any(matched);
    if by_agent && by_istio { "allow" } else { "refused by default" }
}

fn some(from: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let list = subsequence(from, 1..=2.min(from.len()));
    prop_oneof![
        3 => Just(Vec::new()),
        1 => list.prop_map(|list| list.into_iter().map(str::to_owned).collect()),
    ]
}

fn from() -> impl Strategy<Value = From> {
    let names = &["td/ns/a/*", "*/sa/x", "td/odd", "*"][..];
    let accounts = &["a/x", "b/*", "x", "*/x"][..];
    let spaces = &["a", "*", "b*"][..];
    let tokens = &["i/alice", "i/*", "*"][..];
    let first = (some(names), some(names), some(accounts), some(accounts), some(spaces), some(spaces));
    let second = (some(&["td", "t*"]), some(&["ue"]), some(tokens), some(tokens), some(&["10.0.0.0/8"]), any::<bool>());
    (first, second).prop_filter_map("names somebody", |(first, second)| {
        let (principals, not_principals, service_accounts, not_service_accounts, namespaces, not_namespaces) = first;
        let (trust_domains, not_trust_domains, request_principals, not_request_principals, blocks, not) = second;
        let (ip_blocks, not_ip_blocks) = if not { (Vec::new(), blocks) } else { (blocks, Vec::new()) };
        let from = From {
            principals,
            not_principals,
            service_accounts,
            not_service_accounts,
            namespaces,
            not_namespaces,
            trust_domains,
            not_trust_domains,
            request_principals,
            not_request_principals,
            ip_blocks,
            not_ip_blocks,
        };
        (from != From::default()).then_some(from)
    })
}

fn to() -> impl Strategy<Value = To> {
    let names = &["get_*", "get_a", "*_a", "*"][..];
    let uris = &["file:///pub/*", "file:///x/../pub/a", "file:///etc", "*"][..];
    let methods = &["tools/*", "resources/read", "tasks/get", "*"][..];
    let kinds = (0..5_u8, some(names), some(names), some(uris), some(uris), some(methods), some(methods));
    let http = (some(&["GET"]), some(&["POST"]), some(&["/a*", "/mcp"]), some(&["/a/b"]));
    (kinds, http).prop_filter_map("names something", |((kind, any, none, uri, not_uri, method, not_method), http)| {
        let (methods, not_methods, paths, not_paths) = http;
        let to = match kind {
            0 => To { tools: any, not_tools: none, ..To::default() },
            1 => To { prompts: any, not_prompts: none, ..To::default() },
            2 => To { resources: uri, not_resources: not_uri, ..To::default() },
            3 => To { methods: method, not_methods: not_method, ..To::default() },
            _ => {
                let http = HttpMatch { methods, not_methods, paths, not_paths, ..HttpMatch::default() };
                To { http: Some(http).filter(|http| *http != HttpMatch::default()), ..To::default() }
            }
        };
        (to != To::default()).then_some(to)
    })
}

fn cel() -> impl Strategy<Value = String> {
    select(CONDITIONS).prop_map(|(text, _)| text.to_owned())
}

fn rule() -> impl Strategy<Value = Rule> {
    let parts = (of(vec(from(), 1..3)), of(vec(to(), 1..3)), of(cel()));
    parts.prop_map(|(from, to, when)| Rule { name: None, from, to, when })
}

fn agent() -> impl Strategy<Value = AgentPolicySpec> {
    let requirement = (of(vec(from(), 1..2)), of(vec(to(), 1..3)), cel());
    let requirement = requirement.prop_map(|(from, to, that)| Requirement { name: None, from, to, that });
    let rules = (vec(rule(), 0..2), vec(requirement, 0..2), vec(rule(), 0..4), prop::bool::weighted(0.1));
    rules.prop_map(|(deny, require, allow, dry)| {
        let mode = if dry { Mode::DryRun } else { Mode::Enforce };
        AgentPolicySpec { deny, require, allow, mode, ..agent_spec("") }
    })
}

fn istio() -> impl Strategy<Value = AuthorizationPolicySpec> {
    let source =
        (some(&["td/ns/a/*", "*"]), some(&["td/odd"]), some(&["a", "*"]), some(&["b"]), some(&["a/x"]), some(&["b/x"]));
    let source =
        source.prop_filter_map("names somebody", |(principals, not_principals, namespaces, not, accounts, none)| {
            // Istio's API server takes accounts alone, or the others.
            let beside = [&principals, &not_principals, &namespaces, &not].iter().any(|list| !list.is_empty());
            let (service_accounts, not_service_accounts) =
                if beside { (Vec::new(), Vec::new()) } else { (accounts, none) };
            let (not_namespaces, rest) = (not, Source::default());
            let source = Source {
                principals,
                not_principals,
                namespaces,
                not_namespaces,
                service_accounts,
                not_service_accounts,
                ..rest
            };
            (source != Source::default()).then_some(IstioFrom { source })
        });
    let operation =
        (some(&["8080", "1"]), some(&["1"]), some(&["GET", "POST"]), some(&["POST"]), some(&["/a*"]), some(&["/mcp"]));
    let operation =
        operation.prop_filter_map("names something", |(ports, not_ports, methods, not_methods, paths, not_paths)| {
            let operation =
                Operation { ports, not_ports, methods, not_methods, paths, not_paths, ..Operation::default() };
            (operation != Operation::default()).then_some(IstioTo { operation })
        });
    let rule = (vec(source, 0..3), vec(operation, 0..3));
    let rule = rule.prop_map(|(from, to)| IstioRule { from, to, when: Vec::new() });
    (any::<bool>(), vec(rule, 0..3)).prop_map(|(deny, rules)| {
        let action = if deny { Action::Deny } else { Action::Allow };
        AuthorizationPolicySpec { action, rules, ..istio_spec("") }
    })
}

fn case() -> impl Strategy<Value = Case> {
    let identities = [("td", Some(("a", "x"))), ("td", Some(("b", "x"))), ("ue", Some(("tools", "x"))), ("td", None)];
    let arguments = [json!({}), json!({"n": 1}), json!({"n": 2}), json!({"n": "1"}), json!({"n": null})];
    let uris = [
        ("file:///pub/a", "file:///pub/a"),
        ("file:///x/../pub/a", "file:///pub/a"),
        ("file:///pub/../etc", "file:///etc"),
    ];
    let called = prop_oneof![
        4 => (select(&["get_a", "get_b", "del_a"]), select(arguments.to_vec())).prop_map(|(name, json)| What::Tool(name, json)),
        1 => select(&["get_a", "p"]).prop_map(What::Prompt),
        2 => select(uris.to_vec()).prop_map(|(raw, normal)| What::Resource(raw, normal)),
        1 => select(&["tasks/get", "x"]).prop_map(What::Other),
        2 => (select(&["GET", "POST"]), select(&["/a", "/a/b", "/mcp"])).prop_map(|(method, path)| What::Http(method, path)),
        1 => Just(What::Tcp),
    ];
    let who =
        (select(identities.to_vec()), select(&["10.1.1.1", "192.0.2.1"]), select(&[None, Some("alice"), Some("bob")]));
    (prop::bool::weighted(0.7), who, called).prop_map(|(declared, (who, ip, sub), what)| {
        // Bytes never reach a port that is declared: it does not sniff.
        let declared = declared && !matches!(what, What::Tcp);
        Case { declared, who, ip, sub, what }
    })
}

fn metas(prefix: &str) -> Vec<Meta> {
    (0..3).map(|at| meta(&format!("{prefix}{at}"))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn decisions_are_what_is_promised(
        agent in vec(agent(), 0..3), istio in vec(istio(), 0..2), cases in vec(case(), 12),
    ) {
        let (agents, istios) = (metas("a"), metas("i"));
        for declared in [None, Some(Protocol::Mcp)] {
            let set = RuleSet {
                declared,
                agent: agents.iter().zip(&agent).collect(),
                istio: istios.iter().zip(&istio).collect(),
                ..RuleSet::default()
            };
            let rules = compile(&set).map_err(|problems| TestCaseError::fail(format!("{problems:?}")))?;
            for case in cases.iter().filter(|case| case.declared == declared.is_some()) {
                let got = match verdict(&rules, &case.world()) {
                    "denied_by_rule" | "undecidable" => "denied",
                    "not_allowed" | "unknown_method" => "refused by default",
                    other => other,
                };
                prop_assert_eq!(got, decide(&agent, &istio, case), "{:#?}\n{:#?}\n{:?}", agent, istio, case);
            }
        }
    }
}

/// The generators reach every outcome, so that the comparison above cannot pass for want of cases.
#[test]
fn every_outcome_is_reached() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2_000 {
        let (agent, istio, case) = (vec(agent(), 0..3), vec(istio(), 0..2), case())
            .new_tree(&mut runner)
            .map(|tree| proptest::strategy::ValueTree::current(&tree))
            .unwrap();
        seen.insert((decide(&agent, &istio, &case), case.declared));
    }
    for outcome in ["allow", "denied", "requirement_not_met", "refused by default"] {
        assert!(seen.contains(&(outcome, true)) && seen.contains(&(outcome, false)), "{outcome}: {seen:?}");
    }
    assert!(seen.contains(&("no_agent_policy", true)));
}

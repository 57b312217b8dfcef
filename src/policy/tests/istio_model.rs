//! A second reading of Istio's documentation, as plain as can be, against which the first is held. It shares the documents'
//! types with it and nothing else; identities are matched by regular expressions here, with every name escaped.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value as Json, json};

use crate::call::Call;
use crate::document::authorization_policy::{Action, AuthorizationPolicySpec, Condition, IstioRule, Operation, Source};
use crate::document::authorization_policy::{IstioFrom, IstioTo, Provider};
use crate::document::mesh_config::MeshConfig;
use crate::policy::fixture::{World, head, istio_spec, meta};
use crate::policy::{Decision, Providers, RuleSet, Rules, Verdicts, Word, compile};

/// One call in plain words. `http` is method, host, path; none on TCP.
#[derive(Debug, Clone)]
struct Case {
    who: &'static str,
    ip: &'static str,
    http: Option<(&'static str, &'static str, &'static str)>,
    headers: Vec<(&'static str, &'static str)>,
    token: Option<Json>,
}

const PORT: &str = "8080";
const VIP: &str = "10.96.0.7";
const DOMAINS: [&str; 2] = ["td", "old"];

fn pattern(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => !text.is_empty(),
        (Some(end), _) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => text == pattern,
    }
}

fn regex(pattern: &str, text: &str) -> bool {
    regex::Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(text)
}

/// `values` OR, none of `not`.
fn holds(values: &[String], not: &[String], is: impl Fn(&str) -> bool) -> bool {
    (values.is_empty() || values.iter().any(|one| is(one))) && !not.iter().any(|one| is(one))
}

fn cidr(block: &str, ip: &str) -> bool {
    let bits = |ip: &str| u32::from(ip.parse::<std::net::Ipv4Addr>().unwrap());
    let (net, length) = block.split_once('/').unwrap_or((block, "32"));
    let same = 32 - length.parse::<u32>().unwrap();
    u64::from(bits(net)) >> same == u64::from(bits(ip)) >> same
}

/// A principal of one of the mesh's domains is one of each; `cluster.local` is the mesh's own.
fn principal(written: &str, who: &str) -> bool {
    let parts: Vec<&str> = written.split('/').collect();
    if parts.len() == 5 && (DOMAINS.contains(&parts[0]) || parts[0] == "cluster.local") {
        return DOMAINS.iter().any(|domain| pattern(&format!("{domain}/{}", parts[1..].join("/")), who));
    }
    pattern(written, who)
}

fn trust_domain(written: &str, who: &str) -> bool {
    let own = who.split('/').next().unwrap();
    if DOMAINS.contains(&written) { DOMAINS.contains(&own) } else { pattern(written, own) }
}

fn namespace(written: &str, who: &str) -> bool {
    regex(&format!(".*/ns/{}/.*", regex::escape(written).replace(r"\*", ".*")), who)
}

fn account(written: &str, who: &str) -> bool {
    let (namespace, name) = written.split_once('/').unwrap_or(("tools", written));
    regex(&format!(".+/ns/{}/(.+/|)sa/{}(/.+)?", regex::escape(namespace), regex::escape(name)), who)
}

/// `ISS/SUB`, parted at the last slash.
fn request_principal(written: &str, case: &Case) -> bool {
    let text = |name: &str| case.token.as_ref().and_then(|token| token[name].as_str()).unwrap_or_default();
    match written.rsplit_once('/') {
        _ if text("sub").is_empty() => false,
        _ if written == "*" => true,
        Some((issuer, subject)) if written.starts_with('*') => pattern(issuer, text("iss")) && subject == text("sub"),
        Some((issuer, subject)) => issuer == text("iss") && pattern(subject, text("sub")),
        None if written.starts_with('*') => pattern(written, text("sub")),
        None => written.ends_with('*') && pattern(written, text("iss")),
    }
}

fn claim(path: &[&str], written: &str, case: &Case) -> bool {
    let Some(mut value) = case.token.as_ref() else { return false };
    for name in path {
        value = &value[*name];
    }
    let listed = |text: &str| text.split(' ').any(|word| pattern(written, word));
    match value {
        Json::String(text) if ["scope", "permission"].contains(&path[0]) => listed(text),
        Json::String(text) => pattern(written, text),
        Json::Array(items) => items.iter().any(|item| item.as_str().is_some_and(|text| pattern(written, text))),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => false,
    }
}

fn remote_ip(case: &Case) -> &str {
    let mut fields = case.headers.iter().filter(|(name, _)| case.http.is_some() && *name == "x-forwarded-for");
    fields.next_back().map_or(case.ip, |(_, value)| value.rsplit(", ").next().unwrap())
}

fn source(source: &Source, case: &Case, drop: bool) -> bool {
    holds(&source.principals, &source.not_principals, |one| principal(one, case.who))
        && holds(&source.namespaces, &source.not_namespaces, |one| namespace(one, case.who))
        && holds(&source.service_accounts, &source.not_service_accounts, |one| account(one, case.who))
        && holds(&source.trust_domains, &source.not_trust_domains, |one| trust_domain(one, case.who))
        && holds(&source.ip_blocks, &source.not_ip_blocks, |one| cidr(one, case.ip))
        && holds(&source.remote_ip_blocks, &source.not_remote_ip_blocks, |one| cidr(one, remote_ip(case)))
        && (drop
            || holds(&source.request_principals, &source.not_request_principals, |one| request_principal(one, case)))
}

fn template(written: &str, path: &str) -> bool {
    if !written.contains("{*") {
        return pattern(written, path);
    }
    let text = regex::escape(written).replace(r"\{\*\*\}", ".*").replace(r"\{\*\}", "[^/]+");
    regex(&text, path)
}

fn operation(operation: &Operation, case: &Case) -> bool {
    holds(&operation.ports, &operation.not_ports, |one| one == PORT)
        && case.http.is_none_or(|(method, host, path)| {
            holds(&operation.methods, &operation.not_methods, |one| pattern(one, method))
                && holds(&operation.hosts, &operation.not_hosts, |one| pattern(&one.to_lowercase(), host))
                && holds(&operation.paths, &operation.not_paths, |one| template(one, path))
        })
}

fn condition(when: &Condition, case: &Case, action: Action) -> bool {
    let of = |is: &dyn Fn(&str) -> bool| holds(&when.values, &when.not_values, is);
    match when.key.as_str() {
        key if is_http(key) && case.http.is_none() => true,
        "source.ip" => of(&|one| cidr(one, case.ip)),
        "remote.ip" => of(&|one| cidr(one, remote_ip(case))),
        "source.principal" => of(&|one| principal(one, case.who)),
        "source.namespace" => of(&|one| namespace(one, case.who)),
        "destination.ip" => of(&|one| cidr(one, VIP)),
        "destination.port" => of(&|one| one == PORT),
        "request.auth.audiences" => of(&|one| claim(&["aud"], one, case)),
        "request.auth.claims[scope]" => of(&|one| claim(&["scope"], one, case)),
        "request.auth.claims[a][b]" => of(&|one| claim(&["a", "b"], one, case)),
        "request.headers[x-role]" => {
            let lines: Vec<&str> = case.headers.iter().filter(|(name, _)| *name == "x-role").map(|(_, v)| *v).collect();
            let joined = lines.join(",");
            let one = |text: &str| of(&|one| one == "*" || pattern(one, text));
            let mut all = lines.iter().copied().chain((lines.len() > 1).then_some(&*joined));
            match (lines.is_empty(), action) {
                (true, _) => of(&|_| false),
                (false, Action::Allow) => all.all(one),
                (false, _) => all.any(one),
            }
        }
        other => panic!("{other}"),
    }
}

fn is_http(key: &str) -> bool {
    key.starts_with("request.")
}

fn rule(rule: &IstioRule, case: &Case, action: Action) -> bool {
    let in_source =
        |from: &IstioFrom| !from.source.request_principals.is_empty() || !from.source.not_request_principals.is_empty();
    let in_operation = |to: &IstioTo| {
        let Operation { hosts, not_hosts, methods, not_methods, paths, not_paths, .. } = &to.operation;
        [hosts, not_hosts, methods, not_methods, paths, not_paths].iter().any(|list| !list.is_empty())
    };
    let http = rule.from.iter().any(in_source)
        || rule.to.iter().any(in_operation)
        || rule.when.iter().any(|when| is_http(&when.key));
    if http && case.http.is_none() && action == Action::Allow {
        return false;
    }
    (rule.from.is_empty() || rule.from.iter().any(|from| source(&from.source, case, case.http.is_none())))
        && (rule.to.is_empty() || rule.to.iter().any(|to| operation(&to.operation, case)))
        && rule.when.iter().all(|when| condition(when, case, action))
}

/// CUSTOM, then DENY, then ALLOW, then what no ALLOW leaves open. Of the providers `yes` allows, `no` denies, and no other is
/// declared.
fn allowed(policies: &[AuthorizationPolicySpec], case: &Case) -> bool {
    let of = |action| policies.iter().filter(move |policy| policy.action == action);
    let matched = |policy: &AuthorizationPolicySpec| policy.rules.iter().any(|one| rule(one, case, policy.action));
    let refused =
        |policy: &AuthorizationPolicySpec| policy.provider.as_ref().is_some_and(|provider| provider.name != "yes");
    !of(Action::Custom).any(|policy| refused(policy) && matched(policy))
        && !of(Action::Deny).any(matched)
        && (of(Action::Allow).next().is_none() || of(Action::Allow).any(matched))
}

// Here the second reading ends; what follows makes random documents and calls, and compares.

fn some(from: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let list = subsequence(from, 1..=2.min(from.len()));
    prop_oneof![5 => Just(Vec::new()), 1 => list.prop_map(|list| list.into_iter().map(str::to_owned).collect())]
}

fn sources() -> impl Strategy<Value = Source> {
    let principals = &["td/ns/a/sa/x", "old/ns/a/sa/*", "*/sa/x", "cluster.local/ns/b/sa/x", "*", "td/odd"][..];
    let namespaces = &["a", "a*", "*b", "*", "sa", "a.b"][..];
    let accounts = &["a/x", "x", "b/x", "ns/x.y"][..];
    let tokens = &["i/alice", "i/*", "*", "*/bob", "*ce", "i*", "i", "https://i/al*"][..];
    let ips = &["10.0.0.0/8", "192.0.2.1", "0.0.0.0/0"][..];
    let first =
        (some(principals), some(principals), some(namespaces), some(namespaces), some(accounts), some(accounts));
    let second = (some(&["td", "o*", "cluster.local"]), some(&["old", "*d"]), some(tokens), some(tokens));
    let third = (some(ips), some(ips), some(ips), some(ips));
    (first, second, third).prop_filter_map("as the API server takes it", |(first, second, third)| {
        let (principals, not_principals, namespaces, not_namespaces, service_accounts, not_service_accounts) = first;
        let (trust_domains, not_trust_domains, request_principals, not_request_principals) = second;
        let (ip_blocks, not_ip_blocks, remote_ip_blocks, not_remote_ip_blocks) = third;
        let mut source = Source {
            principals,
            not_principals,
            request_principals,
            not_request_principals,
            namespaces,
            not_namespaces,
            ip_blocks,
            not_ip_blocks,
            remote_ip_blocks,
            not_remote_ip_blocks,
            service_accounts,
            not_service_accounts,
            trust_domains,
            not_trust_domains,
        };
        let beside = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
        if beside.iter().any(|list| !list.is_empty()) {
            (source.service_accounts, source.not_service_accounts) = (Vec::new(), Vec::new());
        }
        (source != Source::default()).then_some(source)
    })
}

fn operations() -> impl Strategy<Value = Operation> {
    let hosts = &["H", "h:*", "*.h", "*"][..];
    let ports = &["8080", "80"][..];
    let methods = &["GET", "P*", "*"][..];
    let paths = &["/a", "/a/*", "*/c", "*", "/a/{*}", "/a/{**}", "/{*}/b/{**}", "/a/{**}/c", "/a*b"][..];
    let all =
        (some(hosts), some(hosts), some(ports), some(ports), some(methods), some(methods), some(paths), some(paths));
    all.prop_filter_map("names something", |all| {
        let (hosts, not_hosts, ports, not_ports, methods, not_methods, paths, not_paths) = all;
        let operation = Operation { hosts, not_hosts, ports, not_ports, methods, not_methods, paths, not_paths };
        (operation != Operation::default()).then_some(operation)
    })
}

fn conditions() -> impl Strategy<Value = Condition> {
    let keys = vec![
        ("source.ip", &["10.0.0.0/8", "192.0.2.1"][..]),
        ("remote.ip", &["10.0.0.0/8", "192.0.2.1"]),
        ("source.principal", &["td/ns/a/sa/x", "*"]),
        ("source.namespace", &["a", "*b"]),
        ("destination.ip", &["10.96.0.0/12", "10.0.0.1"]),
        ("destination.port", &["8080", "80"]),
        ("request.auth.audiences", &["me", "*"]),
        ("request.auth.claims[scope]", &["read", "r*", "read write"]),
        ("request.auth.claims[a][b]", &["v", "*"]),
        ("request.headers[x-role]", &["admin", "a*", "*", "guest,admin"]),
    ];
    select(keys).prop_flat_map(|(key, from)| {
        (some(from), some(from)).prop_filter_map("has a value", move |(values, not_values)| {
            let some = !values.is_empty() || !not_values.is_empty();
            some.then(|| Condition { key: key.to_owned(), values, not_values })
        })
    })
}

fn rules() -> impl Strategy<Value = IstioRule> {
    let from = proptest::collection::vec(sources().prop_map(|source| IstioFrom { source }), 0..3);
    let to = proptest::collection::vec(operations().prop_map(|operation| IstioTo { operation }), 0..3);
    let when = proptest::collection::vec(conditions(), 0..3);
    (from, to, when).prop_map(|(from, to, when)| IstioRule { from, to, when })
}

fn policies() -> impl Strategy<Value = Vec<AuthorizationPolicySpec>> {
    let one = (any::<bool>(), proptest::collection::vec(rules(), 0..4)).prop_map(|(deny, rules)| {
        let action = if deny { Action::Deny } else { Action::Allow };
        AuthorizationPolicySpec { action, rules, ..istio_spec("") }
    });
    let custom = (select(vec!["yes", "no", "gone"]), proptest::collection::vec(rules(), 1..4));
    let custom = custom.prop_map(|(name, rules)| AuthorizationPolicySpec {
        action: Action::Custom,
        provider: Some(Provider { name: name.to_owned() }),
        rules: rules.into_iter().map(nameless).collect(),
        ..istio_spec("")
    });
    proptest::collection::vec(prop_oneof![3 => one, 1 => custom], 0..4)
}

/// The rule without what the API server refuses of CUSTOM.
fn nameless(rule: IstioRule) -> IstioRule {
    let mut from = rule.from;
    for IstioFrom { source } in &mut from {
        let Source { ip_blocks, not_ip_blocks, remote_ip_blocks, not_remote_ip_blocks, .. } = std::mem::take(source);
        *source = Source { ip_blocks, not_ip_blocks, remote_ip_blocks, not_remote_ip_blocks, ..Source::default() };
    }
    from.retain(|from| from.source != Source::default());
    let named = |when: &Condition| ["source.principal", "source.namespace"].contains(&&*when.key);
    let when = rule.when.into_iter().filter(|when| !named(when) && !when.key.starts_with("request.auth.")).collect();
    IstioRule { from, to: rule.to, when }
}

fn cases() -> impl Strategy<Value = Case> {
    let who = select(vec![
        "td/ns/a/sa/x",
        "old/ns/a/sa/x",
        "td/ns/b/sa/x",
        "foreign/ns/a/sa/x",
        "td/odd",
        "td/ns/ns/sa/x.y",
        "td/ns/aXb/sa/x",
        "td/ns/tools/sa/x",
    ]);
    let http = prop_oneof![
        4 => (
            select(vec!["GET", "POST", "PUT"]),
            select(vec!["h", "h:8080", "a.h", "other"]),
            select(vec!["/a", "/a/b", "/a/b/c", "/", "/a/c", "/x/b/c", "/a//c", "/a*b", "/axb"]),
        ).prop_map(Some),
        1 => Just(None),
    ];
    let headers = subsequence(
        vec![("x-role", "admin"), ("x-role", "guest"), ("x-role", ""), ("x-forwarded-for", "10.9.9.9, 192.0.2.1")],
        0..3,
    );
    let token = prop_oneof![
        Just(None),
        Just(Some(json!({"iss": "i", "sub": "alice", "aud": "me", "scope": "read write"}))),
        Just(Some(json!({"iss": "https://i", "sub": "bob", "aud": ["you", "me"], "a": {"b": "v"}}))),
        Just(Some(json!({"iss": "i", "scope": "", "a": {"b": ["u", 1, ""]}}))),
    ];
    (who, select(vec!["10.1.2.3", "192.0.2.1"]), http, headers, token)
        .prop_map(|(who, ip, http, headers, token)| Case { who, ip, http, headers, token })
}

impl Case {
    fn world(&self) -> World {
        let mut world = World::calling(if self.http.is_some() { Call::Http } else { Call::Tcp });
        world = world.from(&format!("spiffe://{}", self.who));
        let addr = format!("{}:1", self.ip).parse().unwrap();
        world.peer = crate::id::Peer::verified(world.peer.id().clone(), addr, world.peer.not_after());
        world.request = self.http.map(|(method, host, path)| {
            let mut head = head(method, path);
            head.host = host.to_owned();
            for (name, value) in &self.headers {
                head.headers.append(*name, value.parse().unwrap());
            }
            head
        });
        match &self.token {
            Some(token) => world.claiming(token.clone()),
            None => world,
        }
    }
}

fn decided(policies: &[AuthorizationPolicySpec], cases: &[World]) -> Vec<bool> {
    let metas: Vec<_> = (0..policies.len()).map(|at| meta(&format!("p{at}"))).collect();
    let domains = DOMAINS.map(str::to_owned);
    let istio = metas.iter().zip(policies).collect();
    let config = "extensionProviders: [{name: yes, envoyExtAuthzGrpc: {service: a, port: 1}}, \
                  {name: no, envoyExtAuthzGrpc: {service: a, port: 1}}]"
        .replace("yes", "'yes'")
        .replace("no,", "'no',");
    let providers = Providers::read(&MeshConfig::parse(&config).unwrap().extension_providers);
    let providers = Some(&providers);
    let rules = compile(&RuleSet { istio, trust_domains: &domains, providers, ..RuleSet::default() }).unwrap();
    cases.iter().map(|world| asked(&rules, world)).collect()
}

/// Whether it is allowed once everybody was asked.
fn asked(rules: &Rules, world: &World) -> bool {
    let (facts, mut verdicts) = (world.facts(), Verdicts::default());
    while let Some(ask) = rules.ask(&facts, &verdicts) {
        let word = if &*ask.provider().name == "yes" { Word::Allowed } else { Word::Denied };
        verdicts.note(ask, word, String::new());
    }
    matches!(rules.decide_on(&facts, &verdicts), Decision::Allow(_))
}

/// A million (policies, call) pairs: `PROPTEST_CASES=10000 cargo test --lib both_readings`.
const CALLS: usize = 100;

proptest! {
    #[test]
    fn both_readings_agree(policies in policies(), cases in proptest::collection::vec(cases(), CALLS)) {
        let worlds: Vec<World> = cases.iter().map(Case::world).collect();
        for (case, decided) in cases.iter().zip(decided(&policies, &worlds)) {
            prop_assert_eq!(decided, allowed(&policies, case), "{:#?}\n{:#?}", policies, case);
        }
    }

    #[test]
    fn a_deny_more_never_allows_more(
        policies in policies(), rule in rules(), cases in proptest::collection::vec(cases(), CALLS),
    ) {
        let worlds: Vec<World> = cases.iter().map(Case::world).collect();
        let mut more = policies.clone();
        more.push(AuthorizationPolicySpec { action: Action::Deny, rules: vec![rule], ..istio_spec("") });
        for (before, after) in decided(&policies, &worlds).into_iter().zip(decided(&more, &worlds)) {
            prop_assert!(before || !after);
        }
    }

    /// Of an ALLOW policy, a rule; of several, a whole one. (The last one gone, Istio opens the port.)
    #[test]
    fn an_allow_less_never_allows_more(
        policies in policies(), at in any::<prop::sample::Index>(), cases in proptest::collection::vec(cases(), CALLS),
    ) {
        let worlds: Vec<World> = cases.iter().map(Case::world).collect();
        let before = decided(&policies, &worlds);
        let allows: Vec<usize> =
            (0..policies.len()).filter(|at| policies[*at].action == Action::Allow).collect();
        if allows.is_empty() {
            return Ok(());
        }
        let one = allows[at.index(allows.len())];
        let mut less = vec![policies.clone()];
        less[0][one].rules.pop();
        if allows.len() > 1 {
            let mut without = policies;
            without.remove(one);
            less.push(without);
        }
        for less in less {
            for (before, after) in before.iter().zip(decided(&less, &worlds)) {
                prop_assert!(*before || !after);
            }
        }
    }
}

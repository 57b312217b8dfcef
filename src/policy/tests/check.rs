use crate::document::agent_policy::{AgentPolicySpec, Protocol};
use crate::document::authorization_policy::AuthorizationPolicySpec;
use crate::document::{Meta, Severity};
use crate::policy::fixture::{agent_spec, istio_spec, meta};
use crate::policy::{RuleSet, check_agent_policy, check_authorization_policy, compile, on_compile_thread};

fn one(meta: &Meta, spec: &AgentPolicySpec, what: &str) -> (Severity, String, String) {
    let problems = check_agent_policy(meta, spec);
    assert_eq!(problems.len(), 1, "{what}: {problems:?}");
    let problem = problems.into_iter().next().unwrap();
    (problem.severity, problem.field, problem.reason)
}

#[test]
fn agent_policy_errors_have_their_place() {
    let rows = [
        ("allow: [{from: []}]", "spec.allow[0].from", "empty list"),
        ("allow: [{to: []}]", "spec.allow[0].to", "empty list"),
        ("allow: [{from: [{}]}]", "spec.allow[0].from[0]", "names nobody"),
        ("allow: [{to: [{}]}]", "spec.allow[0].to[0]", "names nothing"),
        ("allow: [{to: [{http: {}}]}]", "spec.allow[0].to[0].http", "names nothing"),
        ("allow: [{}, {to: [{tools: [a], prompts: [b]}]}]", "spec.allow[1].to[0]", "tools and prompts are different"),
        ("allow: [{to: [{tools: [a], methods: [b]}]}]", "spec.allow[0].to[0]", "tools and methods are different"),
        ("deny: [{to: [{tools: [a, \"a*b\"]}]}]", "spec.deny[0].to[0].tools[1]", "one `*` may stand"),
        ("deny: [{to: [{notTools: [\"\"]}]}]", "spec.deny[0].to[0].notTools[0]", "is empty"),
        ("allow: [{from: [{namespaces: [\"a*b\"]}]}]", "spec.allow[0].from[0].namespaces[0]", "one `*` may stand"),
        ("allow: [{from: [{namespaces: [\"a/b\"]}]}]", "spec.allow[0].from[0].namespaces[0]", "slash"),
        (
            "allow: [{from: [{principals: [\"spiffe://a/b\"]}]}]",
            "spec.allow[0].from[0].principals[0]",
            "without the scheme: `a/b`",
        ),
        (
            "allow: [{from: [{serviceAccounts: [\"*\"]}]}]",
            "spec.allow[0].from[0].serviceAccounts[0]",
            "write `tools/*`",
        ),
        (
            "allow: [{from: [{notServiceAccounts: [\"a/b/c\"]}]}]",
            "spec.allow[0].from[0].notServiceAccounts[0]",
            "namespace/name",
        ),
        (
            "allow: [{from: [{ipBlocks: [\"10.0.0.0/33\"]}]}]",
            "spec.allow[0].from[0].ipBlocks[0]",
            "no IP address or CIDR",
        ),
        (
            "deny: [{from: [{notIpBlocks: [\"::ffff:10.0.0.0/104\"]}]}]",
            "spec.deny[0].from[0].notIpBlocks[0]",
            "IPv4 block",
        ),
        ("allow: [{to: [{http: {paths: [\"/a/{*}\"]}}]}]", "spec.allow[0].to[0].http.paths[0]", "templates"),
        ("allow: [{to: [{http: {notPaths: [\"/a?b\"]}}]}]", "spec.allow[0].to[0].http.notPaths[0]", "query"),
        ("allow: [{when: \"mcp.tool.nmae == 'x'\"}]", "spec.allow[0].when", "1:1: unknown name `mcp.tool.nmae`"),
        ("require: [{that: \"true && foo\"}]", "spec.require[0].that", "1:9: unknown name `foo`"),
        ("require: [{that: \"\"}]", "spec.require[0].that", "is empty"),
        ("allow: [{name: a}, {name: a}]", "spec.allow[1].name", "names two rules"),
        ("deny: [{name: a}]\nallow: [{name: a}]", "spec.allow[0].name", "names two rules"),
        ("allow: [{name: \"\"}]", "spec.allow[0].name", "1 to 253"),
        ("protocol: MCP\nallow: [{to: [{operations: [GetTask]}]}]", "spec.allow[0].to[0]", "protocol is MCP"),
        ("protocol: MCP\nallow: [{to: [{notSkills: [x]}]}]", "spec.allow[0].to[0]", "protocol is MCP"),
        ("limits: [{calls: 0, per: 1m}]", "spec.limits[0].calls", "write a `deny`"),
        ("limits: [{calls: 1000001, per: 1m}]", "spec.limits[0].calls", "1 to 1000000"),
        ("limits: [{calls: 1, per: 1}]", "spec.limits[0].per", "write `30s`, `1m` or `1h30m`"),
        ("limits: [{calls: 1, per: 999ms}]", "spec.limits[0].per", "from 1s to 24h"),
        ("limits: [{calls: 1, per: 24h1s}]", "spec.limits[0].per", "from 1s to 24h"),
        ("limits: [{calls: 1, per: 1m, key: session}]", "spec.limits[0].key", "`session` is none of principal,"),
        ("limits: [{calls: 1, per: 1m, key: \"\"}]", "spec.limits[0].key", "`` is none of"),
        ("limits: [{calls: 1, per: 1m, key: tool+tool}]", "spec.limits[0].key", "twice"),
        ("protocol: A2A\nlimits: [{calls: 1, per: 1m, key: tool}]", "spec.limits[0].key", "A2A has no tools"),
        ("pins: {tools: [{name: x, sha256: abc}]}", "spec.pins.tools[0].sha256", "64 hex digits"),
        ("protocol: A2A\npins: {mode: Warn, tools: []}", "spec.pins", "A2A has no tools"),
        ("limits: [{calls: 1, per: 1m, to: [{}]}]", "spec.limits[0].to[0]", "names nothing"),
        (
            "limits: [{calls: 1, per: 1m, to: [{methods: [\"tools/list\", ping]}]}]",
            "spec.limits[0].to[0].methods",
            "`ping` is never counted",
        ),
        ("allow: [{name: a}]\nlimits: [{name: a, calls: 1, per: 1m}]", "spec.limits[0].name", "names two rules"),
    ];
    for (yaml, field, reason) in rows {
        let (severity, got_field, got_reason) = one(&meta("p"), &agent_spec(yaml), yaml);
        assert_eq!((severity, &*got_field), (Severity::Error, field), "{yaml}");
        assert!(got_reason.contains(reason), "{yaml}: {got_reason}");
    }
}

#[test]
fn agent_policy_warnings() {
    let rows = [
        ("allow: [{when: 'false'}]", "spec.allow[0].when", "never matches"),
        ("allow: [{to: [{tools: [a], notTools: [\"*\"]}]}]", "spec.allow[0].to[0].tools", "never match"),
        ("allow: [{to: [{tools: [ab, \"abc*\"], notTools: [\"a*\"]}]}]", "spec.allow[0].to[0].tools", "never match"),
        ("allow: [{from: [{namespaces: [a], notNamespaces: [a]}]}]", "spec.allow[0].from[0].namespaces", "never match"),
        ("deny: [{when: \"mcp.tool.name == 'x'\"}]", "spec.deny[0]", "to: [{tools"),
        ("require: [{that: \"mcp.prompt.arguments.a == 1\"}]", "spec.require[0]", "to: [{prompts"),
        ("mode: Enforce", "spec", "no rules"),
        ("pins: {tools: []}", "spec.pins.tools", "no tool is listed"),
        ("mode: DryRun\npins: {mode: Warn, tools: []}", "spec.pins", "write `mode: Observe`"),
        ("mode: DryRun\nlimits: [{calls: 1, per: 1m}]", "spec.limits[0]", "not counted while the policy is DryRun"),
    ];
    for (yaml, field, reason) in rows {
        let (severity, got_field, got_reason) = one(&meta("p"), &agent_spec(yaml), yaml);
        assert_eq!((severity, &*got_field), (Severity::Warning, field), "{yaml}");
        assert!(got_reason.contains(reason), "{yaml}: {got_reason}");
    }
    for silent in [
        "allow: [{}]",
        "protocol: MCP",
        "limits: [{calls: 1, per: 1h30m, key: tool+principal}]",
        "deny: [{when: \"has(mcp.tool.name) && mcp.tool.name == 'x'\"}]",
        "deny: [{to: [{tools: [\"*\"]}], when: \"mcp.tool.name == 'x'\"}]",
        "allow: [{when: \"mcp.tool.name == 'x'\"}]",
    ] {
        assert_eq!(check_agent_policy(&meta("p"), &agent_spec(silent)), vec![], "{silent}");
    }
}

#[test]
fn agent_policy_targets() {
    let rows = [
        ("[]", "spec.targetRefs", "is empty"),
        ("[{kind: Service, name: \"\"}]", "spec.targetRefs[0].name", "is empty"),
        ("[{kind: Service, name: a}, {kind: Namespace, name: other}]", "spec.targetRefs[1].name", "`tools`"),
        ("[{kind: Service, name: a, group: apps}]", "spec.targetRefs[0].group", "must be ``"),
        ("[{kind: Gateway, name: a, group: x}]", "spec.targetRefs[0].group", "gateway.networking.k8s.io"),
        ("[{kind: Gateway, name: a, sectionName: b}]", "spec.targetRefs[0].sectionName", "names a port"),
        ("[{kind: Service, name: a, sectionName: \"\"}]", "spec.targetRefs[0].sectionName", "is empty"),
    ];
    for (targets, field, reason) in rows {
        let spec: AgentPolicySpec = serde_saphyr::from_str(&format!("targetRefs: {targets}\nallow: [{{}}]")).unwrap();
        let (severity, got_field, got_reason) = one(&meta("p"), &spec, targets);
        assert_eq!((severity, &*got_field), (Severity::Error, field), "{targets}");
        assert!(got_reason.contains(reason), "{targets}: {got_reason}");
    }
    let spec = "targetRefs: [{kind: Namespace, name: tools}]\nprotocol: MCP\nallow: [{}]";
    let (_, field, _) = one(&meta("p"), &serde_saphyr::from_str(spec).unwrap(), spec);
    assert_eq!(field, "spec.targetRefs[0].kind");
}

#[test]
fn shapes_that_do_not_load() {
    for yaml in [
        "allow: [{to: [{tools: []}]}]",
        "allow: [{from: [{namespaces: []}]}]",
        "allow: [{to: [{tool: [a]}]}]",
        "allow: [{form: []}]",
        "allow: [{to: [{http: {paths: []}}]}]",
        "require: [{}]",
        "limits: [{calls: 1}]",
        "pins: {}",
        "pins: {mode: Enforced, tools: []}",
        "limits: [{calls: -1, per: 1m}]",
        "limits: [{calls: 1, per: 1m, when: 'true'}]",
        "mode: Enforced",
        "protocol: mcp",
    ] {
        let text = format!("targetRefs: [{{kind: Service, name: a}}]\n{yaml}");
        assert!(serde_saphyr::from_str::<AgentPolicySpec>(&text).is_err(), "{yaml}");
    }
    assert!(serde_saphyr::from_str::<AgentPolicySpec>("targetRefs: [{kind: Pod, name: a}]").is_err());
}

#[test]
fn authorization_policy_errors_are_never_ignored() {
    let rows = [
        ("action: CUSTOM\nprovider: {name: x}", "spec.rules"),
        ("action: CUSTOM\nrules: [{}]", "spec.provider.name"),
        (
            "action: CUSTOM\nprovider: {name: x}\nrules: [{from: [{source: {notPrincipals: [a]}}]}]",
            "spec.rules[0].from[0].source.notPrincipals",
        ),
        (
            "action: CUSTOM\nprovider: {name: x}\nrules: [{when: [{key: 'request.auth.claims[a]', values: [a]}]}]",
            "spec.rules[0].when[0].key",
        ),
        ("provider: {name: x}", "spec.provider"),
        ("rules: [{when: [{key: source.ip}]}]", "spec.rules[0].when[0]"),
        ("rules: [{when: [{key: source.up, values: [a]}]}]", "spec.rules[0].when[0].key"),
        ("rules: [{when: [{values: [a]}]}]", "spec.rules[0].when[0].key"),
        ("rules: [{when: [{key: destination.labels, values: [a]}]}]", "spec.rules[0].when[0].key"),
        ("rules: [{when: [{key: request.headers, values: [a]}]}]", "spec.rules[0].when[0].key"),
        ("rules: [{when: [{key: 'request.headers[]', values: [a]}]}]", "spec.rules[0].when[0].key"),
        ("rules: [{when: [{key: 'request.headers[a b]', values: [a]}]}]", "spec.rules[0].when[0].key"),
        ("rules: [{when: [{key: 'request.headers[a][b]', values: [a]}]}]", "spec.rules[0].when[0].key"),
        ("rules: [{when: [{key: 'request.headers[Upgrade]', values: [a]}]}]", "spec.rules[0].when[0].key"),
        ("rules: [{when: [{key: 'request.auth.claims[a', values: [a]}]}]", "spec.rules[0].when[0].key"),
        ("rules: [{when: [{key: 'experimental.envoy.filters.a[b]', values: [a]}]}]", "spec.rules[0].when[0].key"),
        ("rules: [{when: [{key: source.ip, notValues: [a]}]}]", "spec.rules[0].when[0].notValues[0]"),
        ("rules: [{when: [{key: destination.port, values: ['99999']}]}]", "spec.rules[0].when[0].values[0]"),
        ("rules: [{from: [{source: {requestPrincipals: ['']}}]}]", "spec.rules[0].from[0].source.requestPrincipals[0]"),
        ("rules: [{from: [{source: {notIpBlocks: [a]}}]}]", "spec.rules[0].from[0].source.notIpBlocks[0]"),
        (
            "rules: [{from: [{source: {remoteIpBlocks: ['1.2.3.4/33']}}]}]",
            "spec.rules[0].from[0].source.remoteIpBlocks[0]",
        ),
        ("rules: [{from: [{source: {trustDomains: ['']}}]}]", "spec.rules[0].from[0].source.trustDomains[0]"),
        ("rules: [{from: [{source: {}}]}]", "spec.rules[0].from[0].source"),
        ("rules: [{from: [{source: {namespaces: ['']}}]}]", "spec.rules[0].from[0].source.namespaces[0]"),
        (
            "rules: [{from: [{source: {serviceAccounts: [\"a/*\"]}}]}]",
            "spec.rules[0].from[0].source.serviceAccounts[0]",
        ),
        (
            "rules: [{from: [{source: {serviceAccounts: [a], notNamespaces: [b]}}]}]",
            "spec.rules[0].from[0].source.serviceAccounts",
        ),
        ("rules: [{to: [{operation: {hosts: ['']}}]}]", "spec.rules[0].to[0].operation.hosts[0]"),
        ("rules: [{to: [{operation: {ports: [http]}}]}]", "spec.rules[0].to[0].operation.ports[0]"),
        ("rules: [{to: [{operation: {notPorts: [\"+80\"]}}]}]", "spec.rules[0].to[0].operation.notPorts[0]"),
        ("rules: [{to: [{operation: {paths: [\"/{**}/{*}\"]}}]}]", "spec.rules[0].to[0].operation.paths[0]"),
        ("rules: [{to: [{operation: {}}]}]", "spec.rules[0].to[0].operation"),
        ("selector: {matchLabels: {a: b}}", "spec.selector"),
        ("targetRef: {kind: Service, name: a}", "spec.targetRef"),
    ];
    for (yaml, field) in rows {
        let problems = check_authorization_policy(&meta("p"), &istio_spec(yaml));
        let errors: Vec<_> = problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
        assert!(errors.iter().any(|problem| problem.field == field), "{yaml}: {problems:?}");
        let (meta, spec) = (meta("p"), istio_spec(yaml));
        let set = RuleSet { istio: vec![(&meta, &spec)], ..RuleSet::default() };
        assert!(compile(&set).is_err(), "{yaml}: its target is to be closed");
    }
    assert_eq!(check_authorization_policy(&meta("p"), &istio_spec("rules: [{}]")), vec![]);
}

#[test]
fn authorization_policy_warnings() {
    let rows = [
        ("action: DENY", "spec.rules", "never matches"),
        (
            "rules: [{from: [{source: {remoteIpBlocks: ['10.0.0.0/8']}}]}]",
            "spec.rules[0].from[0].source.remoteIpBlocks",
            "proves nothing",
        ),
        ("rules: [{when: [{key: remote.ip, values: ['10.0.0.0/8']}]}]", "spec.rules[0].when[0].key", "proves nothing"),
        (
            "rules: [{from: [{source: {principals: ['spiffe://a/b']}}]}]",
            "spec.rules[0].from[0].source.principals",
            "without spiffe://",
        ),
        (
            "rules: [{from: [{source: {requestPrincipals: ['iss']}}]}]",
            "spec.rules[0].from[0].source.requestPrincipals",
            "without a subject",
        ),
        ("rules: [{to: [{operation: {methods: ['G*T']}}]}]", "spec.rules[0].to[0].operation.methods", "means itself"),
        (
            "rules: [{to: [{operation: {methods: [GET], notMethods: ['*']}}]}]",
            "spec.rules[0].to[0].operation.methods",
            "never match",
        ),
    ];
    for (yaml, field, reason) in rows {
        let problems = check_authorization_policy(&meta("p"), &istio_spec(yaml));
        let told = problems
            .iter()
            .any(|one| (one.severity, &*one.field) == (Severity::Warning, field) && one.reason.contains(reason));
        assert!(told && problems.len() == 1, "{yaml}: {problems:?}");
    }
}

#[test]
fn selector_policies_are_left_to_ztunnel() {
    let spec: AuthorizationPolicySpec =
        serde_saphyr::from_str("selector: {matchLabels: {a: b}}\nrules: [{when: [{key: source.ip, values: [x]}]}]")
            .unwrap();
    let problems = check_authorization_policy(&meta("p"), &spec);
    assert!(
        problems.iter().all(|problem| problem.severity == Severity::Warning) && problems.len() == 1,
        "{problems:?}"
    );
    assert!(problems[0].reason.contains("enforced by ztunnel, not here"));
}

#[test]
fn compile_names_the_document() {
    let (meta, spec) = (meta("p"), agent_spec("allow: [{when: 'foo'}]"));
    let set = RuleSet { declared: Some(Protocol::Mcp), agent: vec![(&meta, &spec)], ..RuleSet::default() };
    let problems = on_compile_thread(|| compile(&set)).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].reason.starts_with("AgentPolicy tools/p: 1:1: unknown name `foo`"), "{problems:?}");
}

#[test]
fn many_sets_compile_on_one_thread_and_panics_go_on() {
    let name = on_compile_thread(|| on_compile_thread(|| std::thread::current().name().map(str::to_owned)));
    assert_eq!(name.as_deref(), Some("compile"));
    assert!(std::panic::catch_unwind(|| on_compile_thread(|| panic!("as it should"))).is_err());
}

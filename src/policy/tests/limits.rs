//! Which calls count against which budgets.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::call::Task;
use crate::policy::fixture::rules;

fn keys(rules: &Rules, world: &World) -> Vec<String> {
    rules.charges(&world.facts()).into_iter().map(|charge| charge.key).collect()
}

fn counted(rules: &Rules, world: &World) -> usize {
    keys(rules, world).len()
}

fn resource_call(method: &str) -> Call {
    let uri = ResourceUri { raw: "file:///a".into(), normal: "file:///a".into() };
    mcp(method, McpObject::Resource(Knowable::Known(uri)))
}

fn task(method: &str) -> Call {
    mcp(method, McpObject::Task(Task { id: Knowable::Known("t".into()), tool: Some("x".into()), created: None }))
}

#[test]
fn what_makes_a_server_do_something_counts_and_nothing_else() {
    let rules = mcp_rules(&["allow: [{}]\nlimits: [{calls: 1, per: 1m}]"]);
    for call in [tool("x", json!({})), prompt("p"), resource_call("resources/read"), other("custom/run")] {
        assert_eq!(counted(&rules, &World::calling(call.clone())), 1, "{call:?}");
    }
    let refs = |method: &str| {
        mcp(method, McpObject::Prompt { name: Knowable::Known("p".into()), arguments: Knowable::Unknown })
    };
    for call in [
        base("initialize"),
        base("notifications/progress"),
        base("GET"),
        tools_list(),
        refs("completion/complete"),
        resource_call("resources/subscribe"),
        task("tasks/get"),
        mcp("logging/setLevel", McpObject::Setting),
        Call::Http,
    ] {
        assert_eq!(counted(&rules, &World::calling(call.clone())), 0, "{call:?}");
    }
}

#[test]
fn what_is_named_counts_but_never_what_a_task_goes_on_with() {
    let named = |to: &str| mcp_rules(&[&format!("allow: [{{}}]\nlimits: [{{to: [{to}], calls: 1, per: 1m}}]")]);
    let rows = [
        ("{tools: [\"x*\"]}", tool("xy", json!({})), 1),
        ("{tools: [\"x*\"]}", tool("y", json!({})), 0),
        ("{tools: [\"*\"]}", prompt("p"), 0),
        ("{tools: [x]}", task("tasks/get"), 0),
        ("{methods: [\"*\"]}", task("tasks/get"), 0),
        ("{methods: [\"*\"]}", base("ping"), 0),
        ("{methods: [\"tools/list\"]}", tools_list(), 1),
        ("{tools: [x]}", tools_list(), 0),
        ("{tools: [\"*\"]}", tools_list(), 0),
        ("{notTools: [x]}", tools_list(), 0),
        ("{tools: [x]}, {methods: [\"prompts/*\"]}", tools_list(), 0),
        ("{tools: [x]}, {methods: [\"tools/*\"]}", tools_list(), 1),
        ("{methods: [\"resources/*\"]}", resource_call("resources/subscribe"), 1),
        ("{http: {paths: [\"/x\"]}}", Call::Http, 1),
    ];
    for (to, call, want) in rows {
        assert_eq!(counted(&named(to), &World::calling(call.clone())), want, "{to}: {call:?}");
    }
}

#[test]
fn plain_ports_count_requests_and_connections() {
    let rules = rules(None, &["limits: [{calls: 1, per: 1m}]"], &[]);
    assert!(!rules.is_open(), "a port with a limit is no open one");
    assert_eq!(verdict(&rules, &World::calling(Call::Http)), "allow", "a limit closes nothing");
    for call in [Call::Http, Call::Tcp] {
        assert_eq!(counted(&rules, &World::calling(call)), 1);
    }
}

#[test]
fn a_limit_is_about_its_callers() {
    let rules = mcp_rules(&["allow: [{}]\nlimits: [{from: [{serviceAccounts: [agents/writer]}], calls: 1, per: 1m}]"]);
    assert_eq!(counted(&rules, &call("x")), 0);
    assert_eq!(counted(&rules, &call("x").from(WRITER)), 1);
    // Who has no account of Istio's shape is nobody whom `notNamespaces` lets off.
    let rules = mcp_rules(&["allow: [{}]\nlimits: [{from: [{notNamespaces: [agents]}], calls: 1, per: 1m}]"]);
    assert_eq!((counted(&rules, &call("x")), counted(&rules, &call("x").from(SPIRE))), (0, 1));
}

#[test]
fn calls_count_together_where_their_keys_are_the_same() {
    let same = |key: &str, a: &World, b: &World| {
        let rules = mcp_rules(&[&format!("allow: [{{}}]\nlimits: [{{calls: 1, per: 1m, key: {key}}}]")]);
        keys(&rules, a) == keys(&rules, b)
    };
    let elsewhere = |mut world: World| {
        world.destination.service = "other".into();
        world
    };
    let alice = |iss: &str| call("x").claiming(json!({"iss": iss, "sub": "alice"}));
    let rows = [
        ("principal", call("x"), call("y"), true),
        ("principal", call("x"), call("x").from(WRITER), false),
        ("principal", call("x"), elsewhere(call("x")), true),
        ("principal+tool", call("x"), call("y"), false),
        ("principal+tool", call("x"), elsewhere(call("x")), false),
        ("tool", call("x"), call("x").from(WRITER), true),
        ("tool", World::calling(prompt("x")), World::calling(prompt("y")), true),
        ("tool", World::calling(prompt("x")), call("x"), false),
        ("service", call("x"), call("y").from(WRITER), true),
        ("service", call("x"), elsewhere(call("x")), false),
        ("namespace", call("x"), call("x").from(WRITER), true),
        ("namespace", call("x"), call("x").from(FOREIGN), false),
        ("namespace", call("x"), call("x").from(SPIRE), false),
        ("subject", alice("a"), alice("a").from(WRITER), true),
        ("subject", alice("a"), alice("b"), false),
        ("subject", alice("a"), call("x"), false),
        ("tool+principal", call("x"), call("x"), true),
    ];
    for (key, a, b, want) in rows {
        assert_eq!(same(key, &a, &b), want, "{key}: {:?} {:?}", a.call, b.call);
    }
}

#[test]
fn every_limit_has_budgets_of_its_own() {
    let policy = "allow: [{}]\nlimits: [{calls: 1, per: 1m}, {calls: 1, per: 1h}]";
    let keys: BTreeSet<_> = keys(&mcp_rules(&[policy, policy]), &call("x")).into_iter().collect();
    assert_eq!(keys.len(), 4);
    assert_eq!(counted(&mcp_rules(&["allow: [{}]", "mode: DryRun\nlimits: [{calls: 1, per: 1m}]"]), &call("x")), 0);
    assert_eq!(counted(&Rules::closed("x"), &call("x")), 0);
}

#[test]
fn a_refusal_is_worded_as_the_policy_says_and_else_disclosed() {
    for (form, want) in [
        ("Auto", DenialForm::Disclosed),
        ("Hidden", DenialForm::Hidden),
        ("Disclosed", DenialForm::Disclosed),
        ("ToolError", DenialForm::ToolError),
    ] {
        let rules = mcp_rules(&[&format!("denial: {form}\nallow: [{{}}]\nlimits: [{{name: l, calls: 1, per: 1m}}]")]);
        let world = call("x");
        let refused = rules.charges(&world.facts())[0].refuse(Reason::LimitReached, Duration::from_secs(3));
        assert_eq!((refused.form, refused.retry), (want, Some(Duration::from_secs(3))));
        assert_eq!(refused.rule.unwrap().to_string(), "AgentPolicy tools/a0 l");
    }
}

#[test]
fn explain_names_the_limits_that_a_call_counts_against() {
    let rules =
        mcp_rules(&["allow: [{}]\nlimits: [{name: l, to: [{tools: [x]}], calls: 20, per: 90s, key: tool+principal}]"]);
    let told = rules.explain(&call("x").facts()).to_string();
    assert!(
        told.contains("matched  limit    AgentPolicy tools/a0 l: 20 calls in 90s for each principal+tool"),
        "{told}"
    );
    let told = rules.explain(&call("y").facts()).to_string();
    assert!(told.contains("no match limit"), "{told}");
}

#[test]
fn a_limit_that_reads_the_token_says_so() {
    let limited = |limit: &str| mcp_rules(&[&format!("allow: [{{}}]\nlimits: [{{{limit}, calls: 1, per: 1m}}]")]);
    assert!(limited("from: [{requestPrincipals: [\"*\"]}]").reads_jwt());
    assert!(!limited("name: l").reads_jwt());
}

#[test]
fn explain_names_what_will_be_asked_of_the_answer() {
    let rules = mcp_rules(&[
        "deny: [{name: leaks, to: [{tools: [x]}], when: 'mcp.result.isError'}]\nallow: [{}]\nresults: {redact: [{name: keys, matching: [k]}]}",
    ]);
    let told = rules.explain(&call("x").facts()).to_string();
    assert!(told.starts_with("ALLOW"), "{told}");
    for line in
        ["unknown  deny     AgentPolicy tools/a0 leaks: asked once", "unknown  redact   AgentPolicy tools/a0 keys"]
    {
        assert!(told.contains(line), "{told}");
    }
    let told = rules.explain(&call("y").facts()).to_string();
    assert!(told.contains("no match deny     AgentPolicy tools/a0 leaks"), "{told}");
}

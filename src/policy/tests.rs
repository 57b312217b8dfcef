mod a2a;
mod check;
mod custom;
mod istio;
mod istio_model;
mod limits;
mod labels;
mod model;
mod pins;
mod property;

use serde_json::json;

use super::fixture::*;
use super::*;
use crate::call::{Call, Knowable, McpObject, ResourceUri};
use crate::document::agent_policy::{DenialForm, Protocol};

const RESEARCHER: &str = "spiffe://cluster.local/ns/agents/sa/researcher";
const WRITER: &str = "spiffe://cluster.local/ns/agents/sa/writer";
const FOREIGN: &str = "spiffe://other.example/ns/agents/sa/researcher";
const SPIRE: &str = "spiffe://cluster.local/spire/agent";

/// The policy of the documentation.
const REPO_TOOLS: &str = r#"
protocol: MCP
deny:
- name: no-delete
  to: [{tools: ["delete_*"]}]
require:
- name: own-org-only
  to: [{tools: ["create_*", "update_*"]}]
  that: has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == "acme"
allow:
- name: researchers-read
  from: [{serviceAccounts: ["agents/researcher"]}]
  to: [{tools: ["get_*", "search_*"]}]
- name: writers
  from: [{serviceAccounts: ["agents/writer"]}]
- name: alice
  from: [{serviceAccounts: ["agents/assistant"]}]
  to: [{tools: ["*"]}]
  when: jwt.sub == "alice"
"#;

struct Row<'a> {
    what: &'a str,
    world: World,
    want: &'a str,
}

fn row<'a>(what: &'a str, world: World, want: &'a str) -> Row<'a> {
    Row { what, world, want }
}

fn check(rules: &Rules, rows: Vec<Row<'_>>) {
    for Row { what, world, want } in rows {
        assert_eq!(verdict(rules, &world), want, "{what}\n{}", rules.explain(&world.facts()));
        let explained = rules.explain(&world.facts());
        assert_eq!(explained.allowed, want == "allow", "explain says the same: {what}");
    }
}

fn denial(rules: &Rules, world: &World) -> Denial {
    match rules.decide(&world.facts()) {
        Decision::Deny(denial) => denial,
        Decision::Allow(permit) => panic!("allowed by {:?}", permit.rule()),
    }
}

fn permit(rules: &Rules, world: &World) -> Permit {
    match rules.decide(&world.facts()) {
        Decision::Allow(permit) => permit,
        Decision::Deny(denial) => panic!("{denial:?}"),
    }
}

fn call(name: &str) -> World {
    World::calling(tool(name, json!({})))
}

#[test]
fn the_documented_policy_decides_as_documented() {
    let rules = mcp_rules(&[REPO_TOOLS]);
    let assistant = "spiffe://cluster.local/ns/agents/sa/assistant";
    let create = |owner: &str| World::calling(tool("create_issue", json!({ "owner": owner })));
    check(
        &rules,
        vec![
            row("reads", call("get_issue"), "allow"),
            row("searches", call("search_code"), "allow"),
            row("does not write", call("create_issue"), "requirement_not_met"),
            row("does not write its own either", create("acme"), "not_allowed"),
            row("deny wins over allow", call("delete_repo").from(WRITER), "denied_by_rule"),
            row("writes its own", create("acme").from(WRITER), "allow"),
            row("not another's", create("evil").from(WRITER), "requirement_not_met"),
            row("a requirement whose argument is missing", call("create_issue").from(WRITER), "requirement_not_met"),
            row("a requirement is not about others", call("get_issue").from(WRITER), "allow"),
            row("alice", call("x").from(assistant).claiming(json!({"sub": "alice"})), "allow"),
            row("bob", call("x").from(assistant).claiming(json!({"sub": "bob"})), "not_allowed"),
            row("no token", call("x").from(assistant), "not_allowed"),
            row("another trust domain has the same account", call("get_issue").from(FOREIGN), "allow"),
            row("another identity", call("get_issue").from("spiffe://cluster.local/ns/x/sa/y"), "not_allowed"),
            row("an identity without account", call("get_issue").from(SPIRE), "not_allowed"),
        ],
    );
    assert_eq!(permit(&rules, &call("get_issue")).rule().unwrap().rule.as_ref(), "researchers-read");
    let refused = denial(&rules, &call("delete_repo"));
    assert_eq!(refused.rule.unwrap().to_string(), "AgentPolicy tools/a0 no-delete");
}

#[test]
fn from_fields() {
    let base = World::new;
    let rows: Vec<(&str, World, bool)> = vec![
        ("principals: [\"cluster.local/ns/agents/sa/researcher\"]", base(), true),
        ("principals: [\"cluster.local/ns/agents/*\"]", base(), true),
        ("principals: [\"*/sa/researcher\"]", base(), true),
        ("principals: [\"*/sa/search\"]", base(), false),
        ("principals: [\"*\"]", base().from(SPIRE), true),
        ("principals: [\"cluster.local/spire/agent\"]", base().from(SPIRE), true),
        ("notPrincipals: [\"cluster.local/spire/agent\"]", base().from(SPIRE), false),
        ("notPrincipals: [\"cluster.local/spire/agent\"]", base(), true),
        ("serviceAccounts: [\"researcher\"]", base(), false),
        ("serviceAccounts: [\"researcher\"]", base().from("spiffe://x/ns/tools/sa/researcher"), true),
        ("serviceAccounts: [\"agents/*\"]", base(), true),
        ("notServiceAccounts: [\"agents/writer\"]", base(), true),
        ("notServiceAccounts: [\"agents/writer\"]", base().from(WRITER), false),
        ("notServiceAccounts: [\"agents/writer\"]", base().from(SPIRE), false),
        ("namespaces: [\"agents\"]", base(), true),
        ("namespaces: [\"age*\"]", base(), true),
        ("namespaces: [\"agent\"]", base(), false),
        ("namespaces: [\"*\"]", base().from(SPIRE), false),
        ("notNamespaces: [\"x\"]", base().from(SPIRE), false),
        ("notNamespaces: [\"x\"]", base(), true),
        ("trustDomains: [\"cluster.local\"]", base().from(FOREIGN), false),
        ("trustDomains: [\"*.example\"]", base().from(FOREIGN), true),
        ("notTrustDomains: [\"cluster.local\"]", base(), false),
        (
            "requestPrincipals: [\"https://iss/alice\"]",
            base().claiming(json!({"iss": "https://iss", "sub": "alice"})),
            true,
        ),
        (
            "requestPrincipals: [\"https://iss/alice\"]",
            base().claiming(json!({"iss": "https://iss", "sub": "bob"})),
            false,
        ),
        ("requestPrincipals: [\"*\"]", base(), false),
        ("requestPrincipals: [\"*\"]", base().claiming(json!({"iss": "i", "sub": "s"})), true),
        ("requestPrincipals: [\"*\"]", base().claiming(json!({"iss": "i"})), false),
        ("notRequestPrincipals: [\"*/mallory\"]", base(), false),
        ("notRequestPrincipals: [\"*/mallory\"]", base().claiming(json!({"iss": "i", "sub": "s"})), true),
        ("ipBlocks: [\"10.1.0.0/16\"]", base(), true),
        ("ipBlocks: [\"10.1.2.3\"]", base(), true),
        ("ipBlocks: [\"10.2.0.0/16\", \"fd00::/8\"]", base(), false),
        ("notIpBlocks: [\"10.1.2.0/24\"]", base(), false),
        ("namespaces: [\"agents\"], trustDomains: [\"other.example\"]", base(), false),
        ("namespaces: [\"agents\"], trustDomains: [\"other.example\"]", base().from(FOREIGN), true),
    ];
    for (from, world, want) in rows {
        let rules = mcp_rules(&[&format!("protocol: MCP\nallow: [{{from: [{{{from}}}]}}]")]);
        let expected = if want { "allow" } else { "not_allowed" };
        assert_eq!(verdict(&rules, &world), expected, "{from} for {}", world.peer.id());
    }
}

#[test]
fn what_cannot_be_known_matches_in_deny_and_require() {
    for from in [
        "namespaces: [\"bad\"]",
        "notNamespaces: [\"good\"]",
        "serviceAccounts: [\"bad/x\"]",
        "notServiceAccounts: [\"good/x\"]",
        "requestPrincipals: [\"i/bad\"]",
        "notRequestPrincipals: [\"i/good\"]",
    ] {
        let deny = mcp_rules(&[&format!("protocol: MCP\ndeny: [{{from: [{{{from}}}]}}]\nallow: [{{}}]")]);
        assert_eq!(verdict(&deny, &World::new().from(SPIRE)), "denied_by_rule", "{from}");
        let require =
            mcp_rules(&[&format!("protocol: MCP\nrequire: [{{from: [{{{from}}}], that: 'false'}}]\nallow: [{{}}]")]);
        assert_eq!(verdict(&require, &World::new().from(SPIRE)), "requirement_not_met", "{from}");
    }
    let v4_mapped = World { peer: mapped_peer(), ..World::new() };
    let deny = mcp_rules(&["protocol: MCP\ndeny: [{from: [{ipBlocks: [\"10.0.0.0/8\"]}]}]\nallow: [{}]"]);
    assert_eq!(verdict(&deny, &v4_mapped), "denied_by_rule");
}

fn mapped_peer() -> crate::id::Peer {
    let id = crate::id::WorkloadId::parse(RESEARCHER).unwrap();
    crate::id::Peer::verified(id, "[::ffff:10.1.2.3]:1".parse().unwrap(), std::time::SystemTime::UNIX_EPOCH)
}

#[test]
fn to_is_about_its_own_kind() {
    let world = World::calling;
    let rows: Vec<(&str, World, bool)> = vec![
        ("tools: [\"get_*\"]", call("get_issue"), true),
        ("tools: [\"get_*\"]", call("Get_issue"), false),
        ("notTools: [\"delete_*\"]", call("get_issue"), true),
        ("notTools: [\"delete_*\"]", call("delete_x"), false),
        ("notTools: [\"delete_*\"]", world(prompt("p")), false),
        ("tools: [\"*\"]", world(prompt("p")), false),
        ("tools: [\"a*\"], notTools: [\"ab*\"]", call("ac"), true),
        ("tools: [\"a*\"], notTools: [\"ab*\"]", call("abc"), false),
        ("prompts: [\"p\"]", world(prompt("p")), true),
        ("prompts: [\"p\"]", call("p"), false),
        ("resources: [\"file:///a/*\"]", world(resource("file:///a/b", "file:///a/b")), true),
        ("resources: [\"file:///a/*\"]", world(resource("file:///c", "file:///c")), false),
        ("methods: [\"tools/call\"]", call("x"), true),
        ("methods: [\"tools/*\"]", world(tools_list()), true),
        ("methods: [\"x/y\"]", world(other("x/y")), true),
        ("methods: [\"x/y\"]", world(Call::Http), false),
        ("http: {paths: [\"/x\"]}", world(Call::Http), true),
        ("http: {paths: [\"/x\"]}", call("x"), false),
        ("http: {paths: [\"/y\"]}", world(Call::Http), false),
        ("http: {methods: [\"GET\"], hosts: [\"REPO-MCP.tools\"]}", world(Call::Http), true),
        ("http: {hosts: [\"repo-mcp.tools:8080\"]}", world(Call::Http), true),
        ("http: {hosts: [\"repo-mcp.tools:80\"]}", world(Call::Http), false),
        ("http: {notMethods: [\"GET\"]}", world(Call::Http), false),
        ("http: {notPaths: [\"/private/*\"]}", world(Call::Http), true),
    ];
    for (to, world, want) in rows {
        let rules = mcp_rules(&[&format!("protocol: MCP\nallow: [{{to: [{{{to}}}]}}]")]);
        assert_eq!(verdict(&rules, &world) == "allow", want, "{to} for {:?}", world.call);
    }
}

#[test]
fn to_left_out() {
    let allow = mcp_rules(&["protocol: MCP\nallow: [{}]"]);
    let deny = mcp_rules(&[
        "protocol: MCP\nallow: [{}, {to: [{methods: [\"*\"]}]}, {to: [{http: {paths: [\"*\"]}}]}]\ndeny: [{}]",
    ]);
    let require = mcp_rules(&["protocol: MCP\nallow: [{}, {to: [{methods: [\"*\"]}]}]\nrequire: [{that: 'false'}]"]);
    let rows = [
        (call("x"), "allow"),
        (World::calling(prompt("p")), "allow"),
        (World::calling(resource("a:b", "a:b")), "allow"),
        (World::calling(base("initialize")), "allow"),
        (World::calling(base("notifications/initialized")), "allow"),
        (World::calling(base("DELETE")), "allow"),
        (World::calling(tools_list()), "allow"),
        (World::calling(other("x/y")), "unknown_method"),
        (World::calling(Call::Http), "not_allowed"),
        (World::calling(Call::Tcp), "not_allowed"),
    ];
    for (world, want) in rows {
        assert_eq!(verdict(&allow, &world), want, "{:?}", world.call);
        assert_eq!(verdict(&deny, &world), "denied_by_rule", "{:?}", world.call);
        assert_eq!(verdict(&require, &world), "requirement_not_met", "{:?}", world.call);
    }
}

#[test]
fn errors_deny_and_do_not_allow() {
    for cel in ["jwt.sub == 'x'", "mcp.tool.arguments.a == 1", "mcp.tool.arguments.s < 1", "mcp.tool.arguments.s"] {
        let world = World::calling(tool("t", json!({"s": "text"})));
        let deny = mcp_rules(&[&format!("protocol: MCP\ndeny: [{{when: \"{cel}\"}}]\nallow: [{{}}]")]);
        assert_eq!(verdict(&deny, &world), "undecidable", "{cel}");
        let require = mcp_rules(&[&format!("protocol: MCP\nrequire: [{{that: \"{cel}\"}}]\nallow: [{{}}]")]);
        assert_eq!(verdict(&require, &world), "requirement_not_met", "{cel}");
        let allow = mcp_rules(&[&format!("protocol: MCP\nallow: [{{when: \"{cel}\"}}]")]);
        assert_eq!(verdict(&allow, &world), "not_allowed", "{cel}");
    }
}

#[test]
fn base_methods_follow_what_could_be_called() {
    let rows: Vec<(&str, &str, &str)> = vec![
        ("allow: [{to: [{tools: [\"x\"]}]}]", "initialize", "allow"),
        ("allow: [{to: [{tools: [\"x\"]}], when: \"mcp.tool.arguments.a == 1\"}]", "initialize", "allow"),
        ("allow: [{from: [{namespaces: [\"other\"]}]}]", "initialize", "not_allowed"),
        ("allow: [{when: \"jwt.sub == 'alice'\"}]", "initialize", "not_allowed"),
        ("allow: [{to: [{tools: [x]}], when: \"jwt.sub == 'alice'\"}]", "initialize", "not_allowed"),
        (
            "allow: [{to: [{tools: [x]}], when: \"mcp.tool.arguments.a == 1 && jwt.sub == 'alice'\"}]",
            "initialize",
            "not_allowed",
        ),
        ("deny: [{when: \"mcp.tool.arguments.a || jwt.sub == 'alice'\"}]\nallow: [{}]", "initialize", "undecidable"),
        (
            "require: [{that: \"mcp.tool.arguments.a && jwt.sub == 'alice'\"}]\nallow: [{}]",
            "initialize",
            "requirement_not_met",
        ),
        ("allow: [{to: [{http: {paths: [\"*\"]}}]}]", "initialize", "not_allowed"),
        ("allow: [{to: [{methods: [\"x/y\"]}]}]", "ping", "allow"),
        ("deny: [{to: [{methods: [\"initialize\"]}]}]\nallow: [{}]", "initialize", "denied_by_rule"),
        ("deny: [{to: [{methods: [\"initialize\"]}]}]\nallow: [{}]", "ping", "allow"),
        ("deny: [{to: [{methods: [\"*\"]}]}]\nallow: [{}]", "ping", "denied_by_rule"),
        ("deny: [{to: [{tools: [\"*\"]}]}]\nallow: [{}]", "initialize", "allow"),
        ("deny: [{when: \"mcp.tool.name == 'x'\"}]\nallow: [{}]", "initialize", "allow"),
        ("deny: [{from: [{namespaces: [\"agents\"]}]}]\nallow: [{}]", "initialize", "denied_by_rule"),
        ("require: [{that: \"jwt.sub == 'alice'\"}]\nallow: [{}]", "initialize", "requirement_not_met"),
        ("require: [{that: \"mcp.tool.arguments.a == 1\"}]\nallow: [{}]", "initialize", "allow"),
        ("require: [{to: [{tools: [\"*\"]}], that: \"jwt.sub == 'alice'\"}]\nallow: [{}]", "GET", "allow"),
        ("deny: [{when: \"request.path == '/mcp'\"}]\nallow: [{}]", "initialize", "denied_by_rule"),
    ];
    for (policy, method, want) in rows {
        let rules = mcp_rules(&[&format!("protocol: MCP\n{policy}")]);
        assert_eq!(verdict(&rules, &World::calling(base(method))), want, "{policy} {method}");
    }
}

#[test]
fn lists_go_through_unless_surely_refused_and_show_what_may_be_called() {
    // policy, the list itself, the entry `get_issue`
    let rows: Vec<(&str, &str, bool)> = vec![
        ("allow: [{to: [{tools: [\"get_*\"]}]}]", "allow", true),
        ("allow: [{to: [{tools: [\"x\"]}]}]", "allow", false),
        ("allow: [{to: [{methods: [\"tools/call\"]}]}]", "allow", true),
        ("allow: [{to: [{methods: [\"tools/list\"]}]}]", "allow", false),
        ("allow: [{to: [{prompts: [\"*\"]}]}]", "not_allowed", false),
        ("allow: [{when: \"mcp.methodName == 'tools/call'\"}]", "allow", true),
        ("allow: [{when: \"mcp.tool.arguments.owner == 'acme'\"}]", "allow", true),
        ("allow: [{when: \"jwt.sub == 'x'\"}]", "not_allowed", false),
        ("deny: [{to: [{tools: [\"get_*\"]}]}]\nallow: [{}]", "allow", false),
        ("deny: [{to: [{tools: [\"*\"]}]}]\nallow: [{}]", "denied_by_rule", false),
        ("deny: [{to: [{methods: [\"tools/list\"]}]}]\nallow: [{}]", "denied_by_rule", true),
        ("deny: [{to: [{tools: [\"*\"]}], when: \"mcp.tool.arguments.force\"}]\nallow: [{}]", "allow", true),
        ("deny: [{to: [{notTools: [\"get_*\"]}]}]\nallow: [{}]", "allow", true),
        ("require: [{to: [{tools: [\"get_*\"]}], that: \"mcp.tool.arguments.a == 1\"}]\nallow: [{}]", "allow", true),
        ("require: [{to: [{tools: [\"get_*\"]}], that: \"false\"}]\nallow: [{}]", "allow", false),
        (
            "require: [{to: [{tools: [\"get_*\"]}], that: \"false && mcp.tool.arguments.a\"}]\nallow: [{}]",
            "allow",
            false,
        ),
    ];
    for (policy, list, shown) in rows {
        let rules = mcp_rules(&[&format!("protocol: MCP\n{policy}")]);
        assert_eq!(verdict(&rules, &World::calling(tools_list())), list, "{policy}");
        assert_eq!(rules.visible(&World::calling(tool_entry("get_issue")).facts()), shown, "{policy}");
        // Arguments that happen to be there do not count.
        assert_eq!(rules.visible(&World::calling(tool("get_issue", json!({"a": 2}))).facts()), shown, "{policy}");
    }
}

#[test]
fn a_completion_is_refused_with_the_prompt_or_resource_that_it_tells_of() {
    let prompt = mcp(
        "completion/complete",
        McpObject::Prompt { name: Knowable::Known("plan".into()), arguments: Knowable::Unknown },
    );
    let uri = ResourceUri { raw: "file:///a/{b}".into(), normal: "file:///a/{b}".into() };
    let resource = mcp("completion/complete", McpObject::Resource(Knowable::Known(uri)));
    // policy, of the prompt, of the resource
    let rows = [
        ("allow: [{}]", "allow", "allow"),
        ("deny: [{to: [{methods: [\"prompts/get\"]}]}]", "denied_by_rule", "allow"),
        ("deny: [{when: \"mcp.methodName == 'prompts/get' && mcp.prompt.name == 'plan'\"}]", "denied_by_rule", "allow"),
        ("deny: [{when: \"mcp.methodName == 'prompts/get' && mcp.prompt.name == 'other'\"}]", "allow", "allow"),
        ("deny: [{when: \"mcp.methodName == 'resources/read'\"}]", "allow", "denied_by_rule"),
        ("require: [{to: [{methods: [\"prompts/get\"]}], that: \"false\"}]", "requirement_not_met", "allow"),
        ("deny: [{to: [{methods: [\"completion/complete\"]}]}]", "denied_by_rule", "denied_by_rule"),
        // What depends on arguments refuses once they are there.
        ("deny: [{to: [{methods: [\"prompts/get\"]}], when: \"mcp.prompt.arguments.a == '1'\"}]", "allow", "allow"),
    ];
    for (policy, of_prompt, of_resource) in rows {
        let allow = if policy.starts_with("allow") { "" } else { "allow: [{}]\n" };
        let rules = mcp_rules(&[&format!("protocol: MCP\n{allow}{policy}")]);
        let completions = [("prompt", prompt.clone(), of_prompt), ("resource", resource.clone(), of_resource)];
        check(&rules, completions.map(|(what, call, want)| row(what, World::calling(call), want)).into());
    }
}

#[test]
fn a_call_whose_arguments_are_not_known_is_not_let_through() {
    let half = |method: &str| {
        let object = McpObject::Tool { name: Knowable::Known("t".into()), arguments: Knowable::Unknown };
        World::calling(mcp(method, object))
    };
    let rules = mcp_rules(&["protocol: MCP\nallow: [{when: \"mcp.tool.arguments.a == 1\"}]"]);
    assert_eq!(verdict(&rules, &half("tools/call")), "not_allowed");
    let rules = mcp_rules(&["protocol: MCP\nallow: [{}]\ndeny: [{when: \"mcp.tool.arguments.a == 1\"}]"]);
    assert_eq!(verdict(&rules, &half("tools/call")), "undecidable");
    let unnamed = McpObject::Tool { name: Knowable::Unknown, arguments: Knowable::Unknown };
    let rules = mcp_rules(&["protocol: MCP\nallow: [{to: [{tools: [\"a\"]}]}]"]);
    assert_eq!(verdict(&rules, &World::calling(mcp("tools/call", unnamed))), "not_allowed");
}

#[test]
fn a_uri_that_normalising_changes_must_be_named() {
    let odd = || World::calling(resource("file:///public/../etc", "file:///etc"));
    let rows = [
        ("allow: [{to: [{resources: [\"file:///public/*\"]}]}]", "not_allowed"),
        ("allow: [{to: [{resources: [\"file:///etc\"]}]}]", "not_allowed"),
        ("allow: [{to: [{resources: [\"*\"]}]}]", "not_allowed"),
        ("allow: [{}]", "not_allowed"),
        ("allow: [{to: [{methods: [\"resources/read\"]}]}]", "not_allowed"),
        ("allow: [{to: [{resources: [\"file:///public/../etc\"]}]}]", "allow"),
        (
            "deny: [{to: [{resources: [\"file:///etc\"]}]}]\nallow: [{to: [{resources: [\"file:///public/../etc\"]}]}]",
            "denied_by_rule",
        ),
        (
            "deny: [{to: [{resources: [\"file:///public/*\"]}]}]\nallow: [{to: [{resources: [\"file:///public/../etc\"]}]}]",
            "denied_by_rule",
        ),
        (
            "deny: [{to: [{notResources: [\"file:///public/*\"]}]}]\nallow: [{to: [{resources: [\"file:///public/../etc\"]}]}]",
            "denied_by_rule",
        ),
    ];
    for (policy, want) in rows {
        let rules = mcp_rules(&[&format!("protocol: MCP\n{policy}")]);
        assert_eq!(verdict(&rules, &odd()), want, "{policy}");
    }
    let entry = |raw: &str, normal: &str| {
        let uri = ResourceUri { raw: raw.into(), normal: normal.into() };
        World::calling(mcp("resources/list", McpObject::Resource(Knowable::Known(uri))))
    };
    let rules = mcp_rules(&["protocol: MCP\nallow: [{to: [{resources: [\"file:///public/*\"]}]}]"]);
    assert!(rules.visible(&entry("file:///public/a", "file:///public/a").facts()));
    assert!(!rules.visible(&entry("file:///public/../a", "file:///a").facts()));
    let list = World::calling(mcp("resources/list", McpObject::Resource(Knowable::Unknown)));
    assert_eq!(verdict(&rules, &list), "allow");
}

#[test]
fn plain_ports_are_open_until_an_allow_selects_them() {
    let http = || World::calling(Call::Http);
    let tcp = || World::calling(Call::Tcp);
    // agent policies, istio policies, HTTP, TCP
    let rows: Vec<(&[&str], &[&str], &str, &str)> = vec![
        (&[], &[], "allow", "allow"),
        (&["allow: [{to: [{tools: [\"x\"]}]}]"], &[], "allow", "allow"),
        (&["allow: [{from: [{namespaces: [\"agents\"]}]}]"], &[], "allow", "allow"),
        (&["allow: [{from: [{namespaces: [\"other\"]}]}]"], &[], "not_allowed", "not_allowed"),
        (&["allow: [{to: [{http: {paths: [\"/x\"]}}]}]"], &[], "allow", "not_allowed"),
        (&["allow: [{to: [{http: {paths: [\"/y\"]}}]}]"], &[], "not_allowed", "not_allowed"),
        (&["deny: [{to: [{http: {paths: [\"/x\"]}}]}]"], &[], "denied_by_rule", "denied_by_rule"),
        (&["deny: [{to: [{http: {paths: [\"/y\"]}}]}]"], &[], "allow", "denied_by_rule"),
        (&["deny: [{to: [{tools: [\"*\"]}]}]"], &[], "allow", "allow"),
        (&["require: [{that: \"request.method == 'GET'\"}]"], &[], "allow", "requirement_not_met"),
        (&["mode: DryRun\nallow: [{from: [{namespaces: [\"other\"]}]}]"], &[], "allow", "allow"),
        (&["mode: DryRun\nprotocol: MCP\nallow: [{}]"], &[], "allow", "allow"),
        (&[], &["rules: []"], "not_allowed", "not_allowed"),
        (&[], &["rules: [{}]"], "allow", "allow"),
        (&[], &["action: DENY"], "allow", "allow"),
        (&[], &["action: DENY\nrules: [{}]"], "denied_by_rule", "denied_by_rule"),
        (&[], &["rules: [{to: [{operation: {paths: [\"/x\"]}}]}]"], "allow", "not_allowed"),
        (&[], &["action: DENY\nrules: [{to: [{operation: {paths: [\"/y\"]}}]}]"], "allow", "denied_by_rule"),
        (&[], &["action: DENY\nrules: [{to: [{operation: {paths: [\"/y\"], ports: [\"80\"]}}]}]"], "allow", "allow"),
        (&["allow: [{}]"], &["rules: [{from: [{source: {namespaces: [\"x\"]}}]}]"], "not_allowed", "not_allowed"),
        (&["allow: [{from: [{namespaces: [\"x\"]}]}]"], &["rules: [{}]"], "not_allowed", "not_allowed"),
    ];
    for (agent, istio, on_http, on_tcp) in rows {
        let rules = rules(None, agent, istio);
        assert_eq!(verdict(&rules, &http()), on_http, "{agent:?} {istio:?} HTTP");
        assert_eq!(verdict(&rules, &tcp()), on_tcp, "{agent:?} {istio:?} TCP");
        // What a DryRun policy would decode is decided as the request that it is.
        let decoded = World { request: Some(head("GET", "/x")), ..call("x") };
        assert_eq!(verdict(&rules, &decoded), on_http, "{agent:?} {istio:?} decoded");
    }
}

#[test]
fn open_means_no_rule_at_all() {
    assert!(rules(None, &[], &[]).is_open());
    assert!(rules(None, &["mode: DryRun\nallow: [{}]"], &[]).is_open());
    assert!(!rules(None, &["allow: [{to: [{tools: [x]}]}]"], &[]).is_open());
    assert!(!rules(None, &[], &["rules: []"]).is_open());
    assert!(!rules(None, &[], &["action: DENY\nrules: [{}]"]).is_open());
    assert!(!mcp_rules(&[]).is_open());
    assert!(!Rules::closed("x").is_open());
}

#[test]
fn istio_sources_and_operations() {
    let rows: Vec<(&str, World, bool)> = vec![
        ("from: [{source: {principals: [\"cluster.local/ns/agents/sa/researcher\"]}}]", World::new(), true),
        ("from: [{source: {principals: [\"cluster.local/ns/agents/*\"]}}]", World::new(), true),
        (
            "from: [{source: {principals: [\"cluster.local/ns/agents/*\"], notPrincipals: [\"*/researcher\"]}}]",
            World::new(),
            false,
        ),
        ("from: [{source: {notPrincipals: [\"*\"]}}]", World::new(), false),
        ("from: [{source: {namespaces: [agents]}}]", World::new(), true),
        ("from: [{source: {namespaces: [agent]}}]", World::new(), false),
        ("from: [{source: {notNamespaces: [agents]}}]", World::new(), false),
        ("from: [{source: {notNamespaces: [agents]}}]", World::new().from(SPIRE), true),
        ("from: [{source: {namespaces: [\"*\"]}}]", World::new().from(SPIRE), false),
        ("from: [{source: {namespaces: [x]}}]", World::new().from("spiffe://td/a/ns/x/y"), true),
        ("from: [{source: {serviceAccounts: [\"agents/researcher\"]}}]", World::new(), true),
        ("from: [{source: {serviceAccounts: [researcher]}}]", World::new(), false),
        ("from: [{source: {serviceAccounts: [\"agents/researche.\"]}}]", World::new(), false),
        ("from: [{source: {notServiceAccounts: [\"agents/researcher\"]}}]", World::new(), false),
        ("from: [{source: {namespaces: [x]}}, {source: {namespaces: [agents]}}]", World::new(), true),
        ("to: [{operation: {ports: [\"8080\"]}}]", World::new(), true),
        ("to: [{operation: {ports: [\"80\"]}}]", World::new(), false),
        ("to: [{operation: {notPorts: [\"8080\"]}}]", World::new(), false),
        ("to: [{operation: {methods: [POST], paths: [\"/mcp\"]}}]", World::new(), true),
        ("to: [{operation: {methods: [post]}}]", World::new(), false),
        ("to: [{operation: {notMethods: [GET], notPaths: [\"/admin*\"]}}]", World::new(), true),
        ("to: [{operation: {paths: [\"*cp\"]}}]", World::new(), true),
        ("from: [{source: {namespaces: [agents]}}], to: [{operation: {methods: [GET]}}]", World::new(), false),
    ];
    for (rule, world, want) in rows {
        let text = format!("rules: [{{{rule}}}]");
        let allow = rules(None, &[], &[&text]);
        assert_eq!(verdict(&allow, &world) == "allow", want, "ALLOW {rule}");
        let deny = rules(None, &[], &[&format!("action: DENY\n{text}")]);
        assert_eq!(verdict(&deny, &world) != "allow", want, "DENY {rule}");
    }
}

#[test]
fn istio_narrows_a_declared_port_and_never_opens_it() {
    let mcp = Some(Protocol::Mcp);
    let only_istio = rules(mcp, &[], &["rules: [{}]"]);
    let refused = denial(&only_istio, &call("get_issue"));
    assert_eq!(refused.reason, Reason::NoAgentPolicy);
    let hint = refused.hint.unwrap();
    for part in ["tools: [\"get_issue\"]", "serviceAccounts: [\"agents/researcher\"]", "name: \"repo-mcp\"", "MCP"] {
        assert!(hint.contains(part), "{hint}");
    }
    // The hint is a policy, and it would do.
    let spec =
        hint.split_once("spec:").unwrap().1.lines().filter(|l| !l.contains("targetRefs") && !l.contains("- {kind"));
    let spec: String = spec.map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect();
    assert_eq!(verdict(&mcp_rules(&[&spec]), &call("get_issue")), "allow");
    let dry = rules(mcp, &["mode: DryRun\nallow: [{}]"], &[]);
    assert_eq!(verdict(&dry, &call("x")), "no_agent_policy");
    let both = rules(mcp, &["allow: [{}]"], &["rules: [{from: [{source: {namespaces: [agents]}}]}]"]);
    assert_eq!(verdict(&both, &call("x")), "allow");
    assert_eq!(verdict(&both, &call("x").from("spiffe://cluster.local/ns/o/sa/p")), "not_allowed");
    let post_only = rules(mcp, &["allow: [{}]"], &["rules: [{to: [{operation: {methods: [POST]}}]}]"]);
    assert_eq!(verdict(&post_only, &World::calling(base("initialize"))), "allow");
    assert_eq!(verdict(&post_only, &World::calling(base("DELETE"))), "not_allowed");
    assert!(post_only.may_ever_admit(&call("x").facts()));
}

#[test]
fn denials_are_worded_as_the_refusing_policy_says() {
    let policy = |denial: &str| {
        format!(
            "protocol: MCP\n{denial}\ndeny: [{{to: [{{tools: [\"del_*\"]}}]}}]\nrequire: [{{to: [{{tools: [\"new_*\"]}}], that: \"mcp.tool.arguments.a == 1\"}}]\nallow: [{{to: [{{tools: [\"del_*\", \"new_*\"]}}]}}]"
        )
    };
    let auto = mcp_rules(&[&policy("")]);
    assert_eq!(denial(&auto, &call("del_x")).form, DenialForm::Hidden, "never shown in lists");
    assert_eq!(denial(&auto, &call("new_x")).form, DenialForm::Disclosed, "shown, and refused by argument");
    assert_eq!(denial(&auto, &call("unheard_of")).form, DenialForm::Hidden);
    assert_eq!(denial(&auto, &World::calling(other("x/y"))).form, DenialForm::Disclosed);
    assert_eq!(denial(&auto, &World::calling(Call::Http)).form, DenialForm::Disclosed);
    let tool_error = mcp_rules(&[&policy("denial: ToolError")]);
    assert_eq!(denial(&tool_error, &call("del_x")).form, DenialForm::ToolError);
    assert_eq!(denial(&tool_error, &call("unheard_of")).form, DenialForm::ToolError, "all policies agree");
    let mixed = mcp_rules(&[&policy("denial: Disclosed"), "denial: Hidden\nallow: [{to: [{tools: [y]}]}]"]);
    assert_eq!(denial(&mixed, &call("del_x")).form, DenialForm::Disclosed, "its own policy says so");
    assert_eq!(denial(&mixed, &call("unheard_of")).form, DenialForm::Hidden, "Auto, as they do not agree");
    assert_eq!(denial(&Rules::closed("why"), &call("x")).form, DenialForm::Disclosed);
}

#[test]
fn a_protocol_that_only_dry_run_declares_is_decided_on_beside() {
    let rules = rules(None, &["mode: DryRun\nprotocol: MCP\nallow: [{name: a, to: [{tools: [a]}]}]"], &[]);
    assert_eq!(rules.decoded_beside(), Some(Protocol::Mcp));
    let refused = |world: &World| rules.shadow(&world.facts()).unwrap().refused;
    assert_eq!(refused(&call("a")), None);
    assert_eq!(refused(&call("b")), Some(Reason::NotAllowed));
    assert_eq!(
        refused(&World { call: Call::Http, request: Some(head("GET", "/x")), ..call("a") }),
        Some(Reason::NotAllowed),
        "the port would be closed to plain HTTP"
    );
    assert_eq!(
        permit(&rules, &call("b")).shadow().unwrap().refused,
        Some(Reason::NotAllowed),
        "and nothing is held back"
    );
    assert_eq!(mcp_rules(&["mode: DryRun\nprotocol: MCP\nallow: [{}]"]).decoded_beside(), None);
}

#[test]
fn dry_run_takes_no_part_and_says_what_it_would_do() {
    let enforced = "protocol: MCP\nallow: [{name: all}]";
    let rules = mcp_rules(&[enforced, "mode: DryRun\ndeny: [{name: stop, to: [{tools: [x]}]}]"]);
    let allowed = permit(&rules, &call("x"));
    let shadow = allowed.shadow().unwrap();
    assert_eq!((shadow.refused.clone(), &*shadow.rule.as_ref().unwrap().rule), (Some(Reason::DeniedByRule), "stop"));
    assert_eq!(permit(&rules, &call("y")).shadow().unwrap().refused, None);
    let opening =
        mcp_rules(&["protocol: MCP\nallow: [{to: [{tools: [a]}]}]", "mode: DryRun\nallow: [{to: [{tools: [b]}]}]"]);
    assert_eq!(denial(&opening, &call("b")).shadow.unwrap().refused, None);
    assert!(!opening.visible(&World::calling(tool_entry("b")).facts()));
    assert!(permit(&mcp_rules(&[enforced]), &call("x")).shadow().is_none());
}

#[test]
fn may_ever_admit_is_false_only_when_nothing_can_help() {
    let rows: Vec<(&str, bool)> = vec![
        ("allow: [{}]", true),
        ("allow: [{from: [{namespaces: [other]}]}]", false),
        ("allow: [{from: [{requestPrincipals: [\"i/s\"]}]}]", true),
        ("allow: [{when: \"jwt.sub == 'alice'\"}]", true),
        ("allow: [{when: \"source.identity.namespace == 'other' && jwt.sub == 'alice'\"}]", false),
        ("allow: [{to: [{http: {paths: [\"/healthz\"]}}]}]", true),
        ("allow: [{to: [{tools: [x]}], when: \"mcp.tool.arguments.a == 1 && request.headers['a'] == 'b'\"}]", true),
        ("allow: [{}]\ndeny: [{from: [{namespaces: [agents]}]}]", false),
        ("allow: [{}]\ndeny: [{to: [{tools: [\"*\"]}]}]", true),
        ("deny: [{to: [{tools: [x]}]}]", false),
    ];
    for (policy, want) in rows {
        let rules = mcp_rules(&[&format!("protocol: MCP\n{policy}")]);
        let facts = World::calling(base("initialize"));
        assert_eq!(rules.may_ever_admit(&facts.facts()), want, "{policy}");
    }
    assert!(!Rules::closed("x").may_ever_admit(&call("x").facts()));
    assert!(!mcp_rules(&[]).may_ever_admit(&call("x").facts()));
    assert!(rules(None, &[], &[]).may_ever_admit(&call("x").facts()));
}

#[test]
fn closed_targets_refuse_everything() {
    for (rules, reason) in [(Rules::closed("bad.yaml:3"), "closed"), (Rules::no_documents(), "no_documents")] {
        for world in
            [call("x"), World::calling(base("initialize")), World::calling(Call::Http), World::calling(Call::Tcp)]
        {
            assert_eq!(verdict(&rules, &world), reason);
            assert!(!rules.visible(&world.facts()));
            assert!(!rules.explain(&world.facts()).allowed);
        }
    }
    assert!(denial(&Rules::closed("bad.yaml:3"), &call("x")).reason.to_string().contains("bad.yaml:3"));
}

#[test]
fn revisions_depend_on_the_documents_alone() {
    let (a, b) = ((meta("a"), agent_spec("allow: [{}]")), (meta("b"), agent_spec("deny: [{}]")));
    let of = |agent: Vec<_>, declared| compile(&RuleSet { declared, agent, ..RuleSet::default() }).unwrap().revision();
    let mcp = Some(Protocol::Mcp);
    let both = of(vec![(&a.0, &a.1), (&b.0, &b.1)], mcp);
    assert_eq!(both, of(vec![(&b.0, &b.1), (&a.0, &a.1)], mcp));
    assert_ne!(both, of(vec![(&a.0, &a.1)], mcp));
    assert_ne!(both, of(vec![(&a.0, &a.1), (&b.0, &b.1)], None));
    let younger = crate::document::Meta { generation: 4, ..meta("a") };
    assert_ne!(both, of(vec![(&younger, &a.1), (&b.0, &b.1)], mcp));
    assert_eq!(both.to_string().len(), 16);
}

#[test]
fn tokens_are_read_only_where_a_rule_asks() {
    assert!(!mcp_rules(&["allow: [{when: \"mcp.tool.name == 'x'\"}]"]).reads_jwt());
    assert!(mcp_rules(&["allow: [{when: \"has(jwt.sub)\"}]"]).reads_jwt());
    assert!(mcp_rules(&["deny: [{from: [{notRequestPrincipals: [\"*\"]}]}]"]).reads_jwt());
}

#[test]
fn explaining_shows_every_rule() {
    let rules = mcp_rules(&[REPO_TOOLS]);
    let text =
        rules.explain(&World::calling(tool("create_issue", json!({"owner": "evil"}))).from(WRITER).facts()).to_string();
    assert!(text.starts_with("DENY (requirement_not_met) by AgentPolicy tools/a0 own-org-only\n"), "{text}");
    for part in [
        "no match deny     AgentPolicy tools/a0 no-delete: `to` does not match the call",
        "not met  require  AgentPolicy tools/a0 own-org-only: `mcp.tool.arguments.owner == \"acme\"` is false, where `mcp.tool.arguments.owner` is \"evil\"",
        "no match allow    AgentPolicy tools/a0 researchers-read: `from` does not match the caller",
        "matched  allow    AgentPolicy tools/a0 writers",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let json = serde_json::to_value(rules.explain(&call("get_issue").facts())).unwrap();
    assert_eq!((json["allowed"].as_bool(), json["rule"]["rule"].as_str()), (Some(true), Some("researchers-read")));
}

/// Paths have one spelling where an AgentPolicy decides: whatever its rules were written in, they are about that.
#[test]
fn paths_of_rules_are_spelt_as_paths_are() {
    let rows = [
        ("/my docs/*", "/my%20docs/x", true),
        ("/caf\u{e9}", "/caf%C3%A9", true),
        ("/%61dmin", "/admin", true),
        ("/v1/x%3adelete", "/v1/x:delete", true),
        ("/a%2A", "/a*", true),
        ("/a%2A", "/ab", false),
        ("/admin", "/admin;x", true),
    ];
    for (pattern, path, is) in rows {
        let world = World { request: Some(head("GET", path)), ..World::calling(Call::Http) };
        let of = |policy: &str| verdict(&rules(None, &[policy], &[]), &world);
        let denied = of(&format!("deny: [{{to: [{{http: {{paths: [\"{pattern}\"]}}}}]}}]\nallow: [{{}}]"));
        assert_eq!(denied == "denied_by_rule", is, "{pattern} {path}");
        let but = of(&format!("allow: [{{to: [{{http: {{paths: [\"*\"], notPaths: [\"{pattern}\"]}}}}]}}]"));
        assert_eq!(but == "not_allowed", is, "{pattern} {path}");
    }
}

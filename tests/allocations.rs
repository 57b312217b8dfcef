//! To decide needs no memory: what rules look at is looked at where it stands in the message.

#![expect(clippy::unwrap_used, reason = "a test of valid messages")]

#[path = "../benches/lab/setting.rs"]
#[expect(dead_code, reason = "shared with the benchmarks")]
mod setting;
#[path = "../benches/lab/world.rs"]
#[expect(dead_code, reason = "shared with the benchmarks")]
mod world;

use std::fmt::Write as _;

use agent_waypoint::call::Call;
use agent_waypoint::policy::Decision;
use agent_waypoint::wire::mcp::{Context, McpHead, decode};
use allocation_counter::measure;
use setting::Setting;

/// Ten rules over names, identity and arguments: of each kind of value, nested, in lists, near and far.
const POLICY: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: many, namespace: tools}
spec: {clusterIP: 127.0.9.98, ports: [{name: main, port: 80, targetPort: 80}]}
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: many, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: many}]
  protocol: MCP
  deny:
  - {to: [{tools: ["delete_*"]}]}
  - {from: [{notNamespaces: ["agents"]}]}
  - {when: 'has(mcp.tool.arguments.path) && mcp.tool.arguments.path.startsWith("/etc/")'}
  - {to: [{tools: ["*"]}], when: 'mcp.tool.arguments.title.contains("\n#!") || mcp.tool.arguments["wh\"y"].matches("^no\n")'}
  - {to: [{tools: ["*"]}], when: '"secret" in mcp.tool.arguments.labels || mcp.tool.arguments.labels[2] == "c"'}
  require:
  - {to: [{tools: ["*"]}], that: 'mcp.tool.arguments.owner in ["acme", "other"]'}
  - {to: [{tools: ["*"]}], that: 'mcp.tool.arguments.count <= 5 && mcp.tool.arguments.price < 2.5 && !mcp.tool.arguments.force'}
  - {to: [{tools: ["*"]}], that: 'size(mcp.tool.arguments.items) == 90 && mcp.tool.arguments.items[63].deep.id == 63'}
  - {to: [{tools: ["*"]}], that: 'source.identity.namespace == "agents" && mcp.tool.name.startsWith("create_")'}
  allow:
  - {from: [{serviceAccounts: ["agents/writer"]}], to: [{tools: ["create_*"]}], when: 'size(mcp.tool.arguments) == 9'}
"#;

/// Calls as they come, with values of `seed`; `owner` may be one that is refused.
fn call(seed: usize, owner: &str) -> Call {
    let mut items = String::new();
    for id in 0..90 {
        let comma = if id == 0 { "" } else { "," };
        write!(items, r#"{comma}{{"note":"{seed} \" of","deep":{{"id":{id}}}}}"#).unwrap();
    }
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{seed},"method":"tools/call","params":{{"name":"create_issue","arguments":{{
            "owner":"{owner}","path":"/home/{seed}","title":"A title\n with {seed} lines\u0021","wh\"y":"yes\n{seed}",
            "labels":["a","b","\u0063c"],"count":3,"price":1.25,"force":false,"items":[{items}]}}}}}}"#
    );
    let head = McpHead::default();
    let decoded = decode(body.as_bytes(), &Context { head: &head, session: None, session_version: None });
    Call::Mcp(decoded.unwrap().call().clone())
}

#[test]
fn the_first_decision_of_a_call_allocates_nothing() {
    let setting = Setting::of(POLICY, "127.0.9.98:80");
    // What regular expressions make once is not of a call.
    drop(setting.target.rules.decide(&setting.facts(&call(0, "acme"))));
    for seed in 1..20 {
        let call = call(seed, "acme");
        let facts = setting.facts(&call);
        let mut decision = None;
        let of_decide = measure(|| decision = Some(setting.target.rules.decide(&facts)));
        assert!(matches!(decision, Some(Decision::Allow(_))), "{decision:?}");
        assert_eq!(of_decide.count_total, 0, "{of_decide:?}");
    }
}

/// That it would be seen, and that the rules above do read.
#[test]
fn what_allocates_is_counted_and_what_is_read_decides() {
    let setting = Setting::of(POLICY, "127.0.9.98:80");
    assert!(measure(|| drop(call(1, "acme"))).count_total > 0);
    let Decision::Deny(denial) = setting.target.rules.decide(&setting.facts(&call(1, "evil"))) else {
        panic!("was allowed")
    };
    assert_eq!(denial.reason.as_str(), "requirement_not_met");
}

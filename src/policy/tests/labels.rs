//! Labels of sessions: which answers put them there, and what rules make of them, known and unknown.

use std::sync::Arc;

use serde_json::json as value;

use crate::call::{Call, McpObject};
use crate::document::Severity;
use crate::policy::fixture::{World, agent_spec, base, mcp_rules, meta, prompt, tool, tool_entry, tools_list, verdict};
use crate::policy::{Answered, Facts, Labelled, Rules, SupposedLabels, check_agent_policy};
use crate::wire::json;

const POLICY: &str = r#"
protocol: MCP
results:
  labels:
  - name: saw-pii
    to: [{tools: ["get_*"]}]
    when: mcp.result.text.contains("ssn")
  - name: busy
deny:
- name: no-mail
  to: [{tools: ["send_*"]}]
  when: '"saw-pii" in session.labels'
require:
- to: [{tools: ["push_*"]}]
  that: '!("saw-pii" in session.labels)'
allow:
- to: [{tools: ["get_*", "send_*", "push_*"]}]
- to: [{tools: ["share_*"]}]
  when: '!("saw-pii" in session.labels)'
"#;

/// A session of which it is not known which labels it has.
#[derive(Debug)]
struct Unknown;

impl Labelled for Unknown {
    fn labels(&self) -> Option<Vec<Arc<str>>> {
        None
    }
}

fn decided(rules: &Rules, call: Call, labels: Option<&dyn Labelled>) -> &'static str {
    let world = World::calling(call);
    match rules.decide(&Facts { labels, ..world.facts() }) {
        crate::policy::Decision::Allow(_) => "allow",
        crate::policy::Decision::Deny(denial) => denial.reason.as_str(),
    }
}

#[test]
fn rules_see_the_labels_and_refuse_where_they_are_not_known() {
    let rules = mcp_rules(&[POLICY]);
    let (none, pii) = (SupposedLabels::default(), SupposedLabels(vec!["saw-pii".into()]));
    let rows: [(&str, &str, &str, &str); 4] = [
        ("get_x", "allow", "allow", "allow"),
        ("send_x", "allow", "denied_by_rule", "undecidable"),
        ("push_x", "allow", "requirement_not_met", "requirement_not_met"),
        ("share_x", "allow", "not_allowed", "not_allowed"),
    ];
    for (name, without, with, unknown) in rows {
        let call = || tool(name, value!({}));
        assert_eq!(decided(&rules, call(), Some(&none)), without, "{name} without");
        assert_eq!(decided(&rules, call(), Some(&pii)), with, "{name} with");
        assert_eq!(decided(&rules, call(), Some(&Unknown)), unknown, "{name} unknown");
        assert_eq!(decided(&rules, call(), None), unknown, "{name} without a session");
        // Lists show what could be called.
        for (labels, shown) in [(&none as &dyn Labelled, without), (&pii, with), (&Unknown, unknown)] {
            let world = World::calling(tool_entry(name));
            let visible = rules.visible(&Facts { labels: Some(labels), ..world.facts() });
            assert_eq!(visible, shown == "allow", "{name} {labels:?}");
        }
    }
    assert!(rules.labels_sessions() && rules.reads_answers());
}

/// A task is asked about by rules as one of many; what refuses by a label must refuse it all the same.
#[test]
fn a_task_is_refused_as_its_call_is() {
    let rules = mcp_rules(&[POLICY]);
    let task = || {
        let id = crate::call::Knowable::Known("1".into());
        let task = crate::call::Task { id, tool: Some("send_x".into()), created: None };
        crate::policy::fixture::mcp("tasks/result", McpObject::Task(task))
    };
    assert_eq!(decided(&rules, task(), Some(&SupposedLabels::default())), "allow");
    assert_eq!(decided(&rules, task(), Some(&SupposedLabels(vec!["saw-pii".into()]))), "denied_by_rule");
    assert_eq!(decided(&rules, task(), Some(&Unknown)), "undecidable");
}

#[test]
fn no_has_in_front_hides_that_labels_are_not_known() {
    for condition in
        ["has(session.labels) && 'x' in session.labels", "'x' in session.labels || size(session.labels) > 1"]
    {
        let yaml = format!(
            "protocol: MCP\nresults: {{labels: [{{name: x}}]}}\ndeny: [{{to: [{{tools: ['*']}}], when: \"{condition}\"}}]\nallow: [{{}}]"
        );
        let rules = mcp_rules(&[&yaml]);
        assert_eq!(decided(&rules, tool("t", value!({})), Some(&Unknown)), "undecidable", "{condition}");
        assert_eq!(decided(&rules, tool("t", value!({})), Some(&SupposedLabels::default())), "allow", "{condition}");
    }
}

fn put(rules: &Rules, call: Call, message: &str) -> Vec<String> {
    let (world, message) = (World::calling(call), json::parse(message.as_bytes()).unwrap());
    let found = rules.labellers(&world.facts(), &Answered::of(&message));
    found.iter().map(|labeller| labeller.label().to_string()).collect()
}

#[test]
fn answers_put_labels_by_what_they_show() {
    let rules = mcp_rules(&[POLICY]);
    let text = |text: &str| format!(r#"{{"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#);
    let call = |name: &str| tool(name, value!({}));
    assert_eq!(put(&rules, call("get_x"), &text("an ssn")), ["saw-pii", "busy"]);
    assert_eq!(put(&rules, call("get_x"), &text("nothing")), ["busy"]);
    assert_eq!(put(&rules, call("send_x"), &text("an ssn")), ["busy"]);
    assert_eq!(put(&rules, call("get_x"), r#"{"error":{"code":1,"message":"ssn 1"}}"#), ["saw-pii", "busy"]);
    assert_eq!(put(&rules, prompt("p"), &text("an ssn")), ["busy"]);
    // A list is none of its entries' answers, and base methods bring nothing.
    assert_eq!(put(&rules, tools_list(), r#"{"result":{"tools":[{"name":"get_x","description":"ssn"}]}}"#), [""; 0]);
    for method in ["initialize", "ping", "server/discover"] {
        assert_eq!(put(&rules, base(method), r#"{"result":{}}"#), [""; 0], "{method}");
    }
    // What cannot be evaluated is labelled.
    let odd = POLICY.replace("mcp.result.text.contains(\"ssn\")", "mcp.result.value.structuredContent.n > 1");
    assert_eq!(put(&mcp_rules(&[&odd]), call("get_x"), &text("nothing")), ["saw-pii", "busy"]);
    // A dry run puts none.
    let rules = mcp_rules(&[&format!("mode: DryRun\n{POLICY}"), "allow: [{}]"]);
    assert_eq!(put(&rules, call("get_x"), &text("an ssn")), [""; 0]);
    assert!(!rules.labels_sessions());
    assert_eq!(verdict(&rules, &World::calling(call("send_x"))), "allow");
}

#[test]
fn labels_that_could_not_hold_are_refused() {
    let ok = "protocol: MCP\nresults: {labels: [{name: x}, {name: x, to: [{tools: [a]}]}]}\nallow: [{}]";
    assert_eq!(check_agent_policy(&meta("p"), &agent_spec(ok)), []);
    let rows = [
        ("results: {labels: [{name: x}]}", "spec.results.labels[0]", "protocol: MCP"),
        ("protocol: MCP\nresults: {labels: [{name: ''}]}", "spec.results.labels[0].name", "1 to 63"),
        ("protocol: MCP\nresults: {labels: [{name: 'a b'}]}", "spec.results.labels[0].name", "1 to 63"),
        (
            "protocol: MCP\nresults: {labels: [{name: x, when: 'mcp.result.nope'}]}",
            "spec.results.labels[0].when",
            "unknown name",
        ),
        (
            "protocol: MCP\ndeny: [{to: [{tools: [a]}], when: '\"x\" in session.labels'}]",
            "spec.deny[0].when",
            "puts none: name them in `results.labels`",
        ),
        (
            "protocol: MCP\nresults: {labels: [{name: x}, {name: y}]}\nrequire: [{to: [{tools: [a]}], that: '!(\"z\" in session.labels)'}]",
            "spec.require[0].that",
            "`z` is no label of this policy; `results.labels` names x, y",
        ),
        ("protocol: MCP\ndeny: [{when: 'session.label'}]", "spec.deny[0].when", "did you mean `session.labels`"),
    ];
    for (yaml, field, reason) in rows {
        let problems = check_agent_policy(&meta("p"), &agent_spec(yaml));
        let found = problems.iter().find(|problem| problem.severity == Severity::Error);
        let found = found.unwrap_or_else(|| panic!("{yaml}"));
        assert!(found.field == field && found.reason.contains(reason), "{yaml}: {found:?}");
    }
    let a2a = check_agent_policy(&meta("p"), &agent_spec("protocol: A2A\nresults: {labels: [{name: x}]}"));
    assert!(a2a.iter().any(|problem| problem.severity == Severity::Error), "{a2a:?}");
    let dry =
        check_agent_policy(&meta("p"), &agent_spec("mode: DryRun\nprotocol: MCP\nresults: {labels: [{name: x}]}"));
    assert!(dry.iter().all(|problem| problem.severity == Severity::Warning) && dry.len() == 1, "{dry:?}");
}

//! Which definitions of tools may be listed and called.

use super::*;
use crate::call::Task;
use crate::document::agent_policy::PinMode;
use crate::policy::Pinned;
use crate::wire::json;
use crate::wire::mcp::Definition;

fn definition(name: &str, what: &str) -> Definition {
    Definition::of(&json::parse(format!(r#"{{"name":"{name}","description":"{what}"}}"#).as_bytes()).unwrap()).unwrap()
}

fn pins(mode: &str, tools: &[(&str, &str)]) -> String {
    let pins = tools.iter().map(|(name, what)| format!("{{name: {name}, sha256: {}}}", definition(name, what)));
    format!("allow: [{{}}]\npins: {{mode: {mode}, tools: [{}]}}", pins.collect::<Vec<_>>().join(", "))
}

#[test]
fn a_name_that_nobody_pinned_is_hidden_and_refused() {
    let rules = mcp_rules(&[&pins("Enforce", &[("x", "good")])]);
    let task = |tool: &str| {
        mcp(
            "tasks/get",
            McpObject::Task(Task { id: Knowable::Known("t".into()), tool: Some(tool.into()), created: None }),
        )
    };
    check(
        &rules,
        vec![
            row("pinned", call("x"), "allow"),
            row("not pinned", call("y"), "not_pinned"),
            row("a prompt is no tool", World::calling(prompt("y")), "allow"),
            row("the list itself", World::calling(tools_list()), "allow"),
            row("a base method", World::calling(base("initialize")), "allow"),
            row("a task of a pinned tool", World::calling(task("x")), "allow"),
            row("a task of another", World::calling(task("y")), "not_pinned"),
        ],
    );
    let visible = |name: &str| rules.visible(&World::calling(tool_entry(name)).facts());
    assert!(visible("x") && !visible("y"));
    let refused = denial(&rules, &call("y"));
    assert_eq!((refused.form, refused.rule.unwrap().rule.as_ref()), (DenialForm::Hidden, "pins"));
}

#[test]
fn modes_that_only_tell_refuse_nothing() {
    for mode in ["Observe", "Warn"] {
        let rules = mcp_rules(&[&pins(mode, &[("x", "good")])]);
        assert_eq!(verdict(&rules, &call("y")), "allow");
        assert!(rules.visible(&World::calling(tool_entry("y")).facts()));
    }
    let rules = mcp_rules(&["allow: [{}]", &pins("Enforce", &[]).replace("allow", "mode: DryRun\nallow")]);
    assert_eq!((verdict(&rules, &call("y")), rules.pins()), ("allow", None));
}

#[test]
fn a_rule_that_denies_says_so_before_pins_do() {
    let rules =
        mcp_rules(&[&format!("deny: [{{name: d, to: [{{tools: [y]}}]}}]\n{}", pins("Enforce", &[("x", "good")]))]);
    assert_eq!(verdict(&rules, &call("y")), "denied_by_rule");
}

#[test]
fn policies_pin_together_and_the_strictest_mode_holds() {
    let warn = pins("Warn", &[("x", "good"), ("x", "better")]);
    let rules = mcp_rules(&[&warn, &pins("Observe", &[("y", "good")])]);
    assert_eq!(rules.pins(), Some(PinMode::Warn));
    let rows = [
        ("x", "good", Pinned::Yes),
        ("x", "better", Pinned::Yes),
        ("x", "bad", Pinned::No(PinMode::Warn)),
        ("y", "good", Pinned::Yes),
        ("z", "good", Pinned::No(PinMode::Warn)),
    ];
    for (name, what, want) in rows {
        assert_eq!(rules.pinned(name, &definition(name, what)), want, "{name} {what}");
    }
    assert_eq!(rules.pinned("x", &definition("y", "good")), Pinned::No(PinMode::Warn), "of another name");
    let free = mcp_rules(&["allow: [{}]"]);
    assert_eq!((free.pins(), free.pinned("x", &definition("x", "any"))), (None, Pinned::Yes));
    let strict = mcp_rules(&[&warn, &pins("Enforce", &[("y", "good")])]);
    assert_eq!(strict.pinned("x", &definition("x", "bad")), Pinned::No(PinMode::Enforce));
    assert_eq!(strict.not_pinned().rule.unwrap().policy.as_ref(), "tools/a1");
}

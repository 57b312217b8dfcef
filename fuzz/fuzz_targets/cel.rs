//! Expressions of any shape: checking a policy that holds one never panics, overflows a stack or hangs, and what
//! compiles evaluates within its budget.

#![no_main]

use agent_waypoint::document::Meta;
use agent_waypoint::document::agent_policy::{AgentPolicySpec, Protocol};
use agent_waypoint::policy::{RuleSet, check_agent_policy, compile, on_compile_thread};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let meta = Meta { name: "p".into(), namespace: "n".into(), ..Meta::default() };
    let spec = serde_json::json!({
        "targetRefs": [{"kind": "Service", "name": "s"}],
        "deny": [{"when": source}],
        "require": [{"that": source}],
        "allow": [{"when": source}],
    });
    let Ok(spec) = serde_json::from_value::<AgentPolicySpec>(spec) else { return };
    on_compile_thread(|| {
        let problems = check_agent_policy(&meta, &spec);
        let set = RuleSet { declared: Some(Protocol::Mcp), agent: vec![(&meta, &spec)], ..RuleSet::default() };
        let wrong = problems.iter().any(|p| p.severity == agent_waypoint::document::Severity::Error);
        assert_eq!(compile(&set).is_err(), wrong);
    });
});

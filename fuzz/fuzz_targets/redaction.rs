//! Redaction: every string under a name that a path says is replaced, none beside it, and the answer keeps its shape: names,
//! order, lengths, and everything that is no string.
#![no_main]

use std::sync::OnceLock;

use agent_waypoint::document::Meta;
use agent_waypoint::document::agent_policy::{AgentPolicySpec, Protocol};
use agent_waypoint::policy::{RuleSet, Rules, compile};
use agent_waypoint::wire::json::{parse, write};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const PATHS: [&str; 10] = [
    "**.secret",
    "structuredContent.secret",
    "structuredContent.*.secret",
    "**.a.*.b",
    "a.**.b",
    "a.**.b.**.c",
    "content",
    "*",
    "**",
    "**.**.a",
];
const WITH: &str = "#";
const STRUCTURE: [&str; 9] =
    ["type", "mimeType", "role", "resultType", "taskId", "status", "nextCursor", "method", "requestState"];

fn rules() -> &'static [Rules] {
    static RULES: OnceLock<Vec<Rules>> = OnceLock::new();
    RULES.get_or_init(|| PATHS.iter().map(|path| rule(path)).collect())
}

fn rule(path: &str) -> Rules {
    let meta = Meta { name: "p".into(), namespace: "n".into(), ..Meta::default() };
    let spec = serde_json::json!({
        "targetRefs": [{"kind": "Service", "name": "s"}],
        "results": {"redact": [{"fields": [path], "with": WITH}]},
        "allow": [{}],
    });
    let spec: AgentPolicySpec = serde_json::from_value(spec).expect("a policy");
    compile(&RuleSet { declared: Some(Protocol::Mcp), agent: vec![(&meta, &spec)], ..RuleSet::default() })
        .expect("rules")
}

/// What JSON readers of any leniency take for one name.
fn folded(name: &str) -> String {
    name.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase()
}

/// Whether the path names exactly this place.
fn names(path: &[&str], place: &[&str]) -> bool {
    match (path, place) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=place.len()).any(|taken| names(rest, &place[taken..])),
        ([name, rest @ ..], [key, below @ ..]) => (*name == "*" || folded(name) == folded(key)) && names(rest, below),
        _ => false,
    }
}

/// The place, or one above it.
fn covers(path: &[&str], place: &[&str]) -> bool {
    (0..=place.len()).any(|above| names(path, &place[..above]))
}

fn hold<'v>(path: &[&str], place: &mut Vec<&'v str>, before: &'v Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()));
            for ((key, before), after) in before.iter().zip(after.values()) {
                place.push(key);
                hold(path, place, before, after);
                place.pop();
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            before.iter().zip(after).for_each(|(before, after)| hold(path, place, before, after));
        }
        (Value::String(before), Value::String(after)) => {
            let key = place.last().copied().unwrap_or_default();
            let own = place.iter().any(|key| matches!(*key, "structuredContent" | "_meta"));
            let expected = match covers(path, place) {
                true if !own && STRUCTURE.contains(&key) => before,
                true if !own && matches!(key, "data" | "blob") => "",
                true => WITH,
                false => before,
            };
            assert_eq!(after, expected, "{path:?} at {place:?}");
        }
        (before, after) => assert_eq!(before, after, "{place:?}"),
    }
}

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (chosen, shared, bytes) = input;
    let Ok(mut value) = parse(bytes) else { return };
    let Ok(before) = serde_json::from_slice::<Value>(bytes) else { return };
    // Shared with somebody who has read it, or nobody's but ours and not yet read: two ways through the same tree.
    let kept = shared.then(|| (value.clone(), format!("{value:?}")));
    let chosen = usize::from(chosen) % PATHS.len();
    let redactors = rules()[chosen].all_redactors();
    assert_eq!(redactors.len(), 1);
    redactors[0].redact(&mut value);
    let mut written = Vec::new();
    write(&value, &mut written);
    assert_eq!(parse(&written).expect("own output"), value);
    let after: Value = serde_json::from_slice(&written).expect("JSON");
    let path: Vec<&str> = PATHS[chosen].split('.').collect();
    hold(&path, &mut Vec::new(), &before, &after);
    // Twice is once, and what was kept for others is as it was.
    redactors[0].redact(&mut value);
    let mut twice = Vec::new();
    write(&value, &mut twice);
    assert_eq!(twice, written);
    if let Some((kept, was)) = kept {
        assert_eq!(format!("{kept:?}"), was);
    }
});

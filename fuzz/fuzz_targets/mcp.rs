//! Calls: what is forwarded is the call that was decided on, also to a reader that is not ours.
#![no_main]

use agent_waypoint::call::McpObject;
use agent_waypoint::wire::mcp::{Context, McpHead, ServerMessage, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(ServerMessage::parse(bytes));
    let head = McpHead::default();
    let context = Context { head: &head, session: None, session_version: None };
    let decoded = match decode(bytes, &context) {
        Ok(decoded) => decoded,
        Err(fault) => {
            serde_json::from_slice::<serde_json::Value>(&fault.body()).expect("an answer is JSON");
            return;
        }
    };
    let forwarded = decoded.canonical();
    let again = decode(&forwarded, &context).expect("own output");
    assert_eq!(again.call(), decoded.call());
    assert_eq!(again.canonical(), forwarded);
    let theirs: serde_json::Value = serde_json::from_slice(&forwarded).expect("serde_json accepts it");
    assert_eq!(theirs["method"].as_str().unwrap_or_default(), &*decoded.call().method);
    if let McpObject::Tool { .. } | McpObject::Prompt { .. } = decoded.call().object {
        assert!(decoded.call().name().is_none() || theirs["params"]["name"].as_str() == decoded.call().name());
    }
});

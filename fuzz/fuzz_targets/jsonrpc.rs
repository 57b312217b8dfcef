//! Envelopes: an id that is read is echoed to the same value.
#![no_main]

use agent_waypoint::wire::json::parse;
use agent_waypoint::wire::jsonrpc::{Id, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tree) = parse(bytes) else { return };
    let Ok(message) = Message::read(&tree) else { return };
    if let Some(id) = message.id {
        assert_eq!(tree.get("id"), Some(&id.to_value()));
        let echoed = parse(id.as_json().as_bytes()).expect("an id is JSON");
        assert_eq!(Id::read(&echoed), Some(id));
    }
});

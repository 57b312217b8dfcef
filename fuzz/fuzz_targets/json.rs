//! Whatever is accepted is read alike by serde_json and survives being written.
#![no_main]

use agent_waypoint::wire::json::{parse, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = parse(bytes) else { return };
    let mut written = Vec::new();
    write(&value, &mut written);
    assert_eq!(parse(&written).expect("own output"), value);
    let sent: serde_json::Value = serde_json::from_slice(bytes).expect("serde_json accepts it too");
    let forwarded: serde_json::Value = serde_json::from_slice(&written).expect("serde_json accepts our output");
    assert_eq!(sent, forwarded);
});

//! What parses as an authority has one spelling.
#![no_main]

use agent_waypoint::wire::authority::Authority;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(authority) = Authority::parse(text) {
        assert_eq!(Authority::parse(&authority.to_string()), Ok(authority));
    }
});

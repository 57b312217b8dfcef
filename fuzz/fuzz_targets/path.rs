//! A canonical path is its own canonical form, and no decoder finds a dot segment in it.
#![no_main]

use agent_waypoint::wire::path::canonical;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(path) = canonical(text) {
        assert_eq!(canonical(&path).as_deref(), Ok(&*path));
        assert!(path.bytes().all(|b| b.is_ascii_graphic()));
        assert!(!path.contains("//") && !path.split('/').any(|segment| segment == "." || segment == ".."));
    }
});

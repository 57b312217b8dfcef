//! A request head gives the same result whole and byte by byte, and takes no more than the first empty line ends.
#![no_main]

use agent_waypoint::wire::http1::RequestParser;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = RequestParser::new().advance(bytes);
    let mut parser = RequestParser::new();
    let mut bytewise = Ok(None);
    for end in 0..=bytes.len() {
        bytewise = parser.advance(&bytes[..end]);
        if !matches!(bytewise, Ok(None)) {
            break;
        }
    }
    assert_eq!(format!("{whole:?}"), format!("{bytewise:?}"));
    if let Ok(Some(head)) = whole {
        assert!(bytes[..head.consumed].ends_with(b"\r\n\r\n"));
        assert!(!bytes[..head.consumed - 4].windows(4).any(|window| window == b"\r\n\r\n"));
    }
});

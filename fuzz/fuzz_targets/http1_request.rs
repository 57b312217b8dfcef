//! A request head gives the same result whole and in pieces, takes no more than the first empty line ends, and is read as a
//! plain reader of single bytes and as `httparse` read it.
#![no_main]

use agent_waypoint::config::limits::MAX_HEAD;
use agent_waypoint::wire::http1::{HeadFault, LineFault, RequestHead, RequestParser};
use agent_waypoint::wire::path::canonical;
use libfuzzer_sys::fuzz_target;

/// Where the head ends, each byte looked at alone.
fn end(bytes: &[u8]) -> Result<Option<usize>, HeadFault> {
    for (at, byte) in bytes.iter().enumerate() {
        let line = &bytes[..at];
        if at >= MAX_HEAD {
            return Err(HeadFault::TooLarge);
        }
        match byte {
            b'\n' if line.ends_with(b"\n\r") || line == b"\r" => return Ok(Some(at + 1)),
            b'\n' if line.ends_with(b"\r") => {}
            _ if line.ends_with(b"\r") => return Err(LineFault::BareCr.into()),
            b'\n' => return Err(LineFault::BareLf.into()),
            b'\r' | b'\t' | b' '..=b'~' => {}
            _ => return Err(LineFault::Byte.into()),
        }
    }
    Ok(None)
}

/// The last of what the parser says about ever more of `bytes`.
fn grown(bytes: &[u8], steps: impl Iterator<Item = usize>) -> Result<Option<RequestHead>, HeadFault> {
    let mut parser = RequestParser::new();
    for end in steps.take_while(|end| *end < bytes.len()) {
        match parser.advance(&bytes[..end]) {
            Ok(None) => {}
            done => return done,
        }
    }
    parser.advance(bytes)
}

fn read_alike(bytes: &[u8], ours: &RequestHead) {
    let mut room = [httparse::EMPTY_HEADER; 256];
    let mut theirs = httparse::Request::new(&mut room);
    assert_eq!(theirs.parse(bytes), Ok(httparse::Status::Complete(ours.consumed)));
    assert_eq!(theirs.method, Some(ours.head.method.as_str()));
    for (name, value) in &ours.head.headers {
        let said = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name.as_str());
        assert!(theirs.headers.iter().filter(said).any(|field| field.value == value.as_bytes()), "{name}");
        let (here, there) =
            (ours.head.headers.get_all(name).iter().count(), theirs.headers.iter().filter(said).count());
        assert_eq!(here, there, "{name}");
    }
    let target = theirs.path.expect("a target");
    let query = target.split_once('?').map(|(_, query)| query);
    assert_eq!(ours.head.query.as_deref(), query);
    assert!(ours.head.path == "*" || canonical(&ours.head.path).as_deref() == Ok(&*ours.head.path));
}

fuzz_target!(|bytes: &[u8]| {
    let whole = RequestParser::new().advance(bytes);
    let told = format!("{whole:?}");
    assert_eq!(told, format!("{:?}", grown(bytes, 0..)));
    for step in [3, 7, 8, 13] {
        assert_eq!(told, format!("{:?}", grown(bytes, (1..).map(|n| n * step))), "{step}");
    }
    match (end(bytes), &whole) {
        (Err(fault), whole) => assert_eq!(whole.as_ref().err(), Some(&fault)),
        (Ok(None), whole) => assert!(matches!(whole, Ok(None))),
        (Ok(Some(end)), Ok(Some(head))) => assert_eq!(head.consumed, end),
        (Ok(Some(_)), Ok(None)) => panic!("whole, and more is asked for"),
        (Ok(Some(_)), Err(_)) => {}
    }
    if let Ok(Some(head)) = whole {
        assert!(bytes[..head.consumed].ends_with(b"\r\n\r\n"));
        assert!(!bytes[..head.consumed - 4].windows(4).any(|window| window == b"\r\n\r\n"));
        read_alike(bytes, &head);
    }
});

//! Streams: pieces do not matter, and the canonical form is read as what was written.
#![no_main]

use agent_waypoint::wire::sse::{Frame, Parser};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8], piece: usize) -> Option<Vec<Frame>> {
    let (mut parser, mut out) = (Parser::new(4_096), Vec::new());
    for piece in bytes.chunks(piece) {
        parser.push(piece, &mut out).ok()?;
    }
    Some(out)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = read(bytes, usize::MAX);
    assert_eq!(whole, read(bytes, usize::from(piece) + 1));
    let Some(frames) = whole else { return };
    let mut written = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut written));
    let mut again = Vec::new();
    Parser::new(usize::MAX).push(&written, &mut again).expect("own output");
    assert_eq!(frames, again);
});

//! Streams: pieces do not matter, what is read is what a plain reader of whole lines reads, and the canonical form is read as
//! what was written.
#![no_main]

use agent_waypoint::wire::sse::{Event, Frame, Parser, SseFault};
use libfuzzer_sys::fuzz_target;

fn read<'p>(pieces: impl Iterator<Item = &'p [u8]>, limit: usize) -> (Vec<Frame>, Result<(), SseFault>) {
    let (mut parser, mut out) = (Parser::new(limit), Vec::new());
    for piece in pieces {
        if let Err(fault) = parser.push(piece, &mut out) {
            return (out, Err(fault));
        }
        assert!(parser.held() <= limit);
    }
    (out, Ok(()))
}

/// WHATWG HTML "Server-sent events", with the whole stream at hand. Beyond it: a comment is a frame, and a line that is not
/// UTF-8 ends the stream.
fn plain(bytes: &[u8]) -> (Vec<Frame>, Result<(), SseFault>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (mut lines, mut line, mut after_cr) = (Vec::new(), Vec::new(), false);
    for byte in bytes {
        match byte {
            b'\n' if after_cr => {}
            b'\r' | b'\n' => lines.push(std::mem::take(&mut line)),
            byte => line.push(*byte),
        }
        after_cr = *byte == b'\r';
    }
    let (mut frames, mut block, mut data) = (Vec::new(), Event::default(), Vec::<String>::new());
    for line in lines {
        if line.is_empty() {
            let mut event = std::mem::take(&mut block);
            event.data = (!data.is_empty()).then(|| data.join("\n").into());
            data.clear();
            event.event = event.event.filter(|_| event.data.is_some());
            frames.extend((event != Event::default()).then_some(Frame::Event(event)));
            continue;
        }
        if line[0] == b':' {
            frames.push(Frame::Comment);
            continue;
        }
        let Ok(line) = String::from_utf8(line) else { return (frames, Err(SseFault::NotUtf8)) };
        let colon = line.find(':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(' ').unwrap_or(value);
        match &line[..colon] {
            "event" => block.event = (!value.is_empty() && value != "message").then(|| value.into()),
            "data" => data.push(value.into()),
            "id" if !value.contains('\0') => block.id = Some(value.into()),
            "retry" if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()) => {
                block.retry = value.parse().ok().or(block.retry);
            }
            _ => {}
        }
    }
    (frames, Ok(()))
}

/// Pieces of lengths that `seed` says.
fn pieces(mut bytes: &[u8], mut seed: u32) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (piece, rest) = bytes.split_at(((seed >> 24) as usize % 19).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    for limit in [64, 4_096, usize::MAX >> 1] {
        let whole = read(std::iter::once(bytes), limit);
        assert_eq!(whole, read(bytes.chunks(usize::from(piece) + 1), limit));
        assert_eq!(whole, read(pieces(bytes, u32::from(piece)).into_iter(), limit));
    }
    let whole = read(std::iter::once(bytes), usize::MAX >> 1);
    assert_eq!(whole, plain(bytes));
    let (frames, _) = whole;
    let mut written = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut written));
    assert!(!written.contains(&b'\r'));
    assert_eq!((frames, Ok(())), read(std::iter::once(&*written), usize::MAX >> 1));
});

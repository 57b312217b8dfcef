use proptest::prelude::*;

use super::{Event, Frame, Parser, SseFault};

fn read(bytes: &[u8]) -> Vec<Frame> {
    let mut out = Vec::new();
    Parser::default().push(bytes, &mut out).unwrap();
    out
}

fn event(event: Option<&str>, id: Option<&str>, data: Option<&str>, retry: Option<u64>) -> Frame {
    Frame::Event(Event { event: event.map(Into::into), id: id.map(Into::into), data: data.map(Into::into), retry })
}

fn message(data: &str) -> Frame {
    event(None, None, Some(data), None)
}

#[test]
fn framing() {
    let rows: &[(&[u8], Vec<Frame>)] = &[
        (b"data: a\n\n", vec![message("a")]),
        (b"data: a\r\n\r\n", vec![message("a")]),
        (b"data: a\r\rdata:b\r\r", vec![message("a"), message("b")]),
        (b"data: a\r\n\rdata: b\n\n", vec![message("a"), message("b")]),
        (b"\xef\xbb\xbfdata: a\n\n", vec![message("a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", vec![message("a")]),
        (b"data:a\ndata: b\ndata:  c\n\n", vec![message("a\nb\n c")]),
        (b"data\n\n", vec![message("")]),
        (b"data:\ndata:\n\n", vec![message("\n")]),
        (b"event: message\ndata: a\n\n", vec![message("a")]),
        (b"event:\ndata: a\n\n", vec![message("a")]),
        (b"event: endpoint\ndata: /m\n\n", vec![event(Some("endpoint"), None, Some("/m"), None)]),
        (b"event: x\n\ndata: a\n\n", vec![message("a")]),
        (b"id: 7\ndata:\n\n", vec![event(None, Some("7"), Some(""), None)]),
        (b"id: 7\nretry: 500\ndata: \n\n", vec![event(None, Some("7"), Some(""), Some(500))]),
        (b"retry: 500\n\n", vec![event(None, None, None, Some(500))]),
        (b"retry: 5s\nretry: -1\nretry:\n\n", vec![]),
        (b"id: a\0b\ndata: x\n\n", vec![message("x")]),
        (b"id\ndata: x\n\n", vec![event(None, Some(""), Some("x"), None)]),
        (b": ping\n\n", vec![Frame::Comment]),
        (b"data: a\n: ping\ndata: b\n\n", vec![Frame::Comment, message("a\nb")]),
        (b"Data: a\nother: b\n\n", vec![]),
        (b"data: cut off\n", vec![]),
        (b"data: a\n\ndata: cut off", vec![message("a")]),
        (b"\n\n\r\r\n", vec![]),
    ];
    for (bytes, frames) in rows {
        assert_eq!(&read(bytes), frames, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn canonical_form() {
    let rows = [
        (message("{}"), "event: message\ndata: {}\n\n"),
        (event(None, Some("7"), Some("{}"), None), "event: message\nid: 7\ndata: {}\n\n"),
        (event(None, Some("7"), Some(""), Some(9)), "id: 7\nretry: 9\ndata: \n\n"),
        (event(Some("endpoint"), None, Some("/m"), None), "event: endpoint\ndata: /m\n\n"),
        (
            event(Some("a\nb"), Some("c\r\0d"), Some("e\rf\r\ng"), None),
            "event: ab\nid: cd\ndata: e\ndata: f\ndata: g\n\n",
        ),
        (Frame::Comment, ":\n\n"),
    ];
    for (frame, bytes) in rows {
        let mut out = Vec::new();
        frame.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), bytes);
    }
}

#[test]
fn bounds() {
    let mut out = Vec::new();
    let mut exact = Parser::new(8);
    assert_eq!(exact.push(b"data:abc\n\ndata:def\n\n", &mut out), Ok(()));
    assert_eq!(out.len(), 2);
    assert_eq!(Parser::new(8).push(b"data:abcd\n", &mut out), Err(SseFault::TooLarge));
    assert_eq!(Parser::new(8).push(b"data:a\ndata:b\n", &mut out), Err(SseFault::TooLarge));
    let mut endless = Parser::new(1_000);
    let fault = (0..1_000).find_map(|_| endless.push(b"data: 0123456789\n", &mut out).err());
    assert_eq!(fault, Some(SseFault::TooLarge));
    assert_eq!(Parser::default().push(b"data: \xff\n", &mut out), Err(SseFault::NotUtf8));
}

#[test]
fn what_a_client_takes_for_a_message() {
    assert_eq!(Event::message(Some("1"), "{}").as_message(), Some("{}"));
    assert_eq!(Event::message(Some("1"), "").as_message(), None);
    let named = Event { event: Some("x".into()), ..Event::message(None, "{}") };
    assert_eq!(named.as_message(), None);
}

#[test]
fn a_name_with_nul_stays_another_name() {
    let read_once = read(b"event: mes\0sage\ndata: x\n\n");
    assert_eq!(read_once, vec![event(Some("mes\0sage"), None, Some("x"), None)]);
    let mut out = Vec::new();
    read_once.iter().for_each(|frame| frame.write(&mut out));
    assert_eq!(read(&out), read_once);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(
        bytes in "(data: ?|id:|event: ?|retry: 1|:|a|\u{feff}|é|\r|\n|\r\n|\n\n){0,40}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let bytes = bytes.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let (mut parser, mut out) = (Parser::default(), Vec::new());
        for pair in cuts.windows(2) {
            parser.push(&bytes[pair[0]..pair[1]], &mut out).unwrap();
        }
        prop_assert_eq!(out, read(bytes));
    }

    #[test]
    fn what_is_written_is_read_again(
        name in proptest::option::of("[^\r\n]{1,8}"),
        id in proptest::option::of("[^\r\n\0]{0,8}"),
        data in "[^\r]{0,40}",
        retry in proptest::option::of(any::<u64>()),
    ) {
        let name = name.filter(|n| n != "message");
        let frame = event(name.as_deref(), id.as_deref(), Some(&data), retry);
        let mut out = Vec::new();
        frame.write(&mut out);
        prop_assert_eq!(read(&out), vec![frame]);
    }
}

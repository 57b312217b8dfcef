use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use proptest::prelude::*;

use super::*;
use crate::config::limits::{MAX_CHUNK_OVERHEAD, MAX_FIELDS, MAX_HEAD};
use crate::fault::Faulty;
use crate::wire::path::PathFault;

fn parse(text: &str) -> Result<RequestHead, HeadFault> {
    RequestParser::new().advance(text.as_bytes()).map(|head| head.expect("whole"))
}

/// A GET with these field lines after `Host: h`.
fn with(fields: &str) -> Result<RequestHead, HeadFault> {
    parse(&format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_plain_request() {
    let text = "POST /a/%62?q=%2f|x HTTP/1.1\r\nHost: Tools.NS:8080\r\nContent-Length: 3\r\nX-A:  1 2\t\r\nAccept: a\r\n\
                Accept: b\r\nEmpty:\r\n\r\nabc";
    let parsed = parse(text).unwrap();
    assert_eq!(parsed.consumed, text.len() - 3);
    assert_eq!(parsed.head.method, Method::POST);
    assert_eq!(parsed.head.path, "/a/b");
    assert_eq!(parsed.head.query.as_deref(), Some("q=%2f|x"));
    assert_eq!(parsed.head.host, "tools.ns:8080");
    assert_eq!(names(&parsed.head.headers), ["accept", "empty", "x-a"]);
    assert_eq!(parsed.head.headers["x-a"], "1 2");
    assert_eq!(parsed.head.headers.get_all("accept").iter().count(), 2);
    assert_eq!(parsed.framing, Framing::Length(3));
    assert_eq!((parsed.version, parsed.keep_alive), (Version::HTTP_11, KeepAlive::Yes));
    assert!(!parsed.expects_continue && parsed.upgrade.is_none());
}

#[test]
fn refused_lines() {
    for (text, fault) in [
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", LineFault::BareLf),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", LineFault::BareLf),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", LineFault::BareLf),
        ("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", LineFault::BareCr),
        ("GET / HTTP/1.1\r\nHost: h\r\n\rX", LineFault::BareCr),
        ("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", LineFault::BareCr),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\0\r\n\r\n", LineFault::Byte),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\x1f\r\n\r\n", LineFault::Byte),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\x7f\r\n\r\n", LineFault::Byte),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: \u{e9}\r\n\r\n", LineFault::Byte),
        ("GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n", LineFault::Byte),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", LineFault::Fold),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc\r\n\r\n", LineFault::Fold),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", LineFault::Fold),
        ("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", LineFault::Shape),
        ("GET /\r\n\r\n", LineFault::Shape),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", LineFault::Shape),
        ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", LineFault::Shape),
        (" GET / HTTP/1.1\r\nHost: h\r\n\r\n", LineFault::Shape),
        ("GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n", LineFault::Shape),
        ("GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n", LineFault::Shape),
        ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", LineFault::Shape),
        ("GET / http/1.1\r\nHost: h\r\n\r\n", LineFault::Shape),
        ("GET / HTTP/1.10\r\nHost: h\r\n\r\n", LineFault::Shape),
        ("GET / HTTP/1\r\nHost: h\r\n\r\n", LineFault::Shape),
    ] {
        assert_eq!(parse(text).err(), Some(fault.into()), "{text:?}");
        assert_eq!(HeadFault::from(fault).status(), StatusCode::BAD_REQUEST);
    }
}

#[test]
fn refused_versions_and_methods() {
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0"] {
        let fault = parse(&format!("GET / {version}\r\nHost: h\r\n\r\n")).unwrap_err();
        assert_eq!((fault, fault.status().as_u16()), (HeadFault::Version, 505));
    }
    assert_eq!(parse("PRI * HTTP/2.0\r\n\r\n").err(), Some(HeadFault::Version));
    for target in ["h:80", "/", "http://h/", "*"] {
        let fault = parse(&format!("CONNECT {target} HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap_err();
        assert_eq!((fault, fault.status().as_u16()), (HeadFault::Connect, 501));
    }
    let fault = with("Expect: 200-ok\r\n").unwrap_err();
    assert_eq!((fault, fault.status().as_u16()), (HeadFault::Expectation, 417));
}

#[test]
fn refused_fields() {
    for (fields, fault) in [
        ("A : b\r\n", FieldFault::SpaceBeforeColon),
        ("Content-Length : 1\r\n", FieldFault::SpaceBeforeColon),
        ("A\t: b\r\n", FieldFault::SpaceBeforeColon),
        ("A\r\n", FieldFault::Name),
        (": b\r\n", FieldFault::Name),
        ("A b: c\r\n", FieldFault::Name),
        ("A(: c\r\n", FieldFault::Name),
        ("\"A\": c\r\n", FieldFault::Name),
        ("Host: h\r\n", FieldFault::Repeated),
        ("Content-Type: a/b\r\nContent-Type: a/b\r\n", FieldFault::Repeated),
        ("Authorization: a\r\nauthorization: b\r\n", FieldFault::Repeated),
        ("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", FieldFault::Repeated),
        ("Mcp-Session-Id: a\r\nMcp-Session-Id: a\r\n", FieldFault::Repeated),
        ("MCP-Protocol-Version: a\r\nMCP-Protocol-Version: a\r\n", FieldFault::Repeated),
        ("Mcp-Name: danger\r\nMcp-Name: safe\r\n", FieldFault::Repeated),
        ("Mcp-Param-X: a\r\nMcp-Param-X: b\r\n", FieldFault::Repeated),
        ("Last-Event-ID: a\r\nLast-Event-ID: b\r\n", FieldFault::Repeated),
        ("Origin: a\r\nOrigin: b\r\n", FieldFault::Repeated),
        ("Expect: 100-continue\r\nExpect: 100-continue\r\n", FieldFault::Repeated),
        ("Upgrade: h2c\r\nUpgrade: websocket\r\n", FieldFault::Repeated),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", FieldFault::Repeated),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", FieldFault::Repeated),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", FieldFault::Repeated),
        ("Content_Length: 1\r\n", FieldFault::Alias),
        ("Transfer_Encoding: chunked\r\n", FieldFault::Alias),
        ("Mcp_Session-Id: 1\r\n", FieldFault::Alias),
        ("x_istio_a: 1\r\n", FieldFault::Alias),
        ("X-Forwarded-Client_Cert: 1\r\n", FieldFault::Alias),
        ("Connection: authorization\r\n", FieldFault::Connection),
        ("Connection: close, Content-Length\r\n", FieldFault::Connection),
        ("Connection: close\r\nConnection: host\r\n", FieldFault::Connection),
        ("Connection: mcp-anything\r\n", FieldFault::Connection),
        ("Connection: Transfer-Encoding\r\n", FieldFault::Connection),
        ("Connection: cookie\r\n", FieldFault::Connection),
        ("Connection: x-forwarded-for\r\n", FieldFault::Connection),
        ("Connection: a b\r\n", FieldFault::Connection),
    ] {
        assert_eq!(with(fields).err(), Some(fault.into()), "{fields:?}");
    }
}

#[test]
fn refused_framing() {
    for (fields, fault) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", FramingFault::Both),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", FramingFault::Both),
        ("Content-Length: +1\r\n", FramingFault::Length),
        ("Content-Length: -1\r\n", FramingFault::Length),
        ("Content-Length: 0x1\r\n", FramingFault::Length),
        ("Content-Length: 1, 1\r\n", FramingFault::Length),
        ("Content-Length: 1 1\r\n", FramingFault::Length),
        ("Content-Length:\r\n", FramingFault::Length),
        ("Content-Length: 18446744073709551616\r\n", FramingFault::Length),
        ("Transfer-Encoding: chunked, identity\r\n", FramingFault::Coding),
        ("Transfer-Encoding: identity\r\n", FramingFault::Coding),
        ("Transfer-Encoding: gzip, chunked\r\n", FramingFault::Coding),
        ("Transfer-Encoding: xchunked\r\n", FramingFault::Coding),
        ("Transfer-Encoding: chunked;a=b\r\n", FramingFault::Coding),
        ("Transfer-Encoding: \"chunked\"\r\n", FramingFault::Coding),
        ("Transfer-Encoding:\r\n", FramingFault::Coding),
    ] {
        assert_eq!(with(fields).err(), Some(fault.into()), "{fields:?}");
    }
    let old = parse("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(old.err(), Some(FramingFault::OldVersion.into()));
    for (fields, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::None),
        ("Content-Length: 007\r\n", Framing::Length(7)),
        ("Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX)),
        ("Transfer-Encoding:\tChunKed \r\n", Framing::Chunked),
    ] {
        assert_eq!(with(fields).map(|head| head.framing), Ok(framing), "{fields:?}");
    }
}

#[test]
fn refused_targets_and_hosts() {
    let get = |target: &str, host: &str| parse(&format!("GET {target} HTTP/1.1\r\n{host}\r\n"));
    for (target, host, fault) in [
        ("/", "", TargetFault::NoHost),
        ("http://h/", "", TargetFault::NoHost),
        ("/", "Host:\r\n", TargetFault::Host),
        ("/", "Host: u@h\r\n", TargetFault::Host),
        ("/", "Host: h/\r\n", TargetFault::Host),
        ("/", "Host: h, h\r\n", TargetFault::Host),
        ("/", "Host: h:\r\n", TargetFault::Host),
        ("/", "Host: h:080\r\n", TargetFault::Host),
        ("/", "Host: h:65536\r\n", TargetFault::Host),
        ("/", "Host: h%2e\r\n", TargetFault::Host),
        ("/", "Host: a..b\r\n", TargetFault::Host),
        ("/", "Host: [::1\r\n", TargetFault::Host),
        ("/", "Host: [::1]x\r\n", TargetFault::Host),
        ("/", "Host: [fe80::1%25e]\r\n", TargetFault::Host),
        ("/", "Host: ::1\r\n", TargetFault::Host),
        ("http://other/", "Host: h\r\n", TargetFault::TwoHosts),
        ("http://h:80/", "Host: h\r\n", TargetFault::TwoHosts),
        ("http://u@h/", "Host: h\r\n", TargetFault::Host),
        ("http:///a", "Host: h\r\n", TargetFault::Host),
        ("ftp://h/", "Host: h\r\n", TargetFault::Form),
        ("mcp", "Host: h\r\n", TargetFault::Form),
        ("h:80", "Host: h\r\n", TargetFault::Form),
        ("*", "Host: h\r\n", TargetFault::Form),
        ("/a#b", "Host: h\r\n", TargetFault::Path(PathFault::Delimiter)),
        ("/a?b#c", "Host: h\r\n", TargetFault::Query),
        ("/a?b<", "Host: h\r\n", TargetFault::Query),
        ("http://h#x", "Host: h\r\n", TargetFault::Path(PathFault::Delimiter)),
        ("//h/", "Host: h\r\n", TargetFault::Path(PathFault::EmptySegment)),
        ("/x/../mcp", "Host: h\r\n", TargetFault::Path(PathFault::DotSegment)),
    ] {
        assert_eq!(get(target, host).err(), Some(fault.into()), "{target} {host:?}");
    }
    let long = "a".repeat(20_000);
    assert_eq!(get(&format!("/{long}"), "Host: h\r\n").unwrap_err().status().as_u16(), 414);
    assert_eq!(get(&format!("/?{long}"), "Host: h\r\n").unwrap_err().status().as_u16(), 414);
}

#[test]
fn accepted_targets_and_hosts() {
    for (line, field, path, query, host) in [
        ("GET http://H/a?b HTTP/1.1", "h", "/a", Some("b"), "h"),
        ("GET HTTPS://h?b HTTP/1.1", "h", "/", Some("b"), "h"),
        ("GET http://h HTTP/1.1", "H.", "/", None, "h"),
        ("OPTIONS * HTTP/1.1", "h", "*", None, "h"),
        ("GET /? HTTP/1.1", "h_1.x:1", "/", Some(""), "h_1.x:1"),
        ("GET /a?x=/../&y=%00 HTTP/1.1", "10.0.0.1", "/a", Some("x=/../&y=%00"), "10.0.0.1"),
        ("GET / HTTP/1.1", "[2001:DB8:0::1]:80", "/", None, "[2001:db8::1]:80"),
    ] {
        let head = parse(&format!("{line}\r\nHost: {field}\r\n\r\n")).unwrap().head;
        assert_eq!((&*head.path, head.query.as_deref(), &*head.host), (path, query, host), "{line}");
    }
    assert_eq!(parse("GET / HTTP/1.0\r\n\r\n").unwrap().head.host, "");
}

#[test]
fn what_ends_here_and_what_only_the_mesh_says_is_removed() {
    let parsed = with(
        "Connection: close, X-Hop, upgrade, HTTP2-Settings\r\nX-Hop: 1\r\nKeep-Alive: a\r\nProxy-Connection: a\r\n\
         TE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\nProxy-Authorization: a\r\n\
         X-Forwarded-Client-Cert: a\r\nX-Istio-Attributes: a\r\nx-envoy-original-path: a\r\n\
         X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: a\r\nX-Method-Override: a\r\nX-Forwarded-For: a\r\n\
         Traceparent: a\r\nAuthorization: Bearer t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n",
    )
    .unwrap();
    assert_eq!(names(&parsed.head.headers), ["authorization", "traceparent", "x-forwarded-for"]);
    assert!(!format!("{:?}", parsed.head).contains("Bearer"), "secrets stay out of debug output");
    assert_eq!((parsed.keep_alive, parsed.upgrade, parsed.expects_continue), (KeepAlive::No, None, true));
}

#[test]
fn upgrades() {
    for (fields, upgrade) in [
        ("Connection: Upgrade\r\nUpgrade: WebSocket\r\n", Some(Upgrade::WebSocket)),
        ("Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", Some(Upgrade::Other)),
        ("Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n", Some(Upgrade::Other)),
        ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n", None),
        ("Upgrade: websocket\r\n", None),
        ("Connection: Upgrade\r\n", None),
    ] {
        assert_eq!(with(fields).map(|head| head.upgrade), Ok(upgrade), "{fields:?}");
    }
}

#[test]
fn persistence() {
    for (version, connection, keep_alive) in [
        ("1.1", "", KeepAlive::Yes),
        ("1.1", "Connection: Close\r\n", KeepAlive::No),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", KeepAlive::No),
        ("1.0", "", KeepAlive::No),
        ("1.0", "Connection: Keep-Alive\r\n", KeepAlive::Yes),
        ("1.0", "Connection: keep-alive, close\r\n", KeepAlive::No),
    ] {
        let parsed = parse(&format!("GET / HTTP/{version}\r\nHost: h\r\n{connection}\r\n")).unwrap();
        assert_eq!(parsed.keep_alive, keep_alive, "{version} {connection:?}");
    }
}

#[test]
fn limits() {
    let many = |count: usize| with(&"A: b\r\n".repeat(count)).err();
    assert_eq!(many(MAX_FIELDS - 1), None);
    assert_eq!(many(MAX_FIELDS), Some(HeadFault::TooLarge));
    let long = |length: usize| {
        let text = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "b".repeat(length - 32));
        assert_eq!(text.len(), length);
        parse(&text).err()
    };
    assert_eq!(long(MAX_HEAD), None);
    assert_eq!(long(MAX_HEAD + 1), Some(HeadFault::TooLarge));
    assert_eq!(HeadFault::TooLarge.status().as_u16(), 431);
    let endless = RequestParser::new().advance(&vec![b'A'; MAX_HEAD + 1]);
    assert_eq!(endless.err(), Some(HeadFault::TooLarge));
}

/// What of a request a later stage sees.
fn digest(head: RequestHead) -> String {
    format!("{head:?}")
}

fn in_pieces(text: &[u8], cuts: &[usize]) -> Result<Option<String>, HeadFault> {
    let mut parser = RequestParser::new();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    ends.push(text.len());
    ends.sort_unstable();
    for end in ends {
        if let Some(head) = parser.advance(&text[..end])? {
            return Ok(Some(digest(head)));
        }
    }
    Ok(None)
}

/// Text out of which heads, good and bad, come often enough.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("GET / HTTP/1.1\r\n".to_owned()),
        Just("POST http://h/a HTTP/1.1\r\n".to_owned()),
        Just("Host: h\r\n".to_owned()),
        Just("Content-Length: 3\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("Connection: close, x\r\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just(" ".to_owned()),
        "[a-zA-Z_-]{1,8}: ?[ -~]{0,8}\r\n",
        "\\PC{0,6}",
    ];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_split_of_a_head_gives_the_same(text in heads(), cuts in proptest::collection::vec(any::<usize>(), 0..6)) {
        let bytewise: Vec<usize> = (0..=text.len()).collect();
        let whole = in_pieces(&text, &[]);
        prop_assert_eq!(&in_pieces(&text, &cuts), &whole);
        prop_assert_eq!(&in_pieces(&text, &bytewise), &whole);
    }

    #[test]
    fn no_bytes_make_the_head_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(RequestParser::new().advance(&bytes));
        let mut text = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
        text.extend(bytes);
        text.extend(b"\r\n\r\n");
        drop(RequestParser::new().advance(&text));
    }

    #[test]
    fn what_is_accepted_has_one_reading(text in heads()) {
        if let Ok(Some(head)) = RequestParser::new().advance(&text) {
            prop_assert!(head.consumed <= text.len());
            let taken = &text[..head.consumed];
            prop_assert_eq!(taken.iter().filter(|b| **b == b'\n').count(), taken.windows(2).filter(|w| w == b"\r\n").count());
            prop_assert!(!head.head.headers.contains_key("transfer-encoding"));
            prop_assert!(!head.head.headers.contains_key("connection"));
        }
    }
}

/// Decodes `text` handed over in pieces: data, whether the end was found, what is left over.
fn decode(framing: Framing, text: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, bool, Vec<u8>), DecodeFault> {
    let mut decoder = BodyDecoder::new(framing);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let (mut buffer, mut data, mut over) = (BytesMut::new(), Vec::new(), false);
    for pair in cuts.windows(2) {
        buffer.extend_from_slice(&text[pair[0]..pair[1]]);
        loop {
            match decoder.decode(&mut buffer)? {
                Piece::Data(piece) => data.extend_from_slice(&piece),
                Piece::More => break,
                Piece::End => {
                    over = true;
                    break;
                }
            }
        }
    }
    Ok((data, over, buffer.to_vec()))
}

#[test]
fn chunked_bodies() {
    for (text, data, over, left) in [
        ("0\r\n\r\nGET", "", true, "GET"),
        ("3\r\nabc\r\n0\r\n\r\n", "abc", true, ""),
        ("03\r\nabc\r\n000\r\n\r\n", "abc", true, ""),
        ("A\r\n0123456789\r\n1;x=\"y z\"\r\na\r\n0\r\n\r\n", "0123456789a", true, ""),
        ("1\r\na\r\n0\r\nMcp-Name: danger\r\nX:\r\n\r\nrest", "a", true, "rest"),
        ("5\r\nabc", "abc", false, ""),
        ("3\r\nabc\r\n0\r\n", "abc", false, ""),
        ("3\r\na\r\n\r\n0\r\n\r\n", "a\r\n", true, ""),
    ] {
        assert_eq!(decode(Framing::Chunked, text.as_bytes(), &[]), Ok((data.into(), over, left.into())), "{text:?}");
    }
}

#[test]
fn refused_chunks() {
    for (text, fault) in [
        ("\r\n", DecodeFault::Size),
        ("g\r\n", DecodeFault::Size),
        ("+1\r\na\r\n", DecodeFault::Size),
        ("-1\r\n", DecodeFault::Size),
        ("0x1\r\n", DecodeFault::Size),
        ("0_1\r\n", DecodeFault::Size),
        (" 1\r\n", DecodeFault::Size),
        ("1 \r\n", DecodeFault::Size),
        ("1 ;a\r\n", DecodeFault::Size),
        (";a\r\n", DecodeFault::Size),
        ("10000000000000000\r\n", DecodeFault::Size),
        ("1\n", DecodeFault::Size),
        ("1\rx", DecodeFault::LineEnd),
        ("1;a\n", DecodeFault::LineEnd),
        ("1;a\rb", DecodeFault::LineEnd),
        ("1;\0\r\n", DecodeFault::Extension),
        ("1;\u{e9}\r\n", DecodeFault::Extension),
        ("1\r\nab\r\n", DecodeFault::LineEnd),
        ("1\r\na\n0\r\n", DecodeFault::LineEnd),
        ("1\r\na0\r\n", DecodeFault::LineEnd),
        ("0\r\nX\r\n", DecodeFault::Trailer),
        ("0\r\n X: y\r\n", DecodeFault::Trailer),
        ("0\r\nX : y\r\n", DecodeFault::Trailer),
        ("0\r\nX: y\n", DecodeFault::Trailer),
        ("0\r\n\n", DecodeFault::Trailer),
        ("0\r\n\rX", DecodeFault::LineEnd),
    ] {
        assert_eq!(decode(Framing::Chunked, text.as_bytes(), &[]), Err(fault), "{text:?}");
    }
    let extension = format!("1;{}\r\na\r\n", "x".repeat(MAX_CHUNK_OVERHEAD));
    let trailer = format!("0\r\nX: {}\r\n\r\n", "x".repeat(MAX_CHUNK_OVERHEAD));
    let padded = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(200);
    for text in [extension, trailer, padded] {
        assert_eq!(decode(Framing::Chunked, text.as_bytes(), &[]), Err(DecodeFault::Overhead));
    }
    let honest = "1\r\na\r\n".repeat(100_000);
    assert_eq!(decode(Framing::Chunked, honest.as_bytes(), &[]).map(|(data, ..)| data.len()), Ok(100_000));
}

#[test]
fn bodies_of_known_length() {
    assert_eq!(decode(Framing::Length(3), b"abcGET", &[1, 2]), Ok((b"abc".to_vec(), true, b"GET".to_vec())));
    assert_eq!(decode(Framing::Length(3), b"ab", &[]), Ok((b"ab".to_vec(), false, vec![])));
    assert_eq!(decode(Framing::None, b"GET", &[]), Ok((vec![], true, b"GET".to_vec())));
}

proptest! {
    #[test]
    fn any_split_of_a_body_gives_the_same(
        text in "([0-3]\r\n[ab]{0,3}\r\n|0\r\n(X: y\r\n)?\r\n|[0-9a-f;\r\n]{0,4}){0,6}",
        length in 0u64..20,
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        for framing in [Framing::Chunked, Framing::Length(length)] {
            let bytewise: Vec<usize> = (0..=text.len()).collect();
            let whole = decode(framing, text.as_bytes(), &[]);
            prop_assert_eq!(&decode(framing, text.as_bytes(), &cuts), &whole);
            prop_assert_eq!(&decode(framing, text.as_bytes(), &bytewise), &whole);
        }
    }

    #[test]
    fn written_chunks_are_read_back(parts in proptest::collection::vec("[ -~]{1,40}", 0..6), cut in any::<usize>()) {
        let mut out = BytesMut::new();
        for part in &parts {
            frame_chunk(&mut out, part.len());
            out.extend_from_slice(part.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        last_chunk(&mut out);
        prop_assert_eq!(decode(Framing::Chunked, &out, &[cut]), Ok((parts.concat().into_bytes(), true, vec![])));
    }
}

#[test]
fn ends_of_answers() {
    use Delimit as D;
    let (get, head) = (Method::GET, Method::HEAD);
    for (method, version, status, length, expected) in [
        (&get, Version::HTTP_11, 200, Some(3), D::Length(3)),
        (&get, Version::HTTP_11, 200, Some(0), D::Length(0)),
        (&get, Version::HTTP_11, 200, None, D::Chunked),
        (&get, Version::HTTP_10, 200, None, D::Close),
        (&get, Version::HTTP_10, 200, Some(3), D::Length(3)),
        (&head, Version::HTTP_11, 200, Some(3), D::Nothing),
        (&get, Version::HTTP_11, 204, None, D::Nothing),
        (&get, Version::HTTP_11, 304, None, D::Nothing),
    ] {
        assert_eq!(delimit(method, version, StatusCode::from_u16(status).unwrap(), length), expected);
    }
}

#[test]
fn written_heads() {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("content-length", "99"), ("transfer-encoding", "x"), ("connection", "x"), ("upgrade", "x"), ("a", "b")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let (ok, v10, v11) = (StatusCode::OK, Version::HTTP_10, Version::HTTP_11);
    for (status, delimit, keep_alive, expected) in [
        (ok, Delimit::Length(3), (KeepAlive::Yes, v11), "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 3\r\n\r\n"),
        (ok, Delimit::Chunked, (KeepAlive::Yes, v11), "HTTP/1.1 200 OK\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n"),
        (ok, Delimit::Close, (KeepAlive::No, v10), "HTTP/1.1 200 OK\r\na: b\r\nconnection: close\r\n\r\n"),
        (ok, Delimit::Nothing, (KeepAlive::Yes, v11), "HTTP/1.1 200 OK\r\ncontent-length: 99\r\na: b\r\n\r\n"),
        (
            ok,
            Delimit::Length(0),
            (KeepAlive::Yes, v10),
            "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n",
        ),
        (StatusCode::NO_CONTENT, Delimit::Nothing, (KeepAlive::Yes, v11), "HTTP/1.1 204 No Content\r\na: b\r\n\r\n"),
        (
            StatusCode::SWITCHING_PROTOCOLS,
            Delimit::Nothing,
            (KeepAlive::Yes, v11),
            "HTTP/1.1 101 Switching Protocols\r\nconnection: x\r\nupgrade: x\r\na: b\r\n\r\n",
        ),
    ] {
        let mut out = BytesMut::new();
        write_head(&mut out, status, &headers, delimit, keep_alive);
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }
}

#[test]
fn answers_lose_what_ends_here() {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("connection", "x-a, content-length"), ("x-a", "1"), ("keep-alive", "1"), ("content-length", "3"), ("b", "c")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    fields::strip_answer(&mut headers);
    assert_eq!(names(&headers), ["b", "content-length"]);
}

#[test]
fn values_from_http2_are_held_to_the_same() {
    for (name, value, fault) in [
        ("a", &b"b\xe9"[..], Some(FieldFault::Value)),
        ("a", b" b", Some(FieldFault::Value)),
        ("a", b"b\t", Some(FieldFault::Value)),
        ("content_type", b"b", Some(FieldFault::Alias)),
        ("a", b"", None),
        ("a_b", b"b c", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        assert_eq!(fields::check(&headers).err(), fault, "{name} {value:?}");
    }
}

#[test]
fn reasons_are_words() {
    for fault in [
        HeadFault::from(LineFault::BareLf),
        FieldFault::Repeated.into(),
        FramingFault::Both.into(),
        TargetFault::Path(PathFault::Percent).into(),
        HeadFault::Timeout,
    ] {
        assert!(fault.reason().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
    }
}

use super::super::{HeaderFault, Mirror, ResponseForm, check_headers, forward_headers, forward_stream_headers};
use super::*;
use crate::wire::jsonrpc::INVALID_REQUEST;

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn content_types() {
    let good = [
        "application/json",
        "APPLICATION/JSON",
        "application/json;charset=utf-8",
        "application/json ; Charset=\"UTF-8\"",
        "application/json; profile=x",
    ];
    for value in good {
        assert!(check_headers(&headers(&[("content-type", value)])).is_ok(), "{value}");
    }
    let bad = [
        ("text/plain", HeaderFault::ContentType),
        ("", HeaderFault::ContentType),
        ("application/x-www-form-urlencoded", HeaderFault::ContentType),
        ("application/jsonx", HeaderFault::ContentType),
        ("application/json-rpc", HeaderFault::ContentType),
        ("application/vnd.api+json", HeaderFault::ContentType),
        ("text/plain;application/json", HeaderFault::ContentType),
        ("application/json, text/plain", HeaderFault::ContentType),
        ("text/plain, application/json", HeaderFault::ContentType),
        ("application/json; charset=utf-16", HeaderFault::Charset),
        ("application/json; charset=utf-16le", HeaderFault::Charset),
        ("application/json; charset=utf-32", HeaderFault::Charset),
        ("application/json; charset=utf-7", HeaderFault::Charset),
        ("application/json; charset=latin1", HeaderFault::Charset),
        ("application/json; charset=utf-8; charset=utf-16", HeaderFault::Charset),
        ("application/json; charset=", HeaderFault::Charset),
    ];
    for (value, fault) in bad {
        assert_eq!(check_headers(&headers(&[("content-type", value)])), Err(fault), "{value}");
        assert_eq!(fault.status().as_u16(), 415);
    }
    assert_eq!(check_headers(&headers(&[])), Err(HeaderFault::ContentType));
    assert_eq!(check_headers(&headers(&[JSON, JSON])), Err(HeaderFault::ContentType));
}

#[test]
fn encodings() {
    for value in ["identity", "Identity", ""] {
        assert!(check_headers(&headers(&[JSON, ("content-encoding", value)])).is_ok(), "{value}");
    }
    for value in ["gzip", "deflate", "br", "bogus", "identity, gzip", "identity,identity"] {
        let fault = check_headers(&headers(&[JSON, ("content-encoding", value)])).unwrap_err();
        assert_eq!((fault, fault.status().as_u16()), (HeaderFault::ContentEncoding, 415), "{value}");
    }
    let twice = headers(&[JSON, ("content-encoding", "identity"), ("content-encoding", "gzip")]);
    assert_eq!(check_headers(&twice), Err(HeaderFault::ContentEncoding));
}

#[test]
fn versions_and_sessions() {
    let read = |fields: &[(&'static str, &'static str)]| McpHead::read(&headers(fields));
    for version in Version::ALL {
        assert_eq!(read(&[("mcp-protocol-version", version.as_str())]).unwrap().version(), Some(version));
    }
    assert_eq!(read(&[]).unwrap(), McpHead::default());
    for value in ["1999-01-01", "", "2025-06-18, 2025-06-18", "2025-6-18", "draft"] {
        let fault = read(&[("mcp-protocol-version", value)]).unwrap_err();
        assert_eq!((fault, fault.status().as_u16()), (HeaderFault::UnknownVersion, 400), "{value}");
        let body = tree(std::str::from_utf8(&fault.body(None, None)).unwrap());
        let error = body.get("error").unwrap();
        assert_eq!(error.get("code"), Some(&Value::from(-32022)));
        assert_eq!(error.get("data").unwrap().get("supported").unwrap().as_array().unwrap().len(), 5);
    }
    let twice = [("mcp-protocol-version", "2025-06-18"), ("mcp-protocol-version", "2025-06-18")];
    assert_eq!(read(&twice), Err(HeaderFault::Repeated));

    assert_eq!(read(&[("mcp-session-id", "aZ~!9")]).unwrap().session(), Some("aZ~!9"));
    for value in ["", "a b", "a\tb", "\u{e9}"] {
        let fault = read(&[("mcp-session-id", value)]).unwrap_err();
        assert_eq!(fault, HeaderFault::SessionId, "{value}");
        assert!(std::str::from_utf8(&fault.body(None, None)).unwrap().contains(&INVALID_REQUEST.to_string()));
    }
    assert_eq!(read(&[("mcp-session-id", "a"), ("mcp-session-id", "a")]), Err(HeaderFault::Repeated));
    assert_eq!(head(&[("mcp-method", "a"), ("mcp-method", "a")]).method(), &Mirror::Unclear);
}

#[test]
fn forwarded_headers_say_what_was_decided() {
    let lying: Vec<(&str, &str)> = vec![
        ("content-type", "APPLICATION/JSON; charset=UTF-8"),
        ("content-encoding", "identity"),
        ("content-length", "5"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip"),
        ("x-http-method-override", "GET"),
        ("mcp-method", "tools/list"),
        ("mcp-name", "safe"),
        ("mcp-param-x", "y"),
        ("mcp-session-id", "s"),
        ("last-event-id", "4"),
        ("x-mine", "kept"),
    ];
    let mut sent = headers(&lying);
    let head = check_headers(&sent).unwrap();
    let context = Context { head: &head, session: None, session_version: None };
    let decoded = decode(call(r#"{"name":"danger"}"#).as_bytes(), &context).unwrap();
    forward_headers(&mut sent, &head, &decoded);
    let expected = headers(&[
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", "s"),
        ("x-mine", "kept"),
    ]);
    assert_eq!(sent, expected);
}

#[test]
fn modern_headers_are_made_anew() {
    let rows = [
        ("danger", "=?base64?ZGFuZ2Vy?=", "danger"),
        ("a b", "a b", "a b"),
        (" a", "=?base64?IGE=?=", "=?base64?IGE=?="),
        ("\u{e9}", "=?base64?w6k=?=", "=?base64?w6k=?="),
        ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
    ];
    for (name, said, forwarded) in rows {
        let mut sent = headers(&[
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", said),
            ("mcp-param-x", "y"),
            ("mcp-session-id", "s"),
        ]);
        let head = McpHead::read(&sent).unwrap();
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        let body = call(&format!(r#"{{"name":"{name}","arguments":{{"a":"y"}},{meta}}}"#));
        let context = Context { head: &head, session: None, session_version: None };
        let decoded = decode(body.as_bytes(), &context).unwrap_or_else(|e| panic!("{name}: {e}"));
        forward_headers(&mut sent, &head, &decoded);
        let expected = headers(&[
            JSON,
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", forwarded),
            ("mcp-param-x", "y"),
        ]);
        assert_eq!(sent, expected, "{name}");
    }
}

#[test]
fn stream_headers() {
    let mut sent = headers(&[
        ("accept", "application/json"),
        ("accept-encoding", "gzip"),
        ("mcp-session-id", "s"),
        ("last-event-id", "4"),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-method", "x"),
    ]);
    let head = McpHead::read(&sent).unwrap();
    forward_stream_headers(&mut sent, &head);
    let expected = headers(&[
        ("accept", "text/event-stream"),
        ("mcp-session-id", "s"),
        ("last-event-id", "4"),
        ("mcp-protocol-version", "2025-11-25"),
    ]);
    assert_eq!(sent, expected);
}

#[test]
fn response_forms() {
    let form = |fields: &[(&'static str, &'static str)]| ResponseForm::read(&headers(fields));
    assert_eq!(form(&[JSON]), Ok(ResponseForm::Json));
    assert_eq!(form(&[("content-type", "Text/Event-Stream; charset=utf-8")]), Ok(ResponseForm::EventStream));
    assert_eq!(form(&[]), Ok(ResponseForm::Other));
    assert_eq!(form(&[("content-type", "text/html; charset=latin1")]), Ok(ResponseForm::Other));
    assert_eq!(form(&[("content-type", "application/json; charset=utf-16")]), Err(HeaderFault::Charset));
    assert_eq!(form(&[JSON, ("content-encoding", "gzip")]), Err(HeaderFault::ContentEncoding));
    assert_eq!(form(&[JSON, ("content-type", "text/event-stream")]), Err(HeaderFault::ContentType));
}

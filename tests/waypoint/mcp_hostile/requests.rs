//! What a caller may send, row by row: refused with not one byte to the upstream, or arrived in exactly one form.

use tokio::io::AsyncWriteExt;

use super::{NOTES, server};
use crate::lab::{Lab, Reply, notes};

/// A POST of these bytes, with `headers` in place of the usual content type.
fn raw(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "POST {path} HTTP/1.1\r\nHost: tools\r\nAccept: application/json, text/event-stream\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

const JSON: &str = "Content-Type: application/json\r\n";

fn of(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
}

fn with_id(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"get_note"}}}}"#)
}

fn with_argument(argument: &str) -> String {
    of(&format!(r#"{{"name":"get_note","arguments":{{"x":{argument}}}}}"#))
}

fn utf16(text: &str, mark: bool) -> Vec<u8> {
    let mark = if mark { vec![0xff, 0xfe] } else { Vec::new() };
    mark.into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
}

async fn check(rows: Vec<(Vec<u8>, u16, i64)>) {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    for (request, status, code) in rows {
        let reply = lab.raw("agents/reader", NOTES, &request).await;
        let request = String::from_utf8_lossy(&request[..request.len().min(600)]).into_owned();
        assert_eq!(reply.status, status, "{request}\n{reply:?}");
        if code != 0 {
            assert_eq!(reply.json()["error"]["code"], code, "{request}\n{reply:?}");
        }
        assert_eq!(upstream.bytes(), 0, "{request}\n{}", upstream.seen());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_two_readers_could_read_in_two_ways() {
    let envelope = [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note"},"params":{"name":"delete_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"delete_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call","params":{"name":"delete_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"Method":"tools/call","params":{"name":"get_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"delete_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call\u0000","params":{"name":"get_note"}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note"}}]"#,
        r#"[[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note"}}]]"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"get_note"}}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"get_note"}}"#,
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"get_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note"},"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note"},"error":{"code":1,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note"},"extra":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["get_note"]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note","name":"delete_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note","arguments":{"x":1,"x":2}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled"}"#,
        "3",
        "null",
    ];
    let mut rows: Vec<_> = envelope.iter().map(|body| (raw("/mcp", JSON, body.as_bytes()), 400, -32600)).collect();
    for id in ["null", "true", "{}", "1.5", "1.0", "1e2", "-0", "9007199254740993", "[1]"] {
        rows.push((raw("/mcp", JSON, with_id(id).as_bytes()), 400, -32600));
    }
    let deep = with_argument(&format!("{}{}", "[".repeat(200), "]".repeat(200)));
    let bottomless = with_argument(&"[".repeat(200_000));
    let wide = with_argument(&format!("[{}1]", "1,".repeat(300_000)));
    for body in [deep, bottomless, wide] {
        rows.push((raw("/mcp", JSON, body.as_bytes()), 400, -32600));
    }
    check(rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_json_in_utf_8() {
    let call = with_id("1");
    let mut bodies: Vec<Vec<u8>> = vec![
        format!("\u{feff}{call}").into(),
        utf16(&call, true),
        utf16(&call, false),
        format!("{call}x").into(),
        format!("{call}\0").into(),
        format!("{call}{}", call.replace("get_note", "delete_note")).into(),
        format!("{call}\n{call}").into(),
        format!("/* */{call}").into(),
        of(r#"{"name":"get_note",}"#).into(),
        of("{\"name\":\"get_note\",\"arguments\":{\"x\":\"\n\"}}").into(),
        b"".to_vec(),
        b"{".to_vec(),
    ];
    for argument in ["NaN", "Infinity", "1e999", "01", "+1", ".5", "0x1", r#""\ud800""#, r#""\udc00\ud800""#, "'a'"] {
        bodies.push(with_argument(argument).into());
    }
    for bytes in [&b"\"\xff\""[..], b"\"\xc0\xae\"", b"\"\xed\xa0\x80\""] {
        let (start, end) = (with_argument("@"), bytes);
        let at = start.find('@').unwrap();
        bodies.push([&start.as_bytes()[..at], end, &start.as_bytes()[at + 1..]].concat());
    }
    check(bodies.iter().map(|body| (raw("/mcp", JSON, body), 400, -32700)).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_the_wrong_shape_leave_the_session_alive() {
    let params = [
        r#"{"name":"get_note","Name":"delete_note"}"#,
        r#"{"name":"get_note","\u004eame":"delete_note"}"#,
        r#"{"name":"get_note","argument\u017f":{}}"#,
        r#"{"name":"get_note","__proto__":{"name":"delete_note"}}"#,
        r#"{"name":"get_note","arguments":{"x":[{"__proto__":2}]}}"#,
        r#"{"name":"get_note\u0000"}"#,
        r#"{"name":""}"#,
        r#"{"name":5}"#,
        r#"{"arguments":{}}"#,
        r#"{"name":"get_note","arguments":"{}"}"#,
        r#"{"name":"get_note","arguments":[]}"#,
        r#"{"name":"get_note","_meta":5}"#,
        // Another name is another tool, and that one is not allowed.
        r#"{"name":" get_note"}"#,
        r#"{"name":"Get_note"}"#,
        r#"{"name":"g\u0435t_note"}"#,
    ];
    let mut rows: Vec<_> =
        params.iter().map(|params| (raw("/mcp", JSON, of(params).as_bytes()), 200, -32602)).collect();
    let lookalike = r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"get_note"}}"#;
    rows.push((raw("/mcp", JSON, lookalike.as_bytes()), 200, -32601));
    check(rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_by_which_a_server_could_read_another_body() {
    let call = with_id("1");
    let rows = [
        ("", 415),
        ("Content-Type: text/plain\r\n", 403),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 403),
        ("Content-Type: application/jsonx\r\n", 415),
        ("Content-Type: application/json-rpc\r\n", 415),
        ("Content-Type: application/vnd.x+json\r\n", 415),
        ("Content-Type: text/plain;application/json\r\n", 415),
        ("Content-Type: application/json, text/plain\r\n", 415),
        ("Content-Type: text/plain, application/json\r\n", 415),
        ("Content-Type: application/json\r\nContent-Type: application/json\r\n", 400),
        ("Content-Type: text/plain\r\nContent-Type: application/json\r\n", 400),
        ("Content-Type: application/json; charset=utf-16le\r\n", 415),
        ("Content-Type: application/json; charset=utf-7\r\n", 415),
        ("Content-Type: application/json; charset=latin1\r\n", 415),
        ("Content-Type: application/json; charset=utf-8; charset=utf-16\r\n", 415),
        ("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", 415),
        ("Content-Type: application/json\r\nContent-Encoding: deflate\r\n", 415),
        ("Content-Type: application/json\r\nContent-Encoding: identity\r\nContent-Encoding: br\r\n", 400),
        ("Content-Type: application/json\r\nMCP-Protocol-Version: 1999-01-01\r\n", 400),
        (
            "Content-Type: application/json\r\nMCP-Protocol-Version: 2025-06-18\r\nMCP-Protocol-Version: 2025-06-18\r\n",
            400,
        ),
        ("Content-Type: application/json\r\nMcp-Session-Id: a\r\nMcp-Session-Id: a\r\n", 400),
        ("Content-Type: application/json\r\nMcp-Session-Id: a b\r\n", 400),
        ("Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Content-Type: application/json\r\nContent-Length: 3\r\n", 400),
        ("Content-Type: application/json\r\nX-A: b\r\n folded\r\n", 400),
        ("Content-Type: application/json\r\nX-A : b\r\n", 400),
        ("Content-Type: application/json\nX-A: b\r\n", 400),
    ];
    check(rows.iter().map(|(headers, status)| (raw("/mcp", headers, call.as_bytes()), *status, 0)).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_hide_what_they_are() {
    let call = with_id("1");
    let mut rows: Vec<_> = ["//mcp", "/x/../mcp", "/mcp%2f", "/mcp%00", "/mcp\\x", "http://other/mcp", "*"]
        .iter()
        .map(|path| (raw(path, JSON, call.as_bytes()), 400, 0))
        .collect();
    let text = |method: &str| {
        format!(
            "{method} /mcp HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{call}",
            call.len()
        )
        .into_bytes()
    };
    rows.extend(["PUT", "PATCH", "OPTIONS", "QUERY"].map(|method| (text(method), 403, 0)));
    let upgrade = b"GET /mcp HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    rows.push((upgrade.to_vec(), 501, 0));
    check(rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_request_says_the_same_in_headers_and_body() {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let good = of(&format!(r#"{{{meta},"name":"get_note"}}"#));
    let bare = of(r#"{"name":"get_note"}"#);
    let modern = "MCP-Protocol-Version: 2026-07-28\r\n";
    let names = |method: &str, name: &str| format!("{JSON}{modern}Mcp-Method: {method}\r\nMcp-Name: {name}\r\n");
    let rows = [
        (format!("{JSON}{modern}Mcp-Name: get_note\r\n"), &good, -32020),
        (format!("{JSON}{modern}Mcp-Method: tools/call\r\n"), &good, -32020),
        (names("tools/call", "delete_note"), &good, -32020),
        (names("ping", "get_note"), &good, -32020),
        (names("TOOLS/CALL", "get_note"), &good, -32020),
        (names("tools/call", "get_note\r\nMcp-Name: get_note"), &good, 0),
        (names("tools/call", "=?BASE64?Z2V0X25vdGU=?="), &good, -32020),
        (names("tools/call", "=?base64?ZGVsZXRlX25vdGU=?="), &good, -32020),
        (format!("{JSON}MCP-Protocol-Version: 2025-06-18\r\n"), &good, -32020),
        (JSON.to_owned(), &good, -32020),
        (names("tools/call", "get_note"), &bare, -32602),
    ];
    check(rows.iter().map(|(headers, body, code)| (raw("/mcp", headers, body.as_bytes()), 400, *code)).collect()).await;

    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    // A session id means nothing here: it is neither looked up nor sent on.
    let headers = format!("{}Mcp-Session-Id: another-callers\r\n", names("tools/call", "=?base64?Z2V0X25vdGU=?="));
    let reply = lab.raw("agents/reader", NOTES, &raw("/mcp", &headers, good.as_bytes())).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(seen.contains("mcp-name: get_note\r\n") && seen.contains("mcp-method: tools/call\r\n"), "{seen}");
    assert!(!seen.contains("mcp-session-id"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_arrives_in_one_form() {
    let plain = of(r#"{"name":"get_note"}"#);
    let bodies = [
        (
            r#" { "jsonrpc" : "2.0" , "id":1, "m\u0065thod":"\u0074ools\/call", "params":{"name":"g\u0065t_note"} } "#
                .to_owned(),
            plain.clone(),
        ),
        (of(r#"{"name":"get_note","arguments":null}"#), plain.clone()),
        (with_argument("1234567890123456789012345678901"), with_argument("1234567890123456789012345678901")),
        (with_argument("1.10e2"), with_argument("1.10e2")),
        (with_argument(r#"{"name":"delete_note","Method":1}"#), with_argument(r#"{"name":"delete_note","Method":1}"#)),
        (with_argument(r#""\u00e9\ud83d\ude00""#), with_argument("\"é😀\"")),
    ];
    for (sent, arrives) in bodies {
        let upstream = server().await;
        let lab = Lab::start(&notes(upstream.addr)).await;
        let reply = lab.raw("agents/reader", NOTES, &raw("/mcp", JSON, sent.as_bytes())).await;
        assert_eq!(reply.status, 200, "{sent} {reply:?}");
        assert!(upstream.seen().ends_with(&format!("\r\n\r\n{arrives}")), "{sent}\n{}", upstream.seen());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_arrive_in_one_form() {
    let call = of(r#"{"name":"get_note"}"#);
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let headers = "Content-Type: APPLICATION/JSON ; Charset=\"UTF-8\"\r\nContent-Encoding: identity\r\nX-HTTP-Method-Override: DELETE\r\nMcp-Method: tools/list\r\nMcp-Name: safe\r\nMcp-Param-X: 1\r\nLast-Event-ID: 5\r\nAccept-Encoding: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\nConnection: upgrade, http2-settings, x-mine\r\nX-Mine: 1\r\nX-Envoy-Peer: 1\r\nX-Forwarded-Client-Cert: By=spiffe://x\r\n";
    let reply = lab.raw("agents/reader", NOTES, &raw("/%6dcp?a=%41", headers, call.as_bytes())).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(seen.starts_with("post /mcp?a="), "{seen}");
    assert!(seen.contains("content-type: application/json\r\n") && seen.contains("host: tools\r\n"), "{seen}");
    for gone in [
        "override",
        "mcp-method",
        "mcp-name",
        "mcp-param",
        "last-event",
        "encoding",
        "upgrade",
        "http2",
        "x-mine",
        "x-envoy",
        "client-cert",
    ] {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn framings_of_one_body_are_one() {
    let call = of(r#"{"name":"get_note"}"#);
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let (front, back) = call.split_at(20);
    let chunked = format!(
        "POST /mcp HTTP/1.1\r\nHost: tools\r\n{JSON}Transfer-Encoding: chunked\r\nTrailer: Mcp-Name\r\n\r\n{:x};a=b\r\n{front}\r\n{:x}\r\n{back}\r\n0\r\nMcp-Name: safe\r\n\r\n",
        front.len(),
        back.len()
    );
    let reply = lab.raw("agents/reader", NOTES, chunked.as_bytes()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(seen.ends_with(&call) && seen.contains("content-length") && !seen.contains("mcp-name"), "{seen}");

    let mut stream = lab.tunnel("agents/reader", NOTES).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: tools\r\n{JSON}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        call.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut consent = [0; 25];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut consent).await.unwrap();
    assert!(consent.starts_with(b"HTTP/1.1 100 "), "{:?}", String::from_utf8_lossy(&consent));
    stream.write_all(call.as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.status, 200);
    assert!(!upstream.seen().to_ascii_lowercase().contains("expect"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_each_decided_on() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let mut stream = lab.tunnel("agents/reader", NOTES).await.unwrap();
    let refused = raw("/mcp", JSON, with_id("1").replace("get_note", "delete_note").as_bytes());
    let allowed = raw("/mcp", JSON, with_id("2").as_bytes());
    stream.write_all(&[refused.clone(), allowed, refused].concat()).await.unwrap();
    let mut text = String::new();
    while text.matches("HTTP/1.1 200").count() < 3 || !text.trim_end().ends_with('}') {
        let mut chunk = [0; 4096];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut chunk).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    let order: Vec<_> = ["\"id\":1", "\"id\":2"].map(|id| text.find(id).unwrap()).to_vec();
    assert!(order[0] < order[1] && text.contains("\"ok\""), "{text}");
    assert!(!upstream.seen().contains("delete_note"), "{}", upstream.seen());
}

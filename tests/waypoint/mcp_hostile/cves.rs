//! What others were found to let through, by the number each was given.

use std::fmt::Write as _;

use serde_json::{Value, json as value};
use tokio::io::AsyncWriteExt;

use super::{CALL, HELLO, NOTES, VERSION, server, session};
use crate::lab::{Lab, json, notes};

/// The Go SDK read `Name` as `name`: a filter before it saw another call, or none.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_27896_keys_in_another_case() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let session = session(&lab, "agents/reader").await;
    let before = upstream.bytes();
    for (own, other) in [("\"name\"", "\"Name\""), ("\"method\"", "\"Method\""), ("\"params\"", "\"PARAMS\"")] {
        let twin = CALL.replacen(own, &format!("{other}:\"delete_note\",{own}"), 1);
        for body in [CALL.replacen(own, other, 1), twin] {
            let reply = lab.post("agents/reader", NOTES, &session, &body).await;
            assert!(reply.status == 400 || reply.json()["error"].is_object(), "{body}: {reply:?}");
        }
    }
    // Folded, these are `k` and `s` to a reader that ignores case.
    for (own, other) in [("params", "param\u{17f}"), ("jsonrpc", "j\u{17f}onrpc")] {
        let reply = lab.post("agents/reader", NOTES, &session, &CALL.replacen(own, other, 1)).await;
        assert_eq!(reply.status, 400, "{other}: {reply:?}");
    }
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
}

/// A page sends what needs no leave of the server: a form's or a text's media type. Servers took JSON in it.
#[tokio::test(flavor = "multi_thread")]
async fn go_2026_4770_and_4773_requests_from_other_sites() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain;application/json"]
    {
        let length = HELLO.len();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: t\r\nOrigin: https://evil.example\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{HELLO}"
        );
        let reply = lab.raw("agents/reader", NOTES, request.as_bytes()).await;
        assert!(matches!(reply.status, 400 | 403 | 415), "{kind}: {reply:?}");
    }
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
}

/// A name that is made to lead to a server on this host. Nobody is let in by such a name here; the leave that a browser
/// asks for is not given, and the server that checks `Host` and `Origin` gets them as they were sent.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_66414_66416_2026_34742_35568_63118_rustsec_2026_0189_names_that_lead_elsewhere() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let asked = "OPTIONS /mcp HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n";
    let reply = lab.raw("agents/reader", NOTES, asked.as_bytes()).await;
    assert!(reply.status >= 400 && reply.header("access-control-allow-origin").is_none(), "{reply:?}");
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{HELLO}",
        HELLO.len()
    );
    assert_eq!(lab.raw("agents/stranger", NOTES, request.as_bytes()).await.status, 403);
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    assert_eq!(lab.raw("agents/reader", NOTES, request.as_bytes()).await.status, 200);
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(
        seen.contains("\r\nhost: evil.example\r\n") && seen.contains("\r\norigin: http://evil.example\r\n"),
        "{seen}"
    );
}

/// Ids of sessions that could be guessed, and were good for whoever sent them.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_6515_and_2026_33946_ids_of_sessions() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let theirs = session(&lab, "agents/reader").await;
    let again = session(&lab, "agents/reader").await;
    assert_ne!(theirs, again, "the server calls both s-1, and nobody could tell them apart");
    let before = upstream.bytes();
    let id = theirs.lines().find_map(|line| line.strip_prefix("Mcp-Session-Id: ")).unwrap_or(&theirs).to_owned();
    for guess in ["s-1", "s-2", "1", id.get(1..).unwrap(), &id.to_ascii_uppercase()] {
        let headers = format!("Mcp-Session-Id: {guess}\r\nMCP-Protocol-Version: {VERSION}\r\n");
        assert_eq!(lab.post("agents/reader", NOTES, &headers, CALL).await.status, 404, "{guess}");
    }
    assert_eq!(lab.post("agents/writer", NOTES, &theirs, CALL).await.status, 404, "another caller's");
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
    assert_eq!(lab.post("agents/reader", NOTES, &theirs, CALL).await.status, 200);
}

/// A session goes on in the version that was agreed on: an older one, with fewer checks, is not to be had by a header.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_11719_an_older_version_by_a_header() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let theirs = session(&lab, "agents/reader").await;
    assert!(theirs.contains(VERSION), "{theirs}");
    let before = upstream.bytes();
    for version in ["2024-11-05", "2025-03-26", "2026-07-28", "1.0"] {
        let reply = lab.post("agents/reader", NOTES, &theirs.replace(VERSION, version), CALL).await;
        assert_eq!(reply.status, 400, "{version}: {reply:?}");
    }
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
}

/// What a tool is called with became path, query and headers of another request.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_29791_arguments_stay_in_the_body() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let theirs = session(&lab, "agents/reader").await;
    let before = upstream.seen().len();
    let arguments =
        value!({"id": "1\r\nx-evil: 1\r\n\r\nGET /admin HTTP/1.1", "path": "../../admin?x=y#z", "x-evil": "1"});
    let body =
        value!({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_note","arguments":arguments}});
    assert_eq!(lab.post("agents/reader", NOTES, &theirs, &body.to_string()).await.status, 200);
    let seen = upstream.seen();
    let (head, sent) = seen.get(before..).unwrap().split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /mcp HTTP/1.1\r\n") && !head.contains("evil") && !head.contains("admin"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(sent).unwrap()["params"]["arguments"], arguments);
    for name in ["get_note\r\nx-evil: 1", "get_note\u{0}"] {
        let body = value!({"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":name}});
        let before = upstream.bytes();
        let reply = lab.post("agents/reader", NOTES, &theirs, &body.to_string()).await;
        assert!(reply.status == 400 || reply.json()["error"].is_object(), "{name:?}: {reply:?}");
        assert_eq!(upstream.bytes(), before, "{name:?}");
    }
}

/// Depth that ends the reader's stack, when it is read or when it is dropped; and bytes that become more.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_48042_and_48044_depth_and_compression() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let theirs = session(&lab, "agents/reader").await;
    let before = upstream.bytes();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
        for body in [CALL.replace("{\"id\":1}", &format!("{{\"id\":{deep}}}")), deep] {
            assert_eq!(lab.post("agents/reader", NOTES, &theirs, &body).await.status, 400, "{open}");
        }
    }
    for coding in ["gzip", "deflate", "br", "zstd", "identity, gzip"] {
        let headers = format!("{theirs}Content-Encoding: {coding}\r\n");
        assert_eq!(lab.post("agents/reader", NOTES, &headers, CALL).await.status, 415, "{coding}");
    }
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
    assert_eq!(lab.post("agents/reader", NOTES, &theirs, CALL).await.status, 200);
}

/// A caller that is gone in the middle of what it sends: nothing of it is read any more, and others are served.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_26311_gone_in_the_middle_of_a_body() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let theirs = session(&lab, "agents/reader").await;
    let before = upstream.bytes();
    for cut in [1, CALL.len() / 2, CALL.len() - 1] {
        let mut tunnel = lab.tunnel("agents/reader", NOTES).await.unwrap();
        let mut request = String::new();
        write!(
            request,
            "POST /mcp HTTP/1.1\r\nHost: t\r\n{theirs}Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{}",
            CALL.len(),
            CALL.get(..cut).unwrap()
        )
        .unwrap();
        tunnel.write_all(request.as_bytes()).await.unwrap();
        drop(tunnel);
    }
    assert_eq!(lab.post("agents/reader", NOTES, &theirs, CALL).await.status, 200);
    let sent = upstream.bytes() - before;
    assert_eq!(upstream.seen().matches("tools/call").count(), 1, "{sent}: {}", upstream.seen());
}

/// A header by which a gateway let callers say where a call goes to.
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_g53w_w6mj_hrpp_no_header_leads_elsewhere() {
    let (upstream, elsewhere) = (server().await, server().await);
    let lab = Lab::start(&notes(upstream.addr)).await;
    for name in
        ["Mcp-Init-Host", "X-Forwarded-Host", "X-Host", "X-Original-URL", "X-Rewrite-URL", "X-Envoy-Original-Dst-Host"]
    {
        let before = upstream.bytes();
        let headers = format!("{name}: {}\r\nRouter-Key: secret-api-key\r\n", elsewhere.addr);
        assert_eq!(lab.post("agents/reader", NOTES, &headers, HELLO).await.status, 200, "{name}");
        assert!(upstream.bytes() > before, "{name}");
        assert_eq!(lab.post("agents/stranger", NOTES, &headers, HELLO).await.status, 403, "{name}");
    }
    assert_eq!(elsewhere.bytes(), 0);
}

/// An answer that holds two: which one counts is not for a reader to choose.
#[tokio::test(flavor = "multi_thread")]
async fn two_answers_in_one() {
    let answer = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"second"}]}}"#;
    let upstream = crate::lab::Upstream::start(|_, _| json(answer)).await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let reply = lab.post("agents/reader", NOTES, "", CALL).await;
    assert!(!reply.body.contains("second") && !reply.body.contains("\"content\""), "{reply:?}");
}

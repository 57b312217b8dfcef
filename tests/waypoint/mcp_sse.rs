//! HTTP+SSE of 2024-11-05: requests go to an address that the stream says, answers come on the stream.

use tokio::io::AsyncWriteExt;

use crate::lab::{self, Lab, notes};
use crate::live::{Held, Live};
use agent_waypoint::hbone;

const NOTES: &str = "127.0.9.1:80";
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn call(id: u8, tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

pub(crate) async fn begin(lab: &Lab, live: &mut Live, who: &str, endpoint: &str) -> (hbone::Stream, Held) {
    let mut caller = lab.tunnel(who, NOTES).await.unwrap();
    caller.write_all(b"GET /sse HTTP/1.1\r\nHost: tools\r\nAccept: text/event-stream\r\n\r\n").await.unwrap();
    let mut held = live.next().await;
    held.begin_events().await;
    held.chunk(&format!("event: endpoint\ndata: {endpoint}\n\n")).await;
    (caller, held)
}

/// The address that the stream says.
pub(crate) async fn address(caller: &mut hbone::Stream) -> String {
    let mut text = lab::read_until(caller, "session=").await;
    while !text.split("session=").last().unwrap().contains("\n\n") {
        text += &lab::read_until(caller, "\n").await;
    }
    let line = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned();
    assert!(line.starts_with("/agent-waypoint/messages?session=") && !text.contains("s3cret"), "{text}");
    line
}

pub(crate) async fn post(lab: &Lab, who: &str, target: &str, body: &str) -> lab::Reply {
    let request = lab::post("", body).replacen("/mcp", target, 1);
    lab.raw(who, NOTES, request.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_refusals_come_on_the_stream() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let (mut caller, mut held) = begin(&lab, &mut live, "agents/reader", "/messages?sessionId=s3cret").await;
    let at = &address(&mut caller).await;
    let take = async {
        let mut taken = live.next().await;
        assert!(taken.head.starts_with("POST /messages?sessionId=s3cret "), "{}", taken.head);
        taken.write(ACCEPTED).await;
        taken.id()
    };
    let allowed = call(1, "get_note");
    let (reply, sent) = tokio::join!(post(&lab, "agents/reader", at, &allowed), take);
    assert_eq!(reply.status, 202, "{reply:?}");
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"here"}]}}"#;
    held.message(&answer.replace('1', &sent)).await;
    assert!(lab::read_until(&mut caller, "here").await.contains("\"id\":1"));
    // Clients of this transport read no answer but the stream's.
    assert_eq!(post(&lab, "agents/reader", at, &call(2, "delete_note")).await.status, 202);
    let refused = lab::read_until(&mut caller, "\"id\":2").await;
    assert!(refused.contains("Unknown tool: delete_note"), "{refused}");
    // Lists are filtered there too.
    let list = r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#;
    let take = async {
        let mut taken = live.next().await;
        taken.write(ACCEPTED).await;
        taken.id()
    };
    let (_, sent) = tokio::join!(post(&lab, "agents/reader", at, list), take);
    let listed = r#"{"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"get_note"},{"name":"delete_note"}]}}"#;
    held.message(&listed.replace('3', &sent)).await;
    let listed = lab::read_until(&mut caller, "\"id\":3").await;
    assert!(listed.contains("get_note") && !listed.contains("delete_note"), "{listed}");
    // What was never asked is nobody's answer.
    held.message(r#"{"jsonrpc":"2.0","id":9,"result":{"content":[{"type":"text","text":"unasked"}]}}"#).await;
    held.message(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"end"}}"#).await;
    assert!(!lab::read_until(&mut caller, "\"end\"").await.contains("unasked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_its_callers_for_as_long_as_the_stream() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let (mut caller, _held) = begin(&lab, &mut live, "agents/reader", "messages?sessionId=s3cret").await;
    let at = &address(&mut caller).await;
    for target in [
        &**at,
        at.get(..at.len() - 1).unwrap(),
        "/agent-waypoint/messages",
        "/messages?sessionId=s3cret",
        "/messages?x=1&sessionId=s3cret",
        "/messages?session_id=s3cret",
        "/messages?%73essionId=s3cret",
        "/messages?sessionId=other",
    ] {
        let theirs = post(&lab, "agents/writer", target, &call(1, "get_note")).await;
        assert_eq!(theirs.status, 404, "{target}: {theirs:?}");
    }
    assert_eq!(post(&lab, "agents/reader", "/messages?sessionId=s3cret", &call(1, "get_note")).await.status, 404);
    assert!(live.is_quiet().await);
    drop(caller);
    let began = std::time::Instant::now();
    while post(&lab, "agents/reader", at, "{}").await.status != 404 {
        assert!(began.elapsed() < lab::PATIENCE, "the session outlives its stream");
    }
}

/// A server of this transport knows a session by the address alone: no header leads past it, nor does another spelling.
#[tokio::test(flavor = "multi_thread")]
async fn no_header_leads_past_an_address() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let (mut caller, _held) = begin(&lab, &mut live, "agents/reader", "/messages?sessionId=s3cret").await;
    address(&mut caller).await;
    let (mut other, _other) = begin(&lab, &mut live, "agents/reader", "/messages/s3cret").await;
    address(&mut other).await;
    let (mut odd, _odd) = begin(&lab, &mut live, "agents/reader", "/odd?sid=s3cret").await;
    address(&mut odd).await;
    let hello =
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
    let begun = async {
        let body = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
        live.next().await.write(lab::with("Mcp-Session-Id: w-1\r\nConnection: close\r\n", body).as_bytes()).await;
    };
    let (begun, ()) = tokio::join!(lab.post("agents/writer", NOTES, "", hello), begun);
    assert_eq!(begun.status, 200, "{begun:?}");
    let modern = call(1, "get_note")
        .replace("\"params\":{", "\"params\":{\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"},");
    let plain = call(1, "get_note");
    for (headers, body) in [
        ("", &plain),
        (&begun.session("2025-11-25"), &plain),
        ("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: get_note\r\n", &modern),
    ] {
        for target in [
            "/messages?sessionId=s3cret",
            "/messages/s3cret",
            "/messages/s3cret/",
            "/Messages/s3cret",
            "/messages/s3cret?x=1",
            "/odd?sid=s3cret",
            "/odd?sid=s3cret&x=1",
            "/odd?x=1&sid=s3cret",
            "/Odd/?sid=s3cret",
        ] {
            let request = lab::post(headers, body).replacen("/mcp", target, 1);
            let theirs = lab.raw("agents/writer", NOTES, request.as_bytes()).await;
            assert_eq!(theirs.status, 404, "{headers}{target}: {theirs:?}");
        }
    }
    assert!(live.is_quiet().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_elsewhere_reaches_nobody() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    for endpoint in
        ["http://evil.example/messages?sessionId=1", "//evil.example/m", "https://tools/m", "/\\evil.example/m"]
    {
        let (mut caller, mut held) = begin(&lab, &mut live, "agents/reader", endpoint).await;
        held.chunk_or_closed(":\n\n").await;
        held.chunk_or_closed(
            "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":\"end\"}}\n\n",
        )
        .await;
        let text = lab::read_until(&mut caller, "\"end\"").await;
        assert!(!text.contains("evil") && !text.contains("endpoint"), "{endpoint}: {text}");
    }
}

/// Servers of this transport do not ask what a GET accepts. One that does not say so is plain HTTP, and no way past the
/// stream that is read here.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_not_asked_for_as_one_does_not_pass() {
    let upstream = lab::Upstream::start(|head, _body| {
        if head.starts_with("GET /health") {
            return lab::json("{}");
        }
        lab::events("event: endpoint\ndata: /m/s3cret\n\n")
    })
    .await;
    let documents =
        notes(upstream.addr).trim_end().to_owned() + "\n  - name: gets\n    to: [{http: {methods: [GET]}}]\n";
    let lab = Lab::start(&documents).await;
    for accept in ["", "Accept: */*\r\n", "Accept: text/*\r\n"] {
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: tools\r\n{accept}\r\n");
        assert_eq!(lab.raw("agents/reader", NOTES, get("/health").as_bytes()).await.status, 200);
        let reply = lab.raw("agents/reader", NOTES, get("/sse").as_bytes()).await;
        assert!(reply.status == 502 && !format!("{reply:?}").contains("s3cret"), "{reply:?}");
    }
}

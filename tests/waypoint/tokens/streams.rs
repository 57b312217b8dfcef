//! Streams end with the token that they were begun with; one whole answer does not.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{NOTES, idp, inline};
use crate::lab::{self, Lab, PATIENCE, notes, post, service, with};
use crate::live::{Held, Live};
use crate::mcp_hostile::sessions::Tokens;
use crate::plain_ports::http::WEB;
use agent_waypoint::hbone;

const EVENT: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_note"}}"#;
const LISTEN: &str = r#"{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"},"notifications":{"toolsListChanged":true}}}"#;
const WAY: &str = "127.0.9.14:80";
/// Who is called takes no tokens; whom its route leads to does.
const LED: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: way, namespace: tools}
spec:
  parentRefs: [{group: '', kind: Service, name: way, port: 80}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
";
const MODERN: &str = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\n";

/// A token that has ended already but for what clocks may differ by: a few seconds are left of it.
fn ending(tokens: &Tokens) -> String {
    format!("Authorization: Bearer {}\r\n", tokens.sign("https://idp", "alice", "", -50))
}

async fn send(lab: &Lab, live: &mut Live, at: &str, request: &str) -> (hbone::Stream, Held) {
    let mut caller = lab.tunnel("agents/reader", at).await.unwrap();
    caller.write_all(request.as_bytes()).await.unwrap();
    let held = live.next().await;
    (caller, held)
}

/// The stream ends on both sides, not at once, and its caller can see that it is not whole.
async fn ends(what: &str, began: Instant, (mut caller, mut held): (hbone::Stream, Held)) {
    let mut rest = Vec::new();
    let reading = caller.read_to_end(&mut rest);
    drop(tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{what} goes on")));
    assert!(began.elapsed() > Duration::from_secs(2), "{what} ended after {:?}", began.elapsed());
    assert!(!String::from_utf8_lossy(&rest).ends_with("0\r\n\r\n"), "{what} must not look whole");
    assert!(held.closed(PATIENCE).await, "the server's side of {what} goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_the_token_that_they_were_begun_with() {
    let mut live = Live::start().await;
    let tokens = Tokens::new();
    let documents = format!(
        "{}---\n{}---\n{}---\n{}---\n{}---\n{LED}",
        notes(live.addr),
        idp("notes", &inline(&tokens, "")),
        service("web", "127.0.9.2", live.addr, "http"),
        idp("web", &inline(&tokens, "")).replace("name: idp", "name: web"),
        service("way", "127.0.9.14", live.addr, "http"),
    );
    let lab = Lab::start(&documents).await;
    let (began, token) = (Instant::now(), ending(&tokens));
    let get = format!("GET /mcp HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n{token}\r\n");
    let mut streams = Vec::new();
    for (what, at, request) in [
        ("the server's own stream", NOTES, get),
        ("a call's stream", NOTES, post(&token, CALL)),
        ("what is listened to", NOTES, post(&format!("{MODERN}{token}"), LISTEN)),
        ("a plain stream of events", WEB, format!("GET /events HTTP/1.1\r\nHost: t\r\n{token}\r\n")),
        (
            "a stream that a route leads to who takes tokens",
            WAY,
            format!("GET /led HTTP/1.1\r\nHost: t\r\n{token}\r\n"),
        ),
    ] {
        let (mut caller, mut held) = send(&lab, &mut live, at, &request).await;
        held.begin_events().await;
        held.message(EVENT).await;
        lab::read_until(&mut caller, "notifications/message").await;
        streams.push((what, caller, held));
    }
    let upgrade = format!(
        "GET /chat HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{token}\r\n"
    );
    let (mut caller, mut held) = send(&lab, &mut live, WEB, &upgrade).await;
    held.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello").await;
    lab::read_until(&mut caller, "hello").await;
    streams.push(("a WebSocket", caller, held));
    // Without a token nothing ends.
    let (mut open, mut going) = send(&lab, &mut live, NOTES, &post("", CALL)).await;
    going.begin_events().await;
    for (what, caller, held) in streams {
        ends(what, began, (caller, held)).await;
    }
    going.message(EVENT).await;
    lab::read_until(&mut open, "notifications/message").await;
}

/// What the call did is done: its caller gets the answer that says so.
#[tokio::test(flavor = "multi_thread")]
async fn one_whole_answer_may_come_after_the_tokens_end() {
    let mut live = Live::start().await;
    let tokens = Tokens::new();
    let lab = Lab::start(&format!("{}---\n{}", notes(live.addr), idp("notes", &inline(&tokens, "")))).await;
    let token = ending(&tokens);
    let (mut caller, mut held) = send(&lab, &mut live, NOTES, &post(&token, CALL)).await;
    let refused = async || lab.post("agents/reader", NOTES, &token, "{").await.status == 401;
    lab::eventually("the token ends", refused).await;
    held.write(with("", r#"{"jsonrpc":"2.0","id":7,"result":{"content":["done"]}}"#).as_bytes()).await;
    lab::read_until(&mut caller, "done").await;
}

/// The Service that a route leads to takes the token, and the one that was called takes none.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_that_another_service_took() {
    let (mut live, tokens) = (Live::start().await, Tokens::new());
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: tools}\nspec:\n  parentRefs: [{group: '', kind: Service, name: web}]\n  rules: [{backendRefs: [{name: next, port: 80}]}]\n";
    let documents = format!(
        "{}---\n{}---\n{}---\n{route}",
        service("web", "127.0.9.2", live.addr, "http"),
        service("next", "127.0.9.28", live.addr, "http"),
        idp("next", &inline(&tokens, "")),
    );
    let lab = Lab::start(&documents).await;
    let (began, token) = (Instant::now(), ending(&tokens));
    let request = format!("GET /events HTTP/1.1\r\nHost: t\r\n{token}\r\n");
    let (mut caller, mut held) = send(&lab, &mut live, WEB, &request).await;
    held.begin_events().await;
    held.message(EVENT).await;
    lab::read_until(&mut caller, "notifications/message").await;
    ends("a stream that was led", began, (caller, held)).await;
}

//! Streams that last: what is still permitted goes on, what is not ends, and whoever goes away is missed.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{CALL, HELLO, LIST, NOTES, VERSION};
use crate::lab::{self, Lab, json, notes, post, with};
use crate::live::{Held, Live};
use agent_waypoint::hbone;

const SECOND: Duration = Duration::from_secs(1);
const EVENT: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;

/// A call of `get_note` whose answer streams, and its caller's end.
async fn streaming(lab: &Lab, live: &mut Live, body: &str) -> (hbone::Stream, Held) {
    let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
    caller.write_all(post("", body).as_bytes()).await.unwrap();
    let mut held = live.next().await;
    held.begin_events().await;
    held.message(EVENT).await;
    lab::read_until(&mut caller, "notifications/message").await;
    (caller, held)
}

/// Reads to the end: what came, and whether the body was whole.
async fn read_to_end(caller: &mut hbone::Stream) -> (String, bool) {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = tokio::time::timeout(lab::PATIENCE, caller.read(&mut chunk)).await.expect("an end in time")
    {
        read.extend_from_slice(&chunk[..n]);
    }
    let text = String::from_utf8_lossy(&read).into_owned();
    let whole = text.ends_with("0\r\n\r\n");
    (text, whole)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_ends_what_it_refuses_and_nothing_else() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let (mut caller, mut held) = streaming(&lab, &mut live, CALL).await;
    let edited = notes(live.addr).replace("\"delete_*\"]}]\n  require", "\"delete_*\", \"drop_*\"]}]\n  require");
    assert_ne!(edited, notes(live.addr));
    lab.edit(&edited).await;
    held.message(&EVENT.replace("info", "still")).await;
    lab::read_until(&mut caller, "still").await;

    lab.edit(&notes(live.addr).replace("\"agents/reader\", ", "")).await;
    let (_, whole) = read_to_end(&mut caller).await;
    assert!(!whole, "it must not look whole");
    assert!(held.closed(lab::PATIENCE).await, "the upstream still streams");
}

/// A server that floods its client with requests and takes no answer must not keep a revoked stream alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_server_requests_does_not_outlive_the_permit() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let (mut caller, mut held) = streaming(&lab, &mut live, CALL).await;
    let flood: String = (0..500)
        .map(|n| format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{n},\"method\":\"sampling/createMessage\"}}\n\n"))
        .collect();
    held.chunk(&flood).await;
    let _unanswered = live.next().await;
    lab.edit(&notes(live.addr).replace("\"agents/reader\", ", "")).await;
    let (text, _) = read_to_end(&mut caller).await;
    assert!(!text.contains("sampling"), "{text}");
    assert!(live.is_quiet().await, "answers went out side by side");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_server_are_answered_in_the_clients_stead() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let (mut caller, mut held) = streaming(&lab, &mut live, CALL).await;
    for (method, answer) in [
        ("elicitation/create", r#"{"jsonrpc":"2.0","id":"q","error":{"code":-32601,"message":"Method not found"}}"#),
        ("ping", r#"{"jsonrpc":"2.0","id":"q","result":{}}"#),
    ] {
        held.message(&format!(r#"{{"jsonrpc":"2.0","id":"q","method":"{method}"}}"#)).await;
        let mut answered = live.next().await;
        assert!(answered.head.starts_with("POST /mcp HTTP/1.1"), "{}", answered.head);
        assert_eq!(answered.body, answer);
        answered.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    }
    held.message(r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#).await;
    let text = lab::read_until(&mut caller, "content").await;
    assert!(!text.contains("elicitation") && !text.contains("ping"), "{text}");
}

/// The fields of a GET go into the answers to what comes on its stream: none may make another request of them.
#[tokio::test(flavor = "multi_thread")]
async fn answers_in_the_clients_stead_carry_only_fields_that_fit() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
    let get = "GET /mcp HTTP/1.1\r\nHost: tools\r\nAccept: text/event-stream\r\nX-HTTP-Method-Override: DELETE\r\nContent-Encoding: gzip\r\nMcp-Method: tools/call\r\nLast-Event-ID: 3\r\n\r\n";
    caller.write_all(get.as_bytes()).await.unwrap();
    let mut held = live.next().await;
    held.begin_events().await;
    held.message(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    let answered = live.next().await;
    let head = answered.head.to_ascii_lowercase();
    assert!(head.starts_with("post /mcp") && head.contains("content-type: application/json"), "{head}");
    for gone in ["override", "encoding", "mcp-method", "last-event"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_flight_is_filtered_by_the_rules_in_force_when_it_comes() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let (mut caller, mut held) = streaming(&lab, &mut live, LIST).await;
    let edited = notes(live.addr).replace("[\"get_*\", \"delete_*\"]", "[\"other\"]");
    lab.edit(&edited).await;
    held.message(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_note"},{"name":"other"}]}}"#).await;
    held.write(b"0\r\n\r\n").await;
    let text = lab::read_until(&mut caller, "0\r\n\r\n").await;
    assert!(text.contains("other") && !text.contains("get_note"), "{text}");
}

/// In the middle of a session a 4xx answer would cost a client all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_revoked_before_its_answer_is_refused_like_any_other() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let begin = async {
        let body = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;
        live.next().await.write(with("Mcp-Session-Id: s-1\r\nConnection: close\r\n", body).as_bytes()).await;
    };
    let (hello, ()) = tokio::join!(lab.post("agents/reader", NOTES, "", HELLO), begin);
    let session = hello.session(VERSION);
    let revoke = async {
        let mut held = live.next().await;
        let only_lists = notes(live.addr).replace("[\"get_*\", \"delete_*\"]", "[\"other\"]");
        lab.edit(&only_lists).await;
        let answer = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"s3cret"}]}}"#;
        held.write(json(&answer.replace('7', &held.id())).as_bytes()).await;
    };
    let (reply, ()) = tokio::join!(lab.post("agents/reader", NOTES, &session, CALL), revoke);
    assert_eq!((reply.status, &reply.json()["id"]), (200, &serde_json::json!(7)), "{reply:?}");
    assert!(reply.json()["error"]["code"].is_i64() && !reply.body.contains("s3cret"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_is_missed_at_once() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let (caller, mut held) = streaming(&lab, &mut live, CALL).await;
    drop(caller);
    assert!(held.closed(lab::PATIENCE).await, "a stream outlives its caller");
    // Neither is an answer awaited that nobody wants.
    let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
    caller.write_all(post("", CALL).as_bytes()).await.unwrap();
    let mut held = live.next().await;
    drop(caller);
    assert!(held.closed(lab::PATIENCE).await, "a call outlives its caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_only_stopped_sending_gets_its_answer() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
    caller.write_all(post("", CALL).as_bytes()).await.unwrap();
    caller.shutdown().await.unwrap();
    let mut held = live.next().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answer = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;
    held.write(with("Connection: close\r\n", answer).as_bytes()).await;
    lab::read_until(&mut caller, "\"content\"").await;
    // Once it resets what it half closed, it is gone.
    let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
    caller.write_all(post("", CALL).as_bytes()).await.unwrap();
    caller.shutdown().await.unwrap();
    let mut held = live.next().await;
    drop(caller);
    assert!(held.closed(lab::PATIENCE).await, "a call outlives its caller's connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_inside_the_tunnel_is_the_same_mcp() {
    let upstream = super::server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let io = hyper_util::rt::TokioIo::new(lab.tunnel("agents/reader", NOTES).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let ask = |body: String| {
        let mut sender = sender.clone();
        async move {
            let request = http::Request::post("http://tools/mcp")
                .header("content-type", "application/json")
                .body(http_body_util::Full::new(bytes::Bytes::from(body)))
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            let status = response.status().as_u16();
            let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
            (status, String::from_utf8_lossy(&body).into_owned())
        }
    };
    let (refused, listed, called) =
        tokio::join!(ask(CALL.replace("get_note", "delete_note")), ask(LIST.to_owned()), ask(CALL.to_owned()));
    assert!(refused.0 == 200 && refused.1.contains("-32602"), "{refused:?}");
    assert!(listed.1.contains("get_note") && !listed.1.contains("delete_note"), "{listed:?}");
    assert!(called.0 == 200 && called.1.contains("ok"), "{called:?}");
    let (status, body) = ask(CALL.replace("\"id\":7", "\"id\":7,\"id\":8")).await;
    assert!(status == 400 && body.contains("-32600"), "{status} {body}");
    assert!(!upstream.seen().contains("delete_note"), "{}", upstream.seen());
}

/// Another policy, other lists: whoever listens to a server that tells of changes hears of this one.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_a_change_of_lists() {
    for (capabilities, tells) in [(r#"{"tools":{"listChanged":true}}"#, true), (r#"{"tools":{}}"#, false)] {
        let mut live = Live::start().await;
        let lab = Lab::start(&notes(live.addr)).await;
        let hello = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":CAPABILITIES}}"#
            .replace("CAPABILITIES", capabilities);
        let begin = async {
            live.next().await.write(with("Mcp-Session-Id: s-1\r\nConnection: close\r\n", &hello).as_bytes()).await;
        };
        let (begun, ()) = tokio::join!(lab.post("agents/reader", NOTES, "", HELLO), begin);
        let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
        let get =
            format!("GET /mcp HTTP/1.1\r\nHost: tools\r\nAccept: text/event-stream\r\n{}\r\n", begun.session(VERSION));
        caller.write_all(get.as_bytes()).await.unwrap();
        let mut held = live.next().await;
        held.begin_events().await;
        held.message(EVENT).await;
        lab::read_until(&mut caller, "notifications/message").await;
        lab.edit(&notes(live.addr).replace("\"get_*\", ", "\"get_*\", \"list_*\", ")).await;
        if tells {
            let text = lab::read_until(&mut caller, "list_changed\"}\n\n").await;
            assert!(text.contains("notifications/tools/list_changed"), "{text}");
            assert!(!text.contains("prompts"), "{text}");
        } else {
            tokio::time::sleep(SECOND).await;
            held.message(&EVENT.replace("info", "still")).await;
            assert!(!lab::read_until(&mut caller, "still").await.contains("list_changed"));
        }
    }
}

/// While we drain, a client goes on elsewhere: its own stream ends whole, and a kept connection tells it with an answer that
/// there will be no other.
#[tokio::test(flavor = "multi_thread")]
async fn draining_loses_no_call_and_cuts_no_stream_off() {
    const DRAIN: Duration = Duration::from_secs(80);
    let mut live = Live::start().await;
    let lab = Lab::start_with(&notes(live.addr), |settings| settings.drain = DRAIN).await;
    let (begun, ()) = tokio::join!(lab.post("agents/reader", NOTES, "", HELLO), async {
        let body = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;
        live.next().await.write(with("Mcp-Session-Id: s-1\r\nConnection: close\r\n", body).as_bytes()).await;
    });
    let session = begun.session(VERSION);
    let mut listening = lab.tunnel("agents/reader", NOTES).await.unwrap();
    let get = format!("GET /mcp HTTP/1.1\r\nHost: tools\r\nAccept: text/event-stream\r\n{session}\r\n");
    listening.write_all(get.as_bytes()).await.unwrap();
    let mut held = live.next().await;
    held.begin_events().await;
    held.message(EVENT).await;
    lab::read_until(&mut listening, "notifications/message").await;
    let mut kept = lab.tunnel("agents/reader", NOTES).await.unwrap();
    let mut call = async |live: &mut Live| {
        kept.write_all(post(&session, CALL).as_bytes()).await.unwrap();
        let mut asked = live.next().await;
        let answer = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#.replace('7', &asked.id());
        asked.write(with("Connection: close\r\n", &answer).as_bytes()).await;
        lab::Reply::read(&mut kept).await
    };
    assert!(call(&mut live).await.header("connection").is_none());
    let ready = lab.waypoint.ready_addr();
    let (began, draining) = (Instant::now(), tokio::spawn(lab.waypoint.shutdown()));
    lab::eventually("it drains", async || lab::page(ready, "/healthz/ready").await.status == 503).await;
    let last = call(&mut live).await;
    assert_eq!((last.status, last.header("connection")), (200, Some("close")), "{last:?}");
    let (text, whole) = read_to_end(&mut listening).await;
    assert!(whole, "{text}");
    draining.await.unwrap();
    assert!(began.elapsed() < DRAIN, "nothing was left to be cut off: {:?}", began.elapsed());
}

//! How exchanges end that their server does not: an answer that does not come, a tunnel that comes to its end.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::{self, Lab, notes, post};
use crate::live::Live;
use agent_waypoint::{app, hbone, id::WorkloadId};

const NOTES: &str = "127.0.9.1:80";
const SECOND: Duration = Duration::from_secs(1);
const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_note"}}"#;
const EVENT: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;

/// Neither a head that does not come nor a body that stands still keeps a caller for ever; a stream of events may last.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_in_time_or_is_none() {
    let mut live = Live::start().await;
    let lab = Lab::start_with(&notes(live.addr), |settings| settings.mcp_answer = 4 * SECOND).await;
    let mut lasting = lab.tunnel("agents/reader", NOTES).await.unwrap();
    lasting.write_all(post("", CALL).as_bytes()).await.unwrap();
    let mut events = live.next().await;
    events.begin_events().await;
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"] {
        let began = Instant::now();
        let asked = async {
            let mut held = live.next().await;
            held.write(begun.as_bytes()).await;
            assert!(held.closed(lab::PATIENCE).await, "the server still has the call: {begun}");
        };
        let (reply, ()) = tokio::join!(lab.post("agents/reader", NOTES, "", CALL), asked);
        assert_eq!((reply.status, &reply.json()["id"]), (200, &serde_json::json!(7)), "{reply:?}");
        assert_eq!(reply.json()["error"]["code"], -32603, "{reply:?}");
        assert!(began.elapsed() > 2 * SECOND, "{:?}", began.elapsed());
    }
    // What begins a session is read ahead of its head, and no longer than that.
    let hello =
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
    let mut beginning = lab.tunnel("agents/reader", NOTES).await.unwrap();
    beginning.write_all(post("", hello).as_bytes()).await.unwrap();
    let mut silent = live.next().await;
    silent.begin_events().await;
    assert!(silent.closed(lab::PATIENCE).await, "the server may still begin a session");
    events.message(EVENT).await;
    lab::read_until(&mut lasting, "notifications/message").await;
    // What has no id has no answer that could say so.
    let told = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(lab.post("agents/reader", NOTES, "", told).await.status, 504);
}

/// The head of the server's own stream has the same time, whatever the stream then lasts; a client takes 405 for "none here".
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_in_time_or_is_none() {
    const GET: &[u8] = b"GET /mcp HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n\r\n";
    let mut live = Live::start().await;
    let lab = Lab::start_with(&notes(live.addr), |settings| settings.mcp_answer = 2 * SECOND).await;
    let mut lasting = lab.tunnel("agents/reader", NOTES).await.unwrap();
    lasting.write_all(GET).await.unwrap();
    let mut events = live.next().await;
    events.begin_events().await;
    let silent = async {
        let mut held = live.next().await;
        assert!(held.closed(lab::PATIENCE).await, "the server still has the request");
    };
    let (reply, ()) = tokio::join!(lab.raw("agents/reader", NOTES, GET), silent);
    assert_eq!(reply.status, 405, "{reply:?}");
    events.message(EVENT).await;
    lab::read_until(&mut lasting, "notifications/message").await;
    let log = lab.log.clone();
    lab.waypoint.shutdown().await;
    assert!(
        log.lines().iter().any(|line| line["method"] == "GET" && line["fault"]["reason"] == "answer_timeout"),
        "{:?}",
        log.lines()
    );
}

/// A connection that nears the end of its peer's certificate is to be opened anew: until it is cut off at that end, streams
/// that can go on elsewhere end whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_whole_before_its_connection_is_cut_off() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let trust_domain = lab.ca.trust_domain().clone();
    let id = WorkloadId::of_istio(&trust_domain, "agents", "reader").unwrap();
    // A GOAWAY comes a minute before the end, or where that is sooner after half of what is left.
    let pool = hbone::Pool::new(lab.ca.identity(&id, 16 * SECOND).unwrap());
    let waypoint = vec![app::dev_identity(&trust_domain).unwrap()].into();
    let mut caller = pool.connect(lab.waypoint.hbone_addr(), &waypoint, NOTES).await.unwrap();
    caller.write_all(b"GET /mcp HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n\r\n").await.unwrap();
    let began = Instant::now();
    let mut held = live.next().await;
    held.begin_events().await;
    held.message(EVENT).await;
    let mut read = lab::read_until(&mut caller, "notifications/message").await.into_bytes();
    tokio::time::timeout(lab::PATIENCE, caller.read_to_end(&mut read)).await.expect("an end in time").unwrap();
    assert!(String::from_utf8_lossy(&read).ends_with("0\r\n\r\n"), "cut off");
    assert!(began.elapsed() > 2 * SECOND, "{:?}", began.elapsed());
    assert!(held.closed(lab::PATIENCE).await, "the server still streams");
}

//! Sessions over several waypoints, several servers and restarts: any replica with the same key serves them, and every
//! way in which one is none is answered the same.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json as value};
use tokio::io::AsyncWriteExt;

use crate::lab::{self, Lab, Reply, Upstream, json, notes, with};
use crate::live::Live;

const NOTES: &str = "127.0.9.1:80";
const VERSION: &str = "2025-11-25";
const HELLO: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_note"}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;

/// A key in base64: 32 bytes of `letter`.
fn key(letter: char) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode([u8::try_from(letter).unwrap(); 32])
}

/// A replica: with the keys of `file`.
async fn replica(documents: &str, file: &Path) -> Lab {
    let file = file.to_owned();
    Lab::start_with(documents, |settings| settings.sealing_key_file = Some(file)).await
}

/// A server that hands out sessions `NAME-1`, `NAME-2` .., knows no others, and says its name.
async fn server(name: &'static str) -> Upstream {
    let begun = AtomicUsize::new(0);
    let ended = std::sync::Mutex::new(Vec::<String>::new());
    Upstream::start(move |head, body| {
        let said = |head: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
            line.unwrap_or_default().to_owned()
        };
        let session = said(&head.to_ascii_lowercase());
        if head.starts_with("DELETE") {
            ended.lock().unwrap().push(session);
            return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned();
        }
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        if message["method"] == "initialize" {
            let id = format!("{name}-{}", begun.fetch_add(1, Ordering::Relaxed) + 1);
            let result = value!({"protocolVersion":VERSION,"capabilities":{}});
            let answer = value!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string();
            return with(&format!("Mcp-Session-Id: {id}\r\n"), &answer);
        }
        if !session.starts_with(name) || ended.lock().unwrap().contains(&session) {
            return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
        }
        let text = format!("{name} {session}");
        let result = value!({"content":[{"type":"text","text":text}]});
        json(&value!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string())
    })
    .await
}

async fn begin(lab: &Lab, who: &str) -> String {
    lab.post(who, NOTES, "", HELLO).await.session(VERSION)
}

async fn call(lab: &Lab, who: &str, session: &str) -> Reply {
    lab.post(who, NOTES, session, CALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begun_at_one_replica_goes_on_at_another_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    std::fs::write(&file, key('a')).unwrap();
    let upstream = server("s").await;
    let documents = notes(upstream.addr);
    let (one, other) = (replica(&documents, &file).await, replica(&documents, &file).await);
    let session = begin(&one, "agents/reader").await;
    for lab in [&one, &other, &one] {
        let reply = call(lab, "agents/reader", &session).await;
        assert!(reply.status == 200 && reply.body.contains("s s-1") && reply.json()["id"] == 7, "{reply:?}");
    }
    // Its version and its holder are known there too.
    assert_eq!(call(&other, "agents/reader", &session.replace(VERSION, "2025-06-18")).await.status, 400);
    let before = upstream.bytes();
    assert_eq!(call(&other, "agents/writer", &session).await.status, 404);
    assert_eq!(upstream.bytes(), before);
    one.waypoint.shutdown().await;
    other.waypoint.shutdown().await;
    let anew = replica(&documents, &file).await;
    assert_eq!(call(&anew, "agents/reader", &session).await.status, 200);
    // A new key in front of the old one: what that sealed still opens.
    std::fs::write(&file, format!("{}\n{}\n", key('b'), key('a'))).unwrap();
    assert_eq!(call(&replica(&documents, &file).await, "agents/reader", &session).await.status, 200);
    std::fs::write(&file, key('b')).unwrap();
    assert_eq!(call(&replica(&documents, &file).await, "agents/reader", &session).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_several_pods_gets_each_session_where_it_began() {
    let (one, other) = (server("one").await, server("other").await);
    let text = notes(one.addr);
    let second = text.split("---").find(|part| part.contains("EndpointSlice")).unwrap();
    let second =
        second.replace("notes-1", "notes-2").replace(&one.addr.port().to_string(), &other.addr.port().to_string());
    let lab = Lab::start(&format!("{text}\n---\n{second}")).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..12 {
        let session = begin(&lab, "agents/reader").await;
        let first = call(&lab, "agents/reader", &session).await;
        assert_eq!(first.status, 200, "{first:?}");
        for _ in 0..3 {
            assert_eq!(call(&lab, "agents/reader", &session).await.body, first.body);
        }
        seen.insert(first.body.contains("one "));
    }
    assert_eq!(seen.len(), 2, "both pods have sessions");
}

/// Unknown, expired (by a key that no replica has any longer), another caller's, forged, ended, and one whose endpoint is
/// gone: whoever asks cannot tell one from the other.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_which_a_session_is_none_is_answered_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (file, old) = (dir.path().join("keys"), dir.path().join("old"));
    std::fs::write(&file, key('a')).unwrap();
    std::fs::write(&old, key('b')).unwrap();
    let (upstream, moved) = (server("s").await, server("t").await);
    let lab = replica(&notes(upstream.addr), &file).await;
    let gone = begin(&replica(&notes(moved.addr), &file).await, "agents/reader").await;
    let expired = begin(&replica(&notes(upstream.addr), &old).await, "agents/reader").await;
    let theirs = begin(&lab, "agents/writer").await;
    let mut forged = begin(&lab, "agents/reader").await;
    forged.replace_range(20..21, if forged.get(20..21) == Some("A") { "B" } else { "A" });
    let before = upstream.bytes();
    let ended = {
        let session = begin(&lab, "agents/reader").await;
        let end = format!("DELETE /mcp HTTP/1.1\r\nHost: t\r\n{session}\r\n");
        assert_eq!(lab.raw("agents/reader", NOTES, end.as_bytes()).await.status, 200);
        session
    };
    let after = upstream.bytes();
    assert!(after > before);
    let unknown = format!("Mcp-Session-Id: s-1\r\nMCP-Protocol-Version: {VERSION}\r\n");
    let mut answers = Vec::new();
    for session in [&unknown, &expired, &theirs, &forged, &ended, &gone] {
        for request in [
            lab::post(session, CALL),
            format!("GET /mcp HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n{session}\r\n"),
            format!("DELETE /mcp HTTP/1.1\r\nHost: t\r\n{session}\r\n"),
        ] {
            let reply = lab.raw("agents/reader", NOTES, request.as_bytes()).await;
            let head: Vec<_> =
                reply.head.lines().filter(|line| !line.contains("request-id")).map(str::to_owned).collect();
            answers.push((reply.status, head, reply.body));
        }
    }
    assert_eq!(answers[0].0, 404, "{:?}", answers[0]);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert_eq!((upstream.bytes(), moved.seen().contains("get_note")), (after, false));
    // What its server has forgotten is one more.
    let forgotten = begin(&lab, "agents/reader").await;
    let other = replica(&notes(upstream.addr), &file).await;
    let end = format!("DELETE /mcp HTTP/1.1\r\nHost: t\r\n{forgotten}\r\n");
    assert_eq!(other.raw("agents/reader", NOTES, end.as_bytes()).await.status, 200);
    let reply = call(&lab, "agents/reader", &forgotten).await;
    assert_eq!((reply.status, reply.body), (404, answers[0].2.clone()));
}

/// Two replicas do not know what the other one has in flight, and servers tell requests apart by their ids alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_the_answer_to_its_own_request_at_every_replica() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    std::fs::write(&file, key('a')).unwrap();
    let mut live = Live::start().await;
    let documents = notes(live.addr);
    let (one, other) = (replica(&documents, &file).await, replica(&documents, &file).await);
    let begun = async {
        let hello = value!({"jsonrpc":"2.0","id":0,"result":{"protocolVersion":VERSION,"capabilities":{}}}).to_string();
        live.next().await.write(with("Mcp-Session-Id: s-1\r\nConnection: close\r\n", &hello).as_bytes()).await;
    };
    let session = tokio::join!(begin(&one, "agents/reader"), begun).0;
    let mut listing = one.tunnel("agents/reader", NOTES).await.unwrap();
    listing.write_all(lab::post(&session, LIST).as_bytes()).await.unwrap();
    let listed = live.next().await;
    let mut calling = other.tunnel("agents/reader", NOTES).await.unwrap();
    calling.write_all(lab::post(&session, CALL).as_bytes()).await.unwrap();
    let mut called = live.next().await;
    assert_ne!(listed.id(), called.id(), "one id for two requests");
    // The list comes where the call is awaited: it is filtered as the list that it is.
    called.begin_events().await;
    let tools = value!({"tools":[{"name":"get_note"},{"name":"delete_note"}]});
    called.message(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{tools}}}"#, listed.id())).await;
    called.message(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[]}}}}"#, called.id())).await;
    called.write(b"0\r\n\r\n").await;
    let reply = Reply::read(&mut calling).await;
    assert!(reply.body.contains("get_note") && reply.body.contains("content"), "{reply:?}");
    assert!(!reply.body.contains("delete_note") && !reply.body.contains("s-1"), "{reply:?}");
}

/// A stream goes on at another replica, after an event that the first one passed on; a question that came by one is
/// answered by way of the other.
#[tokio::test(flavor = "multi_thread")]
async fn streams_and_questions_go_on_at_another_replica() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    std::fs::write(&file, key('a')).unwrap();
    let mut live = Live::start().await;
    let asks = "  - name: forms\n    to: [{methods: [\"elicitation/create\"]}]\n";
    let documents = format!("{}\n{asks}", notes(live.addr).trim_end());
    let (one, other) = (replica(&documents, &file).await, replica(&documents, &file).await);
    let begun = async {
        let hello = value!({"jsonrpc":"2.0","id":0,"result":{"protocolVersion":VERSION,"capabilities":{}}}).to_string();
        live.next().await.write(with("Mcp-Session-Id: s-1\r\nConnection: close\r\n", &hello).as_bytes()).await;
    };
    let session = tokio::join!(begin(&one, "agents/reader"), begun).0;
    let asking = async {
        let mut held = live.next().await;
        held.begin_events().await;
        held.chunk("id: 3\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"elicitation/create\",\"params\":{\"message\":\"m\"}}\n\n").await;
        held.write(b"0\r\n\r\n").await;
        held.id()
    };
    let (first, sent) = tokio::join!(one.post("agents/reader", NOTES, &session, CALL), asking);
    let told = first.body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let told = serde_json::from_str::<Value>(told).unwrap()["id"].to_string();
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{told},"result":{{"action":"decline"}}}}"#);
    let taking = async {
        let mut held = live.next().await;
        held.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        held.body.clone()
    };
    let (reply, taken) = tokio::join!(other.post("agents/reader", NOTES, &session, &answer), taking);
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(taken, answer.replace(&told, "1"));
    let after = lab::event_id(&first.body);
    let get =
        format!("GET /mcp HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n{session}Last-Event-ID: {after}\r\n\r\n");
    let replaying = async {
        let mut held = live.next().await;
        assert!(held.head.to_ascii_lowercase().contains("last-event-id: 3\r\n"), "{}", held.head);
        held.begin_events().await;
        held.message(&format!(r#"{{"jsonrpc":"2.0","id":{sent},"result":{{"content":["late"]}}}}"#)).await;
        held.write(b"0\r\n\r\n").await;
    };
    let (resumed, ()) = tokio::join!(other.raw("agents/reader", NOTES, get.as_bytes()), replaying);
    assert!(resumed.body.contains("late") && resumed.body.contains("\"id\":7"), "{resumed:?}");
}

/// Most servers answer by events, also to `initialize`: the id stands in front of the answer that says what is in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_begins_by_events_is_as_good() {
    let upstream = Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let result = value!({"protocolVersion":VERSION,"capabilities":{},"content":[]});
        let answer = value!({"jsonrpc":"2.0","id":message["id"],"result":result});
        let events = lab::events(&format!("id: 0\ndata:\n\nid: 1\ndata: {answer}\n\n"));
        events.replacen("\r\n", "\r\nMcp-Session-Id: s-1\r\n", 1)
    })
    .await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let reply = lab.post("agents/reader", NOTES, "", HELLO).await;
    assert!(reply.body.contains(VERSION) && !reply.head.contains("s-1"), "{reply:?}");
    let session = reply.session(VERSION);
    let called = call(&lab, "agents/reader", &session).await;
    assert_eq!((called.status, called.session(VERSION)), (200, session.clone()), "{called:?}");
    assert_eq!(call(&lab, "agents/reader", &session.replace(VERSION, "2025-06-18")).await.status, 400);
}

/// Bytes held for decoding.
async fn used(lab: &Lab) -> usize {
    let page = lab.metrics().await;
    let line = page.lines().find_map(|line| line.strip_prefix("agent_waypoint_decode_budget_used_bytes "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}

/// What is read before the answer that begins a session is held, and counts as that.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_ahead_of_a_session_counts() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let mut stream = lab.tunnel("agents/reader", NOTES).await.unwrap();
    stream.write_all(lab::post("", HELLO).as_bytes()).await.unwrap();
    let mut held = live.next().await;
    held.begin_events().await;
    let text = "x".repeat(100_000);
    for _ in 0..8 {
        let params = value!({"level":"info","data":text});
        held.message(&value!({"jsonrpc":"2.0","method":"notifications/message","params":params}).to_string()).await;
    }
    lab::eventually("what was read ahead is counted", async || used(&lab).await >= 800_000).await;
}

/// A server whose questions stay open takes nothing of what its caller needs for every other server.
#[tokio::test(flavor = "multi_thread")]
async fn open_questions_take_nothing_of_what_decoding_may_take() {
    let mut live = Live::start().await;
    let asks = "  - name: forms\n    to: [{methods: [\"elicitation/create\"]}]\n";
    let lab = Lab::start(&format!("{}\n{asks}", notes(live.addr).trim_end())).await;
    let begun = async {
        let hello = value!({"jsonrpc":"2.0","id":0,"result":{"protocolVersion":VERSION,"capabilities":{}}}).to_string();
        live.next().await.write(with("Mcp-Session-Id: s-1\r\nConnection: close\r\n", &hello).as_bytes()).await;
    };
    let session = tokio::join!(begin(&lab, "agents/reader"), begun).0;
    let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
    caller.write_all(lab::post(&session, CALL).as_bytes()).await.unwrap();
    let mut held = live.next().await;
    held.begin_events().await;
    let text = "x".repeat(60_000);
    for id in 0..20 {
        let params = value!({"message":text});
        held.message(&value!({"jsonrpc":"2.0","id":id,"method":"elicitation/create","params":params}).to_string())
            .await;
    }
    held.message(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"end"}}"#).await;
    let asked = lab::read_until(&mut caller, "\"end\"").await;
    assert_eq!(asked.matches("elicitation/create").count(), 20);
    lab::eventually("nothing is held for the questions", async || used(&lab).await < 200_000).await;
}

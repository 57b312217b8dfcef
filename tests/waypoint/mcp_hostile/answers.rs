//! What a server may answer: nothing that two clients read in two ways passes, and no list passes unfiltered.

use super::{CALL, HELLO, LIST, NOTES, VERSION};
use crate::lab::{self, Lab, Reply, Upstream, events, json, notes, with};
use crate::live::Live;

const BOTH: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_note"},{"name":"delete_note"}]}}"#;

/// The reader's answer to a list that the server answered with exactly these bytes.
async fn list_answered(with: String) -> Reply {
    let upstream = Upstream::start(move |_head, _body| with.clone()).await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    lab.post("agents/reader", NOTES, "", LIST).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_in_every_framing() {
    let data = format!("data: {BOTH}");
    let cases = [
        json(BOTH),
        json(&format!("  {BOTH}\r\n")),
        json(&BOTH.replace("tools\"", "t\\u006fols\"")),
        json(&BOTH.replace("delete_note", "d\\u0065lete_note")),
        events(&format!("{data}\n\n")),
        events(&format!("{data}\r\r")),
        events(&format!("{data}\r\n\r\n")),
        events(&format!("\u{feff}{data}\n\n")),
        events(&format!("event: message\n{data}\n\n")),
        events(&format!("event\n{data}\n\n")),
        events(&format!("data:{BOTH}\n\n")),
        events(&format!("data: {}\n\n", BOTH.replace(",\"", ",\ndata: \""))),
        events(&format!("id: 1\nretry: 5\ndata:\n\n{data}\n\n{data}\n\n")),
        BOTH_TYPES.replace("LENGTH", &BOTH.len().to_string()) + BOTH,
    ];
    for case in cases {
        let reply = list_answered(case.clone()).await;
        assert_eq!(reply.status, 200, "{case}\n{reply:?}");
        assert!(reply.body.contains("get_note") && !reply.body.contains("delete_note"), "{case}\n{reply:?}");
    }
}

/// Parameters, case and white space of a content type are not its essence.
const BOTH_TYPES: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: Application/JSON ; charset=\"UTF-8\";x=y\r\nContent-Length: LENGTH\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_read_differently_does_not_pass() {
    let other_id = BOTH.replace("\"id\":1", "\"id\":\"1\"");
    let typed = |kind: &str, more: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let cases = [
        json(&other_id),
        json(&BOTH.replace("\"id\":1", "\"id\":1.0")),
        json(&BOTH.replace("\"id\":1", "\"id\":null")),
        json(&format!("[{BOTH}]")),
        json(&format!("{BOTH}x")),
        json(&format!("{BOTH}{BOTH}")),
        json(&format!("\u{feff}{BOTH}")),
        json(&BOTH.replace("\"result\"", "\"result\":{\"tools\":[]},\"result\"")),
        json(&BOTH.replace("{\"tools\"", "{\"tools\":[],\"tools\"")),
        json(&BOTH.replace("\"result\"", "\"error\":{\"code\":1,\"message\":\"m\"},\"result\"")),
        json(&BOTH.replace("\"result\"", "\"method\":\"x\",\"result\"")),
        json(&BOTH.replace("}}", "},\"tools\":[{\"name\":\"delete_note\"}]}")),
        json("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[{\"name\":\"delete_note\"}]}"),
        with("Content-Encoding: gzip\r\n", BOTH),
        with("Content-Type: text/event-stream\r\n", BOTH),
        typed("application/json; charset=utf-16", "", BOTH),
        typed("text/event-stream", "Content-Encoding: br\r\n", &format!("data: {BOTH}\n\n")),
        typed("text/html", "", BOTH),
        typed("application/jsonl", "", BOTH),
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BOTH}", BOTH.len()),
        format!("HTTP/1.1 202 Accepted\r\nContent-Length: {}\r\n\r\n{BOTH}", BOTH.len()),
        format!("HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n{BOTH}"),
        format!("HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BOTH}", BOTH.len()),
        format!("HTTP/1.1 404 Oops\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{BOTH}", BOTH.len()),
        events(&format!("data: {other_id}\n\n")),
        events(&format!("data: [{BOTH}]\n\n")),
        events(&format!("data: {BOTH}x\n\n")),
        events(&format!("event: endpoint\ndata: {BOTH}\n\n")),
        events(&format!(": {BOTH}\n\n")),
        events(&format!("data: {BOTH}")),
        events(&format!("data: {BOTH}\n")),
        events(&format!("id: {BOTH}\0\nretry: {BOTH}\n\n")),
    ];
    for case in cases {
        let reply = list_answered(case.clone()).await;
        assert!(!reply.body.contains("delete_note"), "{case}\n{reply:?}");
        assert!(!reply.body.contains("get_note"), "{case}\n{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_be_cut_anywhere() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let asking = lab.post("agents/reader", NOTES, "", LIST);
    let answering = async {
        let mut held = live.next().await;
        held.begin_events().await;
        for byte in format!("id: \u{e9}\r\ndata: {BOTH}\r\r\n\n").chars() {
            held.chunk(&byte.to_string()).await;
        }
        held.write(b"0\r\nTrailer: x\r\n\r\n").await;
    };
    let (reply, ()) = tokio::join!(asking, answering);
    assert!(reply.body.contains("get_note") && !reply.body.contains("delete_note"), "{reply:?}");
    assert!(!reply.body.contains("Trailer"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_what_was_asked_for_whatever_it_looks_like() {
    let tools = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"delete_note"}],"content":[]}}"#;
    let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"m","data":{"x":[1,2.50]}}}"#;
    for body in [tools, error] {
        let upstream = Upstream::start(move |_head, _body| json(body)).await;
        let lab = Lab::start(&notes(upstream.addr)).await;
        assert_eq!(lab.post("agents/reader", NOTES, "", CALL).await.body, body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_leads_nowhere_else() {
    let redirect = |to: &str| format!("HTTP/1.1 307 Temporary\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    for (to, passes) in [
        ("http://elsewhere.example/mcp", false),
        ("//elsewhere.example/mcp", false),
        ("/\\elsewhere.example/mcp", false),
        ("http:elsewhere", false),
        ("http://tools@elsewhere.example/", false),
        ("/mcp/", true),
        ("http://tools/mcp/", true),
    ] {
        let reply = list_answered(redirect(to)).await;
        assert_eq!(reply.head.to_ascii_lowercase().contains("location:"), passes, "{to}: {reply:?}");
        assert!(reply.status == if passes { 307 } else { 502 }, "{to}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_and_odd_statuses_do_not_confuse() {
    let early = format!("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{}", json(BOTH));
    let reply = list_answered(early).await;
    assert!(reply.status == 200 && reply.body.contains("get_note"), "{reply:?}");
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".to_owned();
    let reply = list_answered(switched).await;
    assert_eq!((reply.status, &reply.json()["id"]), (502, &serde_json::json!(1)), "{reply:?}");
    let reply = list_answered("SSH-2.0-OpenSSH\r\n\r\n".to_owned()).await;
    assert_eq!((reply.status, &reply.json()["id"]), (502, &serde_json::json!(1)), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_have_an_end() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let asking = lab.post("agents/reader", NOTES, "", CALL);
    let answering = async {
        let mut held = live.next().await;
        held.begin_events().await;
        let part = "a".repeat(64 << 10);
        held.chunk("data: ").await;
        // More than one event may hold; the connection ends under our hands.
        for _ in 0..20 {
            held.chunk_or_closed(&part).await;
        }
        assert!(held.closed(lab::PATIENCE).await);
    };
    let (reply, ()) = tokio::join!(asking, answering);
    // Where all of it came at once the tunnel is reset with the answer's head still unsent.
    assert!(reply.head.is_empty() || reply.status == 200, "{}", reply.head);
    assert!(!reply.body.contains("aaaa"), "{}", reply.head);
    assert!(!reply.body.ends_with("0\r\n\r\n"), "the caller cannot see that it is cut: {}", reply.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_on_the_session_stream_is_known_for_what_it_is() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let begin = async {
        let mut held = live.next().await;
        let body = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;
        held.write(with("Mcp-Session-Id: s-1\r\nConnection: close\r\n", body).as_bytes()).await;
    };
    let (hello, ()) = tokio::join!(lab.post("agents/reader", NOTES, "", HELLO), begin);
    assert_eq!(hello.status, 200, "{hello:?}");
    let session = hello.session(VERSION);
    // The list is asked for, and its stream ends without the answer.
    let cut = async {
        let mut held = live.next().await;
        held.write(events(": later\n\n").as_bytes()).await;
        held.id()
    };
    let (_, sent) = tokio::join!(lab.post("agents/reader", NOTES, &session, LIST), cut);
    let get = format!("GET /mcp HTTP/1.1\r\nHost: tools\r\nAccept: text/event-stream\r\n{session}\r\n");
    let late = async {
        let mut held = live.next().await;
        let under = |id: &str| BOTH.replace("\"id\":1", &format!("\"id\":{id}"));
        let (unasked, asked) = (under("77"), under(&sent));
        held.write(events(&format!("data: {unasked}\n\ndata: {asked}\n\ndata: {asked}\n\n")).as_bytes()).await;
    };
    let (reply, ()) = tokio::join!(lab.raw("agents/reader", NOTES, get.as_bytes()), late);
    assert!(reply.body.contains("get_note") && !reply.body.contains("delete_note"), "{reply:?}");
    assert!(!reply.body.contains("77") && reply.body.matches("\"id\":1").count() == 1, "{reply:?}");
}

/// A server that keeps events sends them again when asked; the id of the list may be another request's by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_sent_again_under_an_id_in_use_stays_filtered() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let begin = async {
        let body = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;
        live.next().await.write(with("Mcp-Session-Id: s-1\r\nConnection: close\r\n", body).as_bytes()).await;
        let mut listing = live.next().await;
        let sent = BOTH.replace("\"id\":1", &format!("\"id\":{}", listing.id()));
        let listed = events(&format!("id: 0\ndata: {sent}\n\n")).replacen("\r\n", "\r\nConnection: close\r\n", 1);
        listing.write(listed.as_bytes()).await;
        (live.next().await, sent)
    };
    let slow = CALL.replace("\"id\":7", "\"id\":1");
    let caller = async {
        let session = lab.post("agents/reader", NOTES, "", HELLO).await.session(VERSION);
        let listed = lab.post("agents/reader", NOTES, &session, LIST).await;
        let mut calling = lab.tunnel("agents/reader", NOTES).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut calling, lab::post(&session, &slow).as_bytes()).await.unwrap();
        (calling, session, listed)
    };
    let ((_calling, session, listed), (unanswered, sent)) = tokio::join!(caller, begin);
    let after = lab::event_id(&listed.body);
    let get = format!(
        "GET /mcp HTTP/1.1\r\nHost: tools\r\nAccept: text/event-stream\r\nLast-Event-ID: {after}\r\n{session}\r\n"
    );
    let again = async {
        let mut held = live.next().await;
        assert!(held.head.to_ascii_lowercase().contains("last-event-id: 0\r\n"), "{}", held.head);
        let confused = BOTH.replace("\"id\":1", &format!("\"id\":{}", unanswered.id()));
        held.write(events(&format!("data: {sent}\n\ndata: {confused}\n\n")).as_bytes()).await;
    };
    let (reply, ()) = tokio::join!(lab.raw("agents/reader", NOTES, get.as_bytes()), again);
    assert!(reply.body.contains("get_note") && !reply.body.contains("delete_note"), "{reply:?}");
}

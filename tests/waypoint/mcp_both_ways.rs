//! What a server asks of its client: decided on, passed to nobody else, and answered once by whom it was asked.

use serde_json::{Value, json as value};
use tokio::io::AsyncWriteExt;

use crate::lab::{self, Lab, Upstream, events, json, notes, post, with};
use crate::live::{Held, Live};
use agent_waypoint::hbone;

const NOTES: &str = "127.0.9.1:80";
const HELLO: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
const HELLO_ANSWER: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
const VERSION: &str = "2025-11-25";
const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_note"}}"#;
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The usual policy, and what servers may ask.
fn documents(addr: std::net::SocketAddr) -> String {
    let asks = r#"
  - name: forms-and-our-login
    to: [{methods: ["elicitation/create"]}]
    when: mcp.serverRequest.mode == "form" || mcp.serverRequest.host == "login.example.com"
  - name: small-samples
    to: [{methods: ["sampling/createMessage"]}]
    when: mcp.serverRequest.tool == "get_note" && mcp.serverRequest.params.maxTokens <= 100
"#;
    format!("{}{asks}", notes(addr).trim_end())
}

/// A session of the reader: the headers of what is sent in it.
async fn begun(lab: &Lab, live: &mut Live) -> String {
    let begin = async {
        live.next().await.write(with("Mcp-Session-Id: s-1\r\nConnection: close\r\n", HELLO_ANSWER).as_bytes()).await
    };
    tokio::join!(lab.post("agents/reader", NOTES, "", HELLO), begin).0.session(VERSION)
}

/// A session of the reader, and a call whose answer streams.
async fn streaming(lab: &Lab, live: &mut Live) -> (hbone::Stream, Held, String) {
    let session = begun(lab, live).await;
    let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
    caller.write_all(post(&session, CALL).as_bytes()).await.unwrap();
    let mut held = live.next().await;
    held.begin_events().await;
    (caller, held, session)
}

/// The id of the message in the last event of `text`.
fn message_id(text: &str) -> Value {
    let data = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap();
    serde_json::from_str::<Value>(data).unwrap()["id"].clone()
}

fn request(id: &str, method: &str, params: &Value) -> String {
    value!({"jsonrpc":"2.0","id":id,"method":method,"params":params}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_names_is_asked_and_the_rest_is_answered_for_the_client() {
    let mut live = Live::start().await;
    let lab = Lab::start(&documents(live.addr)).await;
    let (mut caller, mut held, _) = streaming(&lab, &mut live).await;
    let page = |url: &str| value!({"mode":"url","url":url,"elicitationId":"e","message":"m"});
    let rows = [
        ("elicitation/create", value!({"message":"m","requestedSchema":{}}), true),
        ("elicitation/create", page("https://LOGIN.example.com/x"), true),
        ("elicitation/create", page("https://login.example.com.evil.example/x"), false),
        ("elicitation/create", page("https://login.example.com@evil.example/x"), false),
        ("elicitation/create", page("https://evil.example/login.example.com"), false),
        ("elicitation/create", value!({"mode":"form","url":"https://evil.example/","message":"m"}), false),
        ("sampling/createMessage", value!({"messages":[],"maxTokens":100}), true),
        ("sampling/createMessage", value!({"messages":[],"maxTokens":101}), false),
        ("sampling/createMessage", value!({"messages":[]}), false),
        ("roots/list", value!({}), false),
        ("tasks/get", value!({"taskId":"t"}), false),
        ("vendor/ask", value!({}), false),
    ];
    for (n, (method, params, passes)) in rows.iter().enumerate() {
        let id = format!("q-{n}");
        held.message(&request(&id, method, params)).await;
        if *passes {
            let text = lab::read_until(&mut caller, "\n\n").await;
            assert!(text.contains(method) && !text.contains(&id), "{text}");
        } else {
            let mut told = live.next().await;
            let told_body: Value = serde_json::from_str(&told.body).unwrap();
            assert_eq!(
                (&told_body["id"], &told_body["error"]["code"]),
                (&value!(id), &value!(-32601)),
                "{method} {params}"
            );
            told.write(ACCEPTED).await;
        }
    }
    held.message(&r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#.replace('7', &held.id())).await;
    let text = lab::read_until(&mut caller, "\"content\"").await;
    assert!(text.contains("\"id\":7") && !text.contains("evil") && !text.contains("vendor"), "{text}");
    let log = lab.log.clone();
    lab.waypoint.shutdown().await;
    let lines = log.lines();
    let asked = |decision: &str| {
        lines.iter().filter(|l| l["method"] == "sampling/createMessage" && l["decision"] == decision).count()
    };
    assert_eq!((asked("allow"), asked("deny")), (1, 2), "{lines:?}");
}

/// What policies black out of an answer is blacked out of what is asked meanwhile, before that is decided on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_is_blacked_out_as_the_answer_is() {
    let mut live = Live::start().await;
    let redact = "\n  results: {redact: [{matching: ['AKIA[0-9]+', 'login'], with: '#'}]}\n";
    let lab = Lab::start(&format!("{}{redact}", documents(live.addr).trim_end())).await;
    let (mut caller, mut held, _) = streaming(&lab, &mut live).await;
    let form = value!({"message":"is AKIA1234 yours?","requestedSchema":{"type":"object"}});
    held.message(&request("q", "elicitation/create", &form)).await;
    let text = lab::read_until(&mut caller, "\n\n").await;
    assert!(text.contains("is # yours?") && text.contains(r#""type":"object""#) && !text.contains("AKIA"), "{text}");
    // The page that the client would be sent to is another one then, and none that a rule allows.
    let page = value!({"mode":"url","url":"https://login.example.com/","elicitationId":"e","message":"m"});
    held.message(&request("r", "elicitation/create", &page)).await;
    let mut told = live.next().await;
    assert!(told.body.contains("-32601"), "{}", told.body);
    told.write(ACCEPTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_once_by_whom_it_was_asked() {
    let mut live = Live::start().await;
    let lab = Lab::start(&documents(live.addr)).await;
    let (mut caller, mut held, session) = streaming(&lab, &mut live).await;
    let form = value!({"message":"m","requestedSchema":{}});
    held.message(&request("q", "elicitation/create", &form)).await;
    let told = message_id(&lab::read_until(&mut caller, "}\n\n").await).to_string();
    let own = r#"{"jsonrpc":"2.0","id":"q","result":{"action":"accept","content":{"n":1}}}"#;
    let answer = own.replace("\"q\"", &told);
    // Nobody else's, not without the session, not under another id.
    assert_eq!(lab.post("agents/writer", NOTES, &session, &answer).await.status, 404);
    assert_eq!(lab.post("agents/reader", NOTES, "", &answer).await.status, 202);
    for other in ["\"q\"", "\"r\"", "5"] {
        assert_eq!(lab.post("agents/reader", NOTES, &session, &answer.replace(&told, other)).await.status, 202);
    }
    assert!(live.is_quiet().await);
    let take = async {
        let mut taken = live.next().await;
        assert_eq!(taken.body, own);
        assert!(taken.head.to_ascii_lowercase().contains("mcp-session-id: s-1"), "{}", taken.head);
        taken.write(ACCEPTED).await;
    };
    let (reply, ()) = tokio::join!(lab.post("agents/reader", NOTES, &session, &answer), take);
    assert_eq!(reply.status, 202, "{reply:?}");
    // And only once.
    assert_eq!(lab.post("agents/reader", NOTES, &session, &answer).await.status, 202);
    assert!(live.is_quiet().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_waits_is_not_asked_again() {
    let mut live = Live::start().await;
    let lab = Lab::start(&documents(live.addr)).await;
    let (mut caller, mut held, _) = streaming(&lab, &mut live).await;
    let form = value!({"message":"m","requestedSchema":{}});
    held.message(&request("1", "elicitation/create", &form)).await;
    lab::read_until(&mut caller, "elicitation").await;
    held.message(&request("1", "sampling/createMessage", &value!({"maxTokens":1}))).await;
    let mut told = live.next().await;
    assert!(told.body.contains("-32601"), "{}", told.body);
    told.write(ACCEPTED).await;
}

/// Without a session nobody could tell whose an answer is.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_nothing_is_asked() {
    let mut live = Live::start().await;
    let lab = Lab::start(&documents(live.addr)).await;
    let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
    caller.write_all(post("", CALL).as_bytes()).await.unwrap();
    let mut held = live.next().await;
    held.begin_events().await;
    held.message(&request("q", "elicitation/create", &value!({"message":"m","requestedSchema":{}}))).await;
    assert!(live.next().await.body.contains("-32601"));
}

/// From 2026-07-28 on a server asks inside its result.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_result_asks_is_decided_on_alike() {
    let upstream = Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let asks = message["params"]["arguments"]["asks"].clone();
        let result = value!({"resultType":"input_required","inputRequests":asks,"requestState":"s3cret-state"});
        json(&value!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string())
    })
    .await;
    let lab = Lab::start(&documents(upstream.addr)).await;
    let form = value!({"method":"elicitation/create","params":{"message":"m","requestedSchema":{}}});
    let page = |url: &str| value!({"method":"elicitation/create","params":{"mode":"url","url":url,"message":"m"}});
    let rows = [
        (value!({"a":form}), true),
        (value!({"a":form,"b":page("https://login.example.com/")}), true),
        (value!({"a":form,"b":page("https://evil.example/")}), false),
        (value!({"a":{"method":"roots/list"}}), false),
        (value!({"a":{"method":"sampling/createMessage","params":{"maxTokens":5}}}), true),
        (value!({"a":{"method":"sampling/createMessage","params":{"maxTokens":500}}}), false),
        (value!([form]), false),
        (value!({"a":"roots/list"}), false),
    ];
    for (asks, passes) in rows {
        let body = value!({"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"get_note","arguments":{"asks":asks}}});
        let reply = lab.post("agents/reader", NOTES, "", &body.to_string()).await;
        assert_eq!(reply.body.contains("s3cret-state"), passes, "{asks}: {reply:?}");
        assert_eq!(reply.json()["id"], 3, "{asks}: {reply:?}");
        if !passes {
            assert!(reply.json()["error"]["code"].is_i64(), "{asks}: {reply:?}");
        }
    }
}

/// A stream that was cut off goes on elsewhere: what comes again is still known for what it is.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_again_are_filtered_again() {
    let mut live = Live::start().await;
    let lab = Lab::start(&documents(live.addr)).await;
    let session = begun(&lab, &mut live).await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let answer = async {
        let mut held = live.next().await;
        let result = r#""result":{"tools":[{"name":"get_note"},{"name":"delete_note"}]}"#;
        let listed = format!(r#"{{"jsonrpc":"2.0","id":{},{result}}}"#, held.id());
        let streamed = events(&format!("id: 4\ndata: {listed}\n\n"));
        held.write(streamed.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).await;
        listed
    };
    let (reply, listed) = tokio::join!(lab.post("agents/reader", NOTES, &session, list), answer);
    let after = lab::event_id(&reply.body);
    for (resumed, comes) in [(format!("Last-Event-ID: {after}\r\n"), true), (String::new(), false)] {
        let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
        let get = format!("GET /mcp HTTP/1.1\r\nHost: tools\r\nAccept: text/event-stream\r\n{session}{resumed}\r\n");
        caller.write_all(get.as_bytes()).await.unwrap();
        let mut held = live.next().await;
        assert_eq!(held.head.to_ascii_lowercase().contains("last-event-id: 4"), comes, "{}", held.head);
        held.begin_events().await;
        held.message(&listed).await;
        held.message(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"end"}}"#)
            .await;
        let text = lab::read_until(&mut caller, "\"end\"").await;
        assert_eq!(text.contains("get_note"), comes, "{text}");
        assert!(!text.contains("delete_note"), "{text}");
    }
    // Nor is another's stream resumed, of which this session saw no event.
    for other in ["4", "5", &after.replacen('4', "5", 1)] {
        let get = format!(
            "GET /mcp HTTP/1.1\r\nHost: tools\r\nAccept: text/event-stream\r\n{session}Last-Event-ID: {other}\r\n\r\n"
        );
        let theirs = lab.raw("agents/reader", NOTES, get.as_bytes()).await;
        assert_eq!(theirs.status, 405, "{other}: {theirs:?}");
    }
    assert!(live.is_quiet().await);
    // Whose stream would a caller without a session resume?
    let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
    let get = "GET /mcp HTTP/1.1\r\nHost: tools\r\nAccept: text/event-stream\r\nLast-Event-ID: 4\r\n\r\n";
    caller.write_all(get.as_bytes()).await.unwrap();
    let held = live.next().await;
    assert!(!held.head.to_ascii_lowercase().contains("last-event-id"), "{}", held.head);
}

/// Notifications tell of what the caller may have, and of nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn notifications_name_only_what_the_caller_may_have() {
    let mut live = Live::start().await;
    let text = documents(live.addr).replace(
        "\"delete_*\"]}]\n  - name: writers",
        "\"delete_*\"]}, {resources: [\"file:///a/*\"]}]\n  - name: writers",
    );
    assert_ne!(text, documents(live.addr));
    let lab = Lab::start(&text).await;
    let (mut caller, mut held, _) = streaming(&lab, &mut live).await;
    for uri in ["file:///a/1", "file:///b/1", "file:///a/../b/2"] {
        let params = value!({"uri":uri});
        held.message(&value!({"jsonrpc":"2.0","method":"notifications/resources/updated","params":params}).to_string())
            .await;
    }
    held.message(
        r#"{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t-1","status":"working"}}"#,
    )
    .await;
    held.message(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).await;
    let text = lab::read_until(&mut caller, "list_changed").await;
    assert!(text.contains("file:///a/1") && !text.contains("/b/") && !text.contains("t-1"), "{text}");
}

/// An error of 2025-11-25 can send the user to a page as well as a request can.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_error_asks_is_decided_on_alike() {
    let upstream = Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let data = &message["params"]["arguments"]["data"];
        let error = value!({"code":-32042,"message":"visit","data":data});
        let answer = value!({"jsonrpc":"2.0","id":message["id"],"error":error});
        if message["params"]["arguments"]["as"] == "events" {
            return events(&format!("data: {answer}\n\n"));
        }
        json(&answer.to_string())
    })
    .await;
    let lab = Lab::start(&documents(upstream.addr)).await;
    let page = |url: &str| value!({"mode":"url","url":url,"elicitationId":"e","message":"m"});
    let ours = page("https://login.example.com/x");
    for form in ["json", "events"] {
        for (pages, passes) in [
            (value!([ours]), true),
            (value!([ours, page("https://evil.example/x")]), false),
            (value!([page("https://login.example.com@evil.example/x")]), false),
            (value!({"a":ours}), false),
        ] {
            let arguments = value!({"as":form,"data":{"elicitations":pages}});
            let params = value!({"name":"get_note","arguments":arguments});
            let body = value!({"jsonrpc":"2.0","id":3,"method":"tools/call","params":params}).to_string();
            let reply = lab.post("agents/reader", NOTES, "", &body).await;
            assert_eq!(reply.body.contains("-32042"), passes, "{form} {pages}: {reply:?}");
            assert!(reply.body.contains("\"id\":3") && !reply.body.contains("evil"), "{form} {pages}: {reply:?}");
        }
    }
}

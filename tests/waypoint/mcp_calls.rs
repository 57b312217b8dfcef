//! MCP through a whole waypoint on loopback: what is allowed arrives exactly as decided on; of what is refused the
//! upstream sees not one byte.

use crate::lab::{Lab, Reply, Upstream, events, json, notes, post, with};
use serde_json::{Value, json as value};

const NOTES: &str = "127.0.9.1:80";
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_note","arguments":{"id":1}}}"#;

/// A server that answers every call with a text and lists four tools.
async fn server() -> Upstream {
    Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let id = &message["id"];
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let body = value!({"jsonrpc":"2.0","id":id,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}});
                return with("Mcp-Session-Id: s-1\r\n", &body.to_string());
            }
            "tools/list" => value!({"tools":[{"name":"get_note"},{"name":"create_note"},{"name":"delete_note"},{"name":"other"}],"nextCursor":"c"}),
            _ if id.is_null() => return "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            _ => value!({"content":[{"type":"text","text":"ok"}]}),
        };
        json(&value!({"jsonrpc":"2.0","id":id,"result":result}).to_string())
    })
    .await
}

fn call(tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_call_arrives_as_decided_and_its_answer_comes_back() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let spaced = r#"{ "jsonrpc":"2.0", "method":"tools/call", "id":7, "params":{"name":"g\u0065t_note","arguments":{"id":1, "n":1.50},"x-vendor":[1]} }"#;
    let reply = lab.post("agents/reader", NOTES, "", spaced).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["id"], 7);
    assert_eq!(reply.json()["result"]["content"][0]["text"], "ok");
    let canonical = r#"{"jsonrpc":"2.0","method":"tools/call","id":7,"params":{"name":"get_note","arguments":{"id":1,"n":1.50},"x-vendor":[1]}}"#;
    assert!(upstream.seen().ends_with(canonical), "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_a_json_rpc_error_with_the_exact_id_and_reaches_nobody() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let rows = [
        ("agents/reader", call("delete_note", "{}"), -32602, "Unknown tool: delete_note"),
        ("agents/reader", call("create_note", r#"{"owner":"acme"}"#), -32602, "Unknown tool: create_note"),
        ("agents/writer", call("create_note", r#"{"owner":"evil"}"#), 40301, "Refused by policy: requirement_not_met"),
        ("agents/writer", call("create_note", "{}"), 40301, "Refused by policy: requirement_not_met"),
        ("agents/reader", call("other", "{}"), -32602, "Unknown tool: other"),
    ];
    for (who, body, code, message) in rows {
        let reply = lab.post(who, NOTES, "", &body).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &reply.json()["id"]), (200, &value!("a-1")), "{body}: {reply:?}");
        assert_eq!(error["code"], code, "{body}: {reply:?}");
        assert!(error["message"].as_str().unwrap().starts_with(message), "{body}: {reply:?}");
    }
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_can_never_be_admitted_gets_403_before_a_session() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let reply = lab.post("agents/stranger", NOTES, "", CALL).await;
    assert_eq!((reply.status, &reply.json()["id"]), (403, &value!(7)));
    assert_eq!(upstream.bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_a_refusal_and_the_next_allowed_call() {
    use tokio::io::AsyncWriteExt;
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let mut stream = lab.tunnel("agents/reader", NOTES).await.unwrap();
    stream.write_all(post("", &call("delete_note", "{}")).as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.json()["error"]["code"], -32602);
    stream.write_all(post("", CALL).as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.json()["result"]["content"][0]["text"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_only_what_the_caller_may_call() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let names = |reply: &Reply| -> Vec<String> {
        let tools = reply.json()["result"]["tools"].as_array().unwrap().clone();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let reply = lab.post("agents/reader", NOTES, "", list).await;
    assert_eq!(names(&reply), ["get_note"]);
    assert!(reply.json()["result"]["nextCursor"].is_string());
    assert_eq!(names(&lab.post("agents/writer", NOTES, "", list).await), ["get_note", "create_note"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_callers_alone() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let reply = lab.post("agents/reader", NOTES, "", hello).await;
    let session = reply.session("2025-06-18");
    assert!(!reply.head.contains("s-1"), "{reply:?}");
    assert_eq!(lab.post("agents/reader", NOTES, &session, CALL).await.status, 200);
    let before = upstream.bytes();
    assert_eq!(lab.post("agents/writer", NOTES, &session, CALL).await.status, 404);
    assert_eq!(lab.post("agents/reader", NOTES, "Mcp-Session-Id: s-1\r\n", CALL).await.status, 404);
    assert_eq!(lab.post("agents/reader", NOTES, &reply.session("2025-11-25"), CALL).await.status, 400);
    assert_eq!(upstream.bytes(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_that_are_refused_are_dropped_and_accepted() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let custom = r#"{"jsonrpc":"2.0","method":"custom/thing"}"#;
    let reply = lab.post("agents/reader", NOTES, "", custom).await;
    assert_eq!((reply.status, reply.body.as_str()), (202, ""));
    let answer = r#"{"jsonrpc":"2.0","id":5,"result":{}}"#;
    assert_eq!(lab.post("agents/reader", NOTES, "", answer).await.status, 202);
    assert_eq!(upstream.bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_parsers_could_read_in_two_ways_is_refused() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let bodies = [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note","name":"delete_note"}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note"}}]"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call","params":{"name":"delete_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"get_note"}}"#,
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"get_note"}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}{}",
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
    ];
    for body in bodies {
        let reply = lab.post("agents/reader", NOTES, "", body).await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
        assert!(reply.json()["error"]["code"].as_i64().unwrap() <= -32600, "{body}: {reply:?}");
    }
    let gzip = lab.post("agents/reader", NOTES, "Content-Encoding: gzip\r\n", CALL).await;
    assert_eq!(gzip.status, 415);
    let large = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#, "a".repeat(4 << 20));
    assert_eq!(lab.post("agents/reader", NOTES, "", &large).await.status, 413);
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_pass_decoded_and_their_lists_filtered() {
    let upstream = Upstream::start(|_head, _body| {
        events(concat!(
            ": keep-alive\n\n",
            "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n\n",
            "data: {\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{\"tools\":[{\"name\":\"delete_note\"}]}}\n\n",
            "id: e1\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"id\":1,\"result\":{\"tools\":[{\"name\":\"get_note\"},{\"name\":\"delete_note\"}]}}\n\n",
        ))
    })
    .await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let reply = lab.post("agents/reader", NOTES, "", list).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.body.contains("notifications/message"), "{reply:?}");
    assert!(reply.body.contains("id: e1") && reply.body.contains("get_note"), "{reply:?}");
    assert!(!reply.body.contains("delete_note"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_not_mcp_need_an_http_allow() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    for (request, status) in [
        ("GET /admin HTTP/1.1\r\nHost: t\r\n\r\n", 403),
        ("PUT /mcp HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi", 403),
        ("GET /mcp HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\nMcp-Session-Id: nope\r\n\r\n", 404),
    ] {
        let reply = lab.raw("agents/reader", NOTES, request.as_bytes()).await;
        assert_eq!(reply.status, status, "{request}: {reply:?}");
    }
    assert_eq!(upstream.bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_in_force_and_spares_what_is_still_permitted() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    assert_eq!(lab.post("agents/reader", NOTES, "", CALL).await.status, 200);
    let edited = notes(upstream.addr).replace("\"agents/reader\", ", "");
    lab.edit(&edited).await;
    assert_ne!(lab.post("agents/reader", NOTES, "", CALL).await.status, 200);
    assert_eq!(lab.post("agents/writer", NOTES, "", CALL).await.status, 200);
    let broken = notes(upstream.addr).replace("mcp.tool.arguments.owner == ", "mcp.tool.argumentz.owner == ");
    lab.edit(&broken).await;
    let before = upstream.bytes();
    let reply = lab.post("agents/writer", NOTES, "", CALL).await;
    assert!(reply.json()["error"]["data"]["reason"] == "closed", "{reply:?}");
    assert_eq!(upstream.bytes(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_leaves_one_record_without_its_arguments() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    lab.post("agents/writer", NOTES, "", &call("create_note", r#"{"owner":"acme","text":"s3cret-words"}"#)).await;
    lab.post("agents/writer", NOTES, "", &call("delete_note", r#"{"id":"s3cret-words"}"#)).await;
    let log = lab.log.clone();
    lab.waypoint.shutdown().await;
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(!format!("{lines:?}").contains("s3cret-words"), "{lines:?}");
    assert!(format!("{lines:?}").contains("no-delete"), "{lines:?}");
}

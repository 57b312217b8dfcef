//! Event streams: each event goes out as it comes, its task is its caller's from then on, and a policy that changes ends it.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{AGENT, V1, authenticated, brief, documents, envelope, message};
use crate::lab::{Lab, PATIENCE};
use crate::live::{Held, Live};

async fn until(stream: &mut (impl tokio::io::AsyncRead + Unpin), seen: &mut String, what: &str) {
    let reading = async {
        while !seen.contains(what) {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => panic!("ended before {what}: {seen}"),
                Ok(read) => seen.push_str(&String::from_utf8_lossy(&chunk[..read])),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no {what}"));
}

/// Sends SendStreamingMessage with more `fields`; the server's side of it, which has begun to answer with events.
async fn begin(stream: &mut (impl tokio::io::AsyncWrite + Unpin), agent: &mut Live, fields: &str) -> Held {
    let body = envelope("SendStreamingMessage", &message("m"));
    let request = format!("POST / HTTP/1.1\r\nHost: agent\r\n{V1}{fields}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut held = agent.next().await;
    held.begin_events().await;
    held
}

/// The stream ends on both sides, and the caller can see that it is not whole.
async fn cut(stream: &mut (impl tokio::io::AsyncRead + Unpin), held: &mut Held) {
    assert!(held.closed(PATIENCE).await, "the agent's stream goes on");
    let mut rest = Vec::new();
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the caller's stream ends"));
    assert!(!String::from_utf8_lossy(&rest).ends_with("0\r\n\r\n"), "it must not look whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_pass_one_by_one_and_end_with_the_right_to_them() {
    let mut agent = Live::start().await;
    let rules = "  a2a: {ownership: Enforce}\n  allow: [{}]\n";
    let lab = Lab::start(&documents(agent.addr, rules)).await;
    let mut stream = lab.tunnel("agents/caller", AGENT).await.unwrap();
    let mut held = begin(&mut stream, &mut agent, "").await;
    let mut seen = String::new();
    held.message(r#"{"jsonrpc":"2.0","id":"q1","result":{"task":{"id":"t","contextId":"c"}}}"#).await;
    until(&mut stream, &mut seen, r#""id":"t""#).await;
    held.message(r#"{"jsonrpc":"2.0","id":"q1","result":{"statusUpdate":{"taskId":"t","contextId":"c"}}}"#).await;
    until(&mut stream, &mut seen, "statusUpdate").await;

    // Learnt from the first event, while the stream goes on: nobody else's.
    let get = envelope("GetTask", &json!({"id": "t"}));
    let request = format!("POST / HTTP/1.1\r\nHost: agent\r\n{V1}Content-Length: {}\r\n\r\n{get}", get.len());
    let reply = lab.raw("agents/other", AGENT, request.as_bytes()).await;
    assert_eq!(reply.json()["error"]["code"], -32001, "{reply:?}");

    let denied = rules.replace("allow: [{}]", "allow: [{}]\n  deny: [{to: [{operations: [\"S*\"]}]}]");
    lab.edit(&documents(agent.addr, &denied)).await;
    cut(&mut stream, &mut held).await;
    again(&lab, &mut agent, "", "denied_by_rule").await;
}

/// Nobody goes on with the stream `t` by subscribing to it: refused with these words, and nothing arrives.
async fn again(lab: &Lab, agent: &mut Live, fields: &str, words: &str) {
    let body = envelope("SubscribeToTask", &json!({"id": "t"}));
    let request = format!("POST / HTTP/1.1\r\nHost: agent\r\n{V1}{fields}Content-Length: {}\r\n\r\n{body}", body.len());
    let reply = lab.raw("agents/caller", AGENT, request.as_bytes()).await;
    assert!(format!("{reply:?}").contains(words), "{reply:?}");
    assert!(agent.is_quiet().await, "it arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_certificate_that_it_was_begun_with() {
    let mut agent = Live::start().await;
    let lab = Lab::start(&documents(agent.addr, "  allow: [{}]\n")).await;
    let (_pool, mut stream) = brief(&lab, std::time::Duration::from_secs(10)).await;
    let mut held = begin(&mut stream, &mut agent, "").await;
    held.message(r#"{"jsonrpc":"2.0","id":"q1","result":{"task":{"id":"t","contextId":"c"}}}"#).await;
    until(&mut stream, &mut String::new(), r#""id":"t""#).await;
    cut(&mut stream, &mut held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_agent_breaks_off_does_not_look_whole() {
    let mut agent = Live::start().await;
    let lab = Lab::start(&documents(agent.addr, "  allow: [{}]\n")).await;
    let mut stream = lab.tunnel("agents/caller", AGENT).await.unwrap();
    let mut held = begin(&mut stream, &mut agent, "").await;
    held.message(r#"{"jsonrpc":"2.0","id":"q1","result":{"task":{"id":"t","contextId":"c"}}}"#).await;
    until(&mut stream, &mut String::new(), r#""id":"t""#).await;
    drop(held);
    let mut rest = Vec::new();
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the caller's stream ends"));
    assert!(!String::from_utf8_lossy(&rest).ends_with("0\r\n\r\n"), "it must not look whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_that_it_was_begun_with() {
    let mut agent = Live::start().await;
    let tokens = crate::mcp_hostile::sessions::Tokens::new();
    let documents = authenticated(&documents(agent.addr, "  allow: [{when: jwt.sub == \"alice\"}]\n"), &tokens);
    let lab = Lab::start(&documents).await;
    let mut stream = lab.tunnel("agents/caller", AGENT).await.unwrap();
    // It has ended already, but for what clocks may differ by: a few seconds are left.
    let token = tokens.sign("https://idp", "alice", "", -50);
    let mut held = begin(&mut stream, &mut agent, &format!("Authorization: Bearer {token}\r\n")).await;
    let mut seen = String::new();
    held.message(r#"{"jsonrpc":"2.0","id":"q1","result":{"task":{"id":"t","contextId":"c"}}}"#).await;
    until(&mut stream, &mut seen, r#""id":"t""#).await;
    cut(&mut stream, &mut held).await;
    again(&lab, &mut agent, &format!("Authorization: Bearer {token}\r\n"), "status: 401").await;
}

/// Clients read the data of an event whatever it is called: so is it read here.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_any_name_say_whose_a_task_is() {
    let mut agent = Live::start().await;
    let lab = Lab::start(&documents(agent.addr, "  a2a: {ownership: Enforce}\n  allow: [{}]\n")).await;
    let mut stream = lab.tunnel("agents/caller", AGENT).await.unwrap();
    let mut held = begin(&mut stream, &mut agent, "").await;
    let mut seen = String::new();
    held.chunk("event: ping\ndata: now\n\n").await;
    held.chunk("event: task\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"q1\",\"result\":{\"task\":{\"id\":\"t\",\"contextId\":\"c\"}}}\n\n")
        .await;
    until(&mut stream, &mut seen, r#""id":"t""#).await;
    assert!(seen.contains("event: ping") && seen.contains("event: task"), "{seen}");
    let get = envelope("GetTask", &json!({"id": "t"}));
    let request = format!("POST / HTTP/1.1\r\nHost: agent\r\n{V1}Content-Length: {}\r\n\r\n{get}", get.len());
    let reply = lab.raw("agents/other", AGENT, request.as_bytes()).await;
    assert_eq!(reply.json()["error"]["code"], -32001, "{reply:?}");
    let answering = async {
        let answer = r#"{"jsonrpc":"2.0","id":"q1","result":{"id":"t"}}"#;
        agent.next().await.write(crate::lab::json(answer).as_bytes()).await;
    };
    let (reply, ()) = tokio::join!(lab.raw("agents/caller", AGENT, request.as_bytes()), answering);
    assert!(reply.json()["result"].is_object(), "{reply:?}");
}

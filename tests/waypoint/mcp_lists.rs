//! Another policy, other lists: who listens to a server that tells of changes hears of that too, in the versions in which a
//! stream that is no session's says so.

use std::time::Duration;

use serde_json::{Value, json as value};
use tokio::io::AsyncWriteExt;

use crate::lab::{self, Lab, notes, post};
use crate::live::Live;

const NOTES: &str = "127.0.9.1:80";
const SECOND: Duration = Duration::from_secs(1);
const EVENT: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"still"}}"#;

async fn edit(lab: &Lab, live: &Live) {
    lab.edit(&notes(live.addr).replace("\"get_*\", ", "\"get_*\", \"list_*\", ")).await;
}

/// What was told since, as messages.
fn messages(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_hears_of_what_its_server_agreed_to_tell() {
    const MODERN: &str = "2026-07-28";
    for agreed in [true, false] {
        let mut live = Live::start().await;
        let lab = Lab::start(&notes(live.addr)).await;
        let meta = value!({"io.modelcontextprotocol/protocolVersion": MODERN});
        let wanted = value!({"toolsListChanged": true, "promptsListChanged": true});
        let listen = value!({"jsonrpc":"2.0","id":"l","method":"subscriptions/listen","params":{"_meta":meta,"notifications":wanted}});
        let headers = format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: subscriptions/listen\r\n");
        let mut caller = lab.tunnel("agents/reader", NOTES).await.unwrap();
        caller.write_all(post(&headers, &listen.to_string()).as_bytes()).await.unwrap();
        let mut held = live.next().await;
        held.begin_events().await;
        let subscription = value!({"io.modelcontextprotocol/subscriptionId": "l"});
        let accepted = if agreed { value!({"toolsListChanged": true}) } else { value!({}) };
        let accepted = value!({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":subscription,"notifications":accepted}});
        held.message(&accepted.to_string()).await;
        lab::read_until(&mut caller, "acknowledged").await;
        edit(&lab, &live).await;
        if agreed {
            let told = lab::read_until(&mut caller, "\"l\"}}}\n").await;
            let want =
                value!({"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":subscription}});
            assert!(messages(&told).contains(&want), "{told}");
        }
        tokio::time::sleep(SECOND).await;
        held.message(EVENT).await;
        assert!(!lab::read_until(&mut caller, "still").await.contains("list_changed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_2024_11_05_hears_of_what_its_server_declared() {
    for (capabilities, tells) in [(r#"{"tools":{"listChanged":true}}"#, true), (r#"{"tools":{}}"#, false)] {
        let mut live = Live::start().await;
        let lab = Lab::start(&notes(live.addr)).await;
        let (mut caller, mut held) =
            crate::mcp_sse::begin(&lab, &mut live, "agents/reader", "/messages?sessionId=s3cret").await;
        let at = crate::mcp_sse::address(&mut caller).await;
        let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{}}}"#;
        let take = async {
            let mut taken = live.next().await;
            taken.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            taken.id()
        };
        let (reply, sent) = tokio::join!(crate::mcp_sse::post(&lab, "agents/reader", &at, hello), take);
        assert_eq!(reply.status, 202, "{reply:?}");
        let result = format!(r#"{{"protocolVersion":"2024-11-05","capabilities":{capabilities}}}"#);
        held.message(&format!(r#"{{"jsonrpc":"2.0","id":{sent},"result":{result}}}"#)).await;
        lab::read_until(&mut caller, "capabilities").await;
        edit(&lab, &live).await;
        if tells {
            let told = lab::read_until(&mut caller, "list_changed\"").await;
            assert!(told.contains("notifications/tools/list_changed"), "{told}");
        }
        tokio::time::sleep(SECOND).await;
        held.message(EVENT).await;
        assert!(!lab::read_until(&mut caller, "still").await.contains("list_changed"));
    }
}

/// The address opens at every replica, but the stream on which answers come is one replica's: at another, and once that one
/// has been started anew, the client hears 404 and starts anew too.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_2024_11_05_is_unknown_where_its_stream_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let mut live = Live::start().await;
    let documents = notes(live.addr);
    let replica = || Lab::start_with(&documents, |settings| settings.sealing_key_file = Some(file.clone()));
    let (one, other) = (replica().await, replica().await);
    let (mut caller, _held) =
        crate::mcp_sse::begin(&one, &mut live, "agents/reader", "/messages?sessionId=s3cret").await;
    let at = crate::mcp_sse::address(&mut caller).await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note"}}"#;
    assert_eq!(crate::mcp_sse::post(&other, "agents/reader", &at, call).await.status, 404);
    drop(caller);
    one.waypoint.shutdown().await;
    assert_eq!(crate::mcp_sse::post(&replica().await, "agents/reader", &at, call).await.status, 404);
    assert!(live.is_quiet().await, "the server saw a message");
}

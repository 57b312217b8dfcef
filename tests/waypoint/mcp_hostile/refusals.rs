//! A hidden refusal is the server's own answer to a name that it does not have, to the byte and in its headers.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{HELLO, NOTES};
use crate::lab::{Lab, Reply, notes};

/// The session's header of an answer.
fn session(reply: &Reply) -> String {
    let line = reply.head.lines().find(|line| line.to_ascii_lowercase().starts_with("mcp-session-id:")).unwrap();
    format!("{line}\r\nMCP-Protocol-Version: 2025-06-18\r\n")
}

fn call(id: &str, name: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{{}}}}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_refusal_looks_like_the_real_servers_unknown_tool() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tool_server::ToolServer::new(tool_server::Seen::new(), CancellationToken::new());
    tokio::spawn(async move { server.serve(listener).await });
    let lab = Lab::start(&notes(address)).await;
    let hello = lab.post("agents/reader", NOTES, "", HELLO).await;
    let session = session(&hello);
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    lab.post("agents/reader", NOTES, &session, ready).await;
    let before = lab.post("agents/reader", NOTES, &session, &call("5", "delete_note")).await;
    let real = lab.post("agents/reader", NOTES, &session, &call("5", "get_nothing")).await;
    let after = lab.post("agents/reader", NOTES, &session, &call("5", "delete_note")).await;
    // Before anything was seen of it but its greeting: the form is the server's, the words are common ones.
    let form = |reply: &Reply| {
        let fields = reply.head.to_ascii_lowercase();
        let fields: Vec<_> = fields.lines().filter(|line| !line.starts_with("date:")).map(str::to_owned).collect();
        let date = reply.head.to_ascii_lowercase().contains("\r\ndate: ");
        (reply.status, fields, date)
    };
    assert!(
        !before.head.contains("x-agent-waypoint") && before.body.contains("Unknown tool: delete_note"),
        "{before:?}"
    );
    assert!(before.head.contains("text/event-stream"), "{before:?}");
    assert_eq!(form(&after), form(&real));
    assert_eq!(after.body, real.body);
    // What says that it is a refusal also says where its record is.
    let disclosed = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"create_note","arguments":{}}}"#;
    let disclosed = lab.post("agents/writer", NOTES, "", disclosed).await;
    assert!(disclosed.head.contains("x-agent-waypoint-request-id"), "{disclosed:?}");
}

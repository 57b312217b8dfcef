//! A hidden refusal is the server's own answer to a name that it does not have, to the byte and in its headers.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::lab::{Lab, Reply, notes};
use super::{HELLO, NOTES};

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
    println!("HELLO {hello:#?}\nBEFORE {before:#?}\nREAL {real:#?}\nAFTER {after:#?}");
}

//! MCP through a whole waypoint on loopback, with callers and servers that mean harm: of what is refused the upstream
//! sees not one byte, and what passes is exactly what was decided on.

mod answers;
mod beside;
mod cves;
mod limits;
mod refusals;
mod requests;
pub(crate) mod sessions;
mod streams;

use crate::lab::{Lab, Upstream, json, with};
use serde_json::{Value, json as value};

/// `tools/notes:80`.
const NOTES: &str = "127.0.9.1:80";
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_note","arguments":{"id":1}}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const HELLO: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
const VERSION: &str = "2025-06-18";

/// A session of `who` with [`server`]: the headers of what is sent in it.
async fn session(lab: &Lab, who: &str) -> String {
    lab.post(who, NOTES, "", HELLO).await.session(VERSION)
}

/// A server with a session `s-1` that answers every call with a text and lists four tools.
async fn server() -> Upstream {
    Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let id = &message["id"];
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let body = value!({"jsonrpc":"2.0","id":id,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}});
                return with("Mcp-Session-Id: s-1\r\n", &body.to_string());
            }
            "tools/list" => value!({"tools":[{"name":"get_note"},{"name":"create_note"},{"name":"delete_note"},{"name":"other"}]}),
            _ if id.is_null() => return "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            _ => value!({"content":[{"type":"text","text":"ok"}]}),
        };
        json(&value!({"jsonrpc":"2.0","id":id,"result":result}).to_string())
    })
    .await
}

//! `Mcp-Param-` headers (2026-07-28): whoever reads them instead of the body is not told another story.

use serde_json::{Value, json as value};

use crate::lab::{Lab, Upstream, json, notes};

const NOTES: &str = "127.0.9.1:80";
const MODERN: &str = "2026-07-28";

#[tokio::test(flavor = "multi_thread")]
async fn a_header_repeats_the_argument_that_its_tool_declares_it_for() {
    let upstream = Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let properties = value!({"region":{"type":"string","x-mcp-header":"Region"},"other":{"type":"string"}});
        let result = match message["method"].as_str().unwrap_or_default() {
            "tools/list" => {
                value!({"tools":[{"name":"get_note","inputSchema":{"type":"object","properties":properties}}]})
            }
            _ => value!({"content":[]}),
        };
        json(&value!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string())
    })
    .await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let ask = async |method: &str, headers: &str, params: Value| {
        let mut params = params;
        params["_meta"] = value!({"io.modelcontextprotocol/protocolVersion": MODERN});
        let headers = format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n{headers}");
        let body = value!({"jsonrpc":"2.0","id":5,"method":method,"params":params}).to_string();
        lab.post("agents/reader", NOTES, &headers, &body).await
    };
    let arguments = value!({"region":"eu","other":"us"});
    let call = async |header: &str| {
        let headers = format!("Mcp-Name: get_note\r\n{header}\r\n");
        ask("tools/call", &headers, value!({"name":"get_note","arguments":arguments})).await
    };
    // Before any list was seen, what no argument says is refused.
    assert_eq!(call("Mcp-Param-Region: eu").await.status, 200);
    assert_eq!(call("Mcp-Param-Region: us").await.status, 200);
    assert_eq!(call("Mcp-Param-Region: ap").await.status, 400);
    assert!(ask("tools/list", "", value!({})).await.body.contains("x-mcp-header"));
    assert_eq!(call("mcp-param-region: eu").await.status, 200);
    let before = upstream.bytes();
    let refused = call("Mcp-Param-Region: us").await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &value!(-32020)), "{refused:?}");
    assert_eq!(refused.json()["id"], 5);
    assert_eq!(upstream.bytes(), before);
}

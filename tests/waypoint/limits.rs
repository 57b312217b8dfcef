//! Limits of calls through a whole waypoint: what is over one is refused as the policy says, with the exact id, the
//! session lives on, and the server sees not one byte of it.

use std::net::SocketAddr;

use serde_json::{Value, json as value};

use crate::lab::{Lab, Upstream, json, service, with};

const NOTES: &str = "127.0.9.1:80";

async fn server() -> Upstream {
    Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let id = &message["id"];
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let body = value!({"jsonrpc":"2.0","id":id,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}});
                return with("Mcp-Session-Id: s-1\r\n", &body.to_string());
            }
            "tools/list" => value!({"tools":[{"name":"get_note"}]}),
            _ => value!({"content":[{"type":"text","text":"ok"}]}),
        };
        json(&value!({"jsonrpc":"2.0","id":id,"result":result}).to_string())
    })
    .await
}

fn documents(addr: SocketAddr, protocol: &str, rest: &str) -> String {
    let policy = format!(
        "---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: notes, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, name: notes}}]\n  {}\n",
        rest.replace('\n', "\n  ")
    );
    format!("{}{policy}", service("notes", "127.0.9.1", addr, protocol))
}

fn mcp(addr: SocketAddr, rest: &str) -> String {
    documents(
        addr,
        "agent-waypoint.dev/mcp",
        &format!("protocol: MCP\nallow: [{{to: [{{tools: [\"get_*\"]}}]}}]\n{rest}"),
    )
}

fn call(id: &str, tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_a_limit_is_refused_with_a_hint_and_reaches_nobody() {
    let upstream = server().await;
    let lab = Lab::start(&mcp(upstream.addr, "limits: [{name: few, calls: 2, per: 1h, key: principal+tool}]")).await;
    for id in ["1", "2"] {
        assert_eq!(
            lab.post("agents/reader", NOTES, "", &call(id, "get_note")).await.json()["result"]["content"][0]["text"],
            "ok"
        );
    }
    let before = upstream.bytes();
    let reply = lab.post("agents/reader", NOTES, "", &call("\"x-3\"", "get_note")).await;
    let told = reply.json();
    assert_eq!((reply.status, &told["id"], &told["error"]["code"]), (200, &value!("x-3"), &value!(40301)), "{reply:?}");
    let data = &told["error"]["data"];
    assert_eq!(
        (&data["reason"], &data["rule"], &data["policy"]),
        (&value!("limit_reached"), &value!("few"), &value!("tools/notes"))
    );
    let seconds = data["retryAfterSeconds"].as_u64().unwrap();
    assert!((1600..=1800).contains(&seconds), "{seconds}");
    assert!(told["error"]["message"].as_str().unwrap().ends_with(&format!("; retry in {seconds} s")), "{told}");
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
    // Another tool and another caller have budgets of their own.
    assert!(lab.post("agents/reader", NOTES, "", &call("4", "get_other")).await.json()["result"].is_object());
    assert!(lab.post("agents/writer", NOTES, "", &call("5", "get_note")).await.json()["result"].is_object());
    let log = lab.log.clone();
    lab.waypoint.shutdown().await;
    let lines = log.lines();
    let denied = lines.iter().find(|line| line["decision"] == "deny").unwrap();
    assert_eq!((&denied["reason"], &denied["rule"]), (&value!("limit_reached"), &value!("few")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_its_limit_and_what_is_no_call_costs_nothing() {
    let upstream = server().await;
    let lab = Lab::start(&mcp(upstream.addr, "limits: [{calls: 1, per: 1h}]")).await;
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let reply = lab.post("agents/reader", NOTES, "", hello).await;
    let id = reply
        .head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .starts_with("mcp-session-id: ")
                .then(|| line.split_once(": ").unwrap().1.trim().to_owned())
        })
        .unwrap();
    let session = format!("Mcp-Session-Id: {id}\r\nMCP-Protocol-Version: 2025-06-18\r\n");
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let post = |body: String| {
        let (lab, session) = (&lab, &session);
        async move { lab.post("agents/reader", NOTES, session, &body).await.json() }
    };
    for _ in 0..3 {
        assert_eq!(post(list.to_owned()).await["result"]["tools"][0]["name"], "get_note");
    }
    // What rules refuse takes nothing.
    assert_eq!(post(call("2", "delete_note")).await["error"]["code"], -32602);
    assert!(post(call("3", "get_note")).await["result"].is_object());
    assert_eq!(post(call("4", "get_note")).await["error"]["code"], 40301);
    assert_eq!(
        post(list.to_owned()).await["result"]["tools"][0]["name"],
        "get_note",
        "the tool stays in lists, the session lives"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_of_a_limit_take_the_form_that_the_policy_says() {
    let upstream = server().await;
    for (form, code) in [("Hidden", Some(-32602)), ("Disclosed", Some(40301)), ("ToolError", None)] {
        let lab = Lab::start(&mcp(upstream.addr, &format!("denial: {form}\nlimits: [{{calls: 1, per: 1h}}]"))).await;
        assert!(lab.post("agents/reader", NOTES, "", &call("1", "get_note")).await.json()["result"].is_object());
        let told = lab.post("agents/reader", NOTES, "", &call("2", "get_note")).await.json();
        match code {
            Some(code) => assert_eq!(told["error"]["code"], code, "{told}"),
            None => {
                assert_eq!(told["result"]["isError"], true, "{told}");
                assert!(told["result"]["content"][0]["text"].as_str().unwrap().contains("retry in "), "{told}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_told_429_and_when_to_come_again() {
    let upstream = Upstream::start(|_, _| json("{}")).await;
    let lab = Lab::start(&documents(upstream.addr, "http", "limits: [{calls: 1, per: 1h}]")).await;
    let get = b"GET /x HTTP/1.1\r\nHost: tools\r\n\r\n";
    assert_eq!(lab.raw("agents/reader", NOTES, get).await.status, 200);
    let before = upstream.bytes();
    let reply = lab.raw("agents/reader", NOTES, get).await;
    assert_eq!(reply.status, 429, "{reply:?}");
    let head = reply.head.to_ascii_lowercase();
    let after: u64 = head.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap().trim().parse().unwrap();
    assert!((3400..=3600).contains(&after), "{after}");
    assert_eq!(upstream.bytes(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_to_an_agent_counts_and_what_a_task_is_asked_does_not() {
    let upstream = Upstream::start(|_, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let task = value!({"id":"t","contextId":"c","kind":"task","status":{"state":"working"}});
        json(&value!({"jsonrpc":"2.0","id":message["id"],"result":task}).to_string())
    })
    .await;
    let policy = "protocol: A2A\na2a: {rpcPaths: [/mcp]}\nallow: [{}]\nlimits: [{calls: 1, per: 1h}]";
    let lab = Lab::start(&documents(upstream.addr, "agent-waypoint.dev/a2a", policy)).await;
    let send = r#"{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"kind":"message","role":"user","messageId":"m","parts":[{"kind":"text","text":"hi"}]}}}"#;
    let get = r#"{"jsonrpc":"2.0","id":2,"method":"tasks/get","params":{"id":"t"}}"#;
    let reply = lab.post("agents/reader", NOTES, "", send).await;
    assert_eq!(reply.json()["result"]["id"], "t", "{reply:?}");
    let before = upstream.bytes();
    let told = lab.post("agents/reader", NOTES, "", send).await.json();
    assert_eq!((&told["id"], &told["error"]["code"]), (&value!(1), &value!(40301)), "{told}");
    assert_eq!(told["error"]["data"]["reason"], "limit_reached");
    assert!(told["error"]["data"]["retryAfterSeconds"].is_string(), "{told}");
    assert_eq!(upstream.bytes(), before);
    for _ in 0..3 {
        assert_eq!(lab.post("agents/reader", NOTES, "", get).await.json()["result"]["id"], "t");
    }
}

//! What a route led to one backend goes on there: lists, tasks, and what its tools declare. Another backend would read a cursor
//! or an id as one of its own.

use serde_json::{Value, json as value};

use super::declared::{call, documents, post, text};
use crate::lab::{Lab, Reply, Upstream, json, with};

const CREATED: &str = "2026-01-01T00:00:00Z";
const MODERN: &str = "2026-07-28";
const EVEN: &str = "  - backendRefs: [{name: v1, port: 80}, {name: v2, port: 80}]";

/// A server that pages its tools, makes of each call its task `1`, and says its name wherever it can. Its tool repeats the
/// argument `repeats` in a header.
async fn named(name: &'static str, repeats: &'static str) -> Upstream {
    Upstream::start(move |_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let (id, params) = (&message["id"], &message["params"]);
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let result =
                    value!({"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":name,"version":"1"}});
                let body = value!({"jsonrpc":"2.0","id":id,"result":result});
                return with(&format!("Mcp-Session-Id: s-{name}\r\n"), &body.to_string());
            }
            "tools/list" => {
                let schema = value!({"type":"object","properties":{repeats:{"type":"string","x-mcp-header":"Region"}}});
                let tools = value!([{"name":"get_note","description":name,"inputSchema":schema}]);
                match params["cursor"].as_str() {
                    None => value!({"tools":tools,"nextCursor":"row 5"}),
                    Some(_) => value!({"tools":tools}),
                }
            }
            "tools/call" if params["task"].is_object() => {
                value!({"task":{"taskId":"1","status":"working","createdAt":CREATED},"_meta":{"from":name}})
            }
            "tools/call" => value!({"content":[{"type":"text","text":name}]}),
            _ => value!({"taskId":params["taskId"],"status":"working","createdAt":CREATED,"_meta":{"from":name}}),
        };
        json(&value!({"jsonrpc":"2.0","id":id,"result":result}).to_string())
    })
    .await
}

fn message(method: &str, params: &Value) -> String {
    value!({"jsonrpc":"2.0","id":3,"method":method,"params":params}).to_string()
}

/// Who listed.
fn lister(reply: &Reply) -> String {
    reply.json()["result"]["tools"][0]["description"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

/// The answers of `ask` by who gave them, until both backends have.
async fn of_both(ask: impl AsyncFn() -> (String, Reply)) -> [Reply; 2] {
    let (mut one, mut two) = (None, None);
    for _ in 0..64 {
        let (from, reply) = ask().await;
        *(if from == "v1" { &mut one } else { &mut two }) = Some(reply);
        if let (Some(_), Some(_)) = (&one, &two) {
            break;
        }
    }
    [one.expect("v1 answers some"), two.expect("v2 answers some")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_at_the_backend_that_began_it_or_nowhere() {
    let (tool, v1, v2) = (named("tool", "a").await, named("v1", "a").await, named("v2", "a").await);
    let lab = Lab::start(&documents([&tool, &v1, &v2], EVEN, "")).await;
    let begin = async || {
        let first = post(&lab, "/mcp", "", &message("tools/list", &value!({}))).await;
        (lister(&first), first)
    };
    let next = |first: &Reply| message("tools/list", &value!({"cursor":first.json()["result"]["nextCursor"]}));
    let firsts = of_both(begin).await;
    for first in &firsts {
        for _ in 0..8 {
            let second = post(&lab, "/mcp", "", &next(first)).await;
            assert_eq!(lister(&second), lister(first), "{second:?}");
        }
    }
    // A session is at one backend, which has not begun the other's list.
    let hello = value!({"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}});
    let sessions = of_both(async || {
        let reply = post(&lab, "/mcp", "", &message("initialize", &hello)).await;
        (reply.json()["result"]["serverInfo"]["name"].as_str().unwrap().to_owned(), reply)
    });
    let sessions = sessions.await.map(|reply| reply.session("2025-11-25"));
    for (at, session) in sessions.iter().enumerate() {
        let own = post(&lab, "/mcp", session, &next(&firsts[at])).await;
        assert_eq!(lister(&own), lister(&firsts[at]));
        let before = [&v1, &v2].map(Upstream::bytes);
        let others = post(&lab, "/mcp", session, &next(&firsts[1 - at])).await;
        assert_eq!((others.status, &others.json()["error"]["code"]), (200, &value!(-32602)), "{others:?}");
        assert_eq!([&v1, &v2].map(Upstream::bytes), before);
    }
    // The route leads to v1 no more.
    let only = "  - backendRefs: [{name: v2, port: 80}]";
    lab.edit(&documents([&tool, &v1, &v2], only, "")).await;
    let before = [&v1, &v2].map(Upstream::bytes);
    let unknown = post(&lab, "/mcp", "", &next(&firsts[0])).await;
    assert_eq!(unknown.json()["error"]["code"], -32602, "{unknown:?}");
    assert_eq!([&v1, &v2].map(Upstream::bytes), before, "v2 would take it for its own");
    assert_eq!(lister(&post(&lab, "/mcp", "", &next(&firsts[1])).await), "v2");
    assert_eq!(tool.bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_at_the_backend_that_made_it_alone() {
    let (tool, v1, v2) = (named("tool", "a").await, named("v1", "a").await, named("v2", "a").await);
    let lab = Lab::start(&documents([&tool, &v1, &v2], EVEN, "")).await;
    let from = |reply: &Reply| reply.json()["result"]["_meta"]["from"].as_str().unwrap_or_default().to_owned();
    let made = of_both(async || {
        let call = message("tools/call", &value!({"name":"get_note","arguments":{},"task":{}}));
        let reply = post(&lab, "/mcp", "", &call).await;
        (from(&reply), reply)
    })
    .await;
    let tasks = made.each_ref().map(|reply| reply.json()["result"]["task"]["taskId"].clone());
    assert_ne!(tasks[0], tasks[1]);
    for (task, name) in tasks.iter().zip(["v1", "v2"]) {
        for method in ["tasks/get", "tasks/cancel", "tasks/get", "tasks/cancel"] {
            let got = post(&lab, "/mcp", "", &message(method, &value!({"taskId":task}))).await;
            assert_eq!((from(&got).as_str(), &got.json()["result"]["taskId"]), (name, task), "{method}: {got:?}");
        }
        // What is a part of a task goes where that is.
        let related = value!({"name":"get_note","_meta":{"io.modelcontextprotocol/related-task":{"taskId":task}}});
        for _ in 0..8 {
            let got = post(&lab, "/mcp", "", &message("tools/call", &related)).await;
            assert_eq!(text(&got), name, "{got:?}");
        }
    }
    let before = [&v1, &v2].map(Upstream::bytes);
    let both = value!({"taskId":tasks[0],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":tasks[1]}}});
    let refused = post(&lab, "/mcp", "", &message("tasks/get", &both)).await;
    assert_eq!(refused.json()["error"]["code"], -32602, "{refused:?}");
    assert_eq!([&v1, &v2].map(Upstream::bytes), before);
    // The route leads to v1 no more: its task is nobody's there.
    let only = "  - backendRefs: [{name: v2, port: 80}]";
    lab.edit(&documents([&tool, &v1, &v2], only, "")).await;
    let get = message("tasks/get", &value!({"taskId":tasks[0]}));
    let before = [&v1, &v2].map(Upstream::bytes);
    assert_eq!(post(&lab, "/mcp", "", &get).await.json()["error"]["code"], -32602);
    assert_eq!([&v1, &v2].map(Upstream::bytes), before, "v2 has a task of that number too");
    assert_eq!(tool.bytes(), 0);
}

/// Two backends may have one tool with two schemas: a header is held against that of the server which gets it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_tool_declares_is_its_backends_word() {
    let (tool, v1, v2) = (named("tool", "a").await, named("v1", "region").await, named("v2", "other").await);
    let rules = "\n  - matches: [{path: {value: /one}}]\n    backendRefs: [{name: v1, port: 80}]\n  - matches: [{path: {value: /two}}]\n    backendRefs: [{name: v2, port: 80}]";
    let lab = Lab::start(&documents([&tool, &v1, &v2], rules, "")).await;
    let ask = async |path: &str, method: &str, headers: &str, params: Value| {
        let mut params = params;
        params["_meta"] =
            value!({"io.modelcontextprotocol/protocolVersion":MODERN,"io.modelcontextprotocol/clientCapabilities":{}});
        let headers = format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n{headers}");
        post(&lab, path, &headers, &message(method, &params)).await
    };
    for path in ["/one", "/two"] {
        assert!(ask(path, "tools/list", "", value!({})).await.body.contains("x-mcp-header"));
    }
    for (path, says, status) in [("/one", "eu", 200), ("/one", "us", 400), ("/two", "eu", 400), ("/two", "us", 200)] {
        let headers = format!("Mcp-Name: get_note\r\nMcp-Param-Region: {says}\r\n");
        let before = [&v1, &v2].map(Upstream::bytes);
        let arguments = value!({"name":"get_note","arguments":{"region":"eu","other":"us"}});
        let reply = ask(path, "tools/call", &headers, arguments).await;
        assert_eq!(reply.status, status, "{path} {says}: {reply:?}");
        if status == 400 {
            assert_eq!(reply.json()["error"]["code"], -32020, "{path} {says}: {reply:?}");
            assert_eq!([&v1, &v2].map(Upstream::bytes), before, "{path} {says}");
        }
    }
    assert_eq!(text(&post(&lab, "/one", "", &call("get_note")).await), "v1");
}

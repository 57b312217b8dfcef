//! Cursors belong to whoever was given them, in every list, version and replica; a server gets its own and no other's.

use serde_json::{Value, json as value};

use crate::lab::{Lab, Reply, Upstream, events, json, service};

const NOTES: &str = "127.0.9.1:80";
const OTHER: &str = "127.0.9.2:80";
const LISTS: [(&str, &str); 5] = [
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
    ("tasks/list", "tasks"),
];
const MODERN: &str = "2026-07-28";

fn policy(service: &str) -> String {
    format!(
        "apiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: {service}, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, name: {service}}}]\n  protocol: MCP\n  allow: [{{from: [{{namespaces: [agents]}}]}}]\n"
    )
}

fn documents(upstream: &Upstream) -> String {
    let mcp = "agent-waypoint.dev/mcp";
    format!(
        "{}---\n{}---\n{}---\n{}",
        service("notes", "127.0.9.1", upstream.addr, mcp),
        policy("notes"),
        service("other", "127.0.9.2", upstream.addr, mcp),
        policy("other")
    )
}

/// Lists of two pages, the first of them empty; what no cursor of its own says it does not know. By events where asked so.
async fn server() -> Upstream {
    Upstream::start(|head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let method = message["method"].as_str().unwrap_or_default();
        let key = LISTS.iter().find(|(list, _)| *list == method).map_or("", |(_, key)| key);
        let answer = match message["params"]["cursor"].as_str() {
            None => {
                value!({"jsonrpc":"2.0","id":message["id"],"result":{key:[],"nextCursor":format!("s3cret {method}")}})
            }
            Some(cursor) if cursor == format!("s3cret {method}") => {
                value!({"jsonrpc":"2.0","id":message["id"],"result":{key:[],"last":"page"}})
            }
            Some(_) => value!({"jsonrpc":"2.0","id":message["id"],"error":{"code":-32602,"message":"server: unknown"}}),
        };
        if head.contains("/events") { events(&format!("data: {answer}\n\n")) } else { json(&answer.to_string()) }
    })
    .await
}

async fn ask(lab: &Lab, (who, at): (&str, &str), (version, method): (&str, &str), cursor: Option<&Value>) -> Reply {
    let mut params = value!({});
    let mut headers = format!("MCP-Protocol-Version: {version}\r\n");
    if version == MODERN {
        params["_meta"] = value!({"io.modelcontextprotocol/protocolVersion": version});
        headers += &format!("Mcp-Method: {method}\r\n");
    }
    if let Some(cursor) = cursor {
        params["cursor"] = cursor.clone();
    }
    lab.post(who, at, &headers, &value!({"jsonrpc":"2.0","id":3,"method":method,"params":params}).to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_its_callers_for_one_list_of_one_server() {
    let upstream = server().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let text = documents(&upstream);
    let replica = || Lab::start_with(&text, |settings| settings.sealing_key_file = Some(file.clone()));
    let (lab, other) = (replica().await, replica().await);
    let own = ("agents/reader", NOTES);
    for (version, method) in ["2025-06-18", MODERN].into_iter().flat_map(|v| LISTS.map(|(method, _)| (v, method))) {
        if version == MODERN && method == "tasks/list" {
            continue;
        }
        let case = format!("{version} {method}");
        let first = ask(&lab, own, (version, method), None).await;
        let cursor = first.json()["result"]["nextCursor"].clone();
        assert!(cursor.is_string() && !first.body.contains("s3cret"), "{case}: {first:?}");
        for replica in [&lab, &other] {
            let second = ask(replica, own, (version, method), Some(&cursor)).await;
            assert_eq!(second.json()["result"]["last"], "page", "{case}: {second:?}");
        }
        let text = cursor.as_str().unwrap();
        let tampered = value!(format!("{}{}", if text.starts_with('A') { 'B' } else { 'A' }, text.get(1..).unwrap()));
        let elsewhere = if method == "tools/list" { "prompts/list" } else { "tools/list" };
        let before = upstream.bytes();
        let mut answers = Vec::new();
        for (caller, list, cursor) in [
            (own, method, &value!("never given")),
            (("agents/writer", NOTES), method, &cursor),
            (("agents/reader", OTHER), method, &cursor),
            (own, elsewhere, &cursor),
            (own, method, &tampered),
            (own, method, &value!(format!("s3cret {method}"))),
        ] {
            let refused = ask(&lab, caller, (version, list), Some(cursor)).await;
            assert_eq!(
                (refused.status, &refused.json()["error"]["code"]),
                (200, &value!(-32602)),
                "{case}: {refused:?}"
            );
            answers.push(refused.body);
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{case}: told apart: {answers:#?}");
        let shaped = ask(&lab, own, (version, method), Some(&value!(["x"]))).await;
        assert_eq!(shaped.json()["error"]["code"], -32602, "{case}: {shaped:?}");
        assert_eq!(upstream.bytes(), before, "{case}");
    }
}

/// A lenient reader takes `Cursor` for it; a server that pages by events hands out no other cursors.
#[tokio::test(flavor = "multi_thread")]
async fn no_form_and_no_spelling_leads_past_the_seal() {
    let upstream = server().await;
    let lab = Lab::start(&documents(&upstream)).await;
    let list = r#"{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{"Cursor":"s3cret tools/list"}}"#;
    let refused = lab.post("agents/reader", NOTES, "", list).await;
    assert_eq!((refused.json()["error"]["code"].clone(), upstream.bytes()), (value!(-32602), 0), "{refused:?}");
    let list = list.replace(r#","params":{"Cursor":"s3cret tools/list"}"#, "");
    let request = crate::lab::post("", &list).replacen("/mcp", "/events", 1);
    let streamed = lab.raw("agents/reader", NOTES, request.as_bytes()).await;
    assert!(streamed.body.contains("nextCursor") && !streamed.body.contains("s3cret"), "{streamed:?}");
}

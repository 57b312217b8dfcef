//! A call that waits for a connection is decided on by the rules of the moment in which it leaves.

use std::sync::Arc;

use crate::balancing::documents;
use crate::destination_rules::{Door, rule};
use crate::lab::{Lab, eventually, json, page, service};
use crate::plain_ports::http::{WEB, istio};

const ONE: &str = "{connectionPool: {tcp: {maxConnections: 1}}}";
const NOTES: &str = "127.0.9.1:80";

async fn calls(lab: &Lab) -> u64 {
    let seen = page(lab.waypoint.admin_addr(), "/endpoints").await.json();
    seen.as_array().unwrap().iter().map(|one| one["calls"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_a_connection_is_held_by_rules_that_come_meanwhile() {
    for upgrade in ["", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"] {
        let door = Door::default();
        let server = door.server().await;
        let before = format!("{}{}", documents(&[server.addr]), rule(ONE));
        let lab = Arc::new(Lab::start(&before).await);
        let call = |path: &'static str, more: &'static str| {
            let lab = Arc::clone(&lab);
            let request = format!("GET {path} HTTP/1.1\r\nHost: web.tools:80\r\n{more}\r\n");
            tokio::spawn(async move { lab.raw("agents/reader", WEB, request.as_bytes()).await })
        };
        let first = call("/first", "");
        eventually("it is under way", async || server.seen().contains("/first")).await;
        let second = call("/second", upgrade);
        eventually("the second waits", async || calls(&lab).await == 2).await;
        let denied = istio("DENY", "[{to: [{operation: {paths: [/refused, /second]}}]}]");
        let after = before.replace(&istio("DENY", "[{to: [{operation: {paths: [/refused]}}]}]"), &denied);
        assert_ne!(before, after);
        lab.edit(&after).await;
        let second = second.await.unwrap();
        assert_eq!(second.status, 403, "{second:?}");
        door.open();
        assert_eq!(first.await.unwrap().status, 200, "what is out is the server's");
        assert!(!server.seen().contains("/second"), "{}", server.seen());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_tool_that_waits_for_a_connection_is_held_by_rules_that_come_meanwhile() {
    let door = Door::default();
    let server = door.answering(json(r#"{"jsonrpc":"2.0","id":"c","result":{"content":[]}}"#)).await;
    let policy = "---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: notes, namespace: tools}\nspec: {targetRefs: [{kind: Service, name: notes}], protocol: MCP, allow: [{to: [{tools: [first, second]}]}]}\n";
    let of_notes = rule(ONE).replace("host: web", "host: notes");
    let before = format!("{}{policy}{of_notes}", service("notes", "127.0.9.1", server.addr, "agent-waypoint.dev/mcp"));
    let lab = Arc::new(Lab::start(&before).await);
    let call = |tool: &'static str| {
        let lab = Arc::clone(&lab);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#
        );
        tokio::spawn(async move { lab.post("agents/reader", NOTES, "", &body).await })
    };
    let first = call("first");
    eventually("it is under way", async || server.seen().contains("\"first\"")).await;
    let second = call("second");
    eventually("the second waits", async || calls(&lab).await == 2).await;
    lab.edit(&before.replace("[first, second]", "[first]")).await;
    let second = second.await.unwrap();
    // A policy's refusal; that no connection came to be free would be a status of its own.
    assert_eq!(second.status, 200, "{second:?}");
    assert!(second.body.contains("error") && !second.body.contains("content"), "{second:?}");
    door.open();
    let first = first.await.unwrap();
    assert!(first.body.contains("content"), "{first:?}");
    assert!(!server.seen().contains("\"second\""), "{}", server.seen());
}

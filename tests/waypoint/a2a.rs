//! A2A ports: three bindings under one policy, refusals in each binding's words, owners, streams.

mod beside;
mod cards;
mod grpc;
mod jsonrpc;
mod owners;
mod replicas;
mod streams;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_waypoint::id::WorkloadId;
use agent_waypoint::{app, hbone};
use serde_json::{Value, json};

use crate::lab::{Lab, Reply, Upstream, json as answered, service};
use crate::tokens::{idp, inline};

const AGENT: &str = "127.0.9.7:80";

const RULES: &str = r#"
  allow:
  - name: callers
    from: [{serviceAccounts: ["agents/caller", "agents/other"]}]
    to: [{operations: [SendMessage, SendStreamingMessage, GetTask, SubscribeToTask, ListTasks]}]
"#;

/// The agent `tools/agent:80` with an endpoint at `addr` and these rules.
fn documents(addr: SocketAddr, rules: &str) -> String {
    format!(
        "{}---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: agent, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, name: agent}}]\n  protocol: A2A\n{rules}",
        service("agent", "127.0.9.7", addr, "agent-waypoint.dev/a2a"),
    )
}

/// An agent whose every message begins the task `ID` in the context `ctx-ID`, where `ID` is the message's id.
async fn agent() -> Upstream {
    Upstream::start(|head, body| {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let tree: Value = serde_json::from_str(body).unwrap_or_default();
        let rpc = tree.get("jsonrpc").is_some();
        let message = if rpc { &tree["params"]["message"] } else { &tree["message"] };
        let id = message["messageId"].as_str().unwrap_or("t");
        let task = json!({"id": id, "contextId": format!("ctx-{id}"), "status": {"state": "TASK_STATE_WORKING"}});
        let result = if message.is_object() { json!({"task": task}) } else { task };
        if path.ends_with("agent-card.json") {
            return answered(r#"{"name":"agent","supportedInterfaces":[{"url":"http://127.0.9.7:80/"}]}"#);
        }
        let answer = if rpc { json!({"jsonrpc": "2.0", "id": tree["id"], "result": result}) } else { result };
        answered(&answer.to_string())
    })
    .await
}

/// One request to the agent, in a tunnel of its own.
async fn ask(lab: &Lab, who: &str, line: &str, headers: &str, body: &str) -> Reply {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: agent\r\n{headers}{}\r\n{body}",
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) }
    );
    lab.raw(who, AGENT, request.as_bytes()).await
}

/// A tunnel to the agent under a certificate that ends after `life`; it stands as long as the pool does.
async fn brief(lab: &Lab, life: Duration) -> (hbone::Pool, hbone::Stream) {
    let of = lab.ca.trust_domain().clone();
    let id = WorkloadId::of_istio(&of, "agents", "caller").unwrap();
    let pool = hbone::Pool::new(lab.ca.identity(&id, life).unwrap());
    let waypoint: Arc<[WorkloadId]> = vec![app::dev_identity(&of).unwrap()].into();
    let stream = pool.connect(lab.waypoint.hbone_addr(), &waypoint, AGENT).await.unwrap();
    (pool, stream)
}

/// The agent's documents with tokens of `tokens` taken at it.
fn authenticated(documents: &str, tokens: &crate::mcp_hostile::sessions::Tokens) -> String {
    format!("{documents}---\n{}", idp("agent", &inline(tokens, "")))
}

/// Everything that was logged, once the waypoint has ended.
async fn logged(lab: Lab) -> Vec<Value> {
    let log = lab.log.clone();
    lab.waypoint.shutdown().await;
    log.lines()
}

const V1: &str = "Content-Type: application/json\r\nA2A-Version: 1.0\r\n";
const V03: &str = "Content-Type: application/json\r\n";

fn envelope(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": "q1", "method": method, "params": params}).to_string()
}

fn message(id: &str) -> Value {
    json!({"message": {"messageId": id, "role": "ROLE_USER", "parts": [{"text": "hi"}]}})
}

async fn rpc(lab: &Lab, who: &str, method: &str, params: &Value) -> Value {
    let reply = ask(lab, who, "POST /", V1, &envelope(method, params)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let json = reply.json();
    assert_eq!(json["id"], "q1", "{reply:?}");
    json
}

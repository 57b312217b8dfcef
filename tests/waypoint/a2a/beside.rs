//! A2A that only a DryRun policy declares: read along for the record in every binding, and nothing is held back.

use serde_json::json;

use super::{V1, agent, ask, envelope, logged, message};
use crate::lab::{Lab, service};

fn documents(addr: std::net::SocketAddr) -> String {
    let policy = r#"
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: agent, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: agent}]
  protocol: A2A
  mode: DryRun
  a2a: {ownership: Enforce, rpcPaths: ["/rpc"], push: {hosts: [hooks.example.com]}, skills: [message.metadata.skill]}
  deny:
  - {name: no-cancel, to: [{operations: [CancelTask]}]}
  allow:
  - {name: quotes, to: [{operations: ["Send*"], skills: [quote]}]}
  - {name: reads, to: [{operations: [GetTask, CreateTaskPushNotificationConfig]}]}
"#;
    format!("{}---\n{policy}", service("agent", "127.0.9.7", addr, "http"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dry_run_would_decide_is_in_the_record_and_nothing_is_held_back() {
    let upstream = agent().await;
    let lab = Lab::start(&documents(upstream.addr)).await;
    let mut quote = message("t");
    quote["message"]["metadata"] = json!({"skill": "quote"});
    let get = envelope("GetTask", &json!({"id": "t"}));
    let hook = json!({"taskId": "t", "url": "https://hooks.example.com/x"});
    let elsewhere = json!({"taskId": "t", "url": "http://127.0.0.1/x"});
    let twice = get.replace(r#""id":"q1""#, r#""id":"q1","id":"q1""#);
    let rows = [
        ("POST", "/rpc", envelope("SendMessage", &quote), "reads quotes", "allow"),
        ("POST", "/rpc", envelope("SendMessage", &message("t")), "another skill", "deny"),
        ("POST", "/rpc", get.clone(), "", "allow"),
        ("GET", "/tasks/t", String::new(), "", "allow"),
        ("POST", "/tasks/t:cancel", String::new(), "no-cancel", "deny"),
        ("POST", "/rpc", envelope("CreateTaskPushNotificationConfig", &hook), "", "allow"),
        ("POST", "/rpc", envelope("CreateTaskPushNotificationConfig", &elsewhere), "", "deny"),
        ("POST", "/", get, "not where JSON-RPC is", "deny"),
        ("POST", "/rpc", twice, "a member twice", "deny"),
        ("GET", "/healthz", String::new(), "no A2A", "deny"),
    ];
    for (verb, path, body, what, ..) in &rows {
        let reply = ask(&lab, "agents/caller", &format!("{verb} {path}"), V1, body).await;
        assert_eq!(reply.status, 200, "{what}: {reply:?}");
        assert!(upstream.seen().ends_with(&format!("\r\n\r\n{body}")), "{what}: {}", upstream.seen());
    }
    let lines = logged(lab).await;
    assert_eq!(lines.len(), rows.len(), "{lines:?}");
    for (line, (verb, path, _, what, shadow)) in lines.iter().zip(&rows) {
        assert_eq!(line["decision"], "allow", "{verb} {path} {what}: {line}");
        let told = line["shadow"].to_string();
        assert!(told.contains(&format!("\"{shadow}\"")), "{verb} {path} {what}: {line}");
    }
}

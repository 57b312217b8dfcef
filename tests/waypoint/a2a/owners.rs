//! `ownership: Enforce`: tasks and contexts are for whom they were begun, and everything else looks as if it were not.

use serde_json::{Value, json};

use super::{V1, agent, ask, documents, logged, message, rpc};
use crate::lab::Lab;

const ENFORCE: &str = "  a2a: {ownership: Enforce}\n  allow: [{}]\n";

fn not_found(answer: &Value) -> bool {
    answer["error"]["code"] == -32001 && answer["error"].get("data").is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_began_looks_as_if_it_were_not() {
    let upstream = agent().await;
    let lab = Lab::start(&documents(upstream.addr, ENFORCE)).await;
    let begun = rpc(&lab, "agents/caller", "SendMessage", &message("t1")).await;
    assert_eq!(begun["result"]["task"]["contextId"], "ctx-t1");
    let mine = rpc(&lab, "agents/caller", "GetTask", &json!({"id": "t1"})).await;
    assert!(mine["result"].is_object(), "{mine}");
    // The same task over HTTP, and a message in its context.
    let reply = ask(&lab, "agents/caller", "GET /tasks/t1", "A2A-Version: 1.0\r\n", "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let mut next = message("t2");
    next["message"]["contextId"] = json!("ctx-t1");
    next["message"]["referenceTaskIds"] = json!(["t1"]);
    let passed = rpc(&lab, "agents/caller", "SendMessage", &next).await;
    assert!(passed["result"].is_object(), "{passed}");
    assert!(rpc(&lab, "agents/caller", "ListTasks", &json!({"contextId": "ctx-t1"})).await["result"].is_object());

    let before = upstream.bytes();
    let foreign = |member: &str, value: Value| {
        let mut params = message("t3");
        params["message"][member] = value;
        params
    };
    for (method, params) in [
        ("GetTask", json!({"id": "t1"})),
        ("CancelTask", json!({"id": "t1"})),
        ("SubscribeToTask", json!({"id": "t1"})),
        ("ListTaskPushNotificationConfigs", json!({"taskId": "t1"})),
        ("SendMessage", foreign("taskId", json!("t1"))),
        ("SendMessage", foreign("contextId", json!("ctx-t1"))),
        ("SendMessage", foreign("contextId", json!("invented"))),
        ("SendStreamingMessage", foreign("referenceTaskIds", json!(["t1"]))),
        ("ListTasks", json!({"contextId": "ctx-t1"})),
        ("ListTasks", json!({})),
        ("GetTask", json!({"id": "never-was"})),
    ] {
        let answer = rpc(&lab, "agents/other", method, &params).await;
        assert!(not_found(&answer), "{method} {params} {answer}");
    }
    let reply = ask(&lab, "agents/other", "GET /tasks/t1", "A2A-Version: 1.0\r\n", "").await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["details"][0]["reason"]),
        (404, &json!("TASK_NOT_FOUND")),
        "{reply:?}"
    );
    let reply = ask(&lab, "agents/caller", "GET /acme/tasks/t1", "A2A-Version: 1.0\r\n", "").await;
    assert_eq!(reply.status, 404, "another tenant's: {reply:?}");
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
    assert_eq!(logged(lab).await.iter().filter(|line| line["reason"] == "not_owner").count(), 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_cannot_give_away_what_is_anothers() {
    let upstream = agent().await;
    let lab = Lab::start(&documents(upstream.addr, ENFORCE)).await;
    rpc(&lab, "agents/caller", "SendMessage", &message("t1")).await;
    // The agent answers another caller with the same task.
    rpc(&lab, "agents/other", "SendMessage", &message("t1")).await;
    assert!(not_found(&rpc(&lab, "agents/other", "GetTask", &json!({"id": "t1"})).await));
    assert!(rpc(&lab, "agents/caller", "GetTask", &json!({"id": "t1"})).await["result"].is_object());
    // A restart knows nobody's tasks: nobody has them.
    drop(lab);
    let lab = Lab::start(&documents(upstream.addr, ENFORCE)).await;
    assert!(not_found(&rpc(&lab, "agents/caller", "GetTask", &json!({"id": "t1"})).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn co_owners_may_and_rules_see_the_owner() {
    let upstream = agent().await;
    let rules = r#"
  a2a:
    ownership: Enforce
    coOwners: [{owners: ["agents/caller"], serviceAccounts: ["agents/supervisor"]}]
  deny:
  - to: [{operations: [CancelTask]}]
    when: has(a2a.task.owner) && a2a.task.owner != source.spiffeId
  allow: [{}]
"#;
    let lab = Lab::start(&documents(upstream.addr, rules)).await;
    rpc(&lab, "agents/caller", "SendMessage", &message("t1")).await;
    assert!(rpc(&lab, "agents/supervisor", "GetTask", &json!({"id": "t1"})).await["result"].is_object());
    let refused = rpc(&lab, "agents/supervisor", "CancelTask", &json!({"id": "t1"})).await;
    assert_eq!(refused["error"]["data"]["reason"], "denied_by_rule", "{refused}");
    assert!(not_found(&rpc(&lab, "agents/other", "GetTask", &json!({"id": "t1"})).await));
    let reply = ask(&lab, "agents/caller", "POST /tasks/t1:cancel", V1, "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

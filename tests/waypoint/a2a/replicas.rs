//! Whose a task is outlives the process that learnt it, and is known to every replica before the caller knows the task.

use std::path::Path;
use std::time::Instant;

use agent_waypoint::app::IdentitySource;
use agent_waypoint::config::limits::OWNERS_SETTLE;
use serde_json::{Value, json};

use super::{V1, agent, ask, documents, message, rpc};
use crate::lab::{Lab, eventually, page};

const ENFORCE: &str = r#"
  a2a:
    ownership: Enforce
    coOwners: [{owners: ["agents/caller"], serviceAccounts: ["agents/supervisor"]}]
  deny:
  - to: [{operations: [CancelTask]}]
    when: has(a2a.task.state) && a2a.task.state == "TASK_STATE_WORKING"
  allow: [{}]
"#;

fn not_found(answer: &Value) -> bool {
    answer["error"]["code"] == -32001 && answer["error"].get("data").is_none()
}

async fn get(lab: &Lab, who: &str, id: &str) -> Value {
    rpc(lab, who, "GetTask", &json!({"id": id})).await
}

/// A waypoint with the same CA as the one in `ca`, so with the same identity, and these replicas.
async fn replica(ca: &Path, documents: &str, state: Option<&Path>, of: &[&Lab]) -> Lab {
    let replicas = of.iter().map(|lab| lab.waypoint.hbone_addr().to_string()).collect();
    Lab::start_with(documents, |settings| {
        settings.identity = IdentitySource::Dev { dir: ca.join("ca") };
        settings.state_dir = state.map(Path::to_owned);
        settings.replicas = replicas;
    })
    .await
}

async fn ready(lab: &Lab) {
    eventually("ready", async || page(lab.waypoint.ready_addr(), "/healthz/ready").await.status == 200).await;
}

/// To how many others it says that it is linked.
async fn linked(lab: &Lab) -> usize {
    let page = lab.metrics().await;
    let line = page.lines().find_map(|line| line.strip_prefix("agent_waypoint_a2a_linked_replicas "));
    line.unwrap().parse().unwrap()
}

/// Has the task begun at `learns`: whether `knows` knows it already, as it must unless it was too slow to be waited for.
async fn begins(learns: &Lab, id: &str, knows: &Lab) -> bool {
    let began = Instant::now();
    rpc(learns, "agents/caller", "SendMessage", &message(id)).await;
    let waited = began.elapsed() < OWNERS_SETTLE;
    let known = async || get(knows, "agents/caller", id).await["result"].is_object();
    if waited {
        return known().await;
    }
    eventually(id, known).await;
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_knows_whose_the_tasks_are() {
    let upstream = agent().await;
    let (ca, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let documents = documents(upstream.addr, ENFORCE);
    let lab = replica(ca.path(), &documents, Some(state.path()), &[]).await;
    rpc(&lab, "agents/caller", "SendMessage", &message("t1")).await;
    // As by kill -9: nothing is closed in order. What the caller was answered had been kept before.
    let left = tempfile::tempdir().unwrap();
    std::fs::copy(state.path().join("owners.jsonl"), left.path().join("owners.jsonl")).unwrap();
    drop(lab);
    let lab = replica(ca.path(), &documents, Some(left.path()), &[]).await;
    let before = upstream.bytes();
    assert!(not_found(&get(&lab, "agents/other", "t1").await));
    let denied = rpc(&lab, "agents/caller", "CancelTask", &json!({"id": "t1"})).await;
    assert_eq!(denied["error"]["data"]["reason"], "denied_by_rule", "its state is known too: {denied}");
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
    assert!(get(&lab, "agents/caller", "t1").await["result"].is_object());
    assert!(get(&lab, "agents/supervisor", "t1").await["result"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_learns_every_other_knows_at_once_and_a_new_one_is_told() {
    let upstream = agent().await;
    let ca = tempfile::tempdir().unwrap();
    let documents = documents(upstream.addr, ENFORCE);
    let one = replica(ca.path(), &documents, None, &[]).await;
    rpc(&one, "agents/caller", "SendMessage", &message("old")).await;
    let two = replica(ca.path(), &documents, None, &[&one]).await;
    ready(&two).await;
    let before = upstream.bytes();
    assert!(not_found(&get(&two, "agents/other", "old").await));
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
    assert!(get(&two, "agents/caller", "old").await["result"].is_object(), "told when it came");
    // Only the second one knows here of another that it could dial.
    eventually("linked", async || linked(&two).await == 1).await;
    assert_eq!(linked(&one).await, 0);
    for at in 0..20 {
        let id = format!("t{at}");
        let (learns, knows) = if at % 2 == 0 { (&one, &two) } else { (&two, &one) };
        assert!(begins(learns, &id, knows).await, "{id}");
        assert!(get(knows, "agents/supervisor", &id).await["result"].is_object(), "{id}");
        assert!(not_found(&get(knows, "agents/other", &id).await), "{id}");
    }
    // Events of a stream, and the other bindings.
    let reply = ask(&one, "agents/caller", "POST /message:send", V1, &message("rest").to_string()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let told = async || ask(&two, "agents/caller", "GET /tasks/rest", "A2A-Version: 1.0\r\n", "").await.status == 200;
    eventually("the other one knows", told).await;
    // The first one goes, a third comes: it is told by the second what only the first had learnt.
    drop(one);
    eventually("the first one is missed", async || linked(&two).await == 0).await;
    let three = replica(ca.path(), &documents, None, &[&two]).await;
    ready(&three).await;
    assert!(get(&three, "agents/caller", "t0").await["result"].is_object());
    assert!(not_found(&get(&three, "agents/other", "t0").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_one_replica_saw_the_others_know_and_a_restart_too() {
    use super::cards::{CARD, PUBLIC, agent, trusting};
    let upstream = agent(CARD.to_owned()).await;
    let (ca, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rules = "  require: [{to: [{operations: [\"Send*\"]}], that: a2a.card.verified}]\n  allow: [{}]\n";
    let documents = documents(upstream.addr, &trusting(rules));
    let one = replica(ca.path(), &documents, None, &[]).await;
    let two = replica(ca.path(), &documents, Some(state.path()), &[&one]).await;
    ready(&two).await;
    let unseen = rpc(&two, "agents/caller", "SendMessage", &message("m")).await;
    assert_eq!(unseen["error"]["data"]["reason"], "requirement_not_met", "{unseen}");
    assert_eq!(ask(&one, "agents/caller", PUBLIC, "", "").await.status, 200);
    let told = async || rpc(&two, "agents/caller", "SendMessage", &message("m")).await["result"].is_object();
    eventually("the other one knows the card", told).await;
    let (left, other_left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for left in [&left, &other_left] {
        std::fs::copy(state.path().join("owners.jsonl"), left.path().join("owners.jsonl")).unwrap();
    }
    drop((one, two));
    let lab = replica(ca.path(), &documents, Some(left.path()), &[]).await;
    assert!(rpc(&lab, "agents/caller", "SendMessage", &message("m")).await["result"].is_object());
    // Under other rules nobody has looked at it.
    let other = documents.replace("a2a.card.verified}", "a2a.card.verified && true}");
    let lab = replica(ca.path(), &other, Some(other_left.path()), &[]).await;
    let unseen = rpc(&lab, "agents/caller", "SendMessage", &message("m")).await;
    assert_eq!(unseen["error"]["data"]["reason"], "requirement_not_met", "{unseen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_a_replica() {
    let upstream = agent().await;
    let lab = Lab::start(&documents(upstream.addr, ENFORCE)).await;
    rpc(&lab, "agents/caller", "SendMessage", &message("t1")).await;
    for authority in ["replicas.agent-waypoint.internal:15008", "replicas.agent-waypoint.internal:80"] {
        let refused = lab.tunnel("agents/caller", authority).await.unwrap_err();
        assert!(format!("{refused:?}").contains("404"), "{refused:?}");
    }
}

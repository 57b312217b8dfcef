//! Tasks: whose call made one may use it, for as long as the call would be permitted, and nobody else may.

use serde_json::{Value, json as value};

use crate::lab::{Lab, Upstream, json, notes};

const NOTES: &str = "127.0.9.1:80";

/// A server that makes a task `t-NAME` of every call of a tool, as 2025-11-25 or as the extension of 2026-07-28.
async fn server() -> Upstream {
    Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let params = &message["params"];
        let id = format!("t-{}", params["name"].as_str().unwrap_or_default());
        let result = match message["method"].as_str().unwrap_or_default() {
            "tools/call" if params["arguments"]["modern"] == true => {
                value!({"resultType":"task","taskId":id,"status":"working"})
            }
            "tools/call" => value!({"task":{"taskId":id,"status":"working"}}),
            "tasks/list" => {
                value!({"tasks":[{"taskId":"t-get_note"},{"taskId":"t-create_note"},{"taskId":"t-none"},{"x":1}],"nextCursor":"n"})
            }
            _ => value!({"taskId":params["taskId"],"status":"completed"}),
        };
        json(&value!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string())
    })
    .await
}

fn message(method: &str, params: &Value) -> String {
    value!({"jsonrpc":"2.0","id":1,"method":method,"params":params}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_its_callers_alone() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let call = message("tools/call", &value!({"name":"get_note","task":{"ttl":60000}}));
    assert!(lab.post("agents/reader", NOTES, "", &call).await.body.contains("t-get_note"));
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let ask = message(method, &value!({"taskId":"t-get_note"}));
        let before = upstream.bytes();
        let theirs = lab.post("agents/writer", NOTES, "", &ask).await;
        assert_eq!(upstream.bytes(), before, "{method}");
        let unknown = lab.post("agents/writer", NOTES, "", &ask.replace("t-get_note", "t-unknown")).await;
        assert_eq!((theirs.status, &theirs.body), (unknown.status, &unknown.body), "{method}");
        assert_eq!((theirs.status, &theirs.json()["error"]["code"]), (200, &value!(-32602)), "{method}: {theirs:?}");
        let own = lab.post("agents/reader", NOTES, "", &ask).await;
        assert!(own.json()["result"].is_object(), "{method}: {own:?}");
    }
    // What makes the id known to the log would make it known to whoever reads that.
    let log = lab.log.clone();
    lab.waypoint.shutdown().await;
    assert!(!format!("{:?}", log.lines()).contains("t-get_note"));
    assert!(log.lines().iter().any(|line| line["method"] == "tasks/get" && line["tool"] == "get_note"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_a_callers_own_tasks() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let create = message("tools/call", &value!({"name":"create_note","arguments":{"owner":"acme"},"task":{}}));
    let modern = message("tools/call", &value!({"name":"get_note","arguments":{"modern":true}}));
    lab.post("agents/writer", NOTES, "", &create).await;
    lab.post("agents/reader", NOTES, "", &modern).await;
    let list = message("tasks/list", &value!({}));
    for (who, seen, unseen) in
        [("agents/reader", "t-get_note", "t-create_note"), ("agents/writer", "t-create_note", "t-get_note")]
    {
        let reply = lab.post(who, NOTES, "", &list).await;
        assert!(reply.body.contains(seen) && !reply.body.contains(unseen), "{who}: {reply:?}");
        assert!(!reply.body.contains("t-none"), "{who}: {reply:?}");
        assert!(reply.json()["result"]["nextCursor"].is_string());
    }
}

/// A server that gives the id of one caller's task to another's call must not hand the one to the other.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_use_stays_its_makers() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let call = message("tools/call", &value!({"name":"get_note","task":{}}));
    lab.post("agents/reader", NOTES, "", &call).await;
    let reply = lab.post("agents/writer", NOTES, "", &call).await;
    assert!(!reply.body.contains("t-get_note"), "{reply:?}");
    let ask = message("tasks/get", &value!({"taskId":"t-get_note"}));
    assert!(lab.post("agents/writer", NOTES, "", &ask).await.json()["error"].is_object());
    assert!(lab.post("agents/reader", NOTES, "", &ask).await.json()["result"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_with_the_right_to_its_tool() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let call = message("tools/call", &value!({"name":"get_note","task":{}}));
    lab.post("agents/reader", NOTES, "", &call).await;
    let ask = message("tasks/result", &value!({"taskId":"t-get_note"}));
    assert!(lab.post("agents/reader", NOTES, "", &ask).await.json()["result"].is_object());
    let edited = notes(upstream.addr).replace("[\"delete_*\"]", "[\"delete_*\", \"get_*\"]");
    std::fs::write(lab.documents(), edited).unwrap();
    let began = std::time::Instant::now();
    while lab.post("agents/reader", NOTES, "", &ask).await.json()["result"].is_object() {
        assert!(began.elapsed().as_secs() < 2, "the edit is not in force");
    }
    let before = upstream.bytes();
    assert!(lab.post("agents/reader", NOTES, "", &ask).await.json()["error"].is_object());
    assert_eq!(upstream.bytes(), before);
}

/// Whatever is bound is kept: a server fills no memory by ids that no request could name.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_no_request_could_name_is_none() {
    let long = "t".repeat(300);
    let answered = long.clone();
    let upstream = Upstream::start(move |_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let result = value!({"task":{"taskId":answered,"status":"working"}});
        json(&value!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string())
    })
    .await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let call = message("tools/call", &value!({"name":"get_note","task":{}}));
    let reply = lab.post("agents/reader", NOTES, "", &call).await;
    assert!(reply.json()["error"].is_object() && !reply.body.contains(&long), "{reply:?}");
}

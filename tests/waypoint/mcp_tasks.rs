//! Tasks: whose call made one may use it, for as long as the call would be permitted, and nobody else may.

use agent_waypoint::app::IdentitySource;
use serde_json::{Value, json as value};

use crate::lab::{Lab, Reply, Upstream, events, eventually, json, notes, with};

const NOTES: &str = "127.0.9.1:80";
const CREATED: &str = "2026-01-01T00:00:00Z";

/// A server that makes a task `t-NAME` of every call of a tool, as 2025-11-25 or as the extension of 2026-07-28.
async fn server() -> Upstream {
    Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let params = &message["params"];
        let id = format!("t-{}", params["name"].as_str().unwrap_or_default());
        let result = match message["method"].as_str().unwrap_or_default() {
            "tools/call" if params["arguments"]["modern"] == true => {
                value!({"resultType":"task","taskId":id,"status":"working","createdAt":CREATED})
            }
            "tools/call" => value!({"task":{"taskId":id,"status":"working","createdAt":CREATED}}),
            "tasks/list" => {
                let listed =
                    ["t-get_note", "t-create_note", "t-none"].map(|id| value!({"taskId":id,"createdAt":CREATED}));
                value!({"tasks":[listed[0],listed[1],listed[2],{"x":1}],"nextCursor":"n"})
            }
            _ => value!({"taskId":params["taskId"],"status":"completed","createdAt":CREATED}),
        };
        json(&value!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string())
    })
    .await
}

fn message(method: &str, params: &Value) -> String {
    value!({"jsonrpc":"2.0","id":1,"method":method,"params":params}).to_string()
}

/// The id of the task that a call turned into, as its caller has it.
fn task_of(reply: &Reply) -> String {
    let result = &reply.json()["result"];
    let id = result["task"]["taskId"].as_str().or_else(|| result["taskId"].as_str());
    id.unwrap_or_else(|| panic!("no task: {reply:?}")).to_owned()
}

async fn begin(lab: &Lab, who: &str, call: &str) -> String {
    task_of(&lab.post(who, NOTES, "", call).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_its_callers_alone() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let call = message("tools/call", &value!({"name":"get_note","task":{"ttl":60000}}));
    let task = begin(&lab, "agents/reader", &call).await;
    assert!(!task.contains("get_note"), "{task}");
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let ask = |id: &str| message(method, &value!({"taskId":id}));
        let before = upstream.bytes();
        let unknown = lab.post("agents/writer", NOTES, "", &ask("t-unknown")).await;
        for (who, id) in [("agents/writer", &*task), ("agents/writer", "t-get_note"), ("agents/reader", "t-get_note")] {
            let theirs = lab.post(who, NOTES, "", &ask(id)).await;
            assert_eq!((theirs.status, &theirs.body), (unknown.status, &unknown.body), "{method} {who} {id}");
        }
        assert_eq!(upstream.bytes(), before, "{method}");
        assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (200, &value!(-32602)), "{method}: {unknown:?}");
        let own = lab.post("agents/reader", NOTES, "", &ask(&task)).await;
        assert_eq!(own.json()["result"]["taskId"], task, "{method}: {own:?}");
    }
    assert!(!upstream.seen().contains(&task), "a server gets its own ids: {}", upstream.seen());
    // What makes the id known to the log would make it known to whoever reads that.
    let log = lab.log.clone();
    lab.waypoint.shutdown().await;
    let lines = format!("{:?}", log.lines());
    assert!(!lines.contains("t-get_note") && !lines.contains(&task));
    assert!(log.lines().iter().any(|line| line["method"] == "tasks/get" && line["tool"] == "get_note"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_a_callers_own_tasks() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let create = message("tools/call", &value!({"name":"create_note","arguments":{"owner":"acme"},"task":{}}));
    let modern = message("tools/call", &value!({"name":"get_note","arguments":{"modern":true}}));
    let theirs = begin(&lab, "agents/writer", &create).await;
    let own = begin(&lab, "agents/reader", &modern).await;
    let list = message("tasks/list", &value!({}));
    for (who, seen) in [("agents/reader", &own), ("agents/writer", &theirs)] {
        let reply = lab.post(who, NOTES, "", &list).await;
        assert_eq!(reply.json()["result"]["tasks"], value!([{"taskId":seen,"createdAt":CREATED}]), "{who}: {reply:?}");
        assert!(reply.json()["result"]["nextCursor"].is_string());
    }
}

/// A server that gives the id of one caller's task to another's call must not hand the one to the other.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_use_stays_its_makers() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let call = message("tools/call", &value!({"name":"get_note","task":{}}));
    let task = begin(&lab, "agents/reader", &call).await;
    let reply = lab.post("agents/writer", NOTES, "", &call).await;
    assert!(reply.json()["error"].is_object() && !reply.body.contains("taskId"), "{reply:?}");
    let ask = message("tasks/get", &value!({"taskId":task}));
    assert!(lab.post("agents/writer", NOTES, "", &ask).await.json()["error"].is_object());
    assert!(lab.post("agents/reader", NOTES, "", &ask).await.json()["result"].is_object());
}

/// Any replica with the key serves a task, and so does one that has been started anew; its caller's list has it once it
/// was asked for there.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_on_at_another_replica_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let upstream = server().await;
    let text = notes(upstream.addr);
    let replica = || Lab::start_with(&text, |settings| settings.sealing_key_file = Some(file.clone()));
    let one = replica().await;
    let task = begin(&one, "agents/reader", &message("tools/call", &value!({"name":"get_note","task":{}}))).await;
    one.waypoint.shutdown().await;
    let (other, list) = (replica().await, message("tasks/list", &value!({})));
    let listed = async || other.post("agents/reader", NOTES, "", &list).await.json()["result"]["tasks"].clone();
    assert_eq!(listed().await, value!([]), "a task whose is not known is nobody's");
    let before = upstream.bytes();
    let get = message("tasks/get", &value!({"taskId":task}));
    assert!(other.post("agents/writer", NOTES, "", &get).await.json()["error"].is_object());
    assert_eq!(upstream.bytes(), before);
    assert_eq!(other.post("agents/reader", NOTES, "", &get).await.json()["result"]["taskId"], task);
    assert_eq!(listed().await, value!([{"taskId":task,"createdAt":CREATED}]));
    // What decides is still the tool that was called.
    other.edit(&text.replace("[\"delete_*\"]", "[\"delete_*\", \"get_*\"]")).await;
    assert!(!other.post("agents/reader", NOTES, "", &get).await.json()["result"].is_object());
}

/// Every message that says a task's id says the one that its reader knows.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_the_readers_own_in_every_message() {
    const MODERN: &str = "2026-07-28";
    let upstream = Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let (params, id) = (&message["params"], &message["id"]);
        let related = value!({"io.modelcontextprotocol/related-task":{"taskId":"t-1"}});
        let answer = |result: Value| value!({"jsonrpc":"2.0","id":id,"result":result}).to_string();
        match message["method"].as_str().unwrap_or_default() {
            "tools/call" => json(&answer(value!({"resultType":"task","taskId":"t-1","status":"working","createdAt":CREATED}))),
            "subscriptions/listen" => {
                let accepted = value!({"_meta":{"io.modelcontextprotocol/subscriptionId":id},"notifications":params["notifications"]});
                let accepted =
                    value!({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":accepted});
                let told = value!({"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t-1","status":"working","createdAt":CREATED,"_meta":related}});
                events(&format!("data: {accepted}\n\ndata: {told}\n\ndata: {}\n\n", answer(value!({"resultType":"complete"}))))
            }
            _ => json(&answer(value!({"resultType":"complete","taskId":"t-1","status":"completed","createdAt":CREATED,"result":{"content":[],"_meta":related}}))),
        }
    })
    .await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let ask = async |method: &str, name: Option<&str>, params: Value| {
        let mut params = params;
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = value!(MODERN);
        let name = name.map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
        let headers = format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n{name}");
        lab.post("agents/reader", NOTES, &headers, &message(method, &params)).await
    };
    let task = task_of(&ask("tools/call", Some("get_note"), value!({"name":"get_note"})).await);
    let related = value!({"io.modelcontextprotocol/related-task":{"taskId":task}});
    let got = ask("tasks/get", Some(&task), value!({"taskId":task})).await;
    assert_eq!((got.body.matches(&task).count(), got.body.contains("t-1")), (2, false), "{got:?}");
    assert!(upstream.seen().contains("mcp-name: t-1\r\n"), "{}", upstream.seen());
    let heard = ask("subscriptions/listen", None, value!({"notifications":{"taskIds":[task]}})).await;
    assert_eq!((heard.body.matches(&task).count(), heard.body.contains("t-1")), (3, false), "{heard:?}");
    let again = ask("tools/call", Some("get_note"), value!({"name":"get_note","_meta":related})).await;
    assert_eq!(task_of(&again), task, "{again:?}");
    assert!(!upstream.seen().contains(&task), "{}", upstream.seen());
    // No request is a part of a task that is not its caller's, however that is spelt.
    let before = upstream.bytes();
    for related in [
        value!({"taskId":"t-1"}),
        value!({"taskId":task,"TaskID":"t-1"}),
        value!({"taskId":5}),
        value!({"TaskID":"t-1"}),
    ] {
        let meta = value!({"io.modelcontextprotocol/related-task":related});
        let refused = ask("tools/call", Some("get_note"), value!({"name":"get_note","_meta":meta})).await;
        assert_eq!(refused.json()["error"]["code"], -32602, "{refused:?}");
    }
    assert_eq!(upstream.bytes(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_with_the_right_to_its_tool() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let task = begin(&lab, "agents/reader", &message("tools/call", &value!({"name":"get_note","task":{}}))).await;
    let ask = message("tasks/result", &value!({"taskId":task}));
    assert!(lab.post("agents/reader", NOTES, "", &ask).await.json()["result"].is_object());
    let edited = notes(upstream.addr).replace("[\"delete_*\"]", "[\"delete_*\", \"get_*\"]");
    lab.edit(&edited).await;
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
        let result = value!({"task":{"taskId":answered,"status":"working","createdAt":CREATED}});
        json(&value!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string())
    })
    .await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let call = message("tools/call", &value!({"name":"get_note","task":{}}));
    let reply = lab.post("agents/reader", NOTES, "", &call).await;
    assert!(reply.json()["error"].is_object() && !reply.body.contains(&long), "{reply:?}");
}

/// A pod that gives each call the same id as its neighbours do, as servers that count do.
async fn counting(name: &'static str) -> Upstream {
    Upstream::start(move |_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let (id, method) = (&message["id"], message["method"].as_str().unwrap_or_default());
        let answer = |result: Value| value!({"jsonrpc":"2.0","id":id,"result":result}).to_string();
        match method {
            "initialize" => with(
                &format!("Mcp-Session-Id: {name}\r\n"),
                &answer(value!({"protocolVersion":"2025-11-25","capabilities":{}})),
            ),
            "tools/call" => json(&answer(value!({"task":{"taskId":"1","status":"working","createdAt":CREATED},"_meta":{"pod":name}}))),
            _ => {
                json(&answer(value!({"taskId":message["params"]["taskId"],"status":"completed","createdAt":CREATED,"_meta":{"pod":name}})))
            }
        }
    })
    .await
}

/// By the id of one pod's task another pod knows another caller's: only the one that made it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_asked_for_where_it_was_made_alone() {
    const HELLO: &str =
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
    let (one, two) = (counting("one").await, counting("two").await);
    let text = notes(one.addr);
    let first = text.split("---").find(|part| part.contains("EndpointSlice")).unwrap();
    let second =
        first.replace("notes-1", "notes-2").replace(&one.addr.port().to_string(), &two.addr.port().to_string());
    let lab = Lab::start(&format!("{text}\n---\n{second}")).await;
    let call = message("tools/call", &value!({"name":"get_note","task":{}}));
    // The pod that took the call, its task, and the session of its caller there.
    let mut made = std::collections::BTreeMap::new();
    for _ in 0..24 {
        let session = lab.post("agents/reader", NOTES, "", HELLO).await.session("2025-11-25");
        let reply = lab.post("agents/reader", NOTES, &session, &call).await;
        let pod = reply.json()["result"]["_meta"]["pod"].as_str().unwrap().to_owned();
        made.insert(pod, (task_of(&reply), session));
    }
    let (of_one, of_two) = (&made["one"], &made["two"]);
    assert_ne!(of_one.0, of_two.0);
    let ask = |task: &str| message("tasks/get", &value!({"taskId":task}));
    let own = lab.post("agents/reader", NOTES, &of_two.1, &ask(&of_two.0)).await;
    assert_eq!(
        (&own.json()["result"]["_meta"]["pod"], &own.json()["result"]["taskId"]),
        (&value!("two"), &value!(of_two.0))
    );
    // In the other pod's session.
    let before = two.bytes();
    let refused = lab.post("agents/reader", NOTES, &of_two.1, &ask(&of_one.0)).await;
    assert_eq!(refused.json()["error"]["code"], -32602, "{refused:?}");
    assert_eq!(two.bytes(), before);
    // Without a session each goes to its own.
    for (pod, (task, _)) in &made {
        let got = lab.post("agents/reader", NOTES, "", &ask(task)).await;
        assert_eq!(got.json()["result"]["_meta"]["pod"], *pod, "{got:?}");
    }
    // Its pod has gone: nobody else is asked.
    lab.edit(&text.replace(first, &second)).await;
    let before = two.bytes();
    let reply = lab.post("agents/reader", NOTES, "", &ask(&of_one.0)).await;
    assert_eq!((two.bytes(), &reply.json()["error"]["code"]), (before, &value!(-32602)), "{reply:?}");
    let kept = lab.post("agents/reader", NOTES, "", &ask(&of_two.0)).await;
    assert_eq!(kept.json()["result"]["_meta"]["pod"], "two", "{kept:?}");
}

/// A server that counts its tasks, and knows each by its number; how often it began anew is in the times that it says.
#[derive(Default)]
struct Counter {
    /// Whose each task is, by what the call said; and when it was made.
    tasks: Vec<(String, String)>,
    begun: usize,
    /// Methods that were asked of a task, with the owner of the task that was found.
    touched: Vec<(String, String)>,
}

impl Counter {
    async fn start() -> (Upstream, std::sync::Arc<std::sync::Mutex<Self>>) {
        let counter = std::sync::Arc::new(std::sync::Mutex::new(Self::default()));
        let shared = std::sync::Arc::clone(&counter);
        let upstream = Upstream::start(move |_head, body| {
            let message: Value = serde_json::from_str(body).unwrap_or_default();
            let result = shared.lock().unwrap().answer(&message["method"], &message["params"]);
            let answer = match result {
                Some(result) => value!({"jsonrpc":"2.0","id":message["id"],"result":result}),
                None => value!({"jsonrpc":"2.0","id":message["id"],"error":{"code":-32602,"message":"no task"}}),
            };
            json(&answer.to_string())
        })
        .await;
        (upstream, counter)
    }

    fn restart(&mut self) {
        self.tasks.clear();
        self.begun += 1;
    }

    fn answer(&mut self, method: &Value, params: &Value) -> Option<Value> {
        let method = method.as_str().unwrap_or_default();
        let told = |at: usize, (_, created): &(String, String)| value!({"taskId":at.to_string(),"status":"working","createdAt":created,"lastUpdatedAt":created,"ttl":null});
        if method == "tools/call" {
            let created = format!("2026-01-01T00:{:02}:{:02}.5Z", self.begun, self.tasks.len());
            self.tasks.push((params["arguments"]["who"].as_str().unwrap_or_default().to_owned(), created));
            return Some(value!({"task":told(self.tasks.len() - 1, self.tasks.last()?)}));
        }
        if method == "tasks/list" {
            return Some(
                value!({"tasks":self.tasks.iter().enumerate().map(|(at, task)| told(at, task)).collect::<Vec<_>>()}),
            );
        }
        let at = params["taskId"].as_str()?.parse::<usize>().ok()?;
        let task = self.tasks.get(at)?.clone();
        self.touched.push((method.to_owned(), task.0.clone()));
        Some(match method {
            "tasks/result" => value!({"content":[{"type":"text","text":format!("secret of {}", task.0)}]}),
            _ => told(at, &task),
        })
    }
}

/// A server that began anew counts from nought again: by the id of an earlier task nobody gets the task of another, whichever
/// replica is asked, and nothing is done to it.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_a_server_gives_again_is_no_way_to_anothers_task() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let (upstream, counter) = Counter::start().await;
    let text = notes(upstream.addr);
    let replica = || Lab::start_with(&text, |settings| settings.sealing_key_file = Some(file.clone()));
    let (one, other) = (replica().await, replica().await);
    let call = |who: &str| message("tools/call", &value!({"name":"get_note","arguments":{"who":who},"task":{}}));
    let ask = |method: &str, id: &str| message(method, &value!({"taskId":id}));
    let part = |of: &str| {
        let meta = value!({"io.modelcontextprotocol/related-task":{"taskId":of}});
        message("tools/call", &value!({"name":"get_note","arguments":{"who":"a part"},"_meta":meta}))
    };
    let old = begin(&one, "agents/reader", &call("reader")).await;
    assert!(one.post("agents/reader", NOTES, "", &ask("tasks/result", &old)).await.body.contains("secret of reader"));
    counter.lock().unwrap().restart();
    // The server's answer to whoever calls next is theirs, at either replica, and what the first one knew is over.
    let new = begin(&other, "agents/writer", &call("writer")).await;
    assert_ne!(new, old);
    counter.lock().unwrap().touched.clear();
    let unknown = one.post("agents/reader", NOTES, "", &ask("tasks/get", "never-given")).await;
    for lab in [&one, &other] {
        for method in ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"] {
            let reply = lab.post("agents/reader", NOTES, "", &ask(method, &old)).await;
            assert_eq!((reply.status, &reply.body), (200, &unknown.body), "{method}");
        }
        let listed = lab.post("agents/reader", NOTES, "", &message("tasks/list", &value!({}))).await;
        assert_eq!(listed.json()["result"]["tasks"], value!([]), "{listed:?}");
        // Nor does a call become a part of it.
        let made = counter.lock().unwrap().tasks.len();
        let reply = lab.post("agents/reader", NOTES, "", &part(&old)).await;
        assert_eq!((reply.status, &reply.body), (200, &unknown.body));
        assert_eq!(counter.lock().unwrap().tasks.len(), made, "the tool did not run");
    }
    let touched = std::mem::take(&mut counter.lock().unwrap().touched);
    assert!(!touched.is_empty() && touched.iter().all(|(method, _)| method == "tasks/get"), "{touched:?}");
    for lab in [&other, &one] {
        for method in ["tasks/get", "tasks/cancel", "tasks/result"] {
            let own = lab.post("agents/writer", NOTES, "", &ask(method, &new)).await;
            assert!(own.json()["result"].is_object(), "{method}: {own:?}");
        }
        let result = lab.post("agents/writer", NOTES, "", &ask("tasks/result", &new)).await;
        assert!(result.body.contains("secret of writer"), "{result:?}");
        let listed = lab.post("agents/writer", NOTES, "", &message("tasks/list", &value!({}))).await;
        assert_eq!(listed.json()["result"]["tasks"][0]["taskId"], new, "{listed:?}");
    }
    let reply = one.post("agents/writer", NOTES, "", &part(&new)).await;
    assert!(reply.json()["result"].is_object(), "{reply:?}");
    // The caller's own next task is another one too.
    counter.lock().unwrap().restart();
    let next = begin(&one, "agents/writer", &call("writer")).await;
    assert_ne!(next, new);
    let gone = one.post("agents/writer", NOTES, "", &ask("tasks/result", &new)).await;
    assert_eq!(gone.body, unknown.body);
}

/// Every task says when it was made; of one that does not, nobody could tell which one it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_a_time_is_none() {
    for task in [
        value!({"task":{"taskId":"s3cret","status":"working"}}),
        value!({"resultType":"task","taskId":"s3cret","status":"working","createdAt":5}),
        value!({"Task":{"taskId":"s3cret","status":"working","createdAt":CREATED}}),
        value!({"task":{"taskId":"s3cret","TaskId":"other","status":"working","createdAt":CREATED}}),
    ] {
        let upstream = Upstream::start(move |_head, body| {
            let message: Value = serde_json::from_str(body).unwrap_or_default();
            json(&value!({"jsonrpc":"2.0","id":message["id"],"result":task}).to_string())
        })
        .await;
        let lab = Lab::start(&notes(upstream.addr)).await;
        let call = message("tools/call", &value!({"name":"get_note","task":{}}));
        let reply = lab.post("agents/reader", NOTES, "", &call).await;
        assert!(reply.json()["error"].is_object() && !reply.body.contains("s3cret"), "{reply:?}");
    }
}

/// What no key opens any longer is unknown, and no server hears of it; what an earlier key sealed goes on while that is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_and_a_task_go_on_for_as_long_as_their_key_opens() {
    let dir = tempfile::tempdir().unwrap();
    let key = |letter: char| format!("{}=\n", letter.to_string().repeat(42) + "A");
    let upstream = server().await;
    let text = notes(upstream.addr);
    let replica = async |name: &str, keys: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, keys).unwrap();
        Lab::start_with(&text, |settings| settings.sealing_key_file = Some(file)).await
    };
    let old = replica("old", &key('B')).await;
    let both = replica("both", &format!("{}{}", key('C'), key('B'))).await;
    let new = replica("new", &key('C')).await;
    let task = begin(&old, "agents/reader", &message("tools/call", &value!({"name":"get_note","task":{}}))).await;
    let first = old.post("agents/reader", NOTES, "", &message("tasks/list", &value!({}))).await;
    let cursor = first.json()["result"]["nextCursor"].clone();
    let get = message("tasks/get", &value!({"taskId":task}));
    let next = message("tasks/list", &value!({"cursor":cursor}));
    let kept = both.post("agents/reader", NOTES, "", &next).await;
    assert!(kept.json()["result"].is_object(), "{kept:?}");
    let again = both.post("agents/reader", NOTES, "", &get).await.json()["result"]["taskId"].clone();
    assert!(again.is_string() && again != task, "by the key that seals now: {again}");
    for id in [&value!(task), &again] {
        let known = both.post("agents/reader", NOTES, "", &message("tasks/get", &value!({"taskId":id}))).await;
        assert!(known.json()["result"].is_object(), "{known:?}");
    }
    let before = upstream.bytes();
    for (ask, says) in [(&get, "Task not found"), (&next, "unknown cursor")] {
        let gone = new.post("agents/reader", NOTES, "", ask).await;
        assert_eq!((gone.status, &gone.json()["error"]["code"]), (200, &value!(-32602)), "{gone:?}");
        assert!(gone.body.contains(says) && !gone.body.contains("t-get_note"), "{gone:?}");
    }
    assert_eq!(upstream.bytes(), before);
}

/// What is begun at one replica is in its caller's list at every other one, and in nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_holds_what_was_begun_at_another_replica() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let upstream = server().await;
    let text = notes(upstream.addr);
    let replica = async |of: Vec<String>| {
        Lab::start_with(&text, |settings| {
            settings.sealing_key_file = Some(file.clone());
            settings.identity = IdentitySource::Dev { dir: dir.path().join("ca") };
            settings.replicas = of;
        })
        .await
    };
    let one = replica(Vec::new()).await;
    let two = replica(vec![one.waypoint.hbone_addr().to_string()]).await;
    let list = message("tasks/list", &value!({}));
    let listed = async |lab: &Lab, who: &str| {
        let reply = lab.post(who, NOTES, "", &list).await;
        reply.json()["result"]["tasks"].as_array().unwrap_or_else(|| panic!("{reply:?}")).clone()
    };
    let task = begin(&one, "agents/reader", &message("tools/call", &value!({"name":"get_note","task":{}}))).await;
    eventually("the other replica is told", async || !listed(&two, "agents/reader").await.is_empty()).await;
    assert_eq!(listed(&two, "agents/reader").await, [value!({"taskId":task,"createdAt":CREATED})]);
    assert!(listed(&two, "agents/writer").await.is_empty() && listed(&one, "agents/writer").await.is_empty());
    // What decides there is the tool that was called.
    two.edit(&text.replace("[\"delete_*\"]", "[\"delete_*\", \"get_*\"]")).await;
    assert!(listed(&two, "agents/reader").await.is_empty());
}

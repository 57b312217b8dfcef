//! Labels of sessions: what an answer showed is known to every replica before its caller has it, and what may have been
//! missed is refused.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent_waypoint::app::IdentitySource;
use serde_json::{Value, json as value};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::lab::{self, Lab, Reply, Upstream, events, eventually, json, service, with};
use crate::live::Live;

const NOTES: &str = "127.0.9.1:80";
const VERSION: &str = "2025-11-25";
const READER: &str = "agents/reader";

/// Whoever has seen a number of social security sends nothing any more.
const POLICY: &str = r#"
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: notes}]
  protocol: MCP
  denial: Disclosed
  results:
    labels:
    - name: saw-pii
      to: [{tools: ["get_*"]}]
      when: mcp.result.text.contains("ssn")
  deny:
  - name: no-mail
    to: [{tools: ["send_*"]}]
    when: '"saw-pii" in session.labels'
  allow: [{}]
"#;

fn documents(addr: SocketAddr) -> String {
    format!("{}---\n{POLICY}", service("notes", "127.0.9.1", addr, ""))
}

/// Begins a session each time, where it does; a tool answers with what its argument `say` is, as its argument `as` says.
async fn server(sessions: bool) -> Upstream {
    let begun = AtomicUsize::new(0);
    Upstream::start(move |_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let answer = |result: Value| value!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string();
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let result = answer(value!({"protocolVersion":VERSION,"capabilities":{"tools":{}}}));
                let id = begun.fetch_add(1, Ordering::Relaxed);
                if sessions { with(&format!("Mcp-Session-Id: s-{id}\r\n"), &result) } else { json(&result) }
            }
            "tools/list" => json(&answer(value!({"tools":[{"name":"get_note"},{"name":"send_mail"}]}))),
            _ => {
                let given = &message["params"]["arguments"];
                let result = answer(value!({"content":[{"type":"text","text":given["say"]}]}));
                if given["as"] == "events" { events(&format!("data: {result}\n\n")) } else { json(&result) }
            }
        }
    })
    .await
}

async fn begin(lab: &Lab) -> String {
    let params = value!({"protocolVersion":VERSION,"capabilities":{}});
    let hello = value!({"jsonrpc":"2.0","id":0,"method":"initialize","params":params}).to_string();
    lab.post(READER, NOTES, "", &hello).await.session(VERSION)
}

async fn call(lab: &Lab, session: &str, tool: &str, arguments: Value) -> Reply {
    static ID: AtomicUsize = AtomicUsize::new(1);
    let params = value!({"name":tool,"arguments":arguments});
    let body = value!({"jsonrpc":"2.0","id":ID.fetch_add(1, Ordering::Relaxed),"method":"tools/call","params":params});
    lab.post(READER, NOTES, session, &body.to_string()).await
}

async fn send(lab: &Lab, session: &str) -> Reply {
    call(lab, session, "send_mail", value!({"say":"sent"})).await
}

/// Why it was refused.
fn reason(reply: &Reply) -> String {
    let text = reply.body.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&reply.body);
    let answer: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {reply:?}"));
    answer["error"]["data"]["reason"].as_str().unwrap_or_default().to_owned()
}

/// Sees a number. On a busy machine another replica may be late, so that the answer is withheld: then again.
async fn see(lab: &Lab, session: &str, form: &str) {
    eventually("the number is seen", async || {
        let reply = call(lab, session, "get_note", value!({"say":"an ssn","as":form})).await;
        let seen = reply.body.contains("an ssn");
        assert!(seen || reason(&reply) == "label_unkept", "{reply:?}");
        seen
    })
    .await;
}

/// Waits until a call that a label could refuse is answered so; `wanted` is part of the answer.
async fn answered(lab: &Lab, session: &str, wanted: &str) {
    eventually(wanted, async || send(lab, session).await.body.contains(wanted)).await;
}

/// Refused by the label, and the server saw nothing of it.
async fn refused(lab: &Lab, session: &str, upstream: &Upstream, why: &str) {
    let before = upstream.bytes();
    let reply = send(lab, session).await;
    assert_eq!((reply.status, reason(&reply)), (200, why.to_owned()), "{reply:?}");
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
}

/// What the replicas of one waypoint share: identity and sealing key.
struct Shared {
    dir: tempfile::TempDir,
    upstream: Upstream,
    /// Of the server that replicas call.
    addr: SocketAddr,
}

impl Shared {
    async fn new() -> Self {
        use base64::Engine as _;
        let dir = tempfile::tempdir().unwrap();
        let key = base64::engine::general_purpose::STANDARD.encode([b'k'; 32]);
        std::fs::write(dir.path().join("keys"), key).unwrap();
        let upstream = server(true).await;
        Self { dir, addr: upstream.addr, upstream }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A replica that looks for others at `of`.
    async fn replica(&self, of: &[SocketAddr]) -> Lab {
        Lab::start_with(&documents(self.addr), |settings| {
            settings.identity = IdentitySource::Dev { dir: self.path("ca") };
            settings.sealing_key_file = Some(self.path("keys"));
            settings.replicas = of.iter().map(ToString::to_string).collect();
        })
        .await
    }
}

fn place(lab: &Lab) -> SocketAddr {
    lab.waypoint.hbone_addr()
}

/// The way between two replicas: passes, then holds what comes, then is cut.
struct Between {
    addr: SocketAddr,
    way: watch::Sender<Way>,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Open,
    Held,
    Cut,
}

impl Between {
    async fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (way, watched) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let watched = watched.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(to).await else { return };
                    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                    tokio::join!(
                        copy(near_read, far_write, watched.clone()),
                        copy(far_read, near_write, watched.clone())
                    );
                });
            }
        });
        Self { addr, way }
    }

    fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut bytes = [0; 4096];
    loop {
        let now = *way.borrow_and_update();
        tokio::select! {
            changed = way.changed() => if changed.is_err() { return },
            read = from.read(&mut bytes), if now == Way::Open => match read {
                Ok(read) if read > 0 && to.write_all(&bytes[..read]).await.is_ok() => {}
                _ => return,
            },
        }
        if *way.borrow() == Way::Cut {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_showed_later_rules_see() {
    let upstream = server(true).await;
    let lab = Lab::start(&documents(upstream.addr)).await;
    for form in ["json", "events"] {
        let (session, other) = (begin(&lab).await, begin(&lab).await);
        assert!(send(&lab, &session).await.body.contains("sent"));
        let plain = call(&lab, &session, "get_note", value!({"say":"a note","as":form})).await;
        assert!(plain.body.contains("a note") && send(&lab, &session).await.body.contains("sent"), "{plain:?}");
        see(&lab, &session, form).await;
        refused(&lab, &session, &upstream, "denied_by_rule").await;
        // Its lists are of what it may call; whatever is shown later, the label stays.
        let list = r#"{"jsonrpc":"2.0","id":8,"method":"tools/list"}"#;
        let listed = |session: String| async { lab.post(READER, NOTES, &{ session }, list).await.body };
        let theirs = listed(session.clone()).await;
        assert!(theirs.contains("get_note") && !theirs.contains("send_mail"), "{theirs}");
        call(&lab, &session, "get_note", value!({"say":"a note"})).await;
        refused(&lab, &session, &upstream, "denied_by_rule").await;
        // Another session has nothing to do with it.
        assert!(send(&lab, &other).await.body.contains("sent"));
        assert!(listed(other).await.contains("send_mail"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_nothing_is_known_and_no_label_is_kept() {
    let upstream = server(false).await;
    let lab = Lab::start(&documents(upstream.addr)).await;
    let modern = "MCP-Protocol-Version: 2025-11-25\r\n";
    refused(&lab, modern, &upstream, "undecidable").await;
    let plain = call(&lab, modern, "get_note", value!({"say":"a note"})).await;
    assert!(plain.body.contains("a note"), "{plain:?}");
    for form in ["json", "events"] {
        let reply = call(&lab, modern, "get_note", value!({"say":"an ssn","as":form})).await;
        assert_eq!(reason(&reply), "label_unkept", "{reply:?}");
        assert!(!reply.body.contains("an ssn"), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_knows_a_label_before_its_caller_does() {
    let shared = Shared::new().await;
    let one = shared.replica(&[]).await;
    let two = shared.replica(&[place(&one)]).await;
    for at in 0..8 {
        let (sees, sends) = if at % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let session = begin(sees).await;
        answered(sends, &session, "sent").await;
        see(sees, &session, if at % 4 < 2 { "json" } else { "events" }).await;
        refused(sends, &session, &shared.upstream, "denied_by_rule").await;
        refused(sees, &session, &shared.upstream, "denied_by_rule").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_calls_of_one_session_are_refused_from_the_first_answer_on() {
    let shared = Shared::new().await;
    let one = shared.replica(&[]).await;
    let two = shared.replica(&[place(&one)]).await;
    let session = begin(&one).await;
    answered(&two, &session, "sent").await;
    // Whoever has the answer is refused, wherever it asks.
    let seeing = async |lab: &Lab| {
        see(lab, &session, "json").await;
        reason(&send(lab, &session).await)
    };
    let seen = tokio::join!(seeing(&one), seeing(&two), seeing(&one), seeing(&two));
    for why in [seen.0, seen.1, seen.2, seen.3] {
        assert_eq!(why, "denied_by_rule");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_withheld_that_another_replica_does_not_hear_of() {
    let shared = Shared::new().await;
    let one = shared.replica(&[]).await;
    let between = Between::new(place(&one)).await;
    let two = shared.replica(&[between.addr]).await;
    for form in ["json", "events"] {
        let session = begin(&one).await;
        answered(&two, &session, "sent").await;
        between.set(Way::Held);
        let reply = call(&one, &session, "get_note", value!({"say":"an ssn","as":form})).await;
        assert_eq!(reason(&reply), "label_unkept", "{form}: {reply:?}");
        assert!(!reply.body.contains("an ssn"), "{form}: {reply:?}");
        // It is kept all the same, and told once there is a way again.
        between.set(Way::Cut);
        answered(&two, &session, "undecidable").await;
        refused(&two, &session, &shared.upstream, "undecidable").await;
        refused(&one, &session, &shared.upstream, "undecidable").await;
        between.set(Way::Open);
        answered(&two, &session, "denied_by_rule").await;
        answered(&one, &session, "denied_by_rule").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_back_is_told_and_one_that_takes_its_leave_is_not_missed() {
    let shared = Shared::new().await;
    let one = shared.replica(&[]).await;
    let two = shared.replica(&[place(&one)]).await;
    let (session, other) = (begin(&two).await, begin(&two).await);
    answered(&one, &other, "sent").await;
    see(&two, &session, "json").await;
    two.waypoint.shutdown().await;
    refused(&one, &session, &shared.upstream, "denied_by_rule").await;
    answered(&one, &other, "sent").await;
    see(&one, &other, "json").await;
    let two = shared.replica(&[place(&one)]).await;
    answered(&two, &session, "denied_by_rule").await;
    answered(&two, &other, "denied_by_rule").await;
    // Nobody says of one that is killed that it serves nobody any more.
    let third = begin(&one).await;
    answered(&two, &third, "sent").await;
    drop(two);
    answered(&one, &third, "undecidable").await;
    let reply = call(&one, &third, "get_note", value!({"say":"an ssn"})).await;
    assert_eq!(reason(&reply), "label_unkept", "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_replicas_were_restarted_sessions_begin_anew() {
    let shared = Shared::new().await;
    let one = shared.replica(&[]).await;
    let session = begin(&one).await;
    see(&one, &session, "json").await;
    one.waypoint.shutdown().await;
    let one = shared.replica(&[]).await;
    let before = shared.upstream.bytes();
    for tool in ["send_mail", "get_note"] {
        let reply = call(&one, &session, tool, value!({"say":"sent"})).await;
        assert_eq!(reply.status, 404, "{reply:?}");
    }
    assert_eq!(shared.upstream.bytes(), before, "{}", shared.upstream.seen());
    let session = begin(&one).await;
    assert!(send(&one, &session).await.body.contains("sent"));
}

/// What a session's label takes out of its lists its client hears of on its stream, wherever the label was put, if its server
/// said that it tells of changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_a_change_of_lists() {
    for (capabilities, tells) in [(value!({"tools":{"listChanged":true}}), true), (value!({"tools":{}}), false)] {
        let mut live = Live::start().await;
        let shared = Shared { addr: live.addr, ..Shared::new().await };
        let one = shared.replica(&[]).await;
        let two = shared.replica(&[place(&one)]).await;
        let hello = value!({"jsonrpc":"2.0","id":0,"result":{"protocolVersion":VERSION,"capabilities":capabilities}});
        let begun = async { live.next().await.write(closing("Mcp-Session-Id: s-1\r\n", &hello).as_bytes()).await };
        let (session, ()) = tokio::join!(begin(&one), begun);
        let mut caller = one.tunnel(READER, NOTES).await.unwrap();
        let get = format!("GET /mcp HTTP/1.1\r\nHost: tools\r\nAccept: text/event-stream\r\n{session}\r\n");
        caller.write_all(get.as_bytes()).await.unwrap();
        let mut held = live.next().await;
        held.begin_events().await;
        let note = |level: &str| {
            value!({"jsonrpc":"2.0","method":"notifications/message","params":{"level":level,"data":1}}).to_string()
        };
        held.message(&note("info")).await;
        lab::read_until(&mut caller, "notifications/message").await;
        let serve = async {
            loop {
                let mut asked = live.next().await;
                let (id, result) = (asked.id(), value!({"content":[{"type":"text","text":"an ssn"}]}));
                let id: Value = serde_json::from_str(&id).unwrap();
                asked.write(closing("", &value!({"jsonrpc":"2.0","id":id,"result":result})).as_bytes()).await;
            }
        };
        // Put at the other replica, and once more at the one that has the stream.
        let seen = async {
            answered(&two, &session, "an ssn").await;
            see(&two, &session, "json").await;
            see(&one, &session, "json").await;
        };
        tokio::select! {
            () = serve => {}
            () = seen => {}
        }
        let mut told = String::new();
        if tells {
            told = lab::read_until(&mut caller, "list_changed\"}\n\n").await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        held.message(&note("still")).await;
        told += &lab::read_until(&mut caller, "still").await;
        assert_eq!(told.matches("notifications/tools/list_changed").count(), usize::from(tells), "{told}");
        assert!(!told.contains("prompts"), "{told}");
    }
}

/// An answer after which the server closes the connection.
fn closing(fields: &str, body: &Value) -> String {
    with(&format!("{fields}Connection: close\r\n"), &body.to_string())
}

/// While an answer waits until every replica knows its label, rules may change: what passes then is by those in force.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_waited_is_by_the_rules_of_when_it_passes() {
    let shared = Shared::new().await;
    let one = shared.replica(&[]).await;
    let between = Between::new(place(&one)).await;
    let two = shared.replica(&[between.addr]).await;
    let before = documents(shared.addr);
    let blacked = before.replace("  results:\n", "  results:\n    redact: [{name: numbers, matching: [\"ssn\"]}]\n");
    let refused = before.replace("  deny:\n", "  deny:\n  - {name: nothing, to: [{tools: [\"get_*\"]}]}\n");
    for (edited, wanted) in [(blacked, "an "), (refused, "denied_by_rule")] {
        assert_ne!(edited, before);
        eventually("an edit is in force while an answer waits", async || {
            between.set(Way::Open);
            one.edit(&before).await;
            let session = begin(&one).await;
            answered(&two, &session, "sent").await;
            let asked = shared.upstream.bytes();
            between.set(Way::Held);
            let edits = async {
                eventually("it is asked", async || shared.upstream.bytes() > asked).await;
                one.edit(&edited).await;
                between.set(Way::Open);
            };
            let (reply, ()) = tokio::join!(call(&one, &session, "get_note", value!({"say":"an ssn"})), edits);
            assert!(!reply.body.contains("an ssn"), "{reply:?}");
            // On a busy machine it may have been given up before.
            reason(&reply) != "label_unkept" && reply.body.contains(wanted)
        })
        .await;
    }
}

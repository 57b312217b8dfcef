//! Each stage of a call that does no I/O, as often as is said: for `benches/counts`, which counts the instructions and
//! allocations of one time. Unlike times they are the same on a busy machine.
//!
//! `stages` prints the names; `stages NAME N` does that one N times.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark of valid messages")]

#[path = "lab/setting.rs"]
mod setting;
#[path = "lab/world.rs"]
mod world;

use std::hint::black_box;
use std::sync::Arc;

use agent_waypoint::call::{Call, McpCall, Value};
use agent_waypoint::policy::Decision;
use agent_waypoint::telemetry::{Operation, Protocol, Ruling, Site, Telemetry};
use agent_waypoint::wire::authority::Authority;
use agent_waypoint::wire::http1::{Delimit, KeepAlive, RequestParser, write_head};
use agent_waypoint::wire::mcp::{Context, Decoded, McpHead, ServerMessage, decode, filter_list};
use agent_waypoint::wire::{json, sse};
use bytes::BytesMut;
use http::{StatusCode, Version};
use setting::{Setting, list, snapshot};
use world::{CALLER, Place, call, documents, vip};

/// Makes ready, and gives what is to be counted.
type Stage = fn() -> Box<dyn FnMut()>;

const STAGES: &[(&str, Stage)] = &[
    ("authority of a CONNECT", authority),
    ("head of a request", head),
    ("JSON, 1 KiB", parse),
    ("decode, 1 KiB", decode_1k),
    ("decode, 64 KiB", decode_64k),
    ("decide, 1 rule", || decide(1)),
    ("decide, 10 rules with CEL", decide_10),
    ("decide, 1000 rules", || decide(1000)),
    ("find a target and decide, 10 rules with CEL", || find_and_decide(0)),
    ("the same beside 100,000 rules of others", || find_and_decide(100_000)),
    ("serialise, 1 KiB", serialise),
    ("decode decide serialise, 1 KiB", whole),
    ("answer of 1 KiB", answer),
    ("filter a list of 200", filter),
    ("event of 200 bytes", event),
    ("head of an answer", answer_head),
    ("record", record),
];

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let Some(name) = args.next() else {
        for (name, _) in STAGES {
            println!("{name}");
        }
        return;
    };
    let times: usize = args.next().map_or(1, |times| times.parse().unwrap());
    let (_, stage) = STAGES.iter().find(|(known, _)| *known == name).unwrap();
    let mut once = stage();
    // What is made the first time only is not counted.
    once();
    counted(&mut *once, times);
}

/// By its name `benches/counts` tells what is counted from what makes ready.
#[inline(never)]
fn counted(once: &mut dyn FnMut(), times: usize) {
    for _ in 0..times {
        once();
    }
}

fn authority() -> Box<dyn FnMut()> {
    Box::new(|| drop(black_box(Authority::parse(black_box("tools.agents.svc.cluster.local:8080")))))
}

fn head() -> Box<dyn FnMut()> {
    const HEAD: &[u8] = b"POST /mcp HTTP/1.1\r\nhost: tools\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-06-18\r\nuser-agent: bench\r\ncontent-length: 1024\r\n\r\n";
    Box::new(|| assert!(RequestParser::new().advance(black_box(HEAD)).unwrap().is_some()))
}

fn parse() -> Box<dyn FnMut()> {
    let body = call(1 << 10);
    Box::new(move || drop(black_box(json::parse(black_box(&body)).unwrap())))
}

fn decoded(body: &[u8]) -> Decoded {
    let head = McpHead::default();
    decode(body, &Context { head: &head, session: None, session_version: None }).unwrap()
}

fn decode_1k() -> Box<dyn FnMut()> {
    let body = call(1 << 10);
    Box::new(move || drop(black_box(decoded(black_box(&body)))))
}

fn decode_64k() -> Box<dyn FnMut()> {
    let body = call(64 << 10);
    Box::new(move || drop(black_box(decoded(black_box(&body)))))
}

fn permits(setting: &Setting, call: &Call) {
    assert!(matches!(setting.target.rules.decide(&setting.facts(call)), Decision::Allow(_)));
}

fn decide_10() -> Box<dyn FnMut()> {
    let (setting, call) = (Setting::new(), Call::Mcp(decoded(&call(1 << 10)).call().clone()));
    Box::new(move || permits(&setting, black_box(&call)))
}

/// The target is looked up by its address, beside as many rules of other Services, a thousand for each.
fn find_and_decide(others: usize) -> Box<dyn FnMut()> {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let mut text = documents(Place { plain: nowhere, hbone: nowhere });
    for n in 0..others / 1000 {
        text.push_str("---\n");
        text.push_str(&many(&format!("other-{n}"), &format!("127.1.0.{n}"), 1000));
    }
    let (snapshot, setting) = (snapshot(&text), Setting::new());
    let at = Authority::parse(&vip("mcp", "plain")).unwrap();
    let call = Call::Mcp(decoded(&call(1 << 10)).call().clone());
    Box::new(move || {
        let target = snapshot.find(black_box(&at)).unwrap();
        assert!(matches!(target.rules.decide(&setting.facts(black_box(&call))), Decision::Allow(_)));
    })
}

/// The last of so many rules is the one that allows.
fn decide(rules: usize) -> Box<dyn FnMut()> {
    let setting = Setting::of(&many("many", "127.0.9.98", rules), "127.0.9.98:80");
    let call = Call::Mcp(decoded(&call(1 << 10)).call().clone());
    Box::new(move || permits(&setting, black_box(&call)))
}

/// A Service and a policy of so many rules for it.
fn many(name: &str, ip: &str, rules: usize) -> String {
    let (namespace, account) = CALLER;
    let others: String = (1..rules).map(|n| format!("  - to: [{{tools: [tool_{n}, \"other_{n}_*\"]}}]\n")).collect();
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: tools}}
spec: {{clusterIP: {ip}, ports: [{{name: main, port: 80, targetPort: 80}}]}}
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: {name}, namespace: tools}}
spec:
  targetRefs: [{{kind: Service, name: {name}}}]
  protocol: MCP
  allow:
{others}  - {{from: [{{serviceAccounts: ["{namespace}/{account}"]}}], to: [{{tools: ["create_*"]}}]}}
"#
    )
}

fn serialise() -> Box<dyn FnMut()> {
    let decoded = decoded(&call(1 << 10));
    Box::new(move || drop(black_box(black_box(&decoded).canonical())))
}

fn whole() -> Box<dyn FnMut()> {
    let (setting, body) = (Setting::new(), call(1 << 10));
    Box::new(move || {
        let decoded = decoded(black_box(&body));
        permits(&setting, &Call::Mcp(decoded.call().clone()));
        drop(black_box(decoded.canonical()));
    })
}

fn answer() -> Box<dyn FnMut()> {
    let text = "Made. ".repeat(170);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":17,"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#
    );
    Box::new(move || drop(black_box(ServerMessage::parse(black_box(body.as_bytes())).unwrap().canonical())))
}

fn filter() -> Box<dyn FnMut()> {
    let setting = Setting::new();
    let request = decoded(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).call().clone();
    let list = list(200);
    Box::new(move || {
        let mut message = ServerMessage::parse(black_box(&list)).unwrap();
        let viewer = setting.target.rules.viewer(&setting.facts(&Call::Http));
        let seen = |entry: McpCall, _: &Value| viewer.sees(&Call::Mcp(entry));
        let filtered = filter_list(&request, message.result_mut().unwrap(), seen);
        assert_eq!(filtered.kept, 100);
        drop(black_box(message.canonical()));
    })
}

fn event() -> Box<dyn FnMut()> {
    let mut bytes = Vec::new();
    let data = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":17,"progress":3,"total":100,"message":"working on part 3 of it, which is the third"}}"#;
    sse::Event::message(Some("7"), data).write(&mut bytes);
    Box::new(move || {
        let (mut events, mut out) = (Vec::new(), Vec::new());
        sse::Parser::default().push(black_box(&bytes), &mut events).unwrap();
        for event in &events {
            event.write(&mut out);
        }
        assert!(!out.is_empty());
    })
}

fn answer_head() -> Box<dyn FnMut()> {
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("server", "uvicorn".parse().unwrap());
    headers.insert("mcp-session-id", "0123456789abcdef0123456789abcdef".parse().unwrap());
    Box::new(move || {
        let mut out = BytesMut::with_capacity(512);
        let kept = (KeepAlive::Yes, Version::HTTP_11);
        write_head(&mut out, StatusCode::OK, black_box(&headers), Delimit::Length(1024), kept);
        drop(black_box(out));
    })
}

/// From the arrival of a call to its numbers; the line of the access log is written elsewhere.
fn record() -> Box<dyn FnMut()> {
    let (setting, telemetry) = (Setting::new(), Telemetry::quiet());
    let call = Call::Mcp(decoded(&call(1 << 10)).call().clone());
    let host = "mcp-plain.tools.svc.cluster.local".into();
    let site = Arc::new(Site { host, name: "mcp-plain".into(), namespace: "tools".into(), port: 80 });
    Box::new(move || {
        let mut record = telemetry.begin(&setting.peer, Protocol::Mcp);
        record.site(&site);
        record.operation(Operation::of(&call, Some(&setting.head)));
        record.allowed(Ruling { reason: "allowed", ..Ruling::default() });
        record.upstream("tools/mcp-plain", Some("spiffe://cluster.local/ns/tools/sa/server"));
        record.status(StatusCode::OK);
        record.meter().sent(1024);
        record.finish();
    })
}

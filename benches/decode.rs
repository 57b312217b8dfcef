//! What deciding costs per call, without I/O: a body to a decoded `tools/call`, to a decision, to the bytes that are
//! forwarded; a list to the part of it that its caller may see.

#![expect(clippy::unwrap_used, reason = "a benchmark of valid bodies")]

#[path = "lab/setting.rs"]
mod setting;
#[path = "lab/world.rs"]
mod world;

use agent_waypoint::call::{A2aBinding, Call};
use agent_waypoint::policy::Decision;
use agent_waypoint::wire::mcp::{Context, McpHead, ServerMessage, decode, filter_list};
use agent_waypoint::wire::{a2a, json, sse};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use setting::{Setting, list};
use world::{CALLER, call};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [1 << 10, 64 << 10, 1 << 20];

/// The whole of what is done between reading a request and sending it on.
#[divan::bench(args = SIZES)]
fn decode_decide_serialise(bencher: Bencher<'_, '_>, size: usize) {
    let (setting, body, head) = (Setting::new(), call(size), McpHead::default());
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        let context = Context { head: &head, session: None, session_version: None };
        let decoded = decode(black_box(&body), &context).unwrap();
        let call = Call::Mcp(decoded.call().clone());
        let decision = setting.target.rules.decide(&setting.facts(&call));
        assert!(matches!(decision, Decision::Allow(_)), "{decision:?}");
        decoded.canonical()
    });
}

#[divan::bench(args = SIZES)]
fn decode_alone(bencher: Bencher<'_, '_>, size: usize) {
    let (body, head) = (call(size), McpHead::default());
    let context = Context { head: &head, session: None, session_version: None };
    bencher.counter(BytesCount::new(body.len())).bench(|| decode(black_box(&body), &context).unwrap());
}

#[divan::bench(args = SIZES)]
fn decide_alone(bencher: Bencher<'_, '_>, size: usize) {
    let (setting, head) = (Setting::new(), McpHead::default());
    let context = Context { head: &head, session: None, session_version: None };
    let call = Call::Mcp(decode(&call(size), &context).unwrap().call().clone());
    bencher.bench(|| {
        let decision = setting.target.rules.decide(&setting.facts(black_box(&call)));
        assert!(matches!(decision, Decision::Allow(_)));
    });
}

#[divan::bench(args = SIZES)]
fn serialise_alone(bencher: Bencher<'_, '_>, size: usize) {
    let (body, head) = (call(size), McpHead::default());
    let context = Context { head: &head, session: None, session_version: None };
    let decoded = decode(&body, &context).unwrap();
    bencher.counter(BytesCount::new(body.len())).bench(|| black_box(&decoded).canonical());
}

/// A list of `tools`, of which every other one may be seen: parsed, filtered, written.
#[divan::bench(args = [10, 1_000, 10_000])]
fn filter_tools(bencher: Bencher<'_, '_>, tools: usize) {
    let (setting, head) = (Setting::new(), McpHead::default());
    let context = Context { head: &head, session: None, session_version: None };
    let request = decode(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, &context).unwrap().call().clone();
    let list = list(tools);
    bencher.counter(ItemsCount::new(tools)).bench(|| {
        let mut message = ServerMessage::parse(black_box(&list)).unwrap();
        let viewer = setting.target.rules.viewer(&setting.facts(&Call::Http));
        let seen =
            |entry: agent_waypoint::call::McpCall, _: &agent_waypoint::call::Value| viewer.sees(&Call::Mcp(entry));
        let filtered = filter_list(&request, message.result_mut().unwrap(), seen);
        assert_eq!((filtered.kept, filtered.dropped), (tools / 2, tools / 2));
        message.canonical()
    });
}

/// The same list, parsed and written only.
#[divan::bench(args = [10, 1_000, 10_000])]
fn pass_tools_unfiltered(bencher: Bencher<'_, '_>, tools: usize) {
    let list = list(tools);
    bencher.counter(ItemsCount::new(tools)).bench(|| ServerMessage::parse(black_box(&list)).unwrap().canonical());
}

/// The same message to an agent in each binding, decoded and decided on: what `decode_decide_serialise` is for MCP. The
/// bytes go out as they came, so nothing is written.
#[divan::bench(args = [A2aBinding::JsonRpc, A2aBinding::HttpJson, A2aBinding::Grpc])]
fn a2a_decode_decide(bencher: Bencher<'_, '_>, binding: A2aBinding) {
    let setting = Setting::of(&agent(), "127.0.9.99:80");
    let (path, content_type, body) = message(binding, &"x".repeat(900));
    let mut head = setting.head.clone();
    head.path = path.to_owned();
    head.headers.insert("content-type", content_type.parse().unwrap());
    head.headers.insert("a2a-version", "1.0".parse().unwrap());
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        let route = a2a::route(&head, &a2a::Mounts::default(), true).unwrap();
        let call = a2a::decode(&route, &head, black_box(&body)).unwrap().call;
        let call = Call::A2a(Box::new(call));
        let decision = setting.target.rules.decide(&setting.facts(&call));
        assert!(matches!(decision, Decision::Allow(_)), "{decision:?}");
    });
}

/// A Service declared A2A, with a rule that reads the message.
fn agent() -> String {
    let (namespace, account) = CALLER;
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: agent, namespace: tools}}
spec:
  clusterIP: 127.0.9.99
  ports: [{{name: main, port: 80, targetPort: 80, appProtocol: agent-waypoint.dev/a2a}}]
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: agent, namespace: tools}}
spec:
  targetRefs: [{{kind: Service, name: agent}}]
  protocol: A2A
  deny:
  - to: [{{operations: ["Send*"]}}]
    when: a2a.message.parts.exists(p, p.kind == "url")
  allow:
  - from: [{{serviceAccounts: ["{namespace}/{account}"]}}]
    to: [{{operations: [SendMessage, GetTask]}}]
"#
    )
}

fn message(binding: A2aBinding, text: &str) -> (&'static str, &'static str, Vec<u8>) {
    let message = format!(
        r#"{{"messageId":"m-1","contextId":"c-1","role":"ROLE_USER","parts":[{{"text":"{text}"}}],"metadata":{{"a":"b"}}}}"#
    );
    match binding {
        A2aBinding::JsonRpc => (
            "/",
            "application/json",
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{{"message":{message}}}}}"#).into(),
        ),
        A2aBinding::HttpJson => ("/message:send", "application/a2a+json", format!(r#"{{"message":{message}}}"#).into()),
        A2aBinding::Grpc => {
            let field = |number: u8, bytes: &[u8]| {
                let mut out = vec![number << 3 | 2];
                let length = u16::try_from(bytes.len()).unwrap();
                let [low, high] = [length & 0x7f, length >> 7].map(|bits| u8::try_from(bits).unwrap());
                out.extend(if high == 0 { vec![low] } else { vec![low | 0x80, high] });
                out.extend_from_slice(bytes);
                out
            };
            let entry = field(1, &[field(1, b"a"), field(2, &field(3, b"b"))].concat());
            let part = field(5, &field(1, text.as_bytes()));
            let members = [field(1, b"m-1"), field(2, b"c-1"), vec![4 << 3, 1], part, field(6, &entry)].concat();
            let request = field(2, &members);
            let mut body = vec![0];
            body.extend_from_slice(&u32::try_from(request.len()).unwrap().to_be_bytes());
            body.extend_from_slice(&request);
            ("/lf.a2a.v1.A2AService/SendMessage", "application/grpc", body)
        }
    }
}

/// For comparison: serde_json's tree, which accepts duplicate keys and loses number text.
#[divan::bench(args = SIZES)]
fn serde_json_parse(bencher: Bencher<'_, '_>, size: usize) {
    let body = call(size);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench(|| serde_json::from_slice::<serde_json::Value>(black_box(&body)).unwrap());
}

#[divan::bench(args = SIZES)]
fn our_parse(bencher: Bencher<'_, '_>, size: usize) {
    let body = call(size);
    bencher.counter(BytesCount::new(body.len())).bench(|| json::parse(black_box(&body)).unwrap());
}

#[divan::bench(args = SIZES)]
fn one_event(bencher: Bencher<'_, '_>, size: usize) {
    let mut bytes = Vec::new();
    sse::Event::message(Some("7"), &String::from_utf8(call(size)).unwrap()).write(&mut bytes);
    bencher.counter(BytesCount::new(bytes.len())).bench(|| {
        let mut out = Vec::new();
        sse::Parser::default().push(black_box(&bytes), &mut out).unwrap();
        out
    });
}

//! What decoding costs per call: a body to a decoded `tools/call` and on to the bytes that are forwarded.

#![expect(clippy::unwrap_used, reason = "a benchmark of valid bodies")]

use agent_waypoint::wire::mcp::{Context, McpHead, decode};
use agent_waypoint::wire::{json, sse};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

const SIZES: [usize; 2] = [1 << 10, 64 << 10];

/// A `tools/call` of about `size` bytes, as agents send them: short members, some text, some numbers.
fn body(size: usize) -> Vec<u8> {
    let mut body = String::from(
        r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"create_issue","arguments":{"owner":"acme","items":["#,
    );
    let mut n = 0;
    while body.len() < size - 120 {
        let comma = if n == 0 { "" } else { "," };
        body.push_str(&format!(
            r#"{comma}{{"id":{n},"title":"Printer on floor {n} says \"PC LOAD LETTER\"","done":false,"hours":1.25}}"#
        ));
        n += 1;
    }
    body.push_str(r#"]},"_meta":{"progressToken":17}}}"#);
    body.into_bytes()
}

#[divan::bench(args = SIZES)]
fn decode_and_serialise(bencher: Bencher<'_, '_>, size: usize) {
    let (body, head) = (body(size), McpHead::default());
    let context = Context { head: &head, session: None, session_version: None };
    bencher.counter(BytesCount::new(body.len())).bench(|| decode(black_box(&body), &context).unwrap().canonical());
}

#[divan::bench(args = SIZES)]
fn parse_alone(bencher: Bencher<'_, '_>, size: usize) {
    let body = body(size);
    bencher.counter(BytesCount::new(body.len())).bench(|| json::parse(black_box(&body)).unwrap());
}

/// For comparison: serde_json's tree, which accepts duplicate keys and loses number text.
#[divan::bench(args = SIZES)]
fn serde_json_alone(bencher: Bencher<'_, '_>, size: usize) {
    let body = body(size);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench(|| serde_json::from_slice::<serde_json::Value>(black_box(&body)).unwrap());
}

#[divan::bench(args = SIZES)]
fn one_event(bencher: Bencher<'_, '_>, size: usize) {
    let mut bytes = Vec::new();
    sse::Event::message(Some("7"), &String::from_utf8(body(size)).unwrap()).write(&mut bytes);
    bencher.counter(BytesCount::new(bytes.len())).bench(|| {
        let mut out = Vec::new();
        sse::Parser::default().push(black_box(&bytes), &mut out).unwrap();
        out
    });
}

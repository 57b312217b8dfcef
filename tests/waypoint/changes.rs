//! Rules that change while a call comes in: how long that takes is its caller's to say, so that the rules of its end decide.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::custom;
use crate::lab::{Lab, PATIENCE, Reply, Upstream, json, notes, post};
use crate::plain_ports::http::{WEB, hello, istio, until};

const NOTES: &str = "127.0.9.1:80";

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

/// Begins a request whose head says `Expect: 100-continue`: once it is asked for its body, it has begun to be served.
async fn begun(lab: &Lab, authority: &str, head: &str) -> agent_waypoint::hbone::Stream {
    let mut stream = lab.tunnel("agents/reader", authority).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(until(&mut stream, b"\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    stream
}

/// Writes other documents, and waits until they are in force: `refused` says so of an answer.
async fn change(lab: &Lab, documents: &str, probe: (&str, &str), refused: impl Fn(&Reply) -> bool) {
    std::fs::write(lab.documents(), documents).unwrap();
    let (authority, request) = probe;
    let changed = async {
        while !refused(&lab.raw("agents/reader", authority, request.as_bytes()).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changed).await.expect("in force in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_tool_is_decided_on_by_the_rules_of_its_end() {
    let upstream = Upstream::start(|_, _| json(r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#)).await;
    let documents = notes(upstream.addr);
    let lab = Lab::start(&documents).await;
    let request = post("Expect: 100-continue\r\n", &call("get_note"));
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut caller = begun(&lab, NOTES, &format!("{head}\r\n\r\n")).await;
    let probe = post("", &call("get_probe"));
    let refused = |reply: &Reply| reply.json()["error"].is_object();
    change(&lab, &documents.replace("get_*", "other_*"), (NOTES, &probe), refused).await;
    caller.write_all(body.as_bytes()).await.unwrap();
    let reply = Reply::read(&mut caller).await;
    assert!(reply.status == 200 && refused(&reply), "{reply:?}");
    assert!(!upstream.seen().contains("get_note"), "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_about_which_a_provider_is_asked_is_decided_on_by_the_rules_of_its_end() {
    let upstream = hello().await;
    let provider = Upstream::start(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()).await;
    let asked = "http includeRequestBodyInCheck: {maxRequestBytes: 100}";
    let documents = |paths: &str| {
        let deny = istio("DENY", &format!("[{{to: [{{operation: {{paths: ['{paths}']}}}}]}}]"));
        format!("{}---\n{deny}", custom::documents(upstream.addr, provider.addr, asked, "[{}]"))
    };
    let lab = Lab::start(&documents("/none")).await;
    let head = "POST /slow HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let mut caller = begun(&lab, WEB, head).await;
    let probe = "GET /probe HTTP/1.1\r\nHost: web\r\n\r\n";
    change(&lab, &documents("/*"), (WEB, probe), |reply| reply.status == 403).await;
    caller.write_all(b"body").await.unwrap();
    assert_eq!(Reply::read(&mut caller).await.status, 403);
    assert!(!upstream.seen().contains("/slow"), "{}", upstream.seen());
}

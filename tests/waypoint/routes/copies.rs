//! `RequestMirror`: copies that nobody waits for, to where rules permit them.

use std::sync::Mutex;
use std::sync::mpsc;

use super::{documents, named};
use crate::lab::{Lab, Nobody, PATIENCE, Upstream, eventually, service, with};
use crate::plain_ports::http::{WEB, istio};

const ALL: &str = "  - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 80}}}]\n    backendRefs: [{name: web, port: 80}]";

async fn put(lab: &Lab, path: &str, body: &str) -> (u16, String) {
    let request =
        format!("PUT {path} HTTP/1.1\r\nHost: web.tools:80\r\nx-a: b\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let reply = lab.raw("agents/reader", WEB, request.as_bytes()).await;
    (reply.status, reply.body)
}

/// Until `counted` stands on the page of metrics.
async fn counted(lab: &Lab, result: &str, times: usize) {
    lab.measures(&format!("agent_waypoint_mirrored_requests_total{{result=\"{result}\"}} {times}\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_request_and_its_answer_is_nobodys() {
    let (web, copy) = (named("web").await, named("copy").await);
    let rules = ALL.replace(
        "filters: [",
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-r, value: rule}]}}, ",
    );
    let more = service("copy", "127.0.9.16", copy.addr, "http");
    let lab = Lab::start(&documents(web.addr, web.addr, &rules, &more)).await;
    assert_eq!(put(&lab, "/a?b=c", "hello").await, (200, "web".to_owned()));
    counted(&lab, "sent", 1).await;
    let seen = copy.seen().to_ascii_lowercase();
    assert!(seen.starts_with("put /a?b=c http/1.1\r\n") && seen.ends_with("\r\n\r\nhello"), "{seen}");
    for line in ["host: web.tools:80\r\n", "x-a: b\r\n", "x-r: rule\r\n", "content-length: 5\r\n"] {
        assert!(seen.contains(line), "{line} {seen}");
    }
}

/// A mirror that is slow, dead, missing or not granted changes nothing of the call.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_does_not_know_of_its_copies() {
    let web = named("web").await;
    let (answer, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let slow = Upstream::start(move |_, _| {
        let _late = told.lock().unwrap().recv_timeout(PATIENCE);
        with("", "late")
    })
    .await;
    let gone = Nobody::at("127.0.0.1");
    let mirrors: Vec<String> = ["slow", "dead", "none"]
        .iter()
        .map(|name| format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: {name}, port: 80}}}}}}"))
        .chain(["{type: RequestMirror, requestMirror: {backendRef: {name: far, namespace: elsewhere, port: 80}}}"
            .to_owned()])
        .collect();
    let rules = format!("  - filters: [{}]\n    backendRefs: [{{name: web, port: 80}}]", mirrors.join(", "));
    let far = service("far", "127.0.9.14", slow.addr, "http").replace("namespace: tools", "namespace: elsewhere");
    let more =
        [service("slow", "127.0.9.16", slow.addr, "http"), service("dead", "127.0.9.17", gone.addr, "http"), far];
    let lab = Lab::start(&documents(web.addr, web.addr, &rules, &more.join("---\n"))).await;
    // Answered before the slow one has answered.
    assert_eq!(put(&lab, "/a", "x").await, (200, "web".to_owned()));
    answer.send(()).unwrap();
    counted(&lab, "failed", 1).await;
    counted(&lab, "nowhere", 2).await;
    counted(&lab, "sent", 1).await;
}

/// No copy goes where a caller may not go, to a port of tools, or of a call that was refused.
#[tokio::test(flavor = "multi_thread")]
async fn copies_need_the_permission_of_where_they_go() {
    let (web, copy) = (named("web").await, named("copy").await);
    let theirs = istio("DENY", r#"[{to: [{operation: {methods: [PUT]}}]}]"#).replace("web}", "copy}");
    let mine = istio("DENY", r#"[{to: [{operation: {paths: ["/no"]}}]}]"#).replace("deny,", "d2,");
    for (protocol, rules) in [("http", format!("{theirs}---\n{mine}")), ("agent-waypoint.dev/mcp", mine)] {
        let more = format!("{}---\n{rules}", service("copy", "127.0.9.16", copy.addr, protocol));
        let lab = Lab::start(&documents(web.addr, web.addr, ALL, &more)).await;
        assert_eq!(put(&lab, "/a", "x").await.0, 200, "{protocol}");
        counted(&lab, "refused", 1).await;
        assert_eq!(put(&lab, "/no", "x").await.0, 403, "{protocol}");
        assert_eq!(copy.bytes(), 0, "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn some_requests_have_copies() {
    let (web, copy) = (named("web").await, named("copy").await);
    let more = service("copy", "127.0.9.16", copy.addr, "http");
    let share = |share: &str| ALL.replace("port: 80}}}]", &format!("port: 80}}, {share}}}}}]"));
    let lab = Lab::start(&documents(web.addr, web.addr, &share("percent: 0"), &more)).await;
    for _ in 0..20 {
        assert_eq!(put(&lab, "/a", "").await.0, 200);
    }
    assert_eq!(copy.bytes(), 0);
    let lab =
        Lab::start(&documents(web.addr, web.addr, &share("fraction: {numerator: 1, denominator: 2}"), &more)).await;
    for _ in 0..60 {
        assert_eq!(put(&lab, "/a", "").await.0, 200);
    }
    let copies = || copy.seen().matches("PUT /a").count();
    eventually("one half has copies", async || copies() >= 12).await;
    assert!(copies() <= 48, "{} of 60 at one half", copies());
    let both = share("percent: 1, fraction: {numerator: 1}");
    let lab = Lab::start(&documents(web.addr, web.addr, &both, &more)).await;
    assert_eq!(put(&lab, "/a", "").await.0, 403, "two shares: closed");
}

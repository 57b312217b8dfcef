//! Calls that a gateway takes from outside and sends through the waypoint (`istio.io/ingress-use-waypoint`): they are the
//! gateway's, whatever they say of somebody else, and servers are told who called only where that is asked for.

use crate::lab::{Lab, Reply, Upstream, json, notes, service, with};
use crate::plain_ports::http::{WEB, istio};

const GATEWAY: &str = "istio-ingress/gateway";
const NOTES: &str = "127.0.9.1:80";
const TOLD: &str = "URI=spiffe://cluster.local/ns/istio-ingress/sa/gateway";
/// What a client outside had the gateway pass on.
const FORGED: &str = "X-Forwarded-Client-Cert: By=spiffe://cluster.local/ns/tools/sa/web;URI=spiffe://cluster.local/ns/agents/sa/admin\r\nx-forwarded-client-cert: URI=spiffe://cluster.local/ns/agents/sa/admin\r\n";
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_x","arguments":{}}}"#;

/// Only the gateway may call, and whoever would be an admin by its XFCC.
fn rules(account: &str) -> String {
    let rules = format!("[{{from: [{{source: {{principals: [cluster.local/ns/{account}]}}}}]}}]");
    istio("ALLOW", &rules)
}

const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: tools}
spec:
  parentRefs: [{group: '', kind: Service, name: web, port: 80}]
  rules:
  - matches: [{path: {value: /led}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-led, value: 'yes'}]}}]
    backendRefs: [{name: web, port: 80}]
  - backendRefs: [{name: web, port: 80}]
";

async fn start(upstream: &Upstream, account: &str, tells_caller: bool) -> Lab {
    let web = service("web", "127.0.9.2", upstream.addr, "http");
    let notes = notes(upstream.addr).replace("\"agents/reader\"", &format!("\"{GATEWAY}\", \"agents/reader\""));
    let documents = [web, rules(account), ROUTE.to_owned(), notes].join("---\n");
    Lab::start_with(&documents, |settings| settings.tells_caller = tells_caller).await
}

async fn get(lab: &Lab, path: &str) -> Reply {
    lab.raw(GATEWAY, WEB, format!("GET {path} HTTP/1.1\r\nHost: web.tools:80\r\n{FORGED}\r\n").as_bytes()).await
}

/// What servers were told of who called, as they read it.
fn told(upstream: &Upstream) -> Vec<String> {
    let seen = upstream.seen().replace('_', "-");
    let named = |line: &&str| line.to_ascii_lowercase().starts_with("x-forwarded-client-cert");
    seen.lines().filter(named).map(|line| line.split_once(": ").unwrap().1.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateways_calls_are_its_own_and_nothing_that_is_said_in_them_makes_them_anothers() {
    let upstream = Upstream::start(|_, _| with("", "ok")).await;
    let lab = start(&upstream, "agents/sa/admin", false).await;
    assert_eq!(get(&lab, "/").await.status, 403, "it is not the admin that it names");
    assert_eq!(upstream.bytes(), 0);
    let lab = start(&upstream, "istio-ingress/sa/gateway", false).await;
    for path in ["/", "/led"] {
        assert_eq!(get(&lab, path).await.status, 200);
    }
    assert!(told(&upstream).is_empty(), "{}", upstream.seen());
    // Some servers read this as the same name.
    let request = format!("GET / HTTP/1.1\r\nHost: web.tools:80\r\n{}\r\n", FORGED.replace('-', "_"));
    let before = upstream.bytes();
    assert_eq!(lab.raw(GATEWAY, WEB, request.as_bytes()).await.status, 400);
    assert_eq!(upstream.bytes(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_told_whose_certificate_it_was_and_not_what_was_forged() {
    let upstream = Upstream::start(|_, _| with("", "ok")).await;
    let lab = start(&upstream, "istio-ingress/sa/gateway", true).await;
    assert_eq!(get(&lab, "/").await.status, 200);
    assert_eq!(told(&upstream), [TOLD]);
    assert_eq!(get(&lab, "/led").await.status, 200);
    assert_eq!(told(&upstream), [TOLD, TOLD], "{}", upstream.seen());
    assert!(upstream.seen().contains("x-led: yes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tool_servers_are_told_too() {
    let upstream = Upstream::start(|_, _| json(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#)).await;
    let lab = start(&upstream, "istio-ingress/sa/gateway", true).await;
    let reply = lab.post(GATEWAY, NOTES, FORGED, CALL).await;
    assert_eq!((reply.status, &reply.json()["error"]), (200, &serde_json::Value::Null), "{reply:?}");
    assert_eq!(told(&upstream), [TOLD]);
    let reader = lab.post("agents/reader", NOTES, "", CALL).await;
    assert_eq!(reader.status, 200);
    assert_eq!(told(&upstream)[1], "URI=spiffe://cluster.local/ns/agents/sa/reader");
}

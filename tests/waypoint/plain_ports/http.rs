//! Plain HTTP ports under their own rules, and what of a request arrives.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::Raw;
use crate::lab::{Lab, PATIENCE, Reply, Upstream, service, with};

pub(crate) const WEB: &str = "127.0.9.2:80";

/// A plain HTTP Service `tools/web:80` at [`WEB`], and `policies`.
pub(crate) fn web(addr: std::net::SocketAddr, policies: &str) -> String {
    format!("{}---\n{policies}", service("web", "127.0.9.2", addr, "http"))
}

pub(crate) async fn hello() -> Upstream {
    Upstream::start(|_, _| with("", "hello")).await
}

pub(crate) fn istio(action: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {}, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, group: '', name: web}}]\n  action: {action}\n  rules: {rules}\n",
        action.to_lowercase()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rules_a_plain_port_is_open_and_hosts_and_traces_pass() {
    let upstream = hello().await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let request = "GET /a?b=c HTTP/1.1\r\nHost: shop.example:8080\r\nOrigin: https://app.example\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nbaggage: a=b\r\nforwarded: for=1.2.3.4\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-client-cert: URI=spiffe://cluster.local/ns/a/sa/admin\r\nx-istio-attributes: x\r\nX-Envoy-External-Address: 1.1.1.1\r\nConnection: keep-alive\r\n\r\n";
    let reply = lab.raw("agents/reader", WEB, request.as_bytes()).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"), "{reply:?}");
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(seen.starts_with("get /a?b=c http/1.1\r\n"), "{seen}");
    for kept in [
        "host: shop.example:8080\r\n",
        "origin: https://app.example\r\n",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
        "baggage: a=b\r\n",
        "\r\nforwarded: for=1.2.3.4\r\n",
        "x-forwarded-for: 1.2.3.4\r\n",
    ] {
        assert!(seen.contains(kept), "{kept} in {seen}");
    }
    for gone in ["x-forwarded-client-cert", "x-istio", "x-envoy"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_policy_with_http_rules_decides_and_refused_requests_reach_nobody() {
    let upstream = hello().await;
    let policy = "apiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: web, namespace: tools}\nspec:\n  targetRefs: [{kind: Service, name: web}]\n  deny:\n  - {name: no-admin, to: [{http: {paths: [\"/admin\", \"/admin/*\"]}}]}\n  allow:\n  - {name: readers, from: [{serviceAccounts: [agents/reader]}], to: [{http: {methods: [GET], paths: [\"/*\"]}}]}\n";
    let lab = Lab::start(&web(upstream.addr, policy)).await;
    for (who, line) in [
        ("agents/reader", "GET /admin/users"),
        ("agents/reader", "GET /x/..//admin/%75sers"),
        ("agents/reader", "POST /notes"),
        ("agents/other", "GET /notes"),
    ] {
        let reply = lab.raw(who, WEB, format!("{line} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes()).await;
        assert!(matches!(reply.status, 400 | 403), "{who} {line}: {reply:?}");
    }
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    let reply = lab.raw("agents/reader", WEB, b"GET /notes HTTP/1.1\r\nHost: web\r\n\r\n").await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn istios_own_policies_decide_too() {
    let upstream = hello().await;
    let policies = [
        istio(
            "ALLOW",
            "[{from: [{source: {principals: ['cluster.local/ns/agents/sa/reader'], namespaces: [agents]}}, {source: {serviceAccounts: [agents/writer]}}], to: [{operation: {ports: ['80'], methods: [GET, PUT], paths: ['/notes*']}}]}]",
        ),
        istio("DENY", "[{from: [{source: {namespaces: [agents]}}], to: [{operation: {methods: [PUT]}}]}]"),
    ]
    .join("---\n");
    let lab = Lab::start(&web(upstream.addr, &policies)).await;
    let rows = [
        ("agents/reader", "GET /notes/1", 200),
        ("agents/writer", "GET /notes?x=1", 200),
        ("agents/reader", "PUT /notes/1", 403),
        ("agents/reader", "POST /notes", 403),
        ("agents/reader", "GET /other", 403),
        ("other/reader", "GET /notes/1", 403),
    ];
    for (who, line, status) in rows {
        let before = upstream.bytes();
        let reply = lab.raw(who, WEB, format!("{line} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes()).await;
        assert_eq!(reply.status, status, "{who} {line}: {reply:?}");
        assert_eq!(upstream.bytes() > before, status == 200, "{who} {line}: {}", upstream.seen());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_passed_on_and_not_followed() {
    let upstream =
        Raw::answering(&["HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"]).await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let reply = lab.raw("agents/reader", WEB, b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    assert_eq!(reply.status, 302);
    assert!(reply.head.contains("location: http://127.0.0.1:1/"), "{reply:?}");
    assert_eq!(upstream.connections(), 1);
}

const UPGRADE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Switches to an echo.
async fn echoing() -> Raw {
    Raw::start(|mut accepted| async move {
        let Some(head) = accepted.head().await else { return };
        let answer = if head.to_ascii_lowercase().contains("upgrade: websocket") {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
        } else {
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
        };
        accepted.io.write_all(answer.as_bytes()).await.unwrap();
        while let Some(bytes) = accepted.read().await {
            if accepted.io.write_all(&bytes).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_authorized_as_its_get_and_ends_when_that_is_no_longer_permitted() {
    let upstream = echoing().await;
    let allow = istio("ALLOW", "[{to: [{operation: {methods: [GET], paths: ['/chat']}}]}]");
    let lab = Lab::start(&web(upstream.addr, &allow)).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    stream.write_all(UPGRADE).await.unwrap();
    let head = until(&mut stream, b"\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(until(&mut stream, b"ping").await, "ping");

    let closed = istio("ALLOW", "[{to: [{operation: {methods: [GET], paths: ['/other']}}]}]");
    lab.edit(&web(upstream.addr, &closed)).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "still open");
    let refused = lab.raw("agents/reader", WEB, UPGRADE).await;
    assert_eq!(refused.status, 403, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_refused_on_an_mcp_port() {
    let upstream = echoing().await;
    let lab = Lab::start(&crate::lab::notes(upstream.addr)).await;
    let reply = lab.raw("agents/reader", "127.0.9.1:80", UPGRADE).await;
    assert_eq!(reply.status, 501, "{reply:?}");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_204_and_304_have_no_body_and_the_next_answer_is_the_next() {
    let upstream = Raw::answering(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast",
    ])
    .await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    let pipelined = "HEAD /1 HTTP/1.1\r\nHost: w\r\n\r\nGET /2 HTTP/1.1\r\nHost: w\r\n\r\nGET /3 HTTP/1.1\r\nHost: w\r\n\r\nGET /4 HTTP/1.1\r\nHost: w\r\n\r\n";
    stream.write_all(pipelined.as_bytes()).await.unwrap();
    let all = until(&mut stream, b"last").await;
    let statuses: Vec<&str> = all.split("HTTP/1.1 ").skip(1).filter_map(|part| part.get(..3)).collect();
    assert_eq!(statuses, ["200", "204", "304", "200"], "{all}");
    assert!(all.to_ascii_lowercase().contains("content-length: 100"), "HEAD says what GET would: {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_waits_for_100_continue_gets_it_from_us() {
    let upstream = hello().await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    stream
        .write_all(b"POST /up HTTP/1.1\r\nHost: w\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    assert!(until(&mut stream, b"\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"body").await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.status, 200);
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(!seen.contains("expect") && seen.ends_with("body"), "{seen}");
}

/// Reads until `end` has come.
pub(crate) async fn until<S: tokio::io::AsyncRead + Unpin>(stream: &mut S, end: &[u8]) -> String {
    let mut held = Vec::new();
    let reading = async {
        while !held.ends_with(end) {
            let mut byte = [0];
            match stream.read(&mut byte).await {
                Ok(0) | Err(_) => break,
                Ok(_) => held.push(byte[0]),
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, reading).await;
    let text = String::from_utf8_lossy(&held).into_owned();
    assert!(done.is_ok(), "only {text:?}");
    text
}

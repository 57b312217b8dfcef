//! TCP ports, undeclared ports, and TLS of the client's own.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::http::{hello, until};
use super::server::Raw;
use crate::lab::{Lab, Nobody, PATIENCE, service};

const DATABASE: &str = "127.0.9.5:80";
const ANY: &str = "127.0.9.6:80";

fn deny(name: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: deny, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, group: '', name: {name}}}]\n  action: DENY\n  rules: {rules}\n"
    )
}

/// Speaks first, then echoes, and says goodbye once the caller has said all.
async fn chatty() -> Raw {
    Raw::start(|mut accepted| async move {
        accepted.io.write_all(b"welcome").await.unwrap();
        while let Some(bytes) = accepted.read().await {
            accepted.io.write_all(&bytes).await.unwrap();
        }
        accepted.io.write_all(b"goodbye").await.unwrap();
    })
    .await
}

async fn converse(lab: &Lab, who: &str, authority: &str) {
    let mut stream = lab.tunnel(who, authority).await.unwrap();
    assert_eq!(until(&mut stream, b"welcome").await, "welcome");
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(until(&mut stream, b"1.1\r\n").await, "GET / HTTP/1.1\r\n");
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, "goodbye", "after the caller's half is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_port_carries_bytes_both_ways_with_half_close() {
    let upstream = chatty().await;
    let lab = Lab::start(&service("database", "127.0.9.5", upstream.addr, "tcp")).await;
    converse(&lab, "agents/reader", DATABASE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_first_is_heard_on_an_undeclared_port() {
    let upstream = chatty().await;
    let lab = Lab::start(&service("any", "127.0.9.6", upstream.addr, "")).await;
    converse(&lab, "agents/reader", ANY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_tcp_are_statuses_of_the_connect() {
    let upstream = chatty().await;
    let gone = Nobody::at("127.0.0.1");
    let empty = "\napiVersion: v1\nkind: Service\nmetadata: {name: empty, namespace: tools}\nspec: {clusterIP: 127.0.9.8, ports: [{name: main, port: 80, appProtocol: tcp}]}\n";
    let documents = [
        service("database", "127.0.9.5", upstream.addr, "tcp"),
        service("gone", "127.0.9.7", gone.addr, "tcp"),
        empty.to_owned(),
    ]
    .join("---\n")
        + &deny("database", "[{from: [{source: {namespaces: [evil]}}]}]");
    let lab = Lab::start(&documents).await;
    for (who, authority, status) in [
        ("evil/reader", DATABASE, 403),
        ("agents/reader", "127.0.9.7:80", 503),
        ("agents/reader", "127.0.9.8:80", 503),
        ("agents/reader", "127.0.9.99:80", 404),
        ("agents/reader", "127.0.9.5:81", 404),
        ("agents/reader", "nothing.tools.svc.cluster.local:80", 404),
        ("agents/reader", "127.0.0.1:80", 404),
        ("agents/reader", "[::1]:80", 404),
        ("agents/reader", "database.tools.svc.cluster.local", 400),
        ("agents/reader", "database.tools.svc.cluster.local:0", 400),
        ("agents/reader", "user@127.0.9.5:80", 400),
    ] {
        let fault = lab.tunnel(who, authority).await.expect_err(authority).to_string();
        assert!(fault.contains(&status.to_string()), "{who} {authority}: {fault}");
    }
    assert_eq!(upstream.connections(), 0);
    converse(&lab, "agents/reader", "database.tools.svc.cluster.local:80").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undeclared_port_is_no_way_round_http_rules() {
    let upstream = Raw::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"]).await;
    let documents =
        service("any", "127.0.9.6", upstream.addr, "") + &deny("any", "[{to: [{operation: {paths: ['/admin']}}]}]");
    let lab = Lab::start(&documents).await;
    // What is no HTTP to us may be HTTP to a lenient server: late, in small letters, or after an empty line.
    for (first, second) in [
        ("GET /admin HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("get /admin HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GE", "T /admin HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("", "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let mut stream = lab.tunnel("agents/reader", ANY).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        if !second.is_empty() {
            tokio::time::sleep(Duration::from_millis(1_300)).await;
            // Refused already, or not: only what arrives counts.
            let _refused = stream.write_all(second.as_bytes()).await;
        }
        let _refused = stream.shutdown().await;
        let mut all = Vec::new();
        let _reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.unwrap();
    }
    assert_eq!(upstream.connections(), 0, "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_of_the_clients_own_passes_where_bytes_do_and_not_on_http() {
    let (bytes, web) = (chatty().await, hello().await);
    let documents =
        [service("any", "127.0.9.6", bytes.addr, ""), service("web", "127.0.9.2", web.addr, "http")].join("---\n");
    let lab = Lab::start(&documents).await;
    let hello = b"\x16\x03\x01\x00\x05hello";
    let mut stream = lab.tunnel("agents/reader", ANY).await.unwrap();
    stream.write_all(hello).await.unwrap();
    assert_eq!(until(&mut stream, b"welcome").await, "welcome");
    let mut echo = [0; 10];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, hello);
    let mut stream = lab.tunnel("agents/reader", super::http::WEB).await.unwrap();
    stream.write_all(hello).await.unwrap();
    let mut all = Vec::new();
    let _reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("ended");
    assert_eq!((all.len(), web.bytes()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_stream_ends_when_it_is_no_longer_permitted() {
    let upstream = chatty().await;
    let documents = service("database", "127.0.9.5", upstream.addr, "tcp");
    let lab = Lab::start(&documents).await;
    let mut stream = lab.tunnel("agents/reader", DATABASE).await.unwrap();
    assert_eq!(until(&mut stream, b"welcome").await, "welcome");
    lab.edit(&(documents + &deny("database", "[{from: [{source: {namespaces: [agents]}}]}]"))).await;
    let mut rest = Vec::new();
    let _reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("ended");
    assert!(rest.is_empty());
    assert!(lab.tunnel("agents/reader", DATABASE).await.unwrap_err().to_string().contains("403"));
}

/// Bytes that nobody looks into are none of a port of requests, whoever may send those.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_end_when_their_port_comes_to_be_one_of_requests() {
    let upstream = chatty().await;
    for before in ["", "tcp"] {
        let lab = Lab::start(&service("any", "127.0.9.6", upstream.addr, before)).await;
        let mut stream = lab.tunnel("agents/reader", ANY).await.unwrap();
        assert_eq!(until(&mut stream, b"welcome").await, "welcome");
        std::fs::write(lab.documents(), service("any", "127.0.9.6", upstream.addr, "http")).unwrap();
        let mut rest = Vec::new();
        let _reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("ended");
        assert!(rest.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_said_all_and_then_left_frees_its_tunnel() {
    let upstream = Raw::start(|accepted| async move {
        std::future::pending::<()>().await;
        drop(accepted);
    })
    .await;
    let lab = Lab::start(&service("database", "127.0.9.5", upstream.addr, "tcp")).await;
    let mut stream = lab.tunnel("agents/reader", DATABASE).await.unwrap();
    stream.write_all(b"query").await.unwrap();
    stream.shutdown().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(lab.log.lines().is_empty(), "only half has been closed: {:?}", lab.log.lines());
    drop(stream);
    lab.log.line(|_| true).await;
}

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::super::*;
use crate::config::limits::{ADMIN_CONNECTIONS, ADMIN_TIMEOUT};
use crate::document::{Place, Problem, Severity};
use crate::mesh::Published;
use crate::telemetry::Telemetry;
use crate::upstream::{Seen, Why};

struct Running {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(hosts: Hosts, pages: impl Fn(&str) -> Page + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, hosts, pages, stop.clone()));
        Self { address, stop, task }
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await
    }
}

fn sources() -> Sources {
    let certificate = Certificate {
        name: "own".to_owned(),
        identity: "spiffe://cluster.local/ns/w/sa/w".to_owned(),
        not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400),
    };
    let problem = Problem {
        severity: Severity::Error,
        place: Place { file: Arc::new("a.yaml".into()), line: 3 },
        document: "AgentPolicy tools/repo".to_owned(),
        field: "spec.allow[0].when".to_owned(),
        reason: "unknown name".to_owned(),
    };
    Sources {
        published: Arc::new(Published::new()),
        certificates: Arc::new(move || vec![certificate.clone()]),
        problems: Arc::new(move || vec![problem.clone()]),
        endpoints: Arc::new(|| {
            vec![Seen { id: "10.0.0.1:80".into(), calls: 2, out: Some((Why::Failing, Duration::from_secs(7))) }]
        }),
    }
}

#[tokio::test]
async fn readiness_is_a_status_and_its_reasons() {
    let readiness = Readiness::new();
    let server = Running::start(Hosts::Any, ready(readiness.clone())).await;
    let answer = server.get("/healthz/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("identity: not yet\n"), "{answer}");
    assert!(server.get("/healthz/live").await.starts_with("HTTP/1.1 200 "));
    for condition in [Condition::Identity, Condition::Mesh, Condition::Documents, Condition::Owners, Condition::Serving]
    {
        readiness.met(condition);
    }
    assert!(server.get("/healthz/ready").await.starts_with("HTTP/1.1 200 "));
    assert!(server.get("/").await.starts_with("HTTP/1.1 404 "));
    let head = server.ask("HEAD /healthz/ready HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn metrics_are_refreshed_before_they_are_read() {
    let telemetry = Telemetry::quiet();
    let refreshed = telemetry.clone();
    let server = Running::start(Hosts::Any, stats(telemetry, move || refreshed.metrics().sessions(7))).await;
    for path in ["/stats/prometheus", "/metrics"] {
        let answer = server.get(path).await;
        assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
        assert!(answer.contains("agent_waypoint_sessions 7\n"), "{path}");
    }
}

#[tokio::test]
async fn dumps_show_what_is_in_force_and_what_is_wrong() {
    let server = Running::start(Hosts::Addresses, admin(sources(), vec![Arc::new(ready(Readiness::new()))])).await;
    let dump = server.get("/config_dump").await;
    let json: serde_json::Value = serde_json::from_str(dump.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(json["certificates"][0]["notAfter"], "1970-01-02T00:00:00Z");
    assert_eq!(json["hasDocuments"], false);
    assert!(json["targets"].is_array());
    assert!(
        server
            .get("/problems")
            .await
            .ends_with("a.yaml:3: error: AgentPolicy tools/repo: spec.allow[0].when: unknown name\n")
    );
    assert!(server.get("/healthz/ready").await.starts_with("HTTP/1.1 503 "));
    assert!(server.get("/nowhere").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_page_of_another_name_cannot_read_the_dump() {
    let server = Running::start(Hosts::Addresses, admin(sources(), vec![])).await;
    for (host, status) in [
        ("rebound.example", "403"),
        ("localhost.example:15000", "403"),
        ("127.0.0.1.example", "403"),
        ("localhost:15000", "200"),
        ("127.0.0.1:15000", "200"),
        ("[::1]:15000", "200"),
    ] {
        let answer = server.ask(&format!("GET /config_dump HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}

#[tokio::test]
async fn nothing_but_reading() {
    let server = Running::start(Hosts::Any, admin(sources(), vec![])).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = server.ask(&format!("{method} / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
    }
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let server = Running::start(Hosts::Any, admin(sources(), vec![])).await;
    let answer = server.ask(&format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(9_000))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_ended_and_gives_its_place_back() {
    let server = Running::start(Hosts::Any, admin(sources(), vec![])).await;
    let mut silent = Vec::new();
    for _ in 0..ADMIN_CONNECTIONS {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let before = tokio::time::Instant::now();
    let answer = server.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(before.elapsed() >= ADMIN_TIMEOUT, "it waited for a place");
    server.stop.cancel();
    server.task.await.unwrap();
}

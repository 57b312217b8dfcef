//! `agent-waypoint run` as a process: how it starts, what it says when it cannot, and how it ends.

#![cfg(test)]

use std::io::{BufRead, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent_waypoint::app;
use agent_waypoint::control::identity::{DEV_TTL, DevCa};
use agent_waypoint::hbone;
use agent_waypoint::id::{TrustDomain, WorkloadId};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test fails: long, as tests share a machine that may be slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Less than what a drain takes that waits for its deadline, which is 50 s.
const DRAINED: Duration = Duration::from_secs(40);
const SPIFFE: &str = "spiffe://cluster.local/ns/agent-waypoint/sa/waypoint";

fn program(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-waypoint"));
    command.env_clear().env("XDG_STATE_HOME", state).env("HOME", state);
    command
}

/// Runs to its end; one that starts after all is ended.
async fn run(state: &Path, args: &[&str]) -> Output {
    let mut command = program(state);
    command.arg("run").args(args).args(["--stats-addr", "127.0.0.1:0", "--ready-addr", "127.0.0.1:0"]);
    command.args(["--admin-addr", "127.0.0.1:0"]);
    let mut command = tokio::process::Command::from(command);
    let output = command.kill_on_drop(true).output();
    tokio::time::timeout(PATIENCE, output).await.unwrap_or_else(|_| panic!("{args:?}: still running")).unwrap()
}

struct Pki {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(dir.path().join("root.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes `NAME.pem` and `NAME.key`, which end `left` seconds from now.
    fn issue(&self, name: &str, uri: Option<&str>, left: i64) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = match uri {
            Some(uri) => vec![SanType::URI(uri.try_into().unwrap())],
            None => vec![SanType::DnsName("waypoint.example".try_into().unwrap())],
        };
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now - time::Duration::hours(1);
        params.not_after = now + time::Duration::seconds(left);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn what_the_command_line_names_wrongly_ends_the_start_with_one_line_and_code_1() {
    let state = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    pki.issue("good", Some(SPIFFE), 3_600);
    pki.issue("other", Some(SPIFFE), 3_600);
    pki.issue("dns", None, 3_600);
    pki.issue("ended", Some(SPIFFE), -60);
    std::fs::write(pki.path("all.yaml"), "").unwrap();
    std::fs::create_dir(pki.path("empty")).unwrap();
    let free = "127.0.0.1:0";
    let (yaml, empty, missing) = (pki.path("all.yaml"), pki.path("empty"), pki.path("missing"));
    let (root, good, dns, ended) = (pki.path("root.pem"), pki.path("good"), pki.path("dns"), pki.path("ended"));
    let files = |certificate: &str, key: &str, roots: &str| {
        ["-f", &yaml, "--hbone-addr", free, "--identity-cert", certificate, "--identity-key", key, "--trust-bundle"]
            .map(str::to_owned)
            .into_iter()
            .chain([roots.to_owned()])
            .collect::<Vec<_>>()
    };
    let dev = |more: &[&str]| ["--dev"].iter().chain(more).map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = holder.local_addr().unwrap().to_string();
    let rows: Vec<(Vec<String>, &str)> = vec![
        (dev(&["-f", &yaml, "--hbone-addr", &held]), "in use"),
        (dev(&["-f", &yaml, "--hbone-addr", free, "--no-such-flag"]), "--no-such-flag"),
        (dev(&["-f", &yaml, "--hbone-addr", "nowhere"]), "nowhere"),
        (dev(&["-f", &yaml, "--hbone-addr", "0.0.0.0:0"]), "loopback"),
        (dev(&["-f", &missing, "--hbone-addr", free]), "missing"),
        (dev(&["-f", &empty, "--hbone-addr", free]), "holds no"),
        (dev(&["--hbone-addr", free]), "--file"),
        (vec!["-f".to_owned(), yaml.clone()], "--dev"),
        (files(&format!("{good}.pem"), &pki.path("other.key"), &root), "key"),
        (files(&format!("{dns}.pem"), &format!("{dns}.key"), &root), "SPIFFE"),
        (files(&format!("{ended}.pem"), &format!("{ended}.key"), &root), "expired"),
        (files(&missing, &format!("{good}.key"), &root), "missing"),
        (files(&format!("{good}.pem"), &format!("{good}.key"), &missing), "missing"),
        (files(&format!("{good}.pem"), &format!("{good}.key"), &yaml), "all.yaml"),
        (dev(&["-f", &yaml, "--hbone-addr", free, "--sealing-key-file", &missing]), "sealing keys"),
        (dev(&["-f", &yaml, "--hbone-addr", free, "--sealing-key-file", &yaml]), "all.yaml:1: not 32 bytes"),
    ];
    for (args, word) in rows {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = run(state.path(), &args).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("error: ") && told.contains(word), "{args:?}: {told}");
    }
}

/// A running process, told apart by what its log says.
struct Waypoint {
    child: Child,
    state: tempfile::TempDir,
    hbone: SocketAddr,
    ready: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Waypoint {
    fn start(documents: &str, args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), documents, args)
    }

    /// Ends it as a crash would, and starts it anew with the state that it had.
    fn crash_and_start(mut self, documents: &str, args: &[&str]) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let state = std::mem::replace(&mut self.state, tempfile::tempdir().unwrap());
        Self::start_in(state, documents, args)
    }

    fn start_in(state: tempfile::TempDir, documents: &str, args: &[&str]) -> Self {
        let file = state.path().join("all.yaml");
        std::fs::write(&file, documents).unwrap();
        let mut command = program(state.path());
        command.arg("run").arg("-f").arg(file).args(args);
        for flag in ["--hbone-addr", "--stats-addr", "--ready-addr", "--admin-addr"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<String>>::default();
        let serving = loop {
            let line = lines.next().expect("serving").unwrap();
            log.lock().unwrap().push_str(&line);
            if line.contains("serving") {
                break line;
            }
        };
        let at = |name: &str| {
            let from = serving.split(&format!("{name}=")).nth(1).unwrap_or_else(|| panic!("{serving}"));
            from.split(' ').next().unwrap().parse().unwrap()
        };
        let (hbone, ready, kept) = (at("hbone"), at("ready"), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push_str(&line);
            }
        });
        Self { child, state, hbone, ready, log }
    }

    fn pool(&self) -> hbone::Pool {
        let trust_domain = TrustDomain::parse("cluster.local").unwrap();
        let ca = DevCa::open(&self.state.path().join("agent-waypoint/dev"), &trust_domain).unwrap();
        let id = WorkloadId::of_istio(&trust_domain, "agents", "reader").unwrap();
        hbone::Pool::new(ca.identity(&id, DEV_TTL).unwrap())
    }

    async fn tunnel(&self, pool: &hbone::Pool, authority: &str) -> Result<hbone::Stream, hbone::DialFault> {
        let trust_domain = TrustDomain::parse("cluster.local").unwrap();
        let waypoint: Arc<[WorkloadId]> = vec![app::dev_identity(&trust_domain).unwrap()].into();
        pool.connect(self.hbone, &waypoint, authority).await
    }

    fn terminate(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
    }

    fn readiness(&self) -> String {
        use std::io::Write as _;
        let Ok(mut stream) = TcpStream::connect(self.ready) else { return "refused".to_owned() };
        stream.write_all(b"GET /healthz/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _cut = stream.read_to_string(&mut answer);
        answer
    }

    /// Waits until its readiness begins so.
    async fn becomes(&self, answer: &str) {
        eventually(answer, || self.readiness().starts_with(answer)).await;
    }

    async fn ended(&mut self, within: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < within, "still running: {}", self.log.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Waits until something is so, as it must be before long.
async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Drop for Waypoint {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

struct Upstream {
    addr: SocketAddr,
    /// `/slow` was asked for.
    asked: CancellationToken,
    /// It may be answered.
    answer: CancellationToken,
}

/// Answers `/slow` when a test says so, and anything else by events without end.
async fn upstream() -> Upstream {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (asked, answer) = (CancellationToken::new(), CancellationToken::new());
    let upstream = Upstream { addr, asked: asked.clone(), answer: answer.clone() };
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            let (asked, answer) = (asked.clone(), answer.clone());
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let Ok(read) = io.read(&mut head).await else { return };
                if head[..read].starts_with(b"GET /slow") {
                    asked.cancel();
                    answer.cancelled().await;
                    let _gone = io.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
                    return;
                }
                let _gone = io.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
                while io.write_all(b"data: x\n\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
    });
    upstream
}

fn service(addr: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: tools}}\nspec: {{clusterIP: 127.0.9.2, ports: [{{name: main, port: 80, targetPort: {0}, appProtocol: http}}]}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, namespace: tools, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\nendpoints: [{{addresses: ['{1}'], conditions: {{ready: true}}}}]\nports: [{{name: main, port: {0}}}]\n",
        addr.port(),
        addr.ip()
    )
}

const WEB: &str = "127.0.9.2:80";

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_what_is_in_flight_finish_and_nothing_new_begin() {
    let upstream = upstream().await;
    let mut waypoint = Waypoint::start(&service(upstream.addr), &["--dev"]);
    assert!(waypoint.readiness().starts_with("HTTP/1.1 200"), "{}", waypoint.readiness());
    let pool = waypoint.pool();
    let mut slow = waypoint.tunnel(&pool, WEB).await.unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: w\r\n\r\n").await.unwrap();
    let silent = waypoint.tunnel(&pool, WEB).await.unwrap();
    upstream.asked.cancelled().await;
    waypoint.terminate();
    waypoint.becomes("HTTP/1.1 503").await;
    eventually("it takes no connections", || TcpStream::connect(waypoint.hbone).is_err()).await;
    upstream.answer.cancel();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, slow.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    // The tunnel in which nothing was ever said does not hold the end up to the deadline of 50 s.
    assert_eq!(waypoint.ended(DRAINED).await.code(), Some(0));
    drop(silent);
}

/// An MCP server with a session `s-1` that knows no other.
async fn mcp_server() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = String::new();
                // All of it: head and body may come apart.
                let message: serde_json::Value = loop {
                    let mut chunk = [0; 8192];
                    let Ok(read @ 1..) = io.read(&mut chunk).await else { return };
                    request.push_str(&String::from_utf8_lossy(&chunk[..read]));
                    let body = request.split("\r\n\r\n").nth(1).unwrap_or_default();
                    if let Ok(message) = serde_json::from_str(body) {
                        break message;
                    }
                };
                let first = message["method"] == "initialize";
                let status = if first || request.to_ascii_lowercase().contains("mcp-session-id: s-1\r\n") {
                    "200 OK"
                } else {
                    "404 Not Found"
                };
                let result = serde_json::json!({"protocolVersion":"2025-06-18","capabilities":{},"content":[]});
                let body = serde_json::json!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string();
                let session = if first { "Mcp-Session-Id: s-1\r\n" } else { "" };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{session}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _gone = io.write_all(answer.as_bytes()).await;
            });
        }
    });
    addr
}

impl Waypoint {
    /// POSTs `body` with `headers` in a tunnel of its own: the whole answer.
    async fn post(&self, headers: &str, body: &str) -> String {
        let pool = self.pool();
        let mut tunnel = self.tunnel(&pool, WEB).await.unwrap();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        tunnel.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, tunnel.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_outlive_a_crash_where_the_key_is_in_a_file() {
    let policy = "---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: web, namespace: tools}\nspec: {targetRefs: [{kind: Service, name: web}], protocol: MCP, allow: [{name: all}]}\n";
    let documents = format!("{}{policy}", service(mcp_server().await).replace(", appProtocol: http", ""));
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("keys");
    std::fs::write(&file, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
    let with_file = ["--dev", "--sealing-key-file", file.to_str().unwrap()];
    for (args, lives) in [(&with_file[..], true), (&["--dev"][..], false)] {
        let mut waypoint = Waypoint::start(&documents, args);
        let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;
        let begun = waypoint.post("", hello).await;
        let id =
            begun.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap_or_else(|| panic!("{begun}"));
        let session = format!("Mcp-Session-Id: {id}\r\n");
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#;
        assert!(waypoint.post(&session, call).await.starts_with("HTTP/1.1 200"));
        waypoint = waypoint.crash_and_start(&documents, args);
        let answer = waypoint.post(&session, call).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), lives, "{args:?}: {answer}");
        assert!(lives || answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert_eq!(waypoint.log.lock().unwrap().contains("--sealing-key-file"), !lives);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_taken_while_it_lingers() {
    let upstream = upstream().await;
    upstream.answer.cancel();
    let mut waypoint = Waypoint::start(&service(upstream.addr), &["--dev", "--linger-seconds", "8"]);
    waypoint.terminate();
    waypoint.becomes("HTTP/1.1 503").await;
    let pool = waypoint.pool();
    let mut late = waypoint.tunnel(&pool, WEB).await.unwrap();
    late.write_all(b"GET /slow HTTP/1.1\r\nHost: w\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, late.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    assert_eq!(waypoint.ended(DRAINED).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_end_are_ended_at_the_deadline() {
    let mut waypoint = Waypoint::start(&service(upstream().await.addr), &["--dev", "--drain-seconds", "2"]);
    let pool = waypoint.pool();
    let mut events = waypoint.tunnel(&pool, WEB).await.unwrap();
    events.write_all(b"GET /events HTTP/1.1\r\nHost: w\r\n\r\n").await.unwrap();
    let mut first = [0; 64];
    assert!(events.read(&mut first).await.unwrap() > 0);
    let begun = Instant::now();
    waypoint.terminate();
    let mut rest = Vec::new();
    let _cut = tokio::time::timeout(PATIENCE, events.read_to_end(&mut rest)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1_800), "{:?}", begun.elapsed());
    assert_eq!(waypoint.ended(DRAINED).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_certificate_that_ends_stops_serving_and_readiness() {
    let pki = Pki::new();
    pki.issue("short", Some(SPIFFE), 12);
    let (certificate, key, root) = (pki.path("short.pem"), pki.path("short.key"), pki.path("root.pem"));
    let args = ["--identity-cert", &certificate, "--identity-key", &key, "--trust-bundle", &root];
    let waypoint = Waypoint::start("", &args);
    assert!(waypoint.readiness().starts_with("HTTP/1.1 200"), "{}", waypoint.readiness());
    waypoint.becomes("HTTP/1.1 503").await;
    // No handshake is answered any more: the connection ends without a byte.
    let mut stream = tokio::net::TcpStream::connect(waypoint.hbone).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x00\x05hello").await.unwrap();
    let mut told = Vec::new();
    let _reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut told)).await.unwrap();
    assert!(told.is_empty(), "{told:?}");
    pki.issue("short", Some(SPIFFE), 3_600);
    waypoint.becomes("HTTP/1.1 200").await;
}

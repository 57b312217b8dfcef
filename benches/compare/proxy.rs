//! The two proxies, each a process of its own with all that a waypoint does: mTLS and CONNECT in, a decision by tool and
//! by the caller's SPIFFE identity, a JSON access log, HBONE out.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_waypoint::app::dev_identity;
use agent_waypoint::id::WorkloadId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::origin::{Origin, domain};
use super::{A2A, GRPC, HTTP, MCP, TCP};

/// Clock ticks per second in `/proc` (`getconf CLK_TCK`; 100 on every Linux of today).
const TICKS: f64 = 100.0;

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    child: Child,
    pub(crate) hbone: SocketAddr,
    /// From the start of the process until it is ready.
    pub(crate) ready: Duration,
}

impl Proxy {
    /// `agent-waypoint run --dev`, with documents for as many more `services` that nobody calls.
    pub(crate) async fn ours(binary: &Path, origin: &Origin, services: usize) -> Self {
        Self::ours_with(binary, origin, services, 0).await
    }

    /// The same beside as many `policies` on other services.
    pub(crate) async fn ours_with(binary: &Path, origin: &Origin, services: usize, policies: usize) -> Self {
        let directory = origin.dir.path().join("documents");
        // There is none the first time.
        let _none = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("documents.yaml"), documents(origin.hbone, services)).unwrap();
        for (number, part) in others(policies).into_iter().enumerate() {
            fs::write(directory.join(format!("policies-{number}.yaml")), part).unwrap();
        }
        let ports = free_ports();
        let mut command = Command::new(binary);
        command.args(["run", "--dev", "-f"]).arg(&directory);
        for (flag, addr) in ["--hbone-addr", "--stats-addr", "--ready-addr", "--admin-addr"].iter().zip(ports) {
            command.arg(flag).arg(addr.to_string());
        }
        command.env("XDG_STATE_HOME", origin.dir.path().join("state")).env("RUST_LOG", "warn");
        Self::start("agent-waypoint", command, ports[0], Some(ports[2]), origin).await
    }

    /// Envoy configured as the same waypoint.
    pub(crate) async fn envoy(binary: &Path, origin: &Origin, services: usize) -> Self {
        let [hbone, ..] = free_ports();
        let [chain, key, root] = origin.pem("agent-waypoint", "waypoint");
        let file = origin.dir.path().join("envoy.yaml");
        fs::write(&file, super::envoy::config(hbone, origin.hbone, services, [&chain, &key, &root])).unwrap();
        let mut command = Command::new(binary);
        command.arg("-c").arg(&file).args(["--use-dynamic-base-id", "-l", "warning", "--concurrency", "2"]);
        Self::start(super::ENVOY, command, hbone, None, origin).await
    }

    /// Ready is who takes connections and, where it has a page for that, says so.
    async fn start(
        name: &'static str,
        mut command: Command,
        hbone: SocketAddr,
        page: Option<SocketAddr>,
        origin: &Origin,
    ) -> Self {
        let began = Instant::now();
        // Both write their access log to a file, so that neither waits for a reader.
        let log = File::create(log(origin, name)).unwrap();
        let child = command.stdout(log).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let started = async {
            while TcpStream::connect(hbone).await.is_err() || !is_ready(page).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(180), started).await.unwrap();
        let ready = began.elapsed();
        // So that both have settled before they are measured.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Self { name, child, hbone, ready }
    }

    /// Whom callers expect there.
    pub(crate) fn expect(&self) -> Arc<[WorkloadId]> {
        vec![dev_identity(&domain()).unwrap()].into()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id().unwrap())).unwrap()
    }

    /// Processor seconds used so far, in user and kernel mode.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        // Fields after the name, which stands in brackets: utime and stime are the 14th and 15th of all.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let ticks: f64 = rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
        ticks / TICKS
    }

    /// Resident memory, MiB.
    pub(crate) fn resident(&self) -> f64 {
        self.memory("VmRSS:")
    }

    /// Of that what is no page of a file, such as the binary's own text, MiB.
    pub(crate) fn own(&self) -> f64 {
        self.memory("RssAnon:")
    }

    fn memory(&self, what: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0
    }

    /// As a kubelet does: asked first, so that what it writes at its end is written.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        let _asked = Command::new("kill").arg(pid).status().await;
        if tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await.is_err() {
            self.child.kill().await.unwrap();
        }
    }
}

async fn is_ready(page: Option<SocketAddr>) -> bool {
    let Some(page) = page else { return true };
    let Ok(mut tcp) = TcpStream::connect(page).await else { return false };
    let mut answer = Vec::new();
    let asked = b"GET /healthz/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    tcp.write_all(asked).await.is_ok()
        && tcp.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

/// Ten rules, four of them with CEL: of the size that a team's policy for one server has.
const POLICY: &str = r#"
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: tools, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: mcp}]
  protocol: MCP
  deny:
  - {name: no-delete, to: [{tools: ["delete_*", "drop_*"]}]}
  - {name: not-from-outside, from: [{notNamespaces: ["agents", "tools"]}]}
  - {name: no-root, when: has(mcp.tool.arguments.path) && mcp.tool.arguments.path.startsWith("/etc/")}
  require:
  - name: own-org-only
    to: [{tools: ["create_*", "update_*"]}]
    that: has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == "acme"
  - name: small-batches
    to: [{tools: ["create_*"]}]
    that: "!has(mcp.tool.arguments.items) || size(mcp.tool.arguments.items) <= 1000"
  allow:
  - {name: readers, from: [{serviceAccounts: ["agents/reader"]}], to: [{tools: ["get_*", "list_*", "search_*"]}]}
  - {name: auditors, from: [{serviceAccounts: ["agents/auditor"]}], to: [{tools: ["audit_*"]}]}
  - {name: tickets, from: [{serviceAccounts: ["agents/triage"]}], to: [{tools: ["close_issue", "comment_issue"]}]}
  - {name: alice, to: [{tools: ["export_all"]}], when: jwt.sub == "alice"}
  - {name: writers, from: [{serviceAccounts: ["agents/writer"]}], to: [{tools: ["get_*", "create_*", "update_*"]}]}
"#;

/// Whoever may send, and a rule that looks into the message.
const AGENT: &str = r#"
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: agent, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: a2a}]
  protocol: A2A
  deny:
  - to: [{operations: ["Send*"]}]
    when: a2a.message.parts.exists(p, p.kind == "url" && p.url.startsWith("http://"))
  allow:
  - {from: [{serviceAccounts: ["agents/writer"]}], to: [{operations: [SendMessage, GetTask]}]}
"#;

/// By this the benchmark's call is refused.
pub(crate) const FORBIDS: &str = r#"
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: frozen, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: mcp}]
  protocol: MCP
  deny: [{name: frozen, to: [{tools: ["create_*"]}]}]
"#;

/// So many policies of other services, a hundred for each; a thousand in a file.
fn others(policies: usize) -> Vec<String> {
    let one = |n: usize| {
        format!(
            "---\n{{apiVersion: agent-waypoint.dev/v1alpha1, kind: AgentPolicy, metadata: {{name: p{n}, namespace: other}}, spec: {{targetRefs: [{{kind: Service, name: s{}}}], protocol: MCP, allow: [{{from: [{{serviceAccounts: [\"agents/a{n}\"]}}], to: [{{tools: [\"get_{n}\", \"list_*\"]}}]}}]}}}}\n",
            n / 100
        )
    };
    let all: Vec<_> = (0..policies).map(one).collect();
    all.chunks(1_000).map(<[String]>::concat).collect()
}

/// Where `name` writes its access log: not beside the documents, where each line would be looked at as a change.
fn log(origin: &Origin, name: &str) -> std::path::PathBuf {
    let directory = origin.dir.path().join("logs");
    fs::create_dir_all(&directory).unwrap();
    directory.join(format!("{name}.log"))
}

/// The address of a service that nobody calls.
pub(crate) fn nobody(n: usize) -> String {
    format!("127.{}.{}.{}", 100 + n / 65_536, n / 256 % 256, n % 256)
}

fn documents(origin: SocketAddr, services: usize) -> String {
    let mut text = [POLICY, AGENT].concat();
    for (name, vip) in [("mcp", MCP), ("http", HTTP), ("tcp", TCP), ("a2a", A2A), ("grpc", GRPC)] {
        let app = match name {
            "mcp" => String::new(),
            "a2a" => ", appProtocol: agent-waypoint.dev/a2a".to_owned(),
            _ => format!(", appProtocol: {name}"),
        };
        let ip = vip.trim_end_matches(":80");
        let (host, port) = (origin.ip(), origin.port());
        text.push_str(&format!(
            r#"
---
{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: tools}},
  spec: {{clusterIP: {ip}, selector: {{app: {name}}}, ports: [{{name: main, port: 80, targetPort: {port}{app}}}]}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: tools}}
spec:
  address: {host}
  serviceAccount: server
  labels: {{app: {name}, networking.istio.io/tunnel: http, agent-waypoint.dev/hbone-port: "{port}"}}
"#
        ));
    }
    for n in 0..services {
        let ip = nobody(n);
        text.push_str(&format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: s{n}, namespace: other}}, spec: {{clusterIP: {ip}, selector: {{app: s{n}}}, ports: [{{name: main, port: 80, appProtocol: http}}]}}}}\n"
        ));
    }
    text
}

fn free_ports() -> [SocketAddr; 4] {
    // Held together, so that they differ.
    let held: [TcpListener; 4] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

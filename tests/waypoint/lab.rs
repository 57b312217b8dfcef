//! A waypoint on loopback with documents of a test's own, callers with identities, and an upstream that remembers every
//! byte it saw.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent_waypoint::app::{self, AccessLogTo, IdentitySource, Running, Settings};
use agent_waypoint::control::identity::{DEV_TTL, DevCa};
use agent_waypoint::hbone;
use agent_waypoint::id::{TrustDomain, WorkloadId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How long anything may take before a test fails: long, as tests share a machine that may be slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ca: DevCa,
    pub(crate) waypoint: Running,
    pub(crate) log: Log,
    /// How often the documents were edited.
    edits: AtomicUsize,
    /// A tunnel lives as long as the pool that made it.
    pools: Mutex<std::collections::HashMap<String, Arc<hbone::Pool>>>,
}

/// The access log.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn lines(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The first line that is as wanted: a call's is written after its caller has the answer.
    pub(crate) async fn line(&self, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let mut found = None;
        eventually("the line of the log", async || {
            found = self.lines().into_iter().find(&wanted);
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

impl Lab {
    /// Starts with these documents.
    pub(crate) async fn start(documents: &str) -> Self {
        Self::start_with(documents, |_settings| {}).await
    }

    /// Starts with these documents and settings edited.
    pub(crate) async fn start_with(documents: &str, edit: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("documents")).unwrap();
        std::fs::write(dir.path().join("documents/all.yaml"), documents).unwrap();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let log = Log::default();
        let mut settings = Settings {
            files: vec![dir.path().join("documents")],
            state_dir: None,
            replicas: Vec::new(),
            mesh: None,
            dropped_in: false,
            identity: IdentitySource::Dev { dir: dir.path().join("ca") },
            trust_domain: TrustDomain::parse("cluster.local").unwrap(),
            hbone_addr: free,
            stats_addr: free,
            ready_addr: free,
            admin_addr: free,
            drain: Duration::from_secs(2),
            mcp_answer: agent_waypoint::config::limits::MCP_ANSWER,
            access_log: AccessLogTo::Writer(Box::new(log.clone())),
            otlp_endpoint: None,
            sealing_key_file: None,
            tells_caller: false,
            feed: None,
            jwks_hosts: Vec::new(),
            jwks_roots: None,
        };
        edit(&mut settings);
        // Replicas of one waypoint share theirs.
        let IdentitySource::Dev { dir: ca } = &settings.identity else { panic!("{settings:?}") };
        let ca = DevCa::open(ca, &settings.trust_domain).unwrap();
        let waypoint = Box::pin(app::start(settings)).await.unwrap();
        Self { dir, ca, waypoint, log, edits: AtomicUsize::new(0), pools: Mutex::default() }
    }

    /// The file that holds the documents.
    pub(crate) fn documents(&self) -> PathBuf {
        self.dir.path().join("documents/all.yaml")
    }

    /// Replaces the documents, all at once, and waits until they are in force: a Service beside them says that.
    pub(crate) async fn edit(&self, documents: &str) {
        let edition = format!("edition-{}", self.edits.fetch_add(1, Ordering::SeqCst));
        let marked = format!(
            "{documents}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: {edition}, namespace: editions}}\nspec: {{clusterIP: 127.0.99.99, ports: [{{name: main, port: 80, appProtocol: tcp}}]}}\n"
        );
        let next = self.dir.path().join("next.yaml");
        std::fs::write(&next, marked).unwrap();
        std::fs::rename(next, self.documents()).unwrap();
        let shown = format!("\"{edition}\"");
        eventually("the edit is in force", async || {
            page(self.waypoint.admin_addr(), "/config_dump").await.body.contains(&shown)
        })
        .await;
    }

    /// A tunnel to `authority` as `namespace/account`.
    pub(crate) async fn tunnel(&self, who: &str, authority: &str) -> Result<hbone::Stream, hbone::DialFault> {
        let (namespace, account) = who.split_once('/').unwrap();
        let trust_domain = self.ca.trust_domain().clone();
        let id = WorkloadId::of_istio(&trust_domain, namespace, account).unwrap();
        let fresh = || Arc::new(hbone::Pool::new(self.ca.identity(&id, DEV_TTL).unwrap()));
        let pool = Arc::clone(self.pools.lock().unwrap().entry(who.to_owned()).or_insert_with(fresh));
        let waypoint: Arc<[WorkloadId]> = vec![app::dev_identity(&trust_domain).unwrap()].into();
        pool.connect(self.waypoint.hbone_addr(), &waypoint, authority).await
    }

    /// Sends `request` in a tunnel of its own and reads until the server closes or a whole answer is there.
    pub(crate) async fn raw(&self, who: &str, authority: &str, request: &[u8]) -> Reply {
        let mut stream = self.tunnel(who, authority).await.expect("tunnel");
        stream.write_all(request).await.unwrap();
        Reply::read(&mut stream).await
    }

    /// The page of metrics.
    pub(crate) async fn metrics(&self) -> String {
        page(self.waypoint.stats_addr(), "/stats/prometheus").await.body
    }

    /// Waits until this stands on the page of metrics.
    pub(crate) async fn measures(&self, text: &str) {
        eventually(text, async || self.metrics().await.contains(text)).await;
    }

    /// POSTs a JSON body to `/mcp` with `headers` beside the usual ones.
    pub(crate) async fn post(&self, who: &str, authority: &str, headers: &str, body: &str) -> Reply {
        self.raw(who, authority, post(headers, body).as_bytes()).await
    }
}

/// Waits until something is so, as it must be before long.
pub(crate) async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An address at which nobody listens, nor will for as long as this is held: the port is taken.
pub(crate) struct Nobody {
    pub(crate) addr: SocketAddr,
    _taken: TcpSocket,
}

impl Nobody {
    pub(crate) fn at(ip: &str) -> Self {
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
        Self { addr: taken.local_addr().unwrap(), _taken: taken }
    }
}

/// A page of one of the waypoint's own servers.
pub(crate) async fn page(at: SocketAddr, path: &str) -> Reply {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let get = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(get.as_bytes()).await.unwrap();
    Reply::read(&mut stream).await
}

/// A POST of `body` to `/mcp`.
pub(crate) fn post(headers: &str, body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: tools\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An HTTP answer, taken apart.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) async fn read<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Self {
        let mut bytes = Vec::new();
        let whole = async {
            while !Self::complete(&bytes) {
                let mut chunk = [0; 4096];
                match stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => bytes.extend_from_slice(&chunk[..read]),
                }
            }
        };
        tokio::time::timeout(PATIENCE, whole).await.expect("an answer in time");
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    fn complete(bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let head = head.to_ascii_lowercase();
        if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
            return body.len() >= length.trim().parse().unwrap();
        }
        body.ends_with("0\r\n\r\n") || head.starts_with("http/1.1 202") && !head.contains("chunked")
    }

    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &str| line.split_once(':').is_some_and(|(said, _)| said.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| named(line)).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    /// The headers by which a client goes on in the session that this answer began, in `version`.
    pub(crate) fn session(&self, version: &str) -> String {
        let id = self.header("mcp-session-id").unwrap_or_else(|| panic!("no session: {self:?}"));
        format!("Mcp-Session-Id: {id}\r\nMCP-Protocol-Version: {version}\r\n")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The id of the last event in `text` that has one.
pub(crate) fn event_id(text: &str) -> &str {
    text.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap_or_else(|| panic!("no event id: {text}"))
}

/// How a test's upstream answers one request, given its head and body.
pub(crate) type Script = Arc<dyn Fn(&str, &str) -> String + Send + Sync>;

/// A server that remembers every byte it saw and answers by script.
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Upstream {
    pub(crate) async fn start(script: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        Self::start_at([127, 0, 0, 1].into(), script).await
    }

    /// At an address of loopback, as pods of a mesh have their own.
    pub(crate) async fn start_at(ip: IpAddr, script: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, record): (Script, _) = (Arc::new(script), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&record)));
            }
        });
        Self { addr, seen }
    }

    /// Everything that arrived, as text.
    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// How many bytes arrived.
    pub(crate) fn bytes(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn serve(mut stream: TcpStream, script: Script, seen: Arc<Mutex<Vec<u8>>>) {
    let mut held = Vec::new();
    loop {
        let mut chunk = [0; 16384];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                seen.lock().unwrap().extend_from_slice(&chunk[..read]);
                held.extend_from_slice(&chunk[..read]);
            }
        }
        while let Some((head, body, used)) = request(&held) {
            held.drain(..used);
            // A script may sleep: on a thread of its own, so that nothing else of the test waits with it.
            let script = Arc::clone(&script);
            let answer = tokio::task::spawn_blocking(move || script(&head, &body)).await.unwrap();
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// One whole request with `Content-Length`, at the front of `bytes`.
pub(crate) fn request(bytes: &[u8]) -> Option<(String, String, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse::<usize>().unwrap())
        })
        .unwrap_or(0);
    let body = rest.get(..length)?;
    Some((head.to_owned(), body.to_owned(), head.len() + 4 + length))
}

/// A JSON answer.
pub(crate) fn json(body: &str) -> String {
    with("", body)
}

/// A JSON answer with more headers.
pub(crate) fn with(headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A whole event stream that then ends.
pub(crate) fn events(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An MCP service `tools/notes:80` at `127.0.9.1` whose endpoint is `addr`, with the policy that most tests want.
pub(crate) fn notes(addr: SocketAddr) -> String {
    format!("{}---\n{POLICY}", service("notes", "127.0.9.1", addr, "agent-waypoint.dev/mcp"))
}

/// A Service of one port 80 and its endpoint.
pub(crate) fn service(name: &str, ip: &str, addr: SocketAddr, protocol: &str) -> String {
    let app_protocol = if protocol.is_empty() { String::new() } else { format!(", appProtocol: {protocol}") };
    format!(
        r"
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: tools}}
spec:
  clusterIP: {ip}
  ports: [{{name: main, port: 80, targetPort: {port}{app_protocol}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: tools, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{{addresses: ['{address}'], conditions: {{ready: true}}}}]
ports: [{{name: main, port: {port}}}]
",
        port = addr.port(),
        address = addr.ip(),
    )
}

pub(crate) const POLICY: &str = r#"
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: notes}]
  protocol: MCP
  deny:
  - name: no-delete
    to: [{tools: ["delete_*"]}]
  require:
  - name: own-org-only
    to: [{tools: ["create_*"]}]
    that: has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == "acme"
  allow:
  - name: readers
    from: [{serviceAccounts: ["agents/reader", "agents/writer"]}]
    to: [{tools: ["get_*", "delete_*"]}]
  - name: writers
    from: [{serviceAccounts: ["agents/writer"]}]
    to: [{tools: ["create_*"]}]
"#;

/// What a caller is sent until `text` stands in it.
pub(crate) async fn read_until(caller: &mut hbone::Stream, text: &str) -> String {
    let mut read = String::new();
    let reading = async {
        while !read.contains(text) {
            let mut chunk = [0; 4096];
            let n = caller.read(&mut chunk).await.unwrap();
            assert!(n > 0, "ended before {text}: {read}");
            read.push_str(&String::from_utf8_lossy(&chunk[..n]));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("in time");
    read
}

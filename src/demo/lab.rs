//! Everything that the demo starts, and its end.

use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tool_server::Seen;

use super::agent::Agent;
use super::documents::{self, Place};
use super::issuer::Issuer;
use super::pod::Pod;
use super::records::Records;
use crate::app::{self, Running};
use crate::client::Caller;
use crate::control::identity::{DEV_TTL, DevCa};
use crate::id::{TrustDomain, WorkloadId};
use crate::net;
use crate::tls::{Expect, Identity};

/// The trust domain of the demo: Istio's default.
const TRUST_DOMAIN: &str = "cluster.local";
/// What clients ask for.
pub(super) const AUTHORITY: &str = "notes.tools.svc.cluster.local:80";
/// The agent, for clients.
pub(super) const AGENT: &str = "reckoner.tools.svc.cluster.local:80";
/// The server counts as quiet when nothing reached it between so many looks: of looks, as on a busy machine a time may pass
/// in which nobody had a turn.
const QUIET: usize = 15;
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// A small mesh, running.
#[derive(Debug)]
pub(super) struct Lab {
    ca: DevCa,
    issuer: Issuer,
    pod: Pod,
    agent: Agent,
    waypoint: Running,
    waypoint_id: WorkloadId,
    records: Records,
    tasks: TaskTracker,
    stop: CancellationToken,
    // Last, so that the directory goes when nothing uses it any more.
    dir: Scratch,
}

impl Lab {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let (dir, issuer) = (Scratch::new()?, Issuer::new()?);
        let trust_domain = TrustDomain::parse(TRUST_DOMAIN)?;
        let ca = DevCa::open(&dir.ca(), &trust_domain)?;
        let waypoint_id = app::dev_identity(&trust_domain)?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let server = ca.identity(&WorkloadId::of_istio(&trust_domain, "tools", "notes")?, DEV_TTL)?;
        let pod = Pod::start(server, waypoint_id.clone(), &tasks, &stop).await?;
        let agent = Agent::start(&tasks, &stop)?;
        dir.write("documents/mesh.yaml", &documents::mesh(pod.place()))?;
        dir.write("documents/agent.yaml", &documents::agent(agent.addr()))?;
        dir.write("documents/policy.yaml", &documents::policy(issuer.jwks()))?;
        for subject in ["alice", "bob"] {
            dir.write(&format!("tokens/{subject}.jwt"), &issuer.token(subject)?)?;
        }
        let records = Records::default();
        let waypoint = Box::pin(app::start(settings(&dir, trust_domain, records.clone()))).await?;
        Ok(Self { ca, issuer, pod, agent, waypoint, waypoint_id, records, tasks, stop, dir })
    }

    /// A client's end of the mesh: a local listener whose connections reach the service as `namespace/account`.
    pub(super) async fn door(&self, namespace: &str, account: &str) -> anyhow::Result<SocketAddr> {
        self.door_to(AUTHORITY, namespace, account).await
    }

    /// The same to another service.
    pub(super) async fn door_to(&self, authority: &str, namespace: &str, account: &str) -> anyhow::Result<SocketAddr> {
        let listener = net::listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?;
        let addr = listener.local_addr()?;
        let identity = self.identity(namespace, account)?;
        let caller = Caller::new(identity, self.waypoint(), self.expect_waypoint(), authority);
        self.tasks.spawn(caller.serve(listener, self.stop.clone()));
        Ok(addr)
    }

    /// An identity of this mesh.
    pub(super) fn identity(&self, namespace: &str, account: &str) -> anyhow::Result<Identity> {
        Ok(self.ca.identity(&self.id(namespace, account)?, DEV_TTL)?)
    }

    pub(super) fn id(&self, namespace: &str, account: &str) -> anyhow::Result<WorkloadId> {
        Ok(WorkloadId::of_istio(self.ca.trust_domain(), namespace, account)?)
    }

    /// An identity by a CA that this mesh does not know, of whichever trust domain; it trusts this mesh's servers.
    pub(super) fn foreign(&self, uri: &str) -> anyhow::Result<Identity> {
        let id = WorkloadId::parse(uri)?;
        let other = DevCa::ephemeral(id.trust_domain())?;
        let svid = other.issue(&id, DEV_TTL)?;
        let mut bundles = other.bundles();
        bundles.add_pem(self.ca.trust_domain().clone(), self.ca.root_pem().as_bytes())?;
        Ok(Identity::new(svid, bundles)?)
    }

    pub(super) fn waypoint(&self) -> SocketAddr {
        self.waypoint.hbone_addr()
    }

    pub(super) fn expect_waypoint(&self) -> Expect {
        Expect::Exact([self.waypoint_id.clone()].into())
    }

    pub(super) fn waypoint_stats(&self) -> SocketAddr {
        self.waypoint.stats_addr()
    }

    pub(super) fn place(&self) -> Place {
        self.pod.place()
    }

    /// Where the server's end of the mesh listens, and who answers there.
    pub(super) fn server_hbone(&self) -> anyhow::Result<(SocketAddr, Expect)> {
        Ok((self.pod.hbone(), Expect::Exact([self.id("tools", "notes")?].into())))
    }

    pub(super) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    pub(super) fn seen(&self) -> &Seen {
        self.pod.seen()
    }

    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Bytes that reached the server or the agent.
    pub(super) fn bytes(&self) -> u64 {
        self.seen().bytes() + self.agent.bytes()
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir.path
    }

    /// Waits until nothing reaches the server any more, so that what comes next is of the next line.
    pub(super) async fn settle(&self) {
        let until = Instant::now() + PATIENCE;
        let (mut bytes, mut quiet) = (self.bytes(), 0);
        while quiet < QUIET && Instant::now() < until {
            sleep(POLL).await;
            quiet = if self.bytes() == bytes { quiet + 1 } else { 0 };
            bytes = self.bytes();
        }
    }

    /// Ends everything, and removes what was written.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.waypoint.shutdown().await;
        self.tasks.close();
        if tokio::time::timeout(PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::debug!("something of the demo did not end in time");
        }
    }
}

fn settings(dir: &Scratch, trust_domain: TrustDomain, records: Records) -> app::Settings {
    let free = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    app::Settings {
        jwks_hosts: Vec::new(),
        jwks_roots: None,
        files: vec![dir.path.join("documents")],
        state_dir: None,
        replicas: Vec::new(),
        mesh: None,
        dropped_in: false,
        identity: app::IdentitySource::Dev { dir: dir.ca() },
        trust_domain,
        hbone_addr: free,
        stats_addr: free,
        ready_addr: free,
        admin_addr: free,
        drain: Duration::from_millis(500),
        mcp_answer: crate::config::limits::MCP_ANSWER,
        access_log: app::AccessLogTo::Writer(Box::new(records)),
        otlp_endpoint: None,
        sealing_key_file: None,
        tells_caller: false,
        feed: None,
    }
}

/// A directory of our own that is removed at the end.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
        let path = std::env::temp_dir().join(format!("agent-waypoint-demo-{}-{nanos:x}", std::process::id()));
        // Not recursive: a directory that is there already is somebody else's.
        DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    fn ca(&self) -> PathBuf {
        self.path.join("state/agent-waypoint/dev")
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "directory of the demo not removed");
        }
    }
}

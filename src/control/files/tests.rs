use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::config::limits;
use crate::mesh::{PortProtocol, Published, TargetKey, TargetKind};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: repo, namespace: tools}
spec: {ports: [{name: mcp, port: 80}, {name: other, port: 81}]}
";

fn policy(protocol: &str) -> String {
    format!(
        "apiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: p, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, name: repo, sectionName: mcp}}]\n  protocol: {protocol}\n  allow: [{{}}]\n"
    )
}

/// The protocol of the port, and whether it is closed.
type Seen = (PortProtocol, bool);
const MCP: Seen = (PortProtocol::Mcp, false);
const A2A: Seen = (PortProtocol::A2a, false);
const OPEN: Seen = (PortProtocol::Undeclared, false);

fn port(snapshot: &Snapshot, port: u16) -> Option<Seen> {
    let key = TargetKey { kind: TargetKind::Service, namespace: "tools".into(), name: "repo".into(), port, at: None };
    snapshot.get(&key).map(|target| (target.protocol, target.closed().is_some()))
}

fn td() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

/// Without a thread: what `refresh` says at each moment.
struct Desk {
    dir: TempDir,
    store: Store,
    start: Instant,
}

impl Desk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("a.yaml"), SERVICE).unwrap();
        fs::write(dir.path().join("b.yaml"), policy("MCP")).unwrap();
        let store = Store::open(vec![dir.path().to_owned()]).unwrap();
        Self { dir, store, start: Instant::now() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whether anything changed `after` the start, and the ports then.
    fn at(&mut self, after: Duration) -> (bool, Option<Seen>, Option<Seen>) {
        let changed = self.store.refresh(self.start + after);
        let settings = Settings { trust_domain: td(), gateway: None, keys: Keyring::default() };
        let documents = documents(&self.store);
        let (snapshot, _) = on_compile_thread(|| build(&documents, &settings, &Snapshot::no_documents()));
        (changed, port(&snapshot, 80), port(&snapshot, 81))
    }
}

const SOON: Duration = Duration::from_secs(1);

#[test]
fn an_edit_is_seen_and_nothing_else_is() {
    let mut desk = Desk::new();
    assert_eq!(desk.at(SOON), (false, Some(MCP), Some(OPEN)));
    fs::write(desk.file("b.yaml"), policy("A2A")).unwrap();
    assert_eq!(desk.at(SOON), (true, Some(A2A), Some(OPEN)));
    assert_eq!(desk.at(SOON), (false, Some(A2A), Some(OPEN)));
    fs::write(desk.file("c.txt"), "not a document").unwrap();
    fs::write(desk.file(".hidden.yaml"), "a: [").unwrap();
    assert_eq!(desk.at(SOON), (false, Some(A2A), Some(OPEN)));
}

#[test]
fn a_half_written_file_keeps_its_documents_for_the_grace_then_closes_what_they_selected() {
    let mut desk = Desk::new();
    fs::write(desk.file("b.yaml"), "apiVersion: [").unwrap();
    assert_eq!(desk.at(SOON), (true, Some(MCP), Some(OPEN)));
    fs::write(desk.file("b.yaml"), "apiVersion: [[").unwrap();
    assert_eq!(desk.at(SOON * 4), (true, Some(MCP), Some(OPEN)), "another half, the same grace");
    assert_eq!(desk.at(SOON + limits::FILE_GRACE - Duration::from_millis(1)), (false, Some(MCP), Some(OPEN)));
    let closed = (PortProtocol::Mcp, true);
    assert_eq!(desk.at(SOON + limits::FILE_GRACE), (true, Some(closed), Some(OPEN)), "and the other port lives");
    assert_eq!(desk.at(SOON * 60), (false, Some(closed), Some(OPEN)));
    fs::write(desk.file("b.yaml"), "").unwrap();
    assert_eq!(desk.at(SOON * 61), (true, Some(OPEN), Some(OPEN)), "emptied: its old documents do not come back");
    fs::write(desk.file("b.yaml"), policy("A2A")).unwrap();
    assert_eq!(desk.at(SOON * 62), (true, Some(A2A), Some(OPEN)));
}

#[test]
fn a_file_of_services_that_no_longer_parses_closes_them() {
    let mut desk = Desk::new();
    fs::write(desk.file("a.yaml"), "a: 'b").unwrap();
    assert_eq!(desk.at(SOON), (true, Some(MCP), Some(OPEN)));
    let (_, mcp, other) = desk.at(SOON + limits::FILE_GRACE);
    assert_eq!((mcp, other), (Some((PortProtocol::Mcp, true)), Some((PortProtocol::Undeclared, true))));
}

#[test]
fn a_file_that_is_truncated_first_opens_nothing_meanwhile() {
    let mut desk = Desk::new();
    fs::write(desk.file("b.yaml"), "\n").unwrap();
    assert_eq!(desk.at(SOON), (true, Some(MCP), Some(OPEN)));
    assert_eq!(desk.at(SOON + limits::FILE_GRACE), (true, Some(OPEN), Some(OPEN)), "empty on purpose");
}

#[test]
fn a_deleted_file_is_gone_at_once_and_a_new_one_there() {
    let mut desk = Desk::new();
    fs::remove_file(desk.file("b.yaml")).unwrap();
    assert_eq!(desk.at(SOON), (true, Some(OPEN), Some(OPEN)));
    fs::create_dir_all(desk.file("deep/er")).unwrap();
    fs::write(desk.file("deep/er/x.json"), r#"{"apiVersion": "agent-waypoint.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": "p", "namespace": "tools"}, "spec": {"targetRefs": [{"kind": "Service", "name": "repo"}], "protocol": "A2A", "allow": [{}]}}"#).unwrap();
    assert_eq!(desk.at(SOON), (true, Some(A2A), Some(A2A)));
    for name in ["a.yaml", "deep/er/x.json"] {
        fs::remove_file(desk.file(name)).unwrap();
    }
    assert_eq!(desk.at(SOON), (true, None, None));
    assert!(desk.store.faults()[0].reason.contains("holds no .yaml, .yml or .json file"));
}

#[test]
fn a_new_file_that_is_no_yaml_closes_everything_since_nobody_knows_what_it_selects() {
    let mut desk = Desk::new();
    fs::write(desk.file("c.yaml"), "{").unwrap();
    let (changed, mcp, other) = desk.at(SOON);
    assert!(changed && mcp.unwrap().1 && other.unwrap().1);
    fs::remove_file(desk.file("c.yaml")).unwrap();
    assert_eq!(desk.at(SOON), (true, Some(MCP), Some(OPEN)));
}

#[test]
fn links_are_followed_once_and_in_no_circle() {
    let mut desk = Desk::new();
    std::os::unix::fs::symlink(desk.dir.path(), desk.file("again")).unwrap();
    std::os::unix::fs::symlink(desk.file("b.yaml"), desk.file("z.yaml")).unwrap();
    assert_eq!(desk.at(SOON), (false, Some(MCP), Some(OPEN)));
}

#[test]
fn what_the_command_line_names_must_be_there() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("empty")).unwrap();
    fs::write(path("empty/README.md"), "x").unwrap();
    for (name, reason) in
        [("nowhere.yaml", "there is no such file or directory"), ("empty", "holds no .yaml, .yml or .json file")]
    {
        let fault = load_once(vec![path(name)], td()).unwrap_err().to_string();
        assert_eq!(fault, format!("{}: {reason}", path(name).display()));
    }
}

#[test]
fn loading_once_says_what_watching_would() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("all.yaml");
    fs::write(&path, format!("{SERVICE}---\n{}", policy("MPC"))).unwrap();
    let (snapshot, problems) = load_once(vec![path.clone()], td()).unwrap();
    assert_eq!(port(&snapshot, 80), Some((PortProtocol::Undeclared, true)));
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let expected = "error: AgentPolicy tools/p: spec.protocol: \"MPC\" is not one of MCP, A2A";
    assert_eq!(told, [format!("{}:12: {expected}", path.display())]);
}

/// With the thread, in real time.
struct Live {
    published: Arc<Published>,
    watched: Assembly,
    stop: CancellationToken,
}

impl Live {
    fn start(path: &Path) -> Self {
        let (published, stop) = (Arc::new(Published::new()), CancellationToken::new());
        let settings = Settings { trust_domain: td(), gateway: None, keys: Keyring::default() };
        let watched = Assembly::start(settings, Arc::clone(&published), stop.clone()).unwrap();
        watch(vec![path.to_owned()], &watched, stop.clone()).unwrap();
        Self { published, watched, stop }
    }

    /// Waits until port 80 is as wanted.
    async fn until(&self, wanted: Option<Seen>) {
        let mut changed = self.published.changed();
        while port(&self.published.current(), 80) != wanted {
            let wait = tokio::time::timeout(Duration::from_secs(60), changed.changed()).await;
            wait.unwrap_or_else(|_| panic!("still {:?}", port(&self.published.current(), 80))).unwrap();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn an_edit_is_in_force_soon() {
    let desk = Desk::new();
    let live = Live::start(desk.dir.path());
    assert_eq!(port(&live.published.current(), 80), Some(MCP), "published before `watch` returns");
    for _ in 0..3 {
        fs::write(desk.file("b.yaml"), policy("A2A")).unwrap();
        live.until(Some(A2A)).await;
        fs::write(desk.file("new"), policy("MCP")).unwrap();
        fs::rename(desk.file("new"), desk.file("b.yaml")).unwrap();
        live.until(Some(MCP)).await;
    }
    assert!(live.watched.editions() >= 4);
    assert_eq!(live.watched.errors(), 0);
}

#[tokio::test]
async fn a_mounted_config_map_is_swapped_by_its_link() {
    let desk = Desk::new();
    fs::remove_file(desk.file("b.yaml")).unwrap();
    for (version, protocol) in [("..1", "MCP"), ("..2", "A2A")] {
        fs::create_dir(desk.file(version)).unwrap();
        fs::write(desk.file(version).join("b.yaml"), policy(protocol)).unwrap();
    }
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, desk.file(name)).unwrap();
    link("..1", "..data");
    link("..data/b.yaml", "b.yaml");
    let live = Live::start(desk.dir.path());
    assert_eq!(port(&live.published.current(), 80), Some(MCP));
    for (version, wanted) in [("..2", A2A), ("..1", MCP), ("..2", A2A)] {
        link(version, "..data_tmp");
        fs::rename(desk.file("..data_tmp"), desk.file("..data")).unwrap();
        live.until(Some(wanted)).await;
    }
}

#[tokio::test]
async fn a_broken_document_is_told_once_and_counted() {
    let desk = Desk::new();
    let live = Live::start(&desk.file("b.yaml"));
    assert_eq!(live.watched.problems().len(), 1, "the Service is not in this file: a warning");
    fs::write(desk.file("b.yaml"), format!("{SERVICE}---\n{}", policy("MPC"))).unwrap();
    live.until(Some((PortProtocol::Undeclared, true))).await;
    tokio::time::sleep(limits::FILE_POLL * 2).await;
    assert_eq!(live.watched.errors(), 1);
    assert_eq!(live.watched.problems()[0].field, "spec.protocol");
    assert_eq!(live.watched.problems()[0].place.line, 12);
}

#[test]
fn the_laptop_example_is_without_fault() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples/laptop");
    let (snapshot, problems) = load_once(vec![example], td()).unwrap();
    assert_eq!(problems, []);
    let target = snapshot.targets().next().unwrap();
    assert_eq!((target.key.to_string().as_str(), target.protocol), ("Service tools/repo-mcp:8080", PortProtocol::Mcp));
    assert_eq!((target.closed(), target.endpoints.len()), (None, 1));
}

/// Whoever copies it finds it valid, against the Service of the example.
#[test]
fn the_policy_in_the_readme_is_without_fault() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let policy = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::copy(root.join("manifests/examples/laptop/mesh.yaml"), dir.path().join("mesh.yaml")).unwrap();
    fs::write(dir.path().join("policy.yaml"), policy).unwrap();
    let (snapshot, problems) = load_once(vec![dir.path().to_owned()], td()).unwrap();
    assert_eq!(problems, []);
    assert!(snapshot.targets().all(|target| target.closed().is_none() && !target.rules.is_open()));
}

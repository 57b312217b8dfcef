//! Who and where from istiod, what is intended from documents.

use std::time::{Duration, Instant};

use agent_waypoint::app::InMesh;
use agent_waypoint::hbone::DialFault;

use super::istiod::{Fake, listed, myself, pod, service};
use super::lab::{Lab, POLICY, Upstream, eventually, json, page};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: notes, namespace: tools}
spec: {ports: [{name: main, port: 80, appProtocol: agent-waypoint.dev/mcp}]}
---
";
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_x","arguments":{}}}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
pub(crate) const VIP: &str = "10.96.0.7:80";

pub(crate) struct Mesh {
    istiod: Fake,
    upstream: Upstream,
    pub(crate) lab: Lab,
}

impl Mesh {
    /// A waypoint that is the Gateway `mesh/waypoint`; with documents unless it is told none come.
    async fn start(documents: bool, dropped_in: bool) -> Self {
        let text = format!("{SERVICE}{POLICY}");
        Self::with(documents.then_some(&*text), dropped_in).await
    }

    /// The same with these documents.
    pub(crate) async fn of(documents: &str) -> Self {
        Self::with(Some(documents), false).await
    }

    async fn with(documents: Option<&str>, dropped_in: bool) -> Self {
        let mut istiod = Fake::new();
        let upstream = Upstream::start(|_, _| json(ANSWER)).await;
        let at = istiod.listen().await;
        let way = istiod.istiod(at);
        let lab = Lab::start_with(documents.unwrap_or_default(), |settings| {
            settings.mesh = Some(InMesh { istiod: way, myself: myself("mesh"), gateway: "waypoint".to_owned() });
            settings.dropped_in = dropped_in;
            if documents.is_none() {
                settings.files.clear();
            }
        })
        .await;
        Self { istiod, upstream, lab }
    }

    pub(crate) fn serve(&self, rows: &[(String, Vec<u8>)]) {
        self.istiod.serve(|resources| resources.extend(rows.iter().cloned()));
    }

    fn world(&self) {
        self.serve(&[
            service("tools/notes", [10, 96, 0, 7], 8080, Some("mesh/waypoint")),
            pod("notes-1", self.upstream.addr, "tools/notes", true),
            service("mesh/waypoint", [10, 96, 0, 1], 15008, Some("mesh/waypoint")),
            service("tools/direct", [10, 96, 0, 8], 8080, None),
            service("tools/theirs", [10, 96, 0, 9], 8080, Some("mesh/other")),
            pod("direct-1", "127.0.0.9:8080".parse().unwrap(), "tools/direct", false),
        ]);
    }

    /// The status of a CONNECT; 200 where it is taken.
    async fn connect(&self, authority: &str) -> u16 {
        match self.lab.tunnel("agents/reader", authority).await {
            Ok(_) => 200,
            Err(DialFault::Refused(status)) => status.as_u16(),
            Err(other) => panic!("{authority}: {other}"),
        }
    }

    async fn call(&self, authority: &str) -> super::lab::Reply {
        self.lab.post("agents/reader", authority, "", CALL).await
    }

    /// Waits until a CONNECT is answered so.
    pub(crate) async fn until(&self, authority: &str, status: u16) {
        let what = format!("{authority} is {status}");
        eventually(&what, async || self.connect(authority).await == status).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_istiod_says_is_ours_is_served_and_nothing_else() {
    let mesh = Mesh::start(true, false).await;
    mesh.world();
    mesh.until(VIP, 200).await;
    let pod = mesh.upstream.addr.to_string();
    for authority in [VIP, "notes.tools.svc.cluster.local:80", &pod] {
        let reply = mesh.call(authority).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, ANSWER), "{authority}");
        let refused = mesh.lab.post("agents/reader", authority, "", &CALL.replace("get_x", "delete_x")).await;
        assert!(refused.body.contains("\"error\""), "{authority}: {}", refused.body);
    }
    assert!(!mesh.upstream.seen().contains("delete_x"));
    let before = mesh.upstream.bytes();
    let not = [
        "10.96.0.1:15008",
        "10.96.0.8:80",
        "10.96.0.9:80",
        "direct.tools.svc.cluster.local:80",
        "127.0.0.9:8080",
        "169.254.169.254:80",
        "10.96.0.7:81",
        "10.96.0.77:80",
        "unknown.tools.svc.cluster.local:80",
        "127.0.0.1:15008",
        "waypoint.mesh.svc.cluster.local:15008",
    ];
    for authority in not {
        assert_eq!(mesh.connect(authority).await, 404, "{authority}");
    }
    assert_eq!(mesh.upstream.bytes(), before);
    let asked = mesh.istiod.asked();
    assert!(asked.iter().all(|request| request.error_detail.is_none()));
    eventually("both types are asked for", async || {
        let asked = mesh.istiod.asked();
        let types: std::collections::BTreeSet<_> = asked.iter().map(|request| request.type_url.as_str()).collect();
        assert!(types.len() <= 2, "{types:?}");
        types.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_istiod_changes_nothing_and_what_went_meanwhile_is_gone_after() {
    let mut mesh = Mesh::start(true, false).await;
    mesh.world();
    mesh.serve(&[service("tools/old", [10, 96, 0, 10], 8080, Some("mesh/waypoint"))]);
    mesh.until("10.96.0.10:80", 200).await;
    mesh.istiod.die();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..3 {
        assert_eq!(mesh.call(VIP).await.status, 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    mesh.istiod.serve(|resources| {
        resources.retain(|name, _| !name.contains("old"));
        resources.extend([service("tools/new", [10, 96, 0, 11], 8080, Some("mesh/waypoint"))]);
    });
    assert_eq!(mesh.connect("10.96.0.10:80").await, 200, "nobody said otherwise yet");
    mesh.istiod.listen().await;
    mesh.until("10.96.0.11:80", 200).await;
    mesh.until("10.96.0.10:80", 404).await;
    assert_eq!(mesh.call(VIP).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_leaves_or_loses_its_pods_is_refused() {
    let mesh = Mesh::start(true, false).await;
    mesh.world();
    mesh.until(VIP, 200).await;
    assert_eq!(mesh.call(VIP).await.status, 200);
    mesh.istiod.serve(|resources| resources.retain(|name, _| !name.contains("notes-1")));
    eventually("nobody is left to answer", async || mesh.call(VIP).await.status != 200).await;
    let pod = mesh.upstream.addr.to_string();
    assert_eq!(mesh.connect(&pod).await, 404);
    mesh.serve(&[service("tools/notes", [10, 96, 0, 7], 8080, None)]);
    mesh.until(VIP, 404).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_resource_is_refused_by_name_and_the_rest_is_taken() {
    let mesh = Mesh::start(true, false).await;
    mesh.world();
    mesh.serve(&[("tools/bad".to_owned(), vec![0xff; 3])]);
    mesh.until(VIP, 200).await;
    let mut told = String::new();
    eventually("the bad one is refused", async || {
        let nack = mesh.istiod.asked().into_iter().find_map(|request| request.error_detail);
        told = nack.map(|detail| detail.message).unwrap_or_default();
        !told.is_empty()
    })
    .await;
    assert!(told.starts_with("tools/bad: does not decode"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_a_document_only_claims_is_not_dialled_on_loopback() {
    let mesh = Mesh::start(true, false).await;
    mesh.world();
    mesh.until(VIP, 200).await;
    assert_eq!(mesh.call(VIP).await.status, 200, "a pod, which its kubelet told of");
    mesh.istiod.serve(|resources| resources.retain(|name, _| !name.contains("notes-1")));
    mesh.serve(&[listed("notes-1", mesh.upstream.addr, "tools/notes")]);
    mesh.lab.measures("agent_waypoint_held_endpoints{reason=\"no_server\"} 1").await;
    eventually("nobody is called", async || mesh.call(VIP).await.status == 503).await;
    mesh.lab.log.line(|line| line.to_string().contains("endpoint_refused")).await;
    let seen = mesh.upstream.bytes();
    assert_eq!(mesh.call(VIP).await.status, 503);
    assert_eq!(mesh.upstream.bytes(), seen);
}

async fn ready(mesh: &Mesh) -> String {
    page(mesh.lab.waypoint.ready_addr(), "/healthz/ready").await.body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_documents_it_is_not_ready_and_refuses_every_call() {
    let mesh = Mesh::start(false, false).await;
    mesh.world();
    mesh.until(VIP, 200).await;
    eventually("documents alone are missing", async || ready(&mesh).await == "documents: not yet\n").await;
    let reply = mesh.call(VIP).await;
    assert!(reply.body.contains("error") || reply.status >= 400, "{} {}", reply.status, reply.body);
    assert_eq!(mesh.upstream.bytes(), 0);
    mesh.lab.log.line(|line| line.to_string().contains("no_documents")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes the 20 s of a startup probe"]
async fn dropped_in_without_documents_it_is_ready_in_time_and_still_refuses() {
    let mesh = Mesh::start(false, true).await;
    mesh.world();
    mesh.until(VIP, 200).await;
    let start = Instant::now();
    while ready(&mesh).await != "ready\n" && start.elapsed() < Duration::from_secs(28) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(
        start.elapsed() > Duration::from_secs(15) && start.elapsed() < Duration::from_secs(25),
        "{:?}",
        start.elapsed()
    );
    let reply = mesh.call(VIP).await;
    assert!(reply.body.contains("error") || reply.status >= 400, "{} {}", reply.status, reply.body);
    assert_eq!(mesh.upstream.bytes(), 0);
}

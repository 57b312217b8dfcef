//! The same documents by the controller's feed: its catalog and its end of the stream, and a whole waypoint that decides, with
//! who and where from istiod. An edit is timed from the controller's view of it to the first call that is decided by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_waypoint::app::{FeedFrom, IdentitySource, InMesh, Settings};
use agent_waypoint::control::identity::{DEV_TTL, DevCa};
use agent_waypoint::controller::cluster::{Cluster, DocumentKind, Listing, Standing, View};
use agent_waypoint::controller::feed::Feed;
use agent_waypoint::controller::keys::Keys;
use agent_waypoint::id::WorkloadId;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{EDITS, OURS, POLICIES, SERVICES, TOOL, call_at};
use crate::istiod::{Fake, myself, pod, service};
use crate::lab::{Lab, PATIENCE, Upstream, json as answer};

const NAMESPACE: &str = "agent-waypoint";
const VIP: &str = "10.97.0.7:80";

/// The Service that is called and edited, of so many.
fn ours(services: usize) -> usize {
    OURS.min(services - 1)
}

fn all<K: DeserializeOwned + kube::Resource>(objects: impl IntoIterator<Item = Value>) -> Listing<K> {
    objects.into_iter().map(|object| serde_json::from_value(object).unwrap()).collect()
}

/// The policies of one Service; the first one forbids the tool, where it is to.
fn policies(number: usize, forbidden: bool) -> impl Iterator<Item = Value> {
    (0..POLICIES).map(move |policy| {
        let denied = if forbidden && policy == 0 { TOOL } else { "delete_*" };
        let name = format!("s{number}-{policy}");
        let meta = json!({"name": name, "namespace": "tools", "generation": 1, "resourceVersion": format!("{number} {denied}")});
        json!({
            "apiVersion": "agent-waypoint.dev/v1alpha1", "kind": "AgentPolicy", "metadata": meta,
            "spec": {
                "targetRefs": [{"kind": "Service", "name": format!("s{number}")}],
                "deny": [{"to": [{"tools": [denied]}]}],
                "require": [{"to": [{"tools": ["create_*"]}], "that": format!("has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == 'o{policy}'")}],
                "allow": [{"from": [{"serviceAccounts": ["agents/reader"]}], "to": [{"tools": ["get_*"]}]}],
            },
        })
    })
}

/// A cluster with a Gateway that is in front of so many Services, and their policies.
fn view(services: usize, forbidden: bool) -> View {
    let mut view = View::default();
    let allowed = json!({"namespaces": {"from": "All"}});
    let listener = json!({"name": "mesh", "port": 15008, "protocol": "HBONE", "allowedRoutes": allowed});
    view.gateways = all([json!({
        "metadata": {"name": "waypoint", "namespace": NAMESPACE, "resourceVersion": "1"},
        "spec": {"gatewayClassName": "agent-waypoint", "listeners": [listener]},
    })]);
    view.services = all((0..services).map(|number| {
        let labels = json!({"istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": NAMESPACE});
        let meta = json!({"name": format!("s{number}"), "namespace": "tools", "labels": labels, "resourceVersion": "1"});
        json!({"metadata": meta, "spec": {"ports": [{"name": "main", "port": 80, "appProtocol": "agent-waypoint.dev/mcp"}]}})
    }));
    for kind in DocumentKind::ALL {
        view.set_standing(kind.as_str(), Standing::Listed);
    }
    let policies = (0..services).flat_map(|number| policies(number, forbidden && number == ours(services)));
    view.set_documents(DocumentKind::AgentPolicy, all(policies));
    view
}

/// A controller of so many Services, and a waypoint that has its documents from it.
struct Fed {
    lab: Lab,
    show: watch::Sender<Arc<View>>,
    _keys: watch::Sender<Option<Keys>>,
    _istiod: Fake,
    stop: CancellationToken,
}

impl Fed {
    async fn start(services: usize, upstream: &Upstream) -> Self {
        let mut istiod = Fake::new();
        let at = istiod.listen().await;
        let way = istiod.istiod(at);
        istiod.serve(|rows| {
            rows.extend((0..services).map(|number| {
                let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
                // The one that is called is found at the same address however many there are.
                let ip = if number == ours(services) { [10, 97, 0, 7] } else { [10, 98, high, low] };
                service(&format!("tools/s{number}"), ip, 8080, Some("agent-waypoint/waypoint"))
            }));
            rows.extend([pod("s-1", upstream.addr, &format!("tools/s{}", ours(services)), false)]);
        });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (cluster, show) = Cluster::driven(view(services, false));
        // Its streams end where nobody is left to say what the keys are.
        let (keys, told) = watch::channel(None);
        let feed = Feed::new((&cluster, "agent-waypoint-system"), told, &tasks, &stop);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serve = |ca: &DevCa, controller: &WorkloadId| {
            let identity = ca.identity(controller, DEV_TTL).unwrap();
            tasks.spawn(feed.serve(identity, listener));
        };
        let lab = Lab::start_with("", |settings| {
            settings.mesh = Some(InMesh { istiod: way, myself: myself(NAMESPACE), gateway: "waypoint".to_owned() });
            settings.files.clear();
            feed_from(settings, addr, serve);
        })
        .await;
        Self { lab, show, _keys: keys, _istiod: istiod, stop }
    }

    /// Waits until calls are allowed, or not; how long that took.
    async fn until(&self, allowed: bool, start: Instant) -> Duration {
        loop {
            let now = self.lab.tunnel("agents/reader", VIP).await.is_ok() && call_at(&self.lab, VIP).await;
            if now == allowed {
                return start.elapsed();
            }
            assert!(start.elapsed() < PATIENCE * 6, "the edit is not in force");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn feed_from(settings: &mut Settings, addr: SocketAddr, serve: impl FnOnce(&DevCa, &WorkloadId)) {
    let IdentitySource::Dev { dir } = &settings.identity else { panic!("{settings:?}") };
    let ca = DevCa::open(dir, &settings.trust_domain).unwrap();
    let controller = WorkloadId::of_istio(&settings.trust_domain, "agent-waypoint-system", "agent-waypoint").unwrap();
    serve(&ca, &controller);
    settings.feed = Some(FeedFrom {
        address: addr.to_string().parse().unwrap(),
        controller,
        namespace: NAMESPACE.to_owned(),
        pod: "waypoint-1".to_owned(),
    });
}

/// How long the first documents took to be in force, and each edit.
async fn measure(services: usize) -> (Duration, Vec<Duration>) {
    let upstream = Upstream::start(|_, _| answer(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#)).await;
    let start = Instant::now();
    let fed = Fed::start(services, &upstream).await;
    let first = fed.until(true, start).await;
    let mut edits = Vec::new();
    for edit in 0..EDITS {
        let forbidden = edit % 2 == 0;
        // What did not change is the same object, as in a watch.
        let mut next = View::clone(&fed.show.borrow());
        let name = format!("s{}-0", ours(services));
        let edited = policies(ours(services), forbidden).next().unwrap();
        let before = next.documents(DocumentKind::AgentPolicy);
        let others = before.iter().filter(|one| one.metadata.name.as_deref() != Some(&name)).map(|one| (**one).clone());
        let edited = std::iter::once(serde_json::from_value(edited).unwrap());
        next.set_documents(DocumentKind::AgentPolicy, others.chain(edited).collect());
        let seen = upstream.bytes();
        let start = Instant::now();
        fed.show.send_replace(Arc::new(next));
        edits.push(fed.until(!forbidden, start).await);
        if forbidden {
            let before = upstream.bytes();
            assert!(!call_at(&fed.lab, VIP).await && upstream.bytes() == before && before >= seen);
        }
    }
    (first, edits)
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_the_feed_decide_and_so_does_each_edit() {
    measure(3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a while; for numbers"]
async fn an_edit_among_ten_thousand_policies_is_soon_in_force_by_the_feed() {
    let (first, edits) = measure(SERVICES).await;
    eprintln!(
        "{} policies by the feed: in force {first:.2?} after the start; edits after {edits:.0?}",
        SERVICES * POLICIES
    );
    assert!(edits.iter().all(|edit| *edit < Duration::from_secs(2)), "{edits:?}");
}

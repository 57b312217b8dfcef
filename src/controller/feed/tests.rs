//! The feed over loopback, mutual TLS and both real ends.

mod order;
mod scale;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::super::cluster::{Cluster, Standing, View};
use super::super::fake::eventually;
use super::super::fixture::view;
use super::super::keys::Keys;
use super::*;
use crate::control::assembly::Assembly;
use crate::control::delta::Way as _;
use crate::control::delta::wire::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::control::delta::wire::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use crate::control::feed::{DOCUMENT, FeedWay, KEY, Report, SealingKey, SealingKeys, Tell, client};
use crate::control::identity::{DEV_TTL, DevCa};
use crate::id::{TrustDomain, WorkloadId};
use crate::mesh::{Published, Settings, TargetKey, TargetKind};
use crate::policy::token::{KeyHosts, Keyring};
use crate::tls::Identity;

const CONTROLLER: &str = "spiffe://td/ns/agent-waypoint-system/sa/agent-waypoint";
const WAYPOINT: &str = "spiffe://td/ns/infra/sa/wp";
const OTHER: &str = "spiffe://td/ns/rivals/sa/wp";

const MESH: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: infra}
spec:
  gatewayClassName: agent-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: rivals}
spec: {gatewayClassName: agent-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: repo, namespace: tools, labels: {istio.io/use-waypoint: wp, istio.io/use-waypoint-namespace: infra}}
spec: {ports: [{port: 80, appProtocol: agent-waypoint.dev/mcp}]}
---
apiVersion: v1
kind: Service
metadata: {name: secret, namespace: rivals, labels: {istio.io/use-waypoint: wp}}
spec: {ports: [{port: 80}]}
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: rivals-own, namespace: rivals, generation: 1}
spec: {targetRefs: [{kind: Service, name: secret}], allow: [{name: everybody}]}
";
const POLICY: &str = "
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata:
  name: repo
  namespace: tools
  generation: 7
  annotations: {kubectl.kubernetes.io/last-applied-configuration: long}
spec: {targetRefs: [{kind: Service, name: repo}], allow: [{name: readers, to: [{tools: ['get_*']}]}]}
status: {conditions: []}
";

struct Lab {
    views: watch::Sender<Arc<View>>,
    keys: watch::Sender<Option<Keys>>,
    acks: Acks,
    addr: SocketAddr,
    ca: DevCa,
    stop: CancellationToken,
}

impl Lab {
    async fn start(view: View) -> Self {
        let ca = DevCa::ephemeral(&TrustDomain::parse("td").unwrap()).unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (cluster, views) = Cluster::driven(view);
        let (keys, watched) = watch::channel(None);
        let feed = Feed::new((&cluster, "agent-waypoint-system"), watched, &tasks, &stop);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let acks = feed.acks();
        tasks.spawn(feed.serve(identity(&ca, CONTROLLER), listener));
        Self { views, keys, acks, addr, ca, stop }
    }

    fn show(&self, yaml: &str) {
        self.views.send_replace(Arc::new(view(yaml)));
    }

    fn way(&self, who: &str, expected: &str) -> FeedWay {
        let address = self.addr.to_string().parse().unwrap();
        FeedWay::new(address, WorkloadId::parse(expected).unwrap(), identity(&self.ca, who))
    }

    /// A waypoint with everything that a real one has between feed and snapshot.
    fn waypoint(&self, who: &str, expected: &str) -> Waypoint {
        let published = Arc::new(Published::new());
        let settings = Settings {
            trust_domain: TrustDomain::parse("td").unwrap(),
            gateway: None,
            // Keys are fetched from nowhere here.
            keys: Keyring::new(KeyHosts::default()),
        };
        let assembly = Assembly::start(settings, Arc::clone(&published), self.stop.clone()).unwrap();
        let first = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&first);
        let older = Arc::new(AtomicUsize::new(0));
        let refused = Arc::clone(&older);
        let tell = Tell {
            first: Some(Box::new(move || told.store(true, Ordering::SeqCst))),
            older: Box::new(move || {
                refused.fetch_add(1, Ordering::SeqCst);
            }),
        };
        let expected = WorkloadId::parse(expected).unwrap();
        let address = self.addr.to_string().parse().unwrap();
        let identity = identity(&self.ca, who);
        let (client, keys) = client(address, expected, identity, assembly, (("infra", "wp-1"), tell));
        let link = client.link();
        tokio::spawn(client.run(self.stop.clone()));
        Waypoint { published, first, older, keys, link }
    }

    /// A stream of which a test sees every message.
    async fn raw(&self, who: &str) -> Result<Raw, Status> {
        self.raw_with(who, |client| client).await
    }

    async fn raw_gzip(&self, who: &str) -> Result<Raw, Status> {
        self.raw_with(who, |client| client.accept_compressed(CompressionEncoding::Gzip)).await
    }

    async fn raw_with(&self, who: &str, with: impl FnOnce(RawClient) -> RawClient) -> Result<Raw, Status> {
        let (channel, _) = self.way(who, CONTROLLER).open().await.unwrap();
        let (requests, outgoing) = mpsc::channel::<DeltaDiscoveryRequest>(8);
        let outgoing = stream::unfold(outgoing, |mut queue| async move { Some((queue.recv().await?, queue)) });
        let mut client = with(AggregatedDiscoveryServiceClient::new(channel)).max_decoding_message_size(1 << 30);
        let responses = client.delta_aggregated_resources(Request::new(outgoing)).await?.into_inner();
        Ok(Raw { requests, responses })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn identity(ca: &DevCa, uri: &str) -> Identity {
    ca.identity(&WorkloadId::parse(uri).unwrap(), DEV_TTL).unwrap()
}

struct Waypoint {
    published: Arc<Published>,
    first: Arc<AtomicBool>,
    older: Arc<AtomicUsize>,
    keys: watch::Receiver<Option<SealingKeys>>,
    link: crate::control::delta::Link,
}

impl Waypoint {
    /// Closed for this reason, open (`Some(None)`), or not there.
    fn target(&self, namespace: &str, name: &str) -> Option<Option<String>> {
        let key =
            TargetKey { kind: TargetKind::Service, namespace: namespace.into(), name: name.into(), port: 80, at: None };
        self.published.current().get(&key).map(|target| target.closed().map(str::to_owned))
    }

    fn documents(&self) -> usize {
        self.published.current().counts().loaded
    }
}

type RawClient = AggregatedDiscoveryServiceClient<Channel>;

struct Raw {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Raw {
    async fn ask(&self, type_url: &str, has: &[(&str, &str)]) {
        let has = has.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned()));
        let request = DeltaDiscoveryRequest {
            node: Some(Node { id: "infra/wp-1".to_owned(), ..Node::default() }),
            type_url: type_url.to_owned(),
            initial_resource_versions: has.collect(),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        Ok(self.responses.message().await?.expect("the stream goes on"))
    }

    async fn report(&self, report: &Report) {
        let node = Node { id: "infra/wp-1".to_owned(), metadata: Some(report.metadata()), ..Node::default() };
        let type_url = DOCUMENT.to_owned();
        let request = DeltaDiscoveryRequest { node: Some(node), type_url, ..DeltaDiscoveryRequest::default() };
        self.requests.send(request).await.unwrap();
    }

    async fn acknowledge(&self, response: &DeltaDiscoveryResponse) {
        let (type_url, response_nonce) = (response.type_url.clone(), response.nonce.clone());
        let request = DeltaDiscoveryRequest { type_url, response_nonce, ..DeltaDiscoveryRequest::default() };
        self.requests.send(request).await.unwrap();
    }
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|one| one.name.as_str()).collect()
}

const SERVICE: &str = "/Service/tools/repo";
const GATEWAY: &str = "gateway.networking.k8s.io/Gateway/infra/wp";
const REPO: &str = "agent-waypoint.dev/AgentPolicy/tools/repo";

#[tokio::test]
async fn a_waypoint_has_its_documents_in_force_and_says_so() {
    let lab = Lab::start(view(MESH)).await;
    let waypoint = lab.waypoint(WAYPOINT, CONTROLLER);
    eventually(|| waypoint.first.load(Ordering::SeqCst)).await;
    assert_eq!(waypoint.documents(), 2, "its Service and its Gateway");
    assert!(waypoint.target("rivals", "secret").is_none(), "nothing of another's");
    let pod = ("infra".to_owned(), "wp-1".to_owned());
    eventually(|| lab.acks.all().contains_key(&pod)).await;
    let before = lab.acks.all();
    lab.show(&format!("{MESH}{POLICY}"));
    eventually(|| waypoint.documents() == 3).await;
    eventually(|| lab.acks.all() != before).await;
    // A document that does not compile closes its target, and is acknowledged: that is in force too.
    let with_policy = lab.acks.all();
    lab.show(&format!("{MESH}{}", POLICY.replace("to: [{tools: ['get_*']}]", "when: no.such.name == 1")));
    eventually(|| waypoint.target("tools", "repo").flatten().is_some()).await;
    eventually(|| lab.acks.all() != with_policy).await;
    lab.show(MESH);
    eventually(|| waypoint.documents() == 2).await;
    eventually(|| lab.acks.all() == before).await;
    lab.stop.cancel();
    eventually(|| lab.acks.all().is_empty()).await;
    assert_eq!(waypoint.documents(), 2, "what was received stays");
}

/// What the waypoint says of the documents that it has.
fn report(lab: &Lab) -> Option<Arc<Report>> {
    match lab.acks.all().remove(&("infra".to_owned(), "wp-1".to_owned()))? {
        Ack::InForce { report, .. } => report,
        Ack::Refused(why) => panic!("{why}"),
    }
}

#[tokio::test]
async fn a_waypoint_says_which_policies_do_not_decide_and_why() {
    let token = "
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: token, namespace: tools, generation: 1}
spec: {targetRefs: [{kind: Service, name: repo}], jwtRules: [{issuer: a, jwksUri: 'https://idp.example/keys'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: wide, namespace: infra, generation: 1}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: wp}]
  action: DENY
  rules: [{from: [{source: {namespaces: [rivals]}}]}]
";
    let lab = Lab::start(view(&format!("{MESH}{POLICY}"))).await;
    let waypoint = lab.waypoint(WAYPOINT, CONTROLLER);
    eventually(|| report(&lab).is_some()).await;
    assert_eq!(waypoint.target("tools", "repo"), Some(None));
    assert_eq!(*report(&lab).unwrap(), Report::default());
    // What one document does wrong closes the target for the other, which says so.
    lab.show(&format!("{MESH}{POLICY}{token}"));
    eventually(|| report(&lab).is_some_and(|report| report.of(REPO).is_err())).await;
    let said = report(&lab).unwrap();
    assert!(said.of(REPO).unwrap_err().starts_with("Service tools/repo:80 is closed: "), "{said:?}");
    let own = said.of("security.istio.io/RequestAuthentication/tools/token").unwrap_err();
    assert!(own.contains("--jwks-hosts") && own.contains("spec.jwtRules[0].jwksUri"), "{own}");
    assert!(waypoint.target("tools", "repo").flatten().is_some());
    // What a tenant closed is no fault of a policy for all, which nothing goes past.
    assert_eq!((waypoint.documents(), said.unenforced.len()), (4, 2), "{said:?}");
    // A port that there is not.
    let section = POLICY.replace("name: repo}]", "name: repo, sectionName: other}]");
    lab.show(&format!("{MESH}{section}"));
    eventually(|| report(&lab).is_some_and(|report| report.unenforced.len() == 1)).await;
    assert!(report(&lab).unwrap().of(REPO).unwrap_err().contains("other"), "{:?}", report(&lab));
    lab.show(&format!("{MESH}{POLICY}"));
    eventually(|| report(&lab).is_some_and(|report| *report == Report::default())).await;
}

#[tokio::test]
async fn a_report_without_a_push_is_heard_and_asks_for_nothing() {
    let lab = Lab::start(view(MESH)).await;
    let mut raw = lab.raw(WAYPOINT).await.unwrap();
    raw.ask(DOCUMENT, &[]).await;
    let first = raw.next().await.unwrap();
    raw.acknowledge(&first).await;
    eventually(|| !lab.acks.all().is_empty()).await;
    assert_eq!(report(&lab), None, "an older waypoint's acknowledgement says nothing of it");
    let closed = Report::new([(REPO, "closed")]);
    raw.report(&closed).await;
    eventually(|| report(&lab).as_deref() == Some(&closed)).await;
    raw.report(&Report::default()).await;
    eventually(|| report(&lab).as_deref() == Some(&Report::default())).await;
    assert!(tokio::time::timeout(Duration::from_millis(200), raw.next()).await.is_err(), "nothing was asked");
}

#[tokio::test]
async fn only_the_difference_is_sent_and_nothing_before_the_last_is_acknowledged() {
    let lab = Lab::start(view(MESH)).await;
    let mut raw = lab.raw(WAYPOINT).await.unwrap();
    raw.ask(DOCUMENT, &[]).await;
    let first = raw.next().await.unwrap();
    assert_eq!(names(&first), [SERVICE, GATEWAY]);
    lab.show(&format!("{MESH}{POLICY}"));
    assert!(tokio::time::timeout(Duration::from_millis(300), raw.next()).await.is_err(), "one at a time");
    raw.acknowledge(&first).await;
    let second = raw.next().await.unwrap();
    assert_eq!((names(&second), second.removed_resources.len()), (vec![REPO], 0));
    let body = second.resources[0].resource.as_ref().unwrap();
    let document = wire::Document::decode(body.value.as_slice()).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&document.json).unwrap();
    assert_eq!((document.generation, &json["metadata"]["generation"]), (7, &serde_json::json!(7)));
    assert!(json.get("status").is_none() && !json.to_string().contains("last-applied"), "{json}");
    raw.acknowledge(&second).await;
    // Who comes back says what it has.
    let version = second.resources[0].version.as_str();
    let mut again = lab.raw(WAYPOINT).await.unwrap();
    again.ask(DOCUMENT, &[(REPO, version), ("gone", "1"), (SERVICE, "old")]).await;
    let difference = again.next().await.unwrap();
    assert_eq!(names(&difference), [SERVICE, GATEWAY]);
    assert_eq!(difference.removed_resources, ["gone"]);
    // And who has everything is told that there is nothing new.
    let has: Vec<(&str, &str)> =
        first.resources.iter().chain(&second.resources).map(|one| (one.name.as_str(), one.version.as_str())).collect();
    let mut whole = lab.raw(WAYPOINT).await.unwrap();
    whole.ask(DOCUMENT, &has).await;
    let nothing = whole.next().await.unwrap();
    assert!(nothing.resources.is_empty() && nothing.removed_resources.is_empty());
    lab.show(MESH);
    raw.ask(DOCUMENT, &[]).await;
    assert_eq!(raw.next().await.unwrap().removed_resources, [REPO]);
}

#[tokio::test]
async fn who_takes_gzip_and_who_does_not_are_sent_the_same() {
    let many: String = (0..100).map(|n| POLICY.replace("name: repo\n", &format!("name: repo-{n}\n"))).collect();
    let lab = Lab::start(view(&format!("{MESH}{many}"))).await;
    let mut plain = lab.raw(WAYPOINT).await.unwrap();
    plain.ask(DOCUMENT, &[]).await;
    let plain = plain.next().await.unwrap();
    assert_eq!(plain.resources.len(), 102);
    let mut packed = lab.raw_gzip(WAYPOINT).await.unwrap();
    packed.ask(DOCUMENT, &[]).await;
    let first = packed.next().await.unwrap();
    assert_eq!((&first.resources, &*first.nonce), (&plain.resources, "1"));
    packed.acknowledge(&first).await;
    // What is small comes as it is, on the same stream.
    lab.show(&format!("{MESH}{many}{POLICY}"));
    assert_eq!(names(&packed.next().await.unwrap()), [REPO]);
    // A waypoint takes it.
    let waypoint = lab.waypoint(WAYPOINT, CONTROLLER);
    eventually(|| waypoint.first.load(Ordering::SeqCst)).await;
    assert_eq!(waypoint.documents(), 103);
}

#[tokio::test]
async fn who_is_no_waypoint_is_refused_and_sees_nothing() {
    let lab = Lab::start(view(MESH)).await;
    for who in ["spiffe://td/ns/infra/sa/other", "spiffe://td/ns/tools/sa/wp", "spiffe://td/x", CONTROLLER] {
        let refused = lab.raw(who).await.err().expect(who);
        assert_eq!(refused.code(), Code::PermissionDenied, "{who}");
        assert!(!refused.message().contains("repo"));
    }
    // A Gateway that goes takes its pods' right with it, on streams that stand too.
    let mut raw = lab.raw(WAYPOINT).await.unwrap();
    raw.ask(DOCUMENT, &[]).await;
    let first = raw.next().await.unwrap();
    raw.acknowledge(&first).await;
    lab.show(&MESH.replace("metadata: {name: wp, namespace: infra}", "metadata: {name: wp2, namespace: infra}"));
    assert_eq!(raw.next().await.unwrap_err().code(), Code::PermissionDenied);
    // Certificates of another root prove nothing.
    let foreign = DevCa::ephemeral(&TrustDomain::parse("td").unwrap()).unwrap();
    let address = lab.addr.to_string().parse().unwrap();
    let way = FeedWay::new(address, WorkloadId::parse(CONTROLLER).unwrap(), identity(&foreign, WAYPOINT));
    assert!(way.open().await.is_err());
}

#[tokio::test]
async fn a_pod_of_our_class_is_known_by_its_account_and_not_by_a_label() {
    let pod = "
---
apiVersion: v1
kind: Pod
metadata: {name: thief, namespace: infra, labels: {gateway.networking.k8s.io/gateway-name: wp}}
spec: {serviceAccountName: thief, containers: []}
";
    let lab = Lab::start(view(&format!("{MESH}{pod}"))).await;
    assert_eq!(lab.raw("spiffe://td/ns/infra/sa/thief").await.err().unwrap().code(), Code::PermissionDenied);
    // Where istiod provisions, it is what the pods run as that counts.
    lab.show(&format!(
        "{}{pod}",
        MESH.replace("gatewayClassName: agent-waypoint\n", "gatewayClassName: istio-agentgateway-waypoint\n")
    ));
    let known = async {
        loop {
            if let Ok(raw) = lab.raw("spiffe://td/ns/infra/sa/thief").await {
                return raw;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut raw = tokio::time::timeout(Duration::from_secs(60), known).await.expect("it is known");
    raw.ask(DOCUMENT, &[]).await;
    assert_eq!(names(&raw.next().await.unwrap()), [SERVICE, GATEWAY]);
}

#[tokio::test]
async fn a_waypoint_believes_the_controller_only() {
    let lab = Lab::start(view(MESH)).await;
    let waypoint = lab.waypoint(WAYPOINT, OTHER);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waypoint.published.current().has_documents() && !waypoint.link.is_up());
    let fault = lab.way(WAYPOINT, OTHER).open().await.unwrap_err().to_string();
    assert!(fault.contains(OTHER), "{fault}");
}

#[tokio::test]
async fn nothing_is_said_before_every_kind_is_known() {
    let mut partial = view(MESH);
    partial.set_standing("AuthorizationPolicy", Standing::Refused("forbidden".to_owned()));
    let lab = Lab::start(partial).await;
    let waypoint = lab.waypoint(WAYPOINT, CONTROLLER);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waypoint.published.current().has_documents());
    lab.show(MESH);
    eventually(|| waypoint.documents() == 2).await;
}

#[tokio::test]
async fn keys_come_when_there_are_some_and_again_when_they_are_rotated() {
    let lab = Lab::start(view(MESH)).await;
    let waypoint = lab.waypoint(WAYPOINT, CONTROLLER);
    eventually(|| waypoint.first.load(Ordering::SeqCst)).await;
    assert!(waypoint.keys.borrow().is_none());
    let first = Keys::fresh().unwrap();
    lab.keys.send_replace(Some(first.clone()));
    eventually(|| waypoint.keys.borrow().is_some()).await;
    let had = waypoint.keys.borrow().clone().unwrap();
    assert_ne!(had.current, had.previous.clone().unwrap());
    lab.keys.send_replace(Some(first.rotated().unwrap()));
    eventually(|| waypoint.keys.borrow().as_ref() != Some(&had)).await;
    let has = waypoint.keys.borrow().clone().unwrap();
    assert_eq!(has.previous, Some(had.current));
    let mut raw = lab.raw(OTHER).await.unwrap();
    raw.ask(KEY, &[]).await;
    let others = raw.next().await.unwrap();
    let secrets: BTreeMap<String, Vec<u8>> = others
        .resources
        .iter()
        .map(|one| wire::Key::decode(one.resource.as_ref().unwrap().value.as_slice()).unwrap())
        .map(|key| (key.id, key.secret))
        .collect();
    assert_ne!(secrets[&*has.current.id], has.current.secret, "another waypoint's are others");
}

const CANARY: &str = "spiffe://td/ns/infra/sa/canary";

/// A Service of two waypoints of one namespace: what one sealed the other opens, and seals nothing with.
#[tokio::test]
async fn a_canary_opens_what_its_primary_sealed_and_nobody_else_does() {
    let gateway = |namespace: &str| {
        format!(
            "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: canary, namespace: {namespace}}}\nspec: {{gatewayClassName: agent-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {{namespaces: {{from: All}}}}}}]}}"
        )
    };
    let with = |namespace: &str| {
        let label = format!(
            "istio.io/use-waypoint-namespace: infra, istio.io/use-waypoint-canary: canary, istio.io/use-waypoint-canary-namespace: {namespace}}}"
        );
        let mesh = MESH.replace("istio.io/use-waypoint-namespace: infra}", &label);
        format!("{}{}{}", mesh.trim_end(), gateway("infra"), gateway("others"))
    };
    let lab = Lab::start(view(&with("infra"))).await;
    lab.keys.send_replace(Some(Keys::fresh().unwrap()));
    let ends = [WAYPOINT, CANARY, "spiffe://td/ns/others/sa/canary", OTHER].map(|who| lab.waypoint(who, CONTROLLER));
    let partners = |at: usize| {
        let keys = ends[at].keys.borrow();
        keys.as_ref().map_or(usize::MAX, |keys| keys.partners.len())
    };
    eventually(|| (partners(0), partners(1), partners(2), partners(3)) == (2, 2, 0, 0)).await;
    let all: Vec<SealingKeys> = ends.iter().map(|end| end.keys.borrow().clone().unwrap()).collect();
    let secrets = |keys: &[SealingKey]| keys.iter().map(|key| key.secret).collect::<std::collections::BTreeSet<_>>();
    let own = |keys: &SealingKeys| secrets(&[keys.current.clone(), keys.previous.clone().unwrap()]);
    assert_eq!((secrets(&all[0].partners), secrets(&all[1].partners)), (own(&all[1]), own(&all[0])));
    assert!(own(&all[0]).is_disjoint(&own(&all[1])), "each seals with its own");
    // A canary in another namespace is another tenant's: it gets nothing, and nothing is taken from it.
    lab.show(&with("others"));
    eventually(|| (partners(0), partners(1), partners(2), partners(3)) == (0, 0, 0, 0)).await;
}

/// Of istiod's class it is by their label that pods are known.
#[test]
fn who_labels_a_pod_as_a_canarys_gets_no_keys_of_its_primary() {
    let pod = |account: &str| {
        format!(
            "\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {account}, namespace: infra, labels: {{gateway.networking.k8s.io/gateway-name: canary}}}}\nspec: {{serviceAccountName: {account}, containers: []}}"
        )
    };
    let canary = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: canary, namespace: infra}\nspec: {gatewayClassName: istio-agentgateway-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}]}";
    let label = "istio.io/use-waypoint-namespace: infra, istio.io/use-waypoint-canary: canary, istio.io/use-waypoint-canary-namespace: infra}";
    let mesh = MESH.replace("istio.io/use-waypoint-namespace: infra}", label);
    let view = view(&format!("{}{canary}{}{}", mesh.trim_end(), pod("canary"), pod("somebody")));
    let catalog = Cataloguer::default().catalog(&view);
    let partners =
        |account: &str| catalog.partners("infra", account).map(|(_, account)| account.as_str()).collect::<Vec<_>>();
    assert!(catalog.documents("infra", "somebody").is_some(), "so that it can fail: it is taken for one of its pods");
    assert_eq!((partners("wp"), partners("canary")), (vec!["canary"], vec!["wp"]));
    assert_eq!(partners("somebody"), Vec::<&str>::new());
}

/// Certificates that a policy names go where the policy goes.
#[tokio::test]
async fn config_maps_that_a_policy_names_go_with_it() {
    let policy = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: tls, namespace: tools, generation: 1}
spec: {targetRefs: [{group: '', kind: Service, name: repo}], validation: {hostname: a.example, caCertificateRefs: [{group: '', kind: ConfigMap, name: roots}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: tools}
data: {ca.crt: x}
";
    let map = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: roots, namespace: tools}\ndata: {ca.crt: \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\"}\n";
    let lab = Lab::start(view(&format!("{MESH}{policy}"))).await;
    let waypoint = lab.waypoint(WAYPOINT, CONTROLLER);
    eventually(|| {
        waypoint.target("tools", "repo").flatten().is_some_and(|why| why.contains("no ConfigMap tools/roots"))
    })
    .await;
    lab.show(&format!("{MESH}{policy}{map}"));
    eventually(|| waypoint.target("tools", "repo") == Some(None)).await;
    assert_eq!(waypoint.documents(), 4, "Service, Gateway, policy and its ConfigMap, not the other");
}

#[tokio::test]
async fn the_meshs_config_goes_to_everybody() {
    let config = "
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'pathNormalization: {normalization: NONE}'}
";
    let lab = Lab::start(view(&format!("{MESH}{config}"))).await;
    for who in [WAYPOINT, OTHER] {
        let mut raw = lab.raw(who).await.unwrap();
        raw.ask(DOCUMENT, &[]).await;
        assert_eq!(names(&raw.next().await.unwrap())[0], "/ConfigMap/istio-system/istio");
    }
    let waypoint = lab.waypoint(WAYPOINT, CONTROLLER);
    eventually(|| waypoint.documents() == 3).await;
}

#[tokio::test]
async fn other_types_and_methods_are_refused() {
    let lab = Lab::start(view(MESH)).await;
    let mut raw = lab.raw(WAYPOINT).await.unwrap();
    raw.ask("type.googleapis.com/envoy.config.cluster.v3.Cluster", &[]).await;
    assert_eq!(raw.next().await.unwrap_err().code(), Code::InvalidArgument);
}

/// What a waypoint of `tools/wp` is told stands before the pods of `tools/repo`.
fn guarded_by(yaml: &str) -> Option<String> {
    let catalog = Cataloguer::new("agent-waypoint-system").catalog(&view(yaml));
    let scope = catalog.documents("tools", "wp").unwrap();
    let service = scope.get("/Service/tools/repo").unwrap();
    let field = String::from_utf8_lossy(&service.field).into_owned();
    let (_, rest) = field.split_once("\"agent-waypoint.dev/guarded-by\":\"")?;
    Some(rest.split('"').next().unwrap().to_owned())
}

#[test]
fn a_service_is_sent_with_the_guard_that_is_to_stand_before_its_pods() {
    const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: tools}
spec: {gatewayClassName: agent-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: repo, namespace: tools, labels: {istio.io/use-waypoint: wp}ANNOTATIONS}
spec: {ports: [{port: 80}], selector: {app: repo}}
";
    let plain = GATEWAY.replace("ANNOTATIONS", "");
    let name = guarded_by(&plain).unwrap();
    assert!(name.starts_with("agent-waypoint-guard-"), "{name}");
    let said = |text: &str| GATEWAY.replace("ANNOTATIONS", text);
    assert_eq!(guarded_by(&said(", annotations: {agent-waypoint.dev/guard: Report}")), None);
    assert_eq!(guarded_by(&plain.replace("selector: {app: repo}", "type: ClusterIP")), None, "no selector");
    let forged = said(", annotations: {agent-waypoint.dev/guard: Report, agent-waypoint.dev/guarded-by: x}");
    assert_eq!(guarded_by(&forged), None, "only we say so");
    let off = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: agent-waypoint-guards, namespace: agent-waypoint-system}\ndata: {guards: \"Off\"}";
    assert_eq!(guarded_by(&format!("{plain}{off}")), None, "switched off");
    let namespace =
        "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: tools, labels: {agent-waypoint.dev/guard: Report}}";
    assert_eq!(guarded_by(&format!("{plain}{namespace}")), None);
    let taken = format!(
        "\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: tools}}\nspec: {{}}"
    );
    assert_eq!(guarded_by(&format!("{plain}{taken}")), None, "there can be none: another has its name");
    // It is sent anew where that changes, though the Service did not.
    let mut cataloguer = Cataloguer::new("agent-waypoint-system");
    let version = |catalog: &Catalog| {
        catalog.documents("tools", "wp").unwrap().get("/Service/tools/repo").unwrap().version.clone()
    };
    let before = version(&cataloguer.catalog(&view(&plain)));
    assert_ne!(version(&cataloguer.catalog(&view(&format!("{plain}{off}")))), before);
    assert_eq!(version(&cataloguer.catalog(&view(&plain))), before);
}

#[test]
fn what_several_gateways_of_one_account_have_is_put_together_once() {
    let gateway = |name: &str| {
        format!(
            "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: tools}}\nspec: {{gatewayClassName: istio-agentgateway-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}-1, namespace: tools, labels: {{gateway.networking.k8s.io/gateway-name: {name}}}}}\nspec: {{containers: []}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: of-{name}, namespace: tools, labels: {{istio.io/use-waypoint: {name}}}}}\nspec: {{ports: [{{port: 80}}]}}"
        )
    };
    let mesh = ["a", "b"].map(gateway).concat().trim_start_matches("\n---").to_owned();
    let mut cataloguer = Cataloguer::new("agent-waypoint-system");
    let mut all = |yaml: &str| cataloguer.catalog(&view(yaml)).documents("tools", "default").unwrap();
    let first = all(&mesh);
    let names: Vec<String> = first.iter().map(|one| one.name.to_string()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(Arc::ptr_eq(&first, &all(&mesh)));
    assert!(Arc::ptr_eq(&first, &all(&format!("{mesh}\n---{MESH}"))), "others play no part");
    assert_ne!(first.digest(), all(&mesh.replace("port: 80", "port: 81")).digest());
}

//! Many waypoints and many documents:
//! `cargo test --lib feed::tests::scale -- --ignored --nocapture --test-threads 1`. The clients are in this process too and
//! do their half of the cryptography on the same cores, so that a controller by itself is better than what is printed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Instant;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::body::Body;
use tower::{Service as _, ServiceExt as _};

use super::*;

const REPLICAS: usize = 500;
const DOCUMENTS: usize = 10_000;

/// A stream of which only the sizes of messages are looked at: to decompress and decode is the waypoints' work, and not
/// measured here.
struct Counted {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Body,
    /// Read and not counted yet: the next message's beginning.
    rest: BytesMut,
}

impl Counted {
    async fn connect(lab: &Lab, who: &str, gzip: bool) -> Self {
        let (mut channel, _) = lab.way(who, CONTROLLER).open().await.unwrap();
        let (requests, outgoing) = mpsc::channel::<DeltaDiscoveryRequest>(8);
        let outgoing = stream::unfold(outgoing, |mut queue| async move {
            let message = queue.recv().await?.encode_to_vec();
            let prefix = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat();
            let framed = Bytes::from([prefix, message].concat());
            Some((Ok::<_, Status>(http_body::Frame::data(framed)), queue))
        });
        let request = http::Request::post(
            "http://feed/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        )
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-accept-encoding", if gzip { "gzip,identity" } else { "identity" })
        .body(Body::new(StreamBody::new(outgoing)))
        .unwrap();
        let responses = channel.ready().await.unwrap().call(request).await.unwrap().into_body();
        Self { requests, responses, rest: BytesMut::new() }
    }

    /// The size of the next message as it comes.
    async fn message(&mut self) -> usize {
        while self.rest.len() < 5 {
            let frame = self.responses.frame().await.expect("the stream goes on").unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
        let mut prefix = self.rest.split_to(5);
        prefix.advance(1);
        let size = prefix.get_u32() as usize;
        let mut left = size.saturating_sub(self.rest.len());
        self.rest.advance(self.rest.len().min(size));
        while left > 0 {
            let mut data = self.responses.frame().await.expect("the stream goes on").unwrap().into_data().unwrap();
            let here = left.min(data.len());
            data.advance(here);
            left -= here;
            self.rest.extend_from_slice(&data);
        }
        size
    }

    /// Asks for everything, and acknowledges it.
    async fn sync(&mut self, has: &HashMap<String, String>) -> usize {
        self.send("", has.clone()).await;
        let size = self.message().await;
        self.send("1", HashMap::new()).await;
        size
    }

    async fn send(&self, response_nonce: &str, initial_resource_versions: HashMap<String, String>) {
        let (type_url, response_nonce) = (DOCUMENT.to_owned(), response_nonce.to_owned());
        let request = DeltaDiscoveryRequest {
            type_url,
            response_nonce,
            initial_resource_versions,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.unwrap();
    }
}

/// As many Gateways, each with its share of the documents, of which one says `word`.
fn mesh(gateways: usize, word: &str) -> View {
    let mut yaml = String::new();
    for gateway in 0..gateways {
        write!(
            yaml,
            "\n---\n{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: wp-{gateway}, namespace: infra}}, spec: {{gatewayClassName: agent-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {{namespaces: {{from: All}}}}}}]}}}}\n---\n{{apiVersion: v1, kind: Service, metadata: {{name: repo, namespace: tools-{gateway}, labels: {{istio.io/use-waypoint: wp-{gateway}, istio.io/use-waypoint-namespace: infra}}}}, spec: {{ports: [{{port: 80, appProtocol: agent-waypoint.dev/mcp}}]}}}}"
        )
        .unwrap();
        for policy in 0..DOCUMENTS / gateways {
            let word = if policy == 0 { word } else { "same" };
            write!(
                yaml,
                "\n---\n{{apiVersion: agent-waypoint.dev/v1alpha1, kind: AgentPolicy, metadata: {{name: policy-{policy}, namespace: tools-{gateway}, generation: 1, annotations: {{word: {word}}}}}, spec: {{targetRefs: [{{kind: Service, name: repo}}], protocol: MCP, deny: [{{name: no-delete, to: [{{tools: ['delete_*']}}]}}], require: [{{name: own-org-only, to: [{{tools: ['create_*', 'update_*']}}], that: 'has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == \"acme\"'}}], allow: [{{name: researchers, from: [{{serviceAccounts: ['agents/researcher-{policy}']}}], to: [{{tools: ['get_*', 'search_*']}}]}}]}}}}"
            )
            .unwrap();
        }
    }
    view(&yaml)
}

fn who(gateways: usize) -> Vec<String> {
    (0..REPLICAS).map(|n| format!("spiffe://td/ns/infra/sa/wp-{}", n % gateways)).collect()
}

/// First sync of all, one edit for each Gateway to all, and all coming back with what they have.
async fn measured(gateways: usize, gzip: bool) -> [Duration; 3] {
    let (before, after) = (mesh(gateways, "before"), mesh(gateways, "after"));
    let lab = Lab::start(before).await;
    let (who, nothing) = (who(gateways), HashMap::new());
    let mut waypoints = join_all(who.iter().map(|who| Counted::connect(&lab, who, gzip))).await;
    let start = Instant::now();
    let sizes = join_all(waypoints.iter_mut().map(|waypoint| waypoint.sync(&nothing))).await;
    let first = start.elapsed();
    let start = Instant::now();
    lab.views.send_replace(Arc::new(after));
    let edited = join_all(waypoints.iter_mut().map(Counted::message)).await;
    let edit = start.elapsed();
    assert!(edited.iter().all(|size| *size < 4_096), "an edit costs an edit: {:?}", edited.iter().max());
    let mut has = Vec::new();
    for who in who.iter().take(gateways) {
        let mut raw = lab.raw(who).await.unwrap();
        raw.ask(DOCUMENT, &[]).await;
        let all = raw.next().await.unwrap().resources.into_iter().map(|one| (one.name, one.version));
        has.push(all.collect::<HashMap<_, _>>());
    }
    drop(waypoints);
    let mut waypoints = join_all(who.iter().map(|who| Counted::connect(&lab, who, gzip))).await;
    let start = Instant::now();
    let told = join_all(waypoints.iter_mut().zip(has.iter().cycle()).map(|(waypoint, has)| waypoint.sync(has))).await;
    let again = start.elapsed();
    assert!(told.iter().all(|size| *size < 256), "who has everything is told nothing: {:?}", told.iter().max());
    let (bytes, how) = (sizes.iter().sum::<usize>() >> 20, if gzip { "compressed" } else { "as it is" });
    println!(
        "{REPLICAS} replicas of {gateways} Gateways, {DOCUMENTS} documents: first sync {first:?} ({bytes} MiB, {how}), an edit {edit:?}, all come back {again:?}; {} MiB resident",
        resident() >> 10
    );
    [first, edit, again]
}

/// Of this process, KiB.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).map_or(0, |pages: usize| pages * 4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and both cores; run by hand"]
async fn five_hundred_replicas_of_fifty_gateways() {
    let [first, edit, again] = measured(50, true).await;
    assert!(first < Duration::from_secs(5) && edit < Duration::from_secs(2), "{first:?} {edit:?}");
    assert!(again < Duration::from_secs(5), "{again:?}");
}

/// The worst that can be asked: some 3.4 GiB of documents in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and both cores; run by hand"]
async fn five_hundred_replicas_that_all_have_every_document() {
    let [first, edit, again] = measured(1, true).await;
    assert!(first < Duration::from_secs(5) && edit < Duration::from_secs(2), "{first:?} {edit:?}");
    assert!(again < Duration::from_secs(20), "{again:?}");
}

/// Whoever takes nothing compressed: all of it is encrypted and decrypted here, and how long that takes says how fast the
/// cores are; an edit still costs an edit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and both cores; run by hand"]
async fn five_hundred_replicas_that_take_nothing_compressed() {
    let [_first, edit, _again] = measured(1, false).await;
    assert!(edit < Duration::from_secs(2), "{edit:?}");
}

/// KiB that each of so many takes, both ends, that ask for all documents and read nothing of the answer.
async fn stalled(lab: &Lab, gzip: bool) -> usize {
    let who = who(1);
    let before = resident();
    let waypoints = join_all(who.iter().map(|who| Counted::connect(lab, who, gzip))).await;
    let nothing = HashMap::new();
    join_all(waypoints.iter().map(|waypoint| waypoint.send("", nothing.clone()))).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    resident().saturating_sub(before) / REPLICAS
}

/// What nobody has read yet is held once, and not for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and both cores; run by hand"]
async fn a_replica_takes_the_same_memory_whatever_the_documents() {
    let lab = Lab::start(mesh(1, "before")).await;
    for gzip in [true, false] {
        let each = stalled(&lab, gzip).await;
        println!("{REPLICAS} that do not read, {DOCUMENTS} documents, gzip {gzip}: {each} KiB for each, both ends");
        // 2 MiB are the client's window, which it fills.
        assert!(each < 2_048 + 512, "{each} KiB for each of 6,800 KiB that it is to be sent");
    }
}

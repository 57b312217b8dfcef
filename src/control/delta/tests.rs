//! The client against a server in the same process, over a pipe, in paused time.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost_types::value::Kind;
use prost_types::{Any, Struct};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use super::wire::aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer};
use super::wire::{self, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use super::*;

const FRUIT: &str = "type.googleapis.com/test.Fruit";
const STONE: &str = "type.googleapis.com/test.Stone";

/// What a keeper holds, by name; it refuses every body that says `bad`.
#[derive(Clone)]
struct Basket {
    url: &'static str,
    held: Arc<Mutex<BTreeMap<String, String>>>,
}

#[tonic::async_trait]
impl Keeper for Basket {
    fn type_url(&self) -> &'static str {
        self.url
    }

    async fn apply(&mut self, push: Push) -> Vec<Rejected> {
        let mut held = self.held.lock().unwrap();
        push.removed.iter().for_each(|name| drop(held.remove(name)));
        let mut rejected = Vec::new();
        for Resource { name, body, .. } in push.resources {
            match String::from_utf8(body).unwrap() {
                bad if bad == "bad" => rejected.push(Rejected { name, reason: "is bad".to_owned() }),
                body => drop(held.insert(name, body)),
            }
        }
        rejected
    }
}

/// One stream as the server sees it.
struct Stream {
    requests: mpsc::Receiver<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    token: Option<String>,
}

#[derive(Clone)]
struct Ads(mpsc::Sender<Stream>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type DeltaAggregatedResourcesStream =
        Pin<Box<dyn futures_util::Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let token = request.metadata().get("authorization").map(|token| token.to_str().unwrap().to_owned());
        let mut incoming = request.into_inner();
        let (seen, requests) = mpsc::channel(100);
        let (responses, outgoing) = mpsc::channel(100);
        tokio::spawn(async move {
            while let Ok(Some(request)) = incoming.message().await {
                if seen.send(request).await.is_err() {
                    return;
                }
            }
        });
        self.0.send(Stream { requests, responses, token }).await.unwrap();
        let outgoing = stream::unfold(outgoing, |mut queue| async move { Some((queue.recv().await?, queue)) });
        Ok(Response::new(Box::pin(outgoing)))
    }
}

/// Opens pipes to the server, after as many failures as are asked for.
#[derive(Clone)]
struct Pipe {
    ads: Ads,
    failures: Arc<Mutex<usize>>,
    tried: Arc<Mutex<Vec<Instant>>>,
}

impl Way for Pipe {
    type Fault = &'static str;

    async fn open(&self) -> Result<(Channel, MetadataMap), &'static str> {
        let nth = {
            let mut tried = self.tried.lock().unwrap();
            tried.push(Instant::now());
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err("no way");
            }
            tried.len()
        };
        let (near, far) = tokio::io::duplex(1 << 16);
        let service = AggregatedDiscoveryServiceServer::new(self.ads.clone());
        let answer = hyper::service::service_fn(move |request| service.clone().call(request));
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(far), answer));
        let mut near = Some(near);
        let connect = tower::service_fn(move |_uri: http::Uri| {
            let near = near.take().map(TokioIo::new).ok_or_else(|| std::io::ErrorKind::NotConnected.into());
            async move { near as Result<_, std::io::Error> }
        });
        let channel = Endpoint::from_static("http://server").connect_with_connector(connect).await.unwrap();
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", format!("token {nth}").parse().unwrap());
        Ok((channel, metadata))
    }
}

struct Lab {
    streams: mpsc::Receiver<Stream>,
    fruit: Basket,
    stone: Basket,
    pipe: Pipe,
    link: Link,
    stop: CancellationToken,
}

impl Lab {
    fn start(failures: usize) -> Self {
        let (sender, streams) = mpsc::channel(10);
        let pipe = Pipe { ads: Ads(sender), failures: Arc::new(Mutex::new(failures)), tried: Arc::default() };
        let [fruit, stone] = [FRUIT, STONE].map(|url| Basket { url, held: Arc::default() });
        let node = Node { id: "me".to_owned(), ..Node::default() };
        let client =
            Client::new("test", pipe.clone(), node).keep(Box::new(fruit.clone())).keep(Box::new(stone.clone()));
        let (link, stop) = (client.link(), CancellationToken::new());
        tokio::spawn(client.run(stop.clone()));
        Self { streams, fruit, stone, pipe, link, stop }
    }

    /// The next stream, and its first requests: one for each type.
    async fn stream(&mut self) -> (Stream, [DeltaDiscoveryRequest; 2]) {
        let mut stream = self.streams.recv().await.unwrap();
        let first = [stream.next().await, stream.next().await];
        (stream, first)
    }

    fn held(&self) -> Vec<(String, String)> {
        self.fruit.held.lock().unwrap().clone().into_iter().collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stream {
    async fn next(&mut self) -> DeltaDiscoveryRequest {
        self.requests.recv().await.unwrap()
    }

    /// Pushes fruit and takes the answer.
    async fn push(&mut self, nonce: &str, fruit: &[(&str, &str, &str)], removed: &[&str]) -> DeltaDiscoveryRequest {
        let resources = fruit.iter().map(|(name, version, body)| resource(name, version, FRUIT, body)).collect();
        let removed_resources = removed.iter().map(|name| (*name).to_owned()).collect();
        self.say(nonce, resources, removed_resources).await
    }

    async fn say(
        &mut self,
        nonce: &str,
        resources: Vec<wire::Resource>,
        removed: Vec<String>,
    ) -> DeltaDiscoveryRequest {
        let response = DeltaDiscoveryResponse {
            resources,
            type_url: FRUIT.to_owned(),
            nonce: nonce.to_owned(),
            removed_resources: removed,
            ..DeltaDiscoveryResponse::default()
        };
        self.responses.send(Ok(response)).await.unwrap();
        self.next().await
    }
}

fn resource(name: &str, version: &str, url: &str, body: &str) -> wire::Resource {
    let any = Any { type_url: url.to_owned(), value: body.as_bytes().to_vec() };
    wire::Resource { name: name.to_owned(), version: version.to_owned(), resource: Some(any), aliases: Vec::new() }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn sorted(versions: &std::collections::HashMap<String, String>) -> Vec<(String, String)> {
    versions.clone().into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn everything_of_each_type_is_asked_for_on_one_stream_and_acknowledged() {
    let mut lab = Lab::start(0);
    let (mut stream, first) = lab.stream().await;
    for (request, url) in first.iter().zip([FRUIT, STONE]) {
        assert_eq!((request.type_url.as_str(), request.node.as_ref().unwrap().id.as_str()), (url, "me"));
        assert!(request.resource_names_subscribe.is_empty() && request.initial_resource_versions.is_empty());
        assert!(request.response_nonce.is_empty());
    }
    assert_eq!(stream.token.as_deref(), Some("token 1"));
    assert!(!lab.link.is_up(), "the server has not said anything yet");
    let ack = stream.push("n1", &[("a", "1", "apple"), ("b", "1", "pear"), ("a", "2", "quince")], &[]).await;
    assert_eq!((ack.type_url.as_str(), ack.response_nonce.as_str(), ack.error_detail), (FRUIT, "n1", None));
    assert!(ack.node.is_none() && ack.initial_resource_versions.is_empty());
    assert_eq!(lab.held(), pairs(&[("a", "quince"), ("b", "pear")]), "of two of one name the later");
    assert!(lab.link.is_up());
    stream.push("n2", &[("c", "1", "plum")], &["a", "c", "never-there"]).await;
    assert_eq!(lab.held(), pairs(&[("b", "pear"), ("c", "plum")]), "removed and there again is there");
    assert!(lab.stone.held.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_good_of_a_bad_push_is_taken_and_the_bad_refused_by_name() {
    let mut lab = Lab::start(0);
    let (mut stream, _) = lab.stream().await;
    stream.push("n1", &[("b", "1", "pear")], &[]).await;
    let nack = stream.push("n2", &[("a", "1", "apple"), ("b", "2", "bad"), ("c", "1", "bad")], &[]).await;
    let detail = nack.error_detail.unwrap();
    assert_eq!((nack.response_nonce.as_str(), detail.code), ("n2", 3));
    assert_eq!(detail.message, "b: is bad\nc: is bad\n");
    assert_eq!(lab.held(), pairs(&[("a", "apple"), ("b", "pear")]), "the last good one stays");
    assert_eq!(lab.link.rejected(), 2);
    let odd = vec![
        resource("d", "1", STONE, "granite"),
        resource("", "1", FRUIT, "nameless"),
        wire::Resource { name: "e".to_owned(), ..wire::Resource::default() },
        resource("f", "1", FRUIT, "fig"),
    ];
    let detail = stream.say("n3", odd, Vec::new()).await.error_detail.unwrap();
    for part in ["d: is a \"type.googleapis.com/test.Stone\"", ": has no name", "e: has no body"] {
        assert!(detail.message.contains(part), "{}", detail.message);
    }
    assert_eq!(lab.held().last().unwrap().1, "fig");
    // The server is told what is really here, so that it sends the refused ones again.
    drop(stream);
    let (_stream, [first, _]) = lab.stream().await;
    assert_eq!(sorted(&first.initial_resource_versions), pairs(&[("a", "1"), ("b", "1"), ("f", "1")]));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_outlives_the_stream_and_is_named_on_the_next() {
    let mut lab = Lab::start(0);
    let (mut stream, _) = lab.stream().await;
    stream.push("n1", &[("a", "1", "apple"), ("b", "7", "pear")], &[]).await;
    *lab.pipe.failures.lock().unwrap() = 3;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!lab.link.is_up());
    assert_eq!(lab.held().len(), 2, "an outage forgets nothing");
    let (mut stream, [first, other]) = lab.stream().await;
    assert_eq!(sorted(&first.initial_resource_versions), pairs(&[("a", "1"), ("b", "7")]));
    assert!(first.node.is_some() && other.initial_resource_versions.is_empty());
    assert_eq!(stream.token.as_deref(), Some("token 5"), "read anew for each stream");
    stream.push("n1", &[], &["a"]).await;
    assert_eq!(lab.held(), pairs(&[("b", "pear")]), "what went meanwhile is removed");
    assert_eq!(lab.link.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn waits_double_from_10_ms_to_15_s_and_begin_anew_once_the_server_spoke() {
    let mut lab = Lab::start(14);
    let (mut stream, _) = lab.stream().await;
    let tried = lab.pipe.tried.lock().unwrap().clone();
    let waits: Vec<Duration> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, power) in waits.iter().zip(0_u32..) {
        let whole = Duration::from_millis(10 << power).min(Duration::from_secs(15));
        let slack = Duration::from_millis(1);
        assert!(*wait >= whole / 2 && *wait <= whole + slack, "try {power}: {wait:?}");
    }
    stream.push("n1", &[], &[]).await;
    let before = Instant::now();
    stream.responses.send(Err(Status::unavailable("going"))).await.unwrap();
    let (stream, _) = lab.stream().await;
    assert!(before.elapsed() <= Duration::from_millis(12), "{:?}", before.elapsed());
    // A server that takes the stream and ends it without a word gets no such credit.
    drop(stream);
    for _ in 0..12 {
        drop(lab.stream().await);
    }
    let before = Instant::now();
    lab.stream().await;
    assert!(before.elapsed() >= Duration::from_secs(7), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_type_that_nobody_asked_for_is_acknowledged_and_stopping_ends_the_stream() {
    let mut lab = Lab::start(0);
    let (mut stream, _) = lab.stream().await;
    let type_url = "type.googleapis.com/test.Other".to_owned();
    let response = DeltaDiscoveryResponse { type_url, nonce: "n1".to_owned(), ..DeltaDiscoveryResponse::default() };
    stream.responses.send(Ok(response)).await.unwrap();
    assert!(stream.next().await.error_detail.is_none());
    lab.stop.cancel();
    assert!(stream.requests.recv().await.is_none());
}

/// A keeper of fruit that reports a number.
struct Teller {
    fruit: Basket,
    says: watch::Receiver<u32>,
    said: Option<u32>,
}

#[tonic::async_trait]
impl Keeper for Teller {
    fn type_url(&self) -> &'static str {
        FRUIT
    }

    async fn apply(&mut self, push: Push) -> Vec<Rejected> {
        self.fruit.apply(push).await
    }

    fn report(&mut self) -> Option<Struct> {
        let says = *self.says.borrow();
        self.said = Some(says);
        let number = prost_types::Value { kind: Some(Kind::NumberValue(says.into())) };
        Some(Struct { fields: [("says".to_owned(), number)].into() })
    }

    async fn news(&mut self) {
        let said = self.said;
        let _ended = self.says.wait_for(|says| Some(*says) != said).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_goes_with_answers_and_by_itself_when_it_changes() {
    let (sender, mut streams) = mpsc::channel(10);
    let pipe = Pipe { ads: Ads(sender), failures: Arc::default(), tried: Arc::default() };
    let [fruit, stone] = [FRUIT, STONE].map(|url| Basket { url, held: Arc::default() });
    let (say, says) = watch::channel(1);
    let node = Node { id: "me".to_owned(), ..Node::default() };
    let teller = Teller { fruit, says, said: None };
    let client = Client::new("test", pipe, node).keep(Box::new(teller)).keep(Box::new(stone));
    let stop = CancellationToken::new();
    tokio::spawn(client.run(stop.clone()));
    let number = |request: &DeltaDiscoveryRequest| {
        let node = request.node.as_ref()?;
        assert_eq!((node.id.as_str(), request.type_url.as_str()), ("me", FRUIT));
        match node.metadata.as_ref()?.fields["says"].kind {
            Some(Kind::NumberValue(number)) => Some(number),
            _ => None,
        }
    };
    let mut stream = streams.recv().await.unwrap();
    let first = [stream.next().await, stream.next().await];
    assert!(first.iter().all(|request| request.node.as_ref().unwrap().metadata.is_none()), "nothing is known yet");
    say.send_replace(2);
    let silent = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
    assert!(silent.is_err(), "and nothing is said before there is something to answer");
    let ack = stream.push("n1", &[("a", "1", "apple")], &[]).await;
    assert_eq!((number(&ack), ack.response_nonce.as_str()), (Some(2.0), "n1"));
    say.send_replace(3);
    let news = stream.next().await;
    assert_eq!((number(&news), news.response_nonce.as_str(), news.error_detail), (Some(3.0), "", None));
    // A new stream begins without, and has it with the first answer.
    drop(stream);
    let mut again = streams.recv().await.unwrap();
    assert!(again.next().await.node.unwrap().metadata.is_none());
    again.next().await;
    assert_eq!(number(&again.push("n1", &[], &[]).await), Some(3.0));
    stop.cancel();
}

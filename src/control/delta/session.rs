//! One stream: asks for every type, applies what comes, answers each response.

use std::collections::{HashMap, HashSet};

use futures_util::future::select_all;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::client::Link;
use super::keeper::{Keeper, Push, Rejected, Resource};
use super::wire::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use super::wire::{self, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use crate::config::limits;

/// Requests that wait for the connection. Responses are taken one by one, each with one answer, so that few suffice.
const REQUESTS: usize = 16;
/// Of the reasons in one refusal, bytes.
const MAX_DETAIL: usize = 8 << 10;

/// A keeper and what it was last sent: it outlives streams.
pub(super) struct Kept {
    keeper: Box<dyn Keeper>,
    /// Whether a push of this stream was answered: before that there is nothing to report.
    answered: bool,
    versions: HashMap<Box<str>, Box<str>>,
}

impl Kept {
    pub(super) fn new(keeper: Box<dyn Keeper>) -> Self {
        Self { keeper, answered: false, versions: HashMap::new() }
    }

    /// The first request on a stream: everything, and what of it is still here.
    fn initial(&mut self, node: &Node) -> DeltaDiscoveryRequest {
        self.answered = false;
        let versions = self.versions.iter().map(|(name, version)| (name.to_string(), version.to_string()));
        DeltaDiscoveryRequest {
            node: Some(node.clone()),
            type_url: self.keeper.type_url().to_owned(),
            initial_resource_versions: versions.collect(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    /// Who we are, with what the server is to know beside.
    fn reporting(&mut self, node: &Node) -> Option<Node> {
        let metadata = self.keeper.report()?;
        Some(Node { metadata: Some(metadata), ..node.clone() })
    }

    /// Has the push kept, and remembers the versions of what was.
    ///
    /// # Errors
    /// It may not be looked at: why.
    async fn apply(&mut self, response: DeltaDiscoveryResponse) -> Result<Vec<Rejected>, String> {
        let (push, mut rejected) = push(response);
        if let Some(why) = self.keeper.refuses(&push) {
            return Err(why);
        }
        let named: Vec<(String, String)> =
            push.resources.iter().map(|one| (one.name.clone(), one.version.clone())).collect();
        for name in &push.removed {
            self.versions.remove(name.as_str());
        }
        rejected.extend(self.keeper.apply(push).await);
        let bad: HashSet<&str> = rejected.iter().map(|one| one.name.as_str()).collect();
        for (name, version) in named.into_iter().filter(|(name, _)| !bad.contains(name.as_str())) {
            self.versions.insert(name.into(), version.into());
        }
        Ok(rejected)
    }
}

/// What a response says, and what of it is malformed whatever the type. Of two resources of one name the later holds.
fn push(response: DeltaDiscoveryResponse) -> (Push, Vec<Rejected>) {
    let mut rejected = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut push = Push { version: response.system_version_info, ..Push::default() };
    for wire::Resource { version, resource, name, .. } in response.resources {
        let body = match resource {
            Some(any) if any.type_url == response.type_url => any.value,
            Some(any) => {
                let reason = format!("is a {:?}, not a {:?}", any.type_url, response.type_url);
                rejected.push(Rejected { name, reason });
                continue;
            }
            None => {
                rejected.push(Rejected { name, reason: "has no body".to_owned() });
                continue;
            }
        };
        if name.is_empty() {
            rejected.push(Rejected { name, reason: "has no name".to_owned() });
            continue;
        }
        let one = Resource { name: name.clone(), version, body };
        match places.get(&name).and_then(|place| push.resources.get_mut(*place)) {
            Some(earlier) => *earlier = one,
            None => {
                places.insert(name, push.resources.len());
                push.resources.push(one);
            }
        }
    }
    push.removed = response.removed_resources.into_iter().filter(|name| !places.contains_key(name)).collect();
    (push, rejected)
}

/// Serves one stream to its end.
pub(super) async fn serve(
    (channel, metadata): (Channel, MetadataMap),
    node: &Node,
    kept: &mut [Kept],
    link: &Link,
) -> Result<(), Status> {
    let (requests, outgoing) = mpsc::channel(REQUESTS.max(kept.len()));
    let initial: Vec<_> = kept.iter_mut().map(|one| one.initial(node)).collect();
    for request in initial {
        send(&requests, request).await?;
    }
    let outgoing = stream::unfold(outgoing, |mut queue| async move { Some((queue.recv().await?, queue)) });
    let mut request = Request::new(outgoing);
    *request.metadata_mut() = metadata;
    // The limit is of a message as it is once it is decompressed.
    let mut client = AggregatedDiscoveryServiceClient::new(channel)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(limits::XDS_MAX_MESSAGE);
    let mut responses = client.delta_aggregated_resources(request).await?.into_inner();
    loop {
        let response = tokio::select! {
            biased;
            response = responses.message() => response?,
            place = news(kept) => {
                let Some(one) = kept.get_mut(place) else { continue };
                let type_url = one.keeper.type_url().to_owned();
                if let Some(reporting) = one.reporting(node) {
                    let node = Some(reporting);
                    send(&requests, DeltaDiscoveryRequest { node, type_url, ..Default::default() }).await?;
                }
                continue;
            }
        };
        let Some(response) = response else { return Ok(()) };
        let (type_url, response_nonce) = (response.type_url.clone(), response.nonce.clone());
        let (rejected, node) = match kept.iter_mut().find(|one| one.keeper.type_url() == type_url) {
            Some(one) => {
                let applied = one.apply(response).await;
                let rejected = applied.map_err(|why| {
                    link.is_behind();
                    Status::failed_precondition(why)
                })?;
                one.answered = true;
                (rejected, one.reporting(node))
            }
            // A type that nobody asked for is nobody's concern.
            None => (Vec::new(), None),
        };
        link.up();
        link.refused(rejected.len());
        let error_detail = detail(&type_url, &rejected);
        let answer = DeltaDiscoveryRequest { node, type_url, response_nonce, error_detail, ..Default::default() };
        send(&requests, answer).await?;
    }
}

/// Which of them has something to report.
async fn news(kept: &mut [Kept]) -> usize {
    let waiting = kept.iter_mut().enumerate().filter(|(_, one)| one.answered);
    let waiting: Vec<_> = waiting
        .map(|(place, one)| {
            Box::pin(async move {
                one.keeper.news().await;
                place
            })
        })
        .collect();
    if waiting.is_empty() {
        return std::future::pending().await;
    }
    select_all(waiting).await.0
}

async fn send(requests: &mpsc::Sender<DeltaDiscoveryRequest>, request: DeltaDiscoveryRequest) -> Result<(), Status> {
    requests.send(request).await.map_err(|_gone| Status::unavailable("the connection ended"))
}

/// The refusal of what is bad, by name; none where all is good.
fn detail(type_url: &str, rejected: &[Rejected]) -> Option<wire::Status> {
    let mut message = String::new();
    for Rejected { name, reason } in rejected {
        tracing::error!(type_url, name, reason, "xDS resource refused; what was there before under its name stays");
        if message.len() + name.len() + reason.len() < MAX_DETAIL {
            message.extend([name, ": ", reason, "\n"]);
        }
    }
    (!rejected.is_empty()).then(|| wire::Status { code: i32::from(Code::InvalidArgument), message })
}

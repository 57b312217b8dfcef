use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::super::keys::Keys;
use super::acks::{Ack, Acks, PodKey, Voice};
use super::catalog::{Catalog, Scope};
use super::codec::{Frame, Head};
use crate::control::delta::wire::DeltaDiscoveryRequest;
use crate::control::feed::{DOCUMENT, KEY, Report};
use crate::id::{IstioId, WorkloadId};

/// Names in what a client says that it has.
const MAX_NAMES: usize = 1 << 20;
/// Of a pod's name (RFC 1123, as Kubernetes has it), bytes.
const MAX_POD_NAME: usize = 253;
/// Of the reasons of a refusal that are kept, characters.
const MAX_REASON: usize = 512;

/// What every stream reads.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) catalogs: watch::Receiver<Arc<Catalog>>,
    pub(super) keys: watch::Receiver<Option<Keys>>,
    pub(super) acks: Acks,
}

/// One waypoint's stream.
pub(super) struct Serving {
    shared: Shared,
    id: WorkloadId,
    istio: IstioId,
    pod: Option<PodKey>,
    /// The state that the client said last that it has in force, and what it says of it.
    in_force: Option<String>,
    report: Option<Arc<Report>>,
    voice: Voice,
    responses: mpsc::Sender<Result<Frame, Status>>,
    /// Whether the client takes compressed messages.
    gzip: bool,
    documents: Subscription,
    keys: Subscription,
    nonce: u64,
}

/// How far one type is.
#[derive(Default)]
struct Subscription {
    /// What the client said that it has, until the first push.
    has: Option<HashMap<String, String>>,
    /// What it has once it acknowledges the last push.
    sent: Option<Arc<Scope>>,
    /// The push that it has not answered.
    awaiting: Option<String>,
}

impl Subscription {
    /// Whether there is something to say, were there news.
    fn is_open(&self) -> bool {
        self.awaiting.is_none() && (self.has.is_some() || self.sent.is_some())
    }
}

impl Serving {
    pub(super) fn new(
        shared: Shared,
        id: WorkloadId,
        istio: IstioId,
        (responses, gzip): (mpsc::Sender<Result<Frame, Status>>, bool),
    ) -> Self {
        let (documents, keys) = (Subscription::default(), Subscription::default());
        let voice = shared.acks.voice();
        Self {
            shared,
            id,
            istio,
            pod: None,
            in_force: None,
            report: None,
            voice,
            responses,
            gzip,
            documents,
            keys,
            nonce: 0,
        }
    }

    /// Serves to the end of the stream. A client that may not ask is told so, at whatever time that comes to be.
    pub(super) async fn run(mut self, mut requests: Streaming<DeltaDiscoveryRequest>) {
        // All come back at once when a controller starts, and each says what it has: that stays in their windows until
        // there is something to compare it to.
        let known = tokio::select! {
            () = self.responses.closed() => return,
            known = self.shared.catalogs.wait_for(|catalog| catalog.whole) => known.is_ok(),
        };
        if !known {
            return;
        }
        loop {
            let ended = tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.take(request),
                    Ok(None) | Err(_) => return,
                },
                changed = self.shared.catalogs.changed() => ended(changed),
                changed = self.shared.keys.changed() => ended(changed),
            };
            let told = match ended {
                Ok(()) => self.tell().await,
                Err(status) => Err(status),
            };
            if let Err(status) = told {
                // It may be gone already.
                let _unheard = self.responses.send(Err(status)).await;
                return;
            }
        }
    }

    fn take(&mut self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        if let Some(node) = &request.node {
            self.pod = node.id.split_once('/').map(|(namespace, pod)| (namespace.to_owned(), pod.to_owned()));
        }
        let documents = request.type_url == DOCUMENT;
        if documents && let Some(metadata) = request.node.as_ref().and_then(|node| node.metadata.as_ref()) {
            self.report = Report::read(metadata).map(Arc::new);
        }
        let subscription = match request.type_url.as_str() {
            DOCUMENT => &mut self.documents,
            KEY => &mut self.keys,
            other => return Err(Status::invalid_argument(format!("there are no resources of type {other:?} here"))),
        };
        if request.response_nonce.is_empty() {
            if request.initial_resource_versions.len() > MAX_NAMES {
                return Err(Status::resource_exhausted("too many resource versions"));
            }
            if subscription.sent.is_none() {
                subscription.has = Some(request.initial_resource_versions);
            } else if documents {
                // Nothing is asked: there is another report.
                self.says_in_force();
            }
            return Ok(());
        }
        if subscription.awaiting.as_ref() != Some(&request.response_nonce) {
            return Ok(());
        }
        subscription.awaiting = None;
        if documents {
            let digest = subscription.sent.as_ref().map(|sent| sent.digest().to_owned()).unwrap_or_default();
            self.acknowledged(request, digest);
        }
        Ok(())
    }

    fn acknowledged(&mut self, request: DeltaDiscoveryRequest, digest: String) {
        let Some(refused) = request.error_detail else {
            self.in_force = Some(digest);
            return self.says_in_force();
        };
        self.in_force = None;
        let Some(pod) = self.believed_pod() else { return };
        let reason: String = refused.message.chars().take(MAX_REASON).collect();
        tracing::error!(peer = %self.id, pod = pod.1, reason, "a waypoint refused documents");
        self.voice.says(&pod, Ack::Refused(reason));
    }

    fn says_in_force(&mut self) {
        let (Some(pod), Some(digest)) = (self.believed_pod(), self.in_force.clone()) else { return };
        self.voice.says(&pod, Ack::InForce { digest, report: self.report.clone() });
    }

    /// A pod's name is only said, but none of another namespace is believed, nor one that no pod can have.
    fn believed_pod(&self) -> Option<PodKey> {
        let of_ours = |(namespace, pod): &PodKey| **namespace == *self.istio.namespace && pod.len() <= MAX_POD_NAME;
        self.pod.clone().filter(of_ours)
    }

    /// Says what there is to say, if anything.
    async fn tell(&mut self) -> Result<(), Status> {
        let catalog = Arc::clone(&self.shared.catalogs.borrow_and_update());
        if !catalog.whole {
            return Ok(());
        }
        let (namespace, account) = (&*self.istio.namespace, &*self.istio.service_account);
        let Some(scope) = catalog.documents(namespace, account) else {
            let why = format!("no Gateway's pods run as {}; this feed is for the pods of a Gateway only", self.id);
            return Err(Status::permission_denied(why));
        };
        self.tell_documents(scope, &catalog.order).await?;
        self.tell_keys(&catalog).await
    }

    async fn tell_documents(&mut self, scope: Arc<Scope>, order: &str) -> Result<(), Status> {
        if !self.documents.is_open() {
            return Ok(());
        }
        let nonce = self.next_nonce();
        let head = Head { type_url: DOCUMENT, nonce: &nonce, version: order };
        let frame = match (&self.documents.sent, &self.documents.has) {
            (Some(sent), _) if Arc::ptr_eq(sent, &scope) => return Ok(()),
            (Some(sent), _) => {
                let delta = scope.since(sent);
                if delta.is_empty() {
                    self.documents.sent = Some(scope);
                    return Ok(());
                }
                Frame::of(head, &delta)
            }
            (None, Some(has)) if !has.is_empty() => Frame::of(head, &scope.beyond(has)),
            (None, _) => {
                let packed = if self.gzip { scope.packed().await } else { None };
                let packed = packed.and_then(|packed| Frame::packed(head, packed));
                packed.unwrap_or_else(|| Frame::new(head, Vec::new(), vec![scope.all()]))
            }
        };
        (self.documents.sent, self.documents.has, self.documents.awaiting) = (Some(scope), None, Some(nonce));
        self.send(frame).await
    }

    async fn tell_keys(&mut self, catalog: &Catalog) -> Result<(), Status> {
        let keys = self.shared.keys.borrow_and_update().clone();
        let (true, Some(keys)) = (self.keys.is_open(), keys) else { return Ok(()) };
        let partners = catalog.partners(&self.istio.namespace, &self.istio.service_account);
        let partners =
            partners.filter_map(|(of, account)| WorkloadId::of_istio(self.id.trust_domain(), of, account).ok());
        let resources = keys.of(&self.id).into_iter().chain(partners.flat_map(|id| keys.of_partner(&id)));
        let scope = Scope::new(resources.map(|one| (Arc::clone(&one.name), Arc::new(one))).collect());
        let delta = match (&self.keys.sent, self.keys.has.take()) {
            (Some(sent), _) => scope.since(sent),
            (None, has) => scope.beyond(&has.unwrap_or_default()),
        };
        if self.keys.sent.is_some() && delta.is_empty() {
            return Ok(());
        }
        let nonce = self.next_nonce();
        let frame = Frame::of(Head { type_url: KEY, nonce: &nonce, version: "" }, &delta);
        (self.keys.sent, self.keys.awaiting) = (Some(Arc::new(scope)), Some(nonce));
        self.send(frame).await
    }

    fn next_nonce(&mut self) -> String {
        self.nonce += 1;
        self.nonce.to_string()
    }

    async fn send(&self, frame: Frame) -> Result<(), Status> {
        self.responses.send(Ok(frame)).await.map_err(|_gone| Status::unavailable("the stream is gone"))
    }
}

fn ended<T>(changed: Result<T, watch::error::RecvError>) -> Result<(), Status> {
    changed.map(drop).map_err(|_closed| Status::unavailable("the controller ends"))
}

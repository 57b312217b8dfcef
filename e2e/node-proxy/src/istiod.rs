//! `istiod`: the world's file as a control plane serves it, on one delta xDS stream over TLS, so that a waypoint learns who
//! and where as it does in a cluster. What is asked for by name is not known here: every client gets everything.

mod encode;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use agent_waypoint::control::delta::wire::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use agent_waypoint::control::delta::wire::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use anyhow::Context as _;
use clap::Args;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{Service as _, tokio_stream::Stream};
use tonic::{Request, Response, Status, Streaming};

use crate::events;
use crate::serve::follow;
use crate::world::World;

const ADDRESS: &str = "type.googleapis.com/istio.workload.Address";
const AUTHORIZATION: &str = "type.googleapis.com/istio.security.Authorization";
/// The name that clients know istiod by.
const NAME: &str = "istiod.istio-system.svc";
/// Answers that wait for a slow client.
const QUEUE: usize = 16;

/// `istiod`
#[derive(Debug, Args)]
pub(crate) struct IstiodArgs {
    /// The mesh: a JSON file, replaced by renaming
    #[arg(long)]
    world: PathBuf,
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// Where its root goes: istiod-root.pem
    #[arg(long)]
    dir: PathBuf,
}

/// The resources of one type: name to message.
type Resources = BTreeMap<String, Vec<u8>>;

/// Serves until it is killed.
pub(crate) async fn run(args: IstiodArgs) -> anyhow::Result<()> {
    let text = tokio::fs::read_to_string(&args.world).await.context("no world")?;
    let (sender, worlds) = watch::channel(Arc::new(World::parse(&text)?));
    let acceptor = acceptor(&args.dir)?;
    let listener = TcpListener::bind(args.listen).await?;
    events::print(&json!({"ready": NAME}));
    tokio::join!(accept(listener, acceptor, Ads(worlds)), follow(&args.world, text, sender));
    Ok(())
}

/// TLS with a certificate for [`NAME`] by a root of its own.
fn acceptor(dir: &std::path::Path) -> anyhow::Result<TlsAcceptor> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(dir.join("istiod-root.pem"), params.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![NAME.to_owned()])?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, ads: Ads) {
    let service = AggregatedDiscoveryServiceServer::new(ads);
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let (acceptor, service) = (acceptor.clone(), service.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(tcp).await else { return };
            let answer = hyper::service::service_fn(move |request| service.clone().call(request));
            let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ended = http2.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

#[derive(Debug, Clone)]
struct Ads(watch::Receiver<Arc<World>>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type DeltaAggregatedResourcesStream = Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        if request.metadata().get("authorization").is_none() {
            return Err(Status::unauthenticated("no token"));
        }
        let (out, outgoing) = mpsc::channel(QUEUE);
        tokio::spawn(converse(request.into_inner(), out, self.0.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// Answers each type's first request with all of it, and from then on sends what changes.
async fn converse(
    mut incoming: Streaming<DeltaDiscoveryRequest>,
    out: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    mut worlds: watch::Receiver<Arc<World>>,
) {
    let mut sent: BTreeMap<String, Resources> = BTreeMap::new();
    loop {
        tokio::select! {
            message = incoming.message() => {
                let Ok(Some(request)) = message else { return };
                if let Some(error) = request.error_detail {
                    events::print(&json!({"refused": request.type_url, "why": error.message}));
                }
                if sent.contains_key(&request.type_url) {
                    continue;
                }
                // What it had before is compared by name alone: its versions mean nothing to a server that is new.
                let had = request.initial_resource_versions.into_keys().map(|name| (name, Vec::new())).collect();
                sent.insert(request.type_url, had);
            }
            changed = worlds.changed() => if changed.is_err() { return },
        }
        let world = worlds.borrow_and_update().clone();
        for (kind, had) in &mut sent {
            let now = resources(&world, kind);
            let response = difference(kind, had, &now);
            *had = now;
            if out.send(Ok(response)).await.is_err() {
                return;
            }
        }
    }
}

fn resources(world: &World, kind: &str) -> Resources {
    match kind {
        ADDRESS => encode::addresses(world).collect(),
        AUTHORIZATION => encode::authorizations(world).collect(),
        _ => Resources::new(),
    }
}

fn difference(kind: &str, had: &Resources, now: &Resources) -> DeltaDiscoveryResponse {
    let resource = |(name, body): (&String, &Vec<u8>)| Resource {
        name: name.clone(),
        version: "1".to_owned(),
        resource: Some(prost_types::Any { type_url: kind.to_owned(), value: body.clone() }),
        aliases: Vec::new(),
    };
    DeltaDiscoveryResponse {
        type_url: kind.to_owned(),
        nonce: "1".to_owned(),
        resources: now.iter().filter(|(name, body)| had.get(*name) != Some(body)).map(resource).collect(),
        removed_resources: had.keys().filter(|name| !now.contains_key(*name)).cloned().collect(),
        ..Default::default()
    }
}

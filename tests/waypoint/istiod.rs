//! An istiod that serves what a test says, over TLS, as the real one does on one delta xDS stream.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_waypoint::control::delta::wire::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use agent_waypoint::control::delta::wire::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use agent_waypoint::control::istiod::xds::Myself;
use agent_waypoint::control::istiod::xds::workload::{
    Address, GatewayAddress, IpFamilies, NamespacedHostname, NetworkAddress, Port, PortList, Service, TunnelProtocol,
    Workload, address, gateway_address,
};
use agent_waypoint::control::istiod::{Istiod, Roots};
use futures_util::{Stream, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;
use tonic::{Request, Response, Status, Streaming};

const ADDRESS: &str = "type.googleapis.com/istio.workload.Address";
const NAME: &str = "istiod.istio-system.svc";

type Resources = BTreeMap<String, Vec<u8>>;

/// What is served, and its root.
pub(crate) struct Fake {
    resources: watch::Sender<Resources>,
    asked: Arc<Mutex<Vec<DeltaDiscoveryRequest>>>,
    issuer: Issuer<'static, KeyPair>,
    root: String,
    listening: Option<(SocketAddr, CancellationToken)>,
    dir: tempfile::TempDir,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().pem();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("root.pem"), &root).unwrap();
        std::fs::write(dir.path().join("token"), "t0ken").unwrap();
        let (resources, _) = watch::channel(Resources::new());
        Self { resources, asked: Arc::default(), issuer: Issuer::new(params, key), root, listening: None, dir }
    }

    /// The way to it, wherever it listens.
    pub(crate) fn istiod(&self, at: SocketAddr) -> Istiod {
        assert!(!self.root.is_empty());
        Istiod {
            address: at.to_string(),
            roots: Roots::File(self.dir.path().join("root.pem")),
            server_name: Some(NAME.to_owned()),
            token: self.dir.path().join("token"),
            cluster_id: "Kubernetes".to_owned(),
        }
    }

    /// Listens, where it listened before if it did.
    pub(crate) async fn listen(&mut self) -> SocketAddr {
        let at = self.listening.as_ref().map_or_else(|| "127.0.0.1:0".parse().unwrap(), |(at, _)| *at);
        let listener = loop {
            match TcpListener::bind(at).await {
                Ok(listener) => break listener,
                Err(_taken) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let at = listener.local_addr().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let gone = CancellationToken::new();
        let ads = Ads { resources: self.resources.subscribe(), asked: Arc::clone(&self.asked) };
        tokio::spawn(gone.clone().run_until_cancelled_owned(accept(
            listener,
            TlsAcceptor::from(Arc::new(config)),
            ads,
            gone.clone(),
        )));
        self.listening = Some((at, gone));
        at
    }

    /// Goes away, connections and all.
    pub(crate) fn die(&self) {
        self.listening.as_ref().unwrap().1.cancel();
    }

    /// Changes what is served.
    pub(crate) fn serve(&self, edit: impl FnOnce(&mut Resources)) {
        self.resources.send_modify(edit);
    }

    /// What was asked for and acknowledged so far.
    pub(crate) fn asked(&self) -> Vec<DeltaDiscoveryRequest> {
        self.asked.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, ads: Ads, gone: CancellationToken) {
    let service = AggregatedDiscoveryServiceServer::new(ads);
    while let Ok((tcp, _)) = listener.accept().await {
        let Ok(stream) = acceptor.accept(tcp).await else { continue };
        let service = service.clone();
        let answer = hyper::service::service_fn(move |request| service.clone().call(request));
        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(gone.clone().run_until_cancelled_owned(http2.serve_connection(TokioIo::new(stream), answer)));
    }
}

#[derive(Clone)]
struct Ads {
    resources: watch::Receiver<Resources>,
    asked: Arc<Mutex<Vec<DeltaDiscoveryRequest>>>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type DeltaAggregatedResourcesStream = Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        if request.metadata().get("authorization").is_none_or(|token| token != "Bearer t0ken") {
            return Err(Status::unauthenticated("authentication failure"));
        }
        let (out, outgoing) = mpsc::channel(16);
        tokio::spawn(converse(request.into_inner(), out, self.resources.clone(), Arc::clone(&self.asked)));
        let outgoing = stream::unfold(outgoing, |mut queue| async move { Some((queue.recv().await?, queue)) });
        Ok(Response::new(Box::pin(outgoing)))
    }
}

/// Sends what changed whenever it does; at first what the client does not say it has, and what it has that is gone.
async fn converse(
    mut incoming: Streaming<DeltaDiscoveryRequest>,
    out: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    mut resources: watch::Receiver<Resources>,
    asked: Arc<Mutex<Vec<DeltaDiscoveryRequest>>>,
) {
    let mut sent: Option<Resources> = None;
    loop {
        tokio::select! {
            message = incoming.message() => {
                let Ok(Some(request)) = message else { return };
                asked.lock().unwrap().push(request.clone());
                if !request.response_nonce.is_empty() {
                    continue;
                }
                let mut response = DeltaDiscoveryResponse { type_url: request.type_url.clone(), nonce: "1".to_owned(), ..Default::default() };
                if request.type_url == ADDRESS {
                    let had = request.initial_resource_versions.keys().map(|name| (name.clone(), Vec::new())).collect();
                    let now = resources.borrow_and_update().clone();
                    fill(&mut response, &had, &now);
                    sent = Some(now);
                }
                if out.send(Ok(response)).await.is_err() {
                    return;
                }
            }
            changed = resources.changed(), if sent.is_some() => {
                if changed.is_err() {
                    return;
                }
                let now = resources.borrow_and_update().clone();
                let mut response = DeltaDiscoveryResponse { type_url: ADDRESS.to_owned(), nonce: "2".to_owned(), ..Default::default() };
                fill(&mut response, sent.as_ref().unwrap(), &now);
                sent = Some(now);
                if out.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn fill(response: &mut DeltaDiscoveryResponse, had: &Resources, now: &Resources) {
    response.removed_resources = had.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
    let new = now.iter().filter(|(name, body)| had.get(*name) != Some(body));
    let resource = |(name, body): (&String, &Vec<u8>)| Resource {
        name: name.clone(),
        version: "v".to_owned(),
        resource: Some(prost_types::Any { type_url: ADDRESS.to_owned(), value: body.clone() }),
        aliases: Vec::new(),
    };
    response.resources = new.map(resource).collect();
}

/// A Service `namespace/name` with port 80 at `ip`, fronted by the Gateway `namespace/name` if one is named.
pub(crate) fn service(name: &str, ip: [u8; 4], target: u16, waypoint: Option<&str>) -> (String, Vec<u8>) {
    let (namespace, name) = name.split_once('/').unwrap();
    let hostname = format!("{name}.{namespace}.svc.cluster.local");
    let gateway = |gateway: &str| {
        let (namespace, name) = gateway.split_once('/').unwrap();
        let hostname = format!("{name}.{namespace}.svc.cluster.local");
        let name = NamespacedHostname { namespace: namespace.to_owned(), hostname };
        GatewayAddress { destination: Some(gateway_address::Destination::Hostname(name)), hbone_mtls_port: 15008 }
    };
    let service = Service {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        hostname: hostname.clone(),
        addresses: vec![NetworkAddress { address: ip.to_vec(), ..Default::default() }],
        ports: vec![Port { service_port: 80, target_port: target.into(), app_protocol: 0 }],
        waypoint: waypoint.map(gateway),
        canonical: true,
        ip_families: IpFamilies::Ipv4Only.into(),
        ..Default::default()
    };
    let body = Address { r#type: Some(address::Type::Service(service)) }.encode_to_vec();
    (format!("{namespace}/{hostname}"), body)
}

/// The waypoint's own pod, of that namespace.
pub(crate) fn myself(namespace: &str) -> Myself {
    Myself {
        // Not the upstreams': nothing is dialled at our own address.
        ip: [127, 0, 0, 99].into(),
        pod: "waypoint-1".to_owned(),
        namespace: namespace.to_owned(),
        service_account: "waypoint".to_owned(),
        cluster_id: "Kubernetes".to_owned(),
        network: String::new(),
        cluster_domain: "cluster.local".to_owned(),
    }
}

/// A pod behind that Service, on loopback and in plaintext; fronted by its own address where `waypoint` says so.
pub(crate) fn pod(name: &str, at: SocketAddr, service: &str, waypoint: bool) -> (String, Vec<u8>) {
    let (namespace, service) = service.split_once('/').unwrap();
    let uid = format!("Kubernetes//Pod/{namespace}/{name}");
    let std::net::IpAddr::V4(ip) = at.ip() else { panic!("{at}") };
    let ports = vec![Port { service_port: 80, target_port: at.port().into(), app_protocol: 0 }];
    let key = format!("{namespace}/{service}.{namespace}.svc.cluster.local");
    let host =
        NamespacedHostname { namespace: "mesh".to_owned(), hostname: "waypoint.mesh.svc.cluster.local".to_owned() };
    let gateway =
        GatewayAddress { destination: Some(gateway_address::Destination::Hostname(host)), hbone_mtls_port: 15008 };
    let workload = Workload {
        uid: uid.clone(),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        addresses: vec![ip.octets().to_vec()],
        tunnel_protocol: TunnelProtocol::None.into(),
        service_account: "notes".to_owned(),
        services: [(key, PortList { ports })].into(),
        waypoint: waypoint.then_some(gateway),
        ..Default::default()
    };
    (uid, Address { r#type: Some(address::Type::Workload(workload)) }.encode_to_vec())
}

/// The same as something that an EndpointSlice lists and is no pod: a tenant's word alone.
pub(crate) fn listed(name: &str, at: SocketAddr, service: &str) -> (String, Vec<u8>) {
    let (uid, body) = pod(name, at, service, false);
    let uid = uid.replace("//Pod/", "/discovery.k8s.io/EndpointSlice/") + "/" + &at.ip().to_string();
    let Some(address::Type::Workload(workload)) = Address::decode(&*body).unwrap().r#type else { panic!("a workload") };
    let workload = Workload { uid: uid.clone(), ..workload };
    (uid, Address { r#type: Some(address::Type::Workload(workload)) }.encode_to_vec())
}

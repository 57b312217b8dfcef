//! The CA client against a CA of our own that plays istiod: TLS by a root, a bearer token, a chain with the roots last.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;
use tonic::{Request, Response, Status};

use super::wire::istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer};
use super::wire::{IstioCertificateRequest, IstioCertificateResponse};
use super::{CaFault, CertificateLife, IstioCa, Istiod, Roots};
use crate::fault::Faulty as _;
use crate::id::WorkloadId;
use crate::tls::{self, Bundles, Expect, Identity, Svid};

const ID: &str = "spiffe://cluster.local/ns/mesh/sa/waypoint";

/// Who signs, and the roots that are told of.
type Signs = (Arc<Issuer<'static, KeyPair>>, String);

/// How the CA answers.
#[derive(Clone)]
struct Ca {
    issuer: Arc<Issuer<'static, KeyPair>>,
    root: String,
    /// Who signs from now on and what is said to be believed, where that is not what was there at first.
    now: Arc<Mutex<Option<Signs>>>,
    identity: Arc<Mutex<String>>,
    life: Duration,
    calls: Arc<AtomicUsize>,
    asked: Arc<AtomicI64>,
    refuse: Arc<AtomicUsize>,
}

impl Ca {
    fn new(life: Duration) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().pem();
        let issuer = Arc::new(Issuer::new(params, key));
        let identity = Arc::new(Mutex::new(ID.to_owned()));
        Self {
            issuer,
            root,
            now: Arc::default(),
            identity,
            life,
            calls: Arc::default(),
            asked: Arc::default(),
            refuse: Arc::default(),
        }
    }

    /// Serves on loopback as `istiod.istio-system.svc`; the root and a token are in the directory.
    async fn serve(&self) -> (Istiod, tempfile::TempDir) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["istiod.istio-system.svc".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &*self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), self.clone()));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("root.pem"), &self.root).unwrap();
        std::fs::write(dir.path().join("token"), "t0ken\n").unwrap();
        (istiod(addr, &dir), dir)
    }
}

fn istiod(addr: SocketAddr, dir: &tempfile::TempDir) -> Istiod {
    Istiod {
        address: addr.to_string(),
        roots: Roots::File(dir.path().join("root.pem")),
        server_name: Some("istiod.istio-system.svc".to_owned()),
        token: dir.path().join("token"),
        cluster_id: "Kubernetes".to_owned(),
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, ca: Ca) {
    let service = IstioCertificateServiceServer::new(ca);
    while let Ok((tcp, _)) = listener.accept().await {
        let Ok(stream) = acceptor.accept(tcp).await else { continue };
        let service = service.clone();
        let answer = hyper::service::service_fn(move |request| service.clone().call(request));
        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(http2.serve_connection(TokioIo::new(stream), answer));
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Ca {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.asked.store(request.get_ref().validity_duration, Ordering::SeqCst);
        let said = |name: &str| request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(said("authorization").as_deref(), Some("Bearer t0ken"));
        assert_eq!(said("clusterid").as_deref(), Some("Kubernetes"));
        if self.refuse.load(Ordering::SeqCst) > 0 {
            self.refuse.fetch_sub(1, Ordering::SeqCst);
            return Err(Status::unauthenticated("bad token"));
        }
        let mut csr = CertificateSigningRequestParams::from_pem(&request.get_ref().csr).unwrap();
        let uri = self.identity.lock().unwrap().as_str().try_into().unwrap();
        csr.params.subject_alt_names = vec![SanType::URI(uri)];
        let now = time::OffsetDateTime::now_utc();
        // istiod dates them two minutes back (its `ClockSkewGracePeriod`).
        (csr.params.not_before, csr.params.not_after) = (now - time::Duration::minutes(2), now + self.life);
        let now = self.now.lock().unwrap().clone();
        let (issuer, roots) = now.unwrap_or_else(|| (Arc::clone(&self.issuer), self.root.clone()));
        let leaf = csr.signed_by(&*issuer).unwrap().pem();
        Ok(Response::new(IstioCertificateResponse { cert_chain: vec![leaf, roots] }))
    }
}

/// How long anything may take before a test fails: long, as tests share a machine that may be slow.
const PATIENCE: Duration = Duration::from_secs(60);

fn id() -> WorkloadId {
    WorkloadId::parse(ID).unwrap()
}

#[tokio::test]
async fn a_certificate_is_fetched_and_renewed_at_half_life() {
    let ca = Ca::new(Duration::from_secs(4));
    let (istiod, _dir) = ca.serve().await;
    let stop = CancellationToken::new();
    let (source, identity) = IstioCa::open(istiod, id(), CertificateLife::default(), &stop).await.unwrap();
    let first = identity.svid();
    assert_eq!(first.id(), &id());
    // The next two calls fail; the certificate in force stays, and the one after them is taken.
    ca.refuse.store(2, Ordering::SeqCst);
    let watching = tokio::spawn(source.watch(identity.clone(), stop.clone()));
    let renewed = async {
        while identity.svid().chain() == first.chain() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.unwrap();
    assert!(ca.calls.load(Ordering::SeqCst) >= 4, "{}", ca.calls.load(Ordering::SeqCst));
    assert_eq!(identity.id(), id());
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn the_life_asked_for_is_the_one_that_was_set() {
    let ca = Ca::new(Duration::from_secs(60));
    let (istiod, _dir) = ca.serve().await;
    let stop = CancellationToken::new();
    IstioCa::open(istiod.clone(), id(), CertificateLife::default(), &stop).await.unwrap();
    assert_eq!(ca.asked.load(Ordering::SeqCst), 24 * 3_600);
    IstioCa::open(istiod, id(), "1m30s".parse().unwrap(), &stop).await.unwrap();
    assert_eq!(ca.asked.load(Ordering::SeqCst), 90);
}

#[tokio::test]
async fn a_life_shorter_than_what_the_ca_dates_back_is_not_over_half_at_once() {
    let ca = Ca::new(Duration::from_secs(60));
    let (istiod, _dir) = ca.serve().await;
    let stop = CancellationToken::new();
    let (source, identity) = IstioCa::open(istiod, id(), CertificateLife::default(), &stop).await.unwrap();
    let watching = tokio::spawn(source.watch(identity, stop.clone()));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(ca.calls.load(Ordering::SeqCst), 1);
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn somebody_elses_certificate_is_not_taken() {
    let ca = Ca::new(Duration::from_secs(60));
    "spiffe://cluster.local/ns/mesh/sa/other".clone_into(&mut ca.identity.lock().unwrap());
    let (istiod, _dir) = ca.serve().await;
    let stop = CancellationToken::new();
    stop.cancel();
    let fault = IstioCa::open(istiod, id(), CertificateLife::default(), &stop).await.unwrap_err();
    assert!(matches!(fault, CaFault::SomebodyElse { .. }), "{fault}");
}

#[tokio::test]
async fn whoever_is_not_istiod_by_its_root_and_name_sees_no_token() {
    let (ca, other) = (Ca::new(Duration::from_secs(60)), Ca::new(Duration::from_secs(60)));
    let (mut real, dir) = ca.serve().await;
    let stop = CancellationToken::new();
    stop.cancel();
    std::fs::write(dir.path().join("root.pem"), &other.root).unwrap();
    let fault = IstioCa::open(real.clone(), id(), CertificateLife::default(), &stop).await.unwrap_err();
    assert!(matches!(fault, CaFault::Istiod(_)));
    let said = fault.to_string();
    assert!(said.contains("certificate") && said.contains("--ca-root-ca"), "why, and what to do: {said}");
    std::fs::write(dir.path().join("root.pem"), &ca.root).unwrap();
    real.server_name = Some("elsewhere.example".to_owned());
    assert!(matches!(
        IstioCa::open(real.clone(), id(), CertificateLife::default(), &stop).await.unwrap_err(),
        CaFault::Istiod(_)
    ));
    assert_eq!(ca.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn where_no_istiod_is_it_is_said_so_with_what_to_check() {
    let (mut nobody, _dir) = Ca::new(Duration::from_secs(60)).serve().await;
    let stop = CancellationToken::new();
    stop.cancel();
    // Bound and not listening: nobody else can take the port.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    nobody.address = taken.local_addr().unwrap().to_string();
    let fault = IstioCa::open(nobody, id(), CertificateLife::default(), &stop).await.unwrap_err().to_string();
    assert!(fault.contains("refused") && fault.contains("check that istiod runs there"), "{fault}");
}

#[tokio::test]
async fn missing_files_are_named() {
    let ca = Ca::new(Duration::from_secs(60));
    let (mut istiod, dir) = ca.serve().await;
    let stop = CancellationToken::new();
    stop.cancel();
    istiod.token = PathBuf::from("/nonexistent/token");
    let fault = IstioCa::open(istiod.clone(), id(), CertificateLife::default(), &stop).await.unwrap_err().to_string();
    assert!(fault.contains("/nonexistent/token"), "{fault}");
    std::fs::write(dir.path().join("token"), "").unwrap();
    istiod.token = dir.path().join("token");
    let fault = IstioCa::open(istiod, id(), CertificateLife::default(), &stop).await.unwrap_err().to_string();
    assert!(fault.contains("holds no token"), "{fault}");
}

/// Somebody of the mesh, whose certificate is of this CA and who believes these roots.
fn peer(by: &Ca, roots: &[&Ca]) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    let uri = "spiffe://cluster.local/ns/agents/sa/reader".try_into().unwrap();
    params.subject_alt_names = vec![SanType::URI(uri)];
    let leaf = params.signed_by(&key, &*by.issuer).unwrap().pem();
    let mut bundles = Bundles::default();
    let all: String = roots.iter().map(|ca| ca.root.as_str()).collect();
    bundles.add_pem(id().trust_domain().clone(), all.as_bytes()).unwrap();
    Identity::new(Svid::from_pem(leaf.as_bytes(), key.serialize_pem().as_bytes()).unwrap(), bundles).unwrap()
}

/// Whether the two believe each other, whoever calls whom; the faults of ours where not.
async fn believe(us: &Identity, peer: &Identity) -> [Option<&'static str>; 2] {
    let expect = || Expect::TrustDomain(id().trust_domain().clone());
    let addr = ([127, 0, 0, 1], 1).into();
    let (near, far) = tokio::io::duplex(64 << 10);
    let (calling, accepted) = (peer.clone(), async { tls::accept(us, near, addr).await });
    let called = tokio::spawn(async move { tls::connect(&calling, far, expect()).await.map(drop) });
    let accepted = accepted.await.err().map(|fault| fault.reason());
    drop(called.await);
    let (near, far) = tokio::io::duplex(64 << 10);
    let answering = peer.clone();
    let answered = tokio::spawn(async move { tls::accept(&answering, far, addr).await.map(drop) });
    let connected = tls::connect(us, near, expect()).await.err().map(|fault| fault.reason());
    drop(answered.await);
    [accepted, connected]
}

async fn renewed(identity: &Identity) {
    let before = identity.svid();
    let another = async {
        while identity.svid().chain() == before.chain() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, another).await.unwrap();
}

#[tokio::test]
async fn roots_are_replaced_with_overlap_and_nobody_is_cut_off_before_the_old_one_goes() {
    let (old, new) = (Ca::new(Duration::from_secs(4)), Ca::new(Duration::from_secs(4)));
    let (istiod, _dir) = old.serve().await;
    let stop = CancellationToken::new();
    let (source, identity) = IstioCa::open(istiod, id(), CertificateLife::default(), &stop).await.unwrap();
    let watching = tokio::spawn(source.watch(identity.clone(), stop.clone()));
    // Two peers that the mesh has told of both roots already, and of which one has a certificate of the old one still.
    let (of_old, of_new) = (peer(&old, &[&old, &new]), peer(&new, &[&old, &new]));
    let both = format!("{}{}", old.root, new.root);
    let fine = [None, None];
    assert_eq!(believe(&identity, &of_old).await, fine);
    assert_ne!(believe(&identity, &of_new).await, fine, "nobody knows the new root yet");
    for (step, issuer, roots) in [("both are believed", &old, &both), ("the new one signs", &new, &both)] {
        *old.now.lock().unwrap() = Some((Arc::clone(&issuer.issuer), roots.clone()));
        // The first renewal may have begun before; the second one has not.
        for _ in 0..2 {
            renewed(&identity).await;
            assert_eq!(believe(&identity, &of_old).await, fine, "{step}");
        }
        assert_eq!(believe(&identity, &of_new).await, fine, "{step}");
    }
    *old.now.lock().unwrap() = Some((Arc::clone(&new.issuer), new.root.clone()));
    for _ in 0..2 {
        renewed(&identity).await;
        assert_eq!(believe(&identity, &of_new).await, fine);
    }
    assert_ne!(believe(&identity, &of_old).await, fine, "the old one is gone");
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn past_its_end_nothing_is_served_or_dialled_until_the_ca_is_back() {
    let ca = Ca::new(Duration::from_secs(3));
    let (istiod, _dir) = ca.serve().await;
    let stop = CancellationToken::new();
    let (source, identity) = IstioCa::open(istiod, id(), CertificateLife::default(), &stop).await.unwrap();
    let reader = peer(&ca, &[&ca]);
    assert_eq!(believe(&identity, &reader).await, [None, None]);
    ca.refuse.store(usize::MAX, Ordering::SeqCst);
    let watching = tokio::spawn(source.watch(identity.clone(), stop.clone()));
    let ended = async {
        while !identity.expired() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(believe(&identity, &reader).await, [Some("own_certificate_expired"); 2]);
    ca.refuse.store(0, Ordering::SeqCst);
    renewed(&identity).await;
    assert_eq!(believe(&identity, &reader).await, [None, None], "without a restart");
    stop.cancel();
    watching.await.unwrap();
}

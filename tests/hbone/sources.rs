//! Where our own certificate comes from, and that it is followed live.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use agent_waypoint::control::identity::{BundlePath, DevCa, FileFault, FilePaths, FileSource, WorkloadApi};
use agent_waypoint::tls::Identity;
use futures_util::stream::{Stream, unfold};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::pki::{ALICE, Ca, Pair, WAYPOINT, id, pem, td};
use crate::world::eventually;

/// What the build makes of `proto/workload.proto`.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::too_many_lines,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]
mod workload {
    include!(concat!(env!("OUT_DIR"), "/_.rs"));
}
use workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use workload::{X509BundlesRequest, X509BundlesResponse, X509svid, X509svidRequest, X509svidResponse};

fn write(dir: &Path, pair: &Pair, ca: &Ca) -> FilePaths {
    let paths = FilePaths {
        certificate: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        bundles: vec![BundlePath { trust_domain: None, path: dir.join("roots.pem") }],
    };
    std::fs::write(&paths.certificate, pair.chain_pem()).unwrap();
    std::fs::write(&paths.key, pair.key_pem()).unwrap();
    std::fs::write(dir.join("roots.pem"), pem("CERTIFICATE", &ca.root)).unwrap();
    paths
}

async fn becomes(identity: &Identity, pair: &Pair) {
    eventually("new certificate in force", || identity.svid() == pair.svid()).await;
}

#[tokio::test]
async fn files_are_followed_and_bad_ones_leave_what_is_in_force() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), Ca::new());
    let (first, second, third) = (ca.good(WAYPOINT), ca.good(WAYPOINT), ca.good(WAYPOINT));
    let (source, identity) = FileSource::open(write(dir.path(), &first, &ca)).await.unwrap();
    assert_eq!(identity.svid(), first.svid());
    let stop = CancellationToken::new();
    let watching = tokio::spawn(source.watch(identity.clone(), stop.clone()));
    write(dir.path(), &second, &ca);
    becomes(&identity, &second).await;
    // The certificate of one pair with the key of another, then another identity, then nothing at all.
    std::fs::write(dir.path().join("key.pem"), third.key_pem()).unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(identity.svid(), second.svid());
    write(dir.path(), &ca.good(ALICE), &ca);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(identity.svid(), second.svid());
    std::fs::remove_file(dir.path().join("cert.pem")).unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(identity.svid(), second.svid());
    write(dir.path(), &third, &ca);
    becomes(&identity, &third).await;
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn files_that_give_no_identity_are_named() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), Ca::new());
    let good = ca.good(WAYPOINT);
    let open = async |paths: FilePaths| FileSource::open(paths).await.map(drop).unwrap_err();
    let paths = write(dir.path(), &good, &ca);
    let missing = FilePaths { key: dir.path().join("none.pem"), ..paths.clone() };
    assert!(matches!(open(missing).await, FileFault::Read(path, _) if path.ends_with("none.pem")));
    std::fs::write(&paths.key, ca.good(WAYPOINT).key_pem()).unwrap();
    let told = open(paths.clone()).await.to_string();
    assert!(told.ends_with("key.pem: private key does not belong to the certificate"), "{told}");
    let paths = write(dir.path(), &ca.issue(&crate::pki::leaf(&[])), &ca);
    let told = open(paths).await.to_string();
    assert!(told.ends_with("cert.pem: leaf certificate: certificate has no SPIFFE URI SAN"), "{told}");
    let paths = write(dir.path(), &good, &ca);
    std::fs::write(dir.path().join("roots.pem"), "").unwrap();
    let told = open(paths.clone()).await.to_string();
    assert!(told.ends_with("roots.pem: trust bundle has no certificate in PEM form"), "{told}");
    std::fs::write(dir.path().join("roots.pem"), pem("CERTIFICATE", &ca.root)).unwrap();
    let other = BundlePath { trust_domain: Some(td("elsewhere")), path: dir.path().join("roots.pem") };
    let told = open(FilePaths { bundles: vec![other], ..paths }).await.to_string();
    assert!(told.ends_with("no trust bundle for trust domain cluster.local"), "{told}");
}

#[tokio::test]
async fn the_developers_ca_renews_at_half_life() {
    let ca = DevCa::ephemeral(&td("cluster.local")).unwrap();
    let ttl = Duration::from_secs(8);
    let identity = ca.identity(&id(WAYPOINT), ttl).unwrap();
    let first = identity.svid();
    let stop = CancellationToken::new();
    let renewing = tokio::spawn(ca.keep_fresh(identity.clone(), ttl, stop.clone()));
    eventually("renewed", || identity.svid() != first).await;
    assert!(identity.svid().not_after() > first.not_after() && !identity.expired());
    stop.cancel();
    renewing.await.unwrap();
}

/// A Workload API that gives whatever was set last.
struct Agent(watch::Receiver<X509svidResponse>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SpiffeWorkloadApi for Agent {
    type FetchX509SVIDStream = Answers<X509svidResponse>;
    type FetchX509BundlesStream = Answers<X509BundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        // The specification asks every client for this header, so that no browser can be one.
        if request.metadata().get("workload.spiffe.io").is_none() {
            return Err(Status::invalid_argument("security header missing"));
        }
        let mut answers = self.0.clone();
        answers.mark_changed();
        let next = async |mut answers: watch::Receiver<X509svidResponse>| {
            answers.changed().await.ok()?;
            let answer = answers.borrow_and_update().clone();
            Some((Ok(answer), answers))
        };
        Ok(Response::new(Box::pin(unfold(answers, next))))
    }

    async fn fetch_x509_bundles(
        &self,
        _: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}

/// gRPC over the socket.
async fn serve(listener: UnixListener, agent: Agent) {
    let agent = SpiffeWorkloadApiServer::new(agent);
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let agent = agent.clone();
        let service = hyper::service::service_fn(move |request| {
            use tonic::codegen::Service;
            agent.clone().call(request)
        });
        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        connections.spawn(http2.serve_connection(TokioIo::new(socket), service));
    }
}

fn response(pair: &Pair, ca: &Ca, partner: &Ca) -> X509svidResponse {
    let svid = X509svid {
        spiffe_id: WAYPOINT.to_owned(),
        x509_svid: pair.chain.iter().flat_map(|der| der.to_vec()).collect(),
        x509_svid_key: pair.key.clone(),
        bundle: ca.root.to_vec(),
        hint: String::new(),
    };
    let federated_bundles = HashMap::from([("spiffe://partner".to_owned(), partner.root.to_vec())]);
    X509svidResponse { svids: vec![svid], crl: vec![], federated_bundles }
}

#[tokio::test]
async fn the_workload_api_is_followed() {
    let (dir, ca, partner) = (tempfile::tempdir().unwrap(), Ca::new(), Ca::new());
    let (first, second) = (ca.good(WAYPOINT), ca.good(WAYPOINT));
    let (set, answers) = watch::channel(response(&first, &ca, &partner));
    let socket = dir.path().join("agent.sock");
    let serving = tokio::spawn(serve(UnixListener::bind(&socket).unwrap(), Agent(answers)));
    let (source, identity) = WorkloadApi::open(&format!("unix://{}", socket.display())).await.unwrap();
    assert_eq!(identity.svid(), first.svid());
    assert_eq!(identity.trust_domains(), [td("cluster.local"), td("partner")]);
    let stop = CancellationToken::new();
    let watching = tokio::spawn(source.watch(identity.clone(), stop.clone()));
    set.send(response(&second, &ca, &partner)).unwrap();
    becomes(&identity, &second).await;
    // An agent that goes away takes nothing with it.
    serving.abort();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(identity.svid(), second.svid());
    stop.cancel();
    watching.await.unwrap();
    drop(set);
}

#[tokio::test]
async fn an_endpoint_that_is_no_endpoint_is_told_at_once() {
    let told = WorkloadApi::open("nonsense").await.map(drop).unwrap_err().to_string();
    assert!(told.starts_with("SPIFFE Workload API: "), "{told}");
}

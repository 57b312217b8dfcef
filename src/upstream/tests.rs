//! Over loopback, against servers that do exactly what they are told.

mod http1;
mod http2;
mod ways;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::dns::{Dns, DnsFault, Forbids, Found, Resolve};
use super::*;
use crate::hbone;
use crate::id::TrustDomain;
use crate::mesh::{At, HBONE_PORT, Via};
use crate::tls::{Bundles, Identity, Svid};

/// How long anything may take before a test fails: long, as tests share a machine that may be slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A CA that signs what a test needs.
pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(super) root: CertificateDer<'static>,
    pub(super) pem: String,
}

impl Ca {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        Self { root: root.der().clone(), pem: root.pem(), issuer: Issuer::new(params, key) }
    }

    pub(super) fn issue(&self, name: SanType) -> (Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()))
    }

    pub(super) fn identity(&self, id: &str) -> Identity {
        let (chain, key) = self.issue(SanType::URI(id.try_into().unwrap()));
        let mut bundles = Bundles::default();
        bundles.add_der(TrustDomain::parse("cluster.local").unwrap(), vec![self.root.clone()]).unwrap();
        Identity::new(Svid::from_der(chain, key.into()).unwrap(), bundles).unwrap()
    }
}

/// Every name is 127.0.0.1.
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _host: Arc<str>) -> BoxFuture<'static, Result<Found, DnsFault>> {
        let addresses = vec![IpAddr::from([127, 0, 0, 1])];
        std::future::ready(Ok(Found { addresses, ttl: Duration::from_secs(60) })).boxed()
    }
}

pub(super) fn upstreams_of(ca: &Ca, forbids: Forbids) -> Upstreams {
    let tunnels = hbone::Pool::new(ca.identity("spiffe://cluster.local/ns/infra/sa/waypoint"));
    Upstreams::new(tunnels, Dns::new(Arc::new(Loopback), forbids, Arc::new(|_| false)))
}

pub(super) fn upstreams() -> Upstreams {
    upstreams_of(&Ca::new(), Forbids::MeshOnly)
}

pub(super) fn endpoint(addr: SocketAddr, via: Via) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        id: addr.to_string().into(),
        at: At::Addr(addr),
        via,
        weight: 1,
        distance: 0,
        tunnel_port: HBONE_PORT,
        traffic: None,
    })
}

/// A server that runs `script` for each connection, with its number from 0.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    pub(super) async fn start<F>(script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, accepted) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(script(count.fetch_add(1, Ordering::SeqCst), tcp));
            }
        });
        Self { addr, accepted }
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn plain(&self) -> Arc<Endpoint> {
        endpoint(self.addr, Via::Plain)
    }
}

/// One request's bytes up to the end of its head, and of its body as far as `Content-Length` says.
pub(super) async fn read_request(tcp: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0_usize) {
                return Some(text);
            }
        }
        let mut part = [0; 4096];
        match tcp.read(&mut part).await {
            Ok(n @ 1..) => bytes.extend_from_slice(&part[..n]),
            _ => return None,
        }
    }
}

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers every request with `answer`.
pub(super) async fn answering(mut tcp: TcpStream, answer: &'static [u8]) {
    while read_request(&mut tcp).await.is_some() {
        if tcp.write_all(answer).await.is_err() {
            return;
        }
    }
}

pub(super) fn post(path: &str, body: impl Into<Bytes>) -> Request<OutBody> {
    Request::post(path).header("host", "repo.tools.svc").body(OutBody::full(body)).unwrap()
}

pub(super) async fn text(response: Response<InBody>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Gives the tasks of the pool and of servers turns to take connections back: many, as on a busy machine one long sleep may be
/// a single one.
pub(super) async fn settle() {
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

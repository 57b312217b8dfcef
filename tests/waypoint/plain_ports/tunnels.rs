//! Endpoints behind HBONE and behind TLS: only whoever is expected gets a byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use agent_waypoint::control::identity::DEV_TTL;
use agent_waypoint::hbone::{Server, Tunnel};
use agent_waypoint::id::WorkloadId;
use agent_waypoint::tls::Identity;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::http::{WEB, hello};
use crate::lab::Lab;

/// The port where a destination's ztunnel takes HBONE is fixed, so each test has an address of its own.
const POD_RIGHT: &str = "127.0.81.1";
const POD_WRONG: &str = "127.0.81.2";
const PODS_HOSTILE: &str = "127.0.82";

/// A Service in front of a pod that is reached by HBONE as `tools/web`.
fn by_hbone(pod: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: tools}}\nspec:\n  clusterIP: 127.0.9.2\n  selector: {{app: web}}\n  ports: [{{name: main, port: 80, targetPort: 8080, appProtocol: http}}]\n---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: web-1, namespace: tools}}\nspec:\n  address: {pod}\n  serviceAccount: web\n  labels: {{app: web, networking.istio.io/tunnel: http}}\n"
    )
}

/// Answers HTTP in every tunnel, as `identity`, and remembers authorities and bytes.
async fn terminator(pod: &str, identity: Identity) -> (Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<u8>>>) {
    let at: SocketAddr = format!("{pod}:15008").parse().unwrap();
    let listener = TcpListener::bind(at).await.unwrap();
    let (authorities, bytes) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<u8>>>::default());
    let (asked, seen) = (Arc::clone(&authorities), Arc::clone(&bytes));
    let handler = move |tunnel: Tunnel| {
        asked.lock().unwrap().push(format!("{} from {}", tunnel.authority, tunnel.peer.id()));
        let seen = Arc::clone(&seen);
        async move {
            let mut stream = tunnel.accept().unwrap();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                seen.lock().unwrap().extend_from_slice(&buffer[..read]);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
            }
        }
    };
    tokio::spawn(Server::new(identity).serve(listener, handler, CancellationToken::new()));
    (authorities, bytes)
}

async fn lab_and_terminator(pod: &str, account: &str) -> (Lab, Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<u8>>>) {
    let lab = Lab::start(&by_hbone(pod)).await;
    let id = WorkloadId::of_istio(lab.ca.trust_domain(), "tools", account).unwrap();
    let (authorities, bytes) = terminator(pod, lab.ca.identity(&id, DEV_TTL).unwrap()).await;
    (lab, authorities, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_expected_identity_is_tunnelled_to() {
    let (lab, authorities, bytes) = lab_and_terminator(POD_RIGHT, "web").await;
    let reply = lab.raw("agents/reader", WEB, b"GET /secret HTTP/1.1\r\nHost: web\r\n\r\n").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"), "{reply:?}");
    let expected = format!("{POD_RIGHT}:8080 from spiffe://cluster.local/ns/agent-waypoint/sa/waypoint");
    assert_eq!(*authorities.lock().unwrap(), [expected]);
    assert!(String::from_utf8_lossy(&bytes.lock().unwrap()).starts_with("GET /secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_identity_gets_nothing_of_the_call() {
    let (lab, authorities, bytes) = lab_and_terminator(POD_WRONG, "impostor").await;
    let reply = lab.raw("agents/reader", WEB, b"GET /secret HTTP/1.1\r\nHost: web\r\n\r\n").await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(authorities.lock().unwrap().is_empty() && bytes.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_points_at_this_host_is_not_dialled() {
    let upstream = hello().await;
    let entry = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: outside, namespace: tools}}\nspec:\n  hosts: [localhost]\n  addresses: [127.0.9.9]\n  location: MESH_EXTERNAL\n  resolution: DNS\n  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {}}}]\n",
        upstream.addr.port()
    );
    let lab = Lab::start(&entry).await;
    let reply = lab.raw("agents/reader", "127.0.9.9:80", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((reply.status, upstream.bytes()), (503, 0), "{reply:?}");
}

/// A TLS server whose certificate is for `name`, by a CA of its own: its address, the CA, and what it was sent.
async fn tls_server(name: &str) -> (SocketAddr, String, Arc<Mutex<Vec<u8>>>) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let chain = vec![leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap().der().clone()];
    let private = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, bytes) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
    let seen = Arc::clone(&bytes);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let mut buffer = [0; 4096];
            let Ok(read) = stream.read(&mut buffer).await else { continue };
            seen.lock().unwrap().extend_from_slice(&buffer[..read]);
            let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
        }
    });
    (addr, root, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_outside_must_have_the_name_that_the_policy_says() {
    for (name, status) in [("api.example.com", 200), ("evil.example.com", 503)] {
        let (addr, root, bytes) = tls_server(name).await;
        let root = root.replace('\n', "\n    ");
        let documents = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: outside, namespace: tools}}\nspec:\n  hosts: [api.example.com]\n  addresses: [127.0.9.9]\n  location: MESH_EXTERNAL\n  resolution: STATIC\n  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {}}}]\n  endpoints: [{{address: 127.0.0.1}}]\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{name: tls, namespace: tools}}\nspec:\n  targetRefs: [{{group: networking.istio.io, kind: ServiceEntry, name: outside, sectionName: http}}]\n  validation: {{hostname: api.example.com, caCertificateRefs: [{{kind: ConfigMap, name: roots, group: ''}}]}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: roots, namespace: tools}}\ndata:\n  ca.crt: |\n    {root}\n",
            addr.port()
        );
        let lab = Lab::start(&documents).await;
        let request = b"GET /secret HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
        let reply = lab.raw("agents/reader", "127.0.9.9:80", request).await;
        assert_eq!(reply.status, status, "{name}: {reply:?}");
        let arrived = String::from_utf8_lossy(&bytes.lock().unwrap()).starts_with("GET /secret");
        assert_eq!(arrived, status == 200, "{name}");
    }
}

/// Destinations' ztunnels gone bad: each takes a CONNECT and then floods. Whoever is served by others is not harmed.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_destination_harms_only_its_own_callers() {
    let upstream = hello().await;
    let mut documents = crate::lab::service("fine", "127.0.9.5", upstream.addr, "http");
    for kind in 0..5 {
        let hostile = by_hbone(&format!("{PODS_HOSTILE}.{kind}")).replace("127.0.9.2", &format!("127.0.9.2{kind}"));
        documents = format!("{documents}---\n{}", hostile.replace("web", &format!("web{kind}")));
    }
    let lab = Lab::start(&documents).await;
    for kind in 0..5 {
        let id = WorkloadId::of_istio(lab.ca.trust_domain(), "tools", &format!("web{kind}")).unwrap();
        let identity = lab.ca.identity(&id, DEV_TTL).unwrap();
        let listener = TcpListener::bind(format!("{PODS_HOSTILE}.{kind}:15008")).await.unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, addr)) = listener.accept().await {
                let Ok(accepted) = agent_waypoint::tls::accept(&identity, tcp, addr).await else { continue };
                tokio::spawn(flooding(accepted.stream, kind));
            }
        });
    }
    let get = b"GET / HTTP/1.1\r\nHost: w\r\n\r\n";
    let mut harmed = Vec::new();
    for kind in 0..5 {
        let mut stream = lab.tunnel("agents/reader", &format!("127.0.9.2{kind}:80")).await.unwrap();
        stream.write_all(get).await.unwrap();
        harmed.push(stream);
    }
    for _ in 0..10 {
        let reply = lab.raw("agents/reader", "127.0.9.5:80", get).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    for stream in &mut harmed {
        let reply = crate::lab::Reply::read(stream).await;
        assert!(matches!(reply.status, 502 | 503), "{reply:?}");
    }
}

/// SETTINGS, its acknowledgement, and then one kind of frame for as long as it is read.
async fn flooding<IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut io: IO, kind: u8) {
    let mut request = [0; 1024];
    let Ok(1..) = io.read(&mut request).await else { return };
    let hello = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
    let flood: &[u8] = match kind {
        // HEADERS :status 200 and then empty DATA.
        0 => b"\0\0\0\0\0\0\0\0\x01",
        // PING.
        1 => b"\0\0\x08\x06\0\0\0\0\0pingping",
        // SETTINGS.
        2 => b"\0\0\0\x04\0\0\0\0\0",
        // CONTINUATION without end.
        3 => b"\0\0\x01\x09\0\0\0\0\x01\x88",
        // HEADERS :status 103 without end.
        _ => b"\0\0\x05\x01\x04\0\0\0\x01\x08\x03103",
    };
    let first: &[u8] = match kind {
        0 => b"\0\0\x01\x01\x04\0\0\0\x01\x88",
        3 => b"\0\0\x01\x01\0\0\0\0\x01\x88",
        _ => b"",
    };
    if io.write_all(hello).await.is_err() || io.write_all(first).await.is_err() {
        return;
    }
    let many = flood.repeat(200);
    let ends = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
    while tokio::time::Instant::now() < ends && io.write_all(&many).await.is_ok() {}
}

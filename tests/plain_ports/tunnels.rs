//! Endpoints behind HBONE and behind TLS: only whoever is expected gets a byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use agent_waypoint::control::identity::DEV_TTL;
use agent_waypoint::hbone::{Server, Tunnel};
use agent_waypoint::id::WorkloadId;
use agent_waypoint::tls::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::{WEB, hello};
use crate::lab::Lab;

/// The port where a destination's ztunnel takes HBONE is fixed, so each test has an address of its own.
const POD_RIGHT: &str = "127.0.81.1";
const POD_WRONG: &str = "127.0.81.2";

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

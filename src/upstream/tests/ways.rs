use std::sync::Mutex;

use http::{HeaderValue, StatusCode};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fault::{Blame, Faulty};
use crate::hbone::Tunnel;
use crate::id::WorkloadId;
use crate::mesh::{Roots, Tls};

const SERVER: &str = "spiffe://cluster.local/ns/tools/sa/server";

/// An HBONE terminator that answers HTTP/1.1 in every tunnel and remembers what was asked for.
async fn terminator(ca: &Ca, authorities: &Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let authorities = Arc::clone(authorities);
    let handler = move |tunnel: Tunnel| {
        authorities.lock().unwrap().push(tunnel.authority.to_string());
        async move {
            let mut stream = tunnel.accept().unwrap();
            let mut buffer = [0; 4096];
            while let Ok(1..) = stream.read(&mut buffer).await {
                stream.write_all(OK).await.unwrap();
            }
        }
    };
    tokio::spawn(hbone::Server::new(ca.identity(SERVER)).serve(listener, handler, CancellationToken::new()));
    addr
}

fn by_hbone(tunnel: SocketAddr, expect: &str) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        id: "pod".into(),
        at: At::Addr(SocketAddr::new(tunnel.ip(), 8080)),
        via: Via::Hbone { expect: Arc::from([WorkloadId::parse(expect).unwrap()]) },
        weight: 1,
        distance: 0,
        tunnel_port: tunnel.port(),
        traffic: None,
    })
}

#[tokio::test]
async fn hbone_goes_to_the_application_behind_the_proven_identity() {
    let (ca, authorities) = (Ca::new(), Arc::default());
    let tunnel = terminator(&ca, &authorities).await;
    let upstreams = upstreams_of(&ca, Forbids::MeshOnly);
    let endpoint = by_hbone(tunnel, SERVER);
    for _ in 0..2 {
        let response = upstreams.send(&endpoint, UpstreamHttp::Http1, post("/mcp", "{}")).await.unwrap();
        assert_eq!(text(response).await, "ok");
        settle().await;
    }
    assert_eq!(*authorities.lock().unwrap(), ["127.0.0.1:8080"], "one tunnel for both");
}

#[tokio::test]
async fn hbone_to_another_identity_is_no_connection() {
    let (ca, authorities) = (Ca::new(), Arc::default());
    let tunnel = terminator(&ca, &authorities).await;
    let upstreams = upstreams_of(&ca, Forbids::MeshOnly);
    let endpoint = by_hbone(tunnel, "spiffe://cluster.local/ns/tools/sa/other");
    let fault = upstreams.send(&endpoint, UpstreamHttp::Http1, post("/mcp", "{}")).await.unwrap_err();
    assert!(matches!(fault, SendFault::Dial(DialFault::Tunnel(_))), "{fault:?}");
    assert!(authorities.lock().unwrap().is_empty());
}

/// Takes TLS for `api.example.com`, and in it this protocol alone, where one is named.
fn tls_acceptor(ca: &Ca, alpn: Option<&str>) -> TlsAcceptor {
    let (chain, key) = ca.issue(SanType::DnsName("api.example.com".try_into().unwrap()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    config.alpn_protocols = alpn.map(|name| name.as_bytes().to_vec()).into_iter().collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A TLS server for `api.example.com` that answers HTTP/1.1.
async fn tls_server(ca: &Ca) -> Server {
    let acceptor = tls_acceptor(ca, None);
    Server::start(move |_, tcp| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut tls) = acceptor.accept(tcp).await else { return };
            let mut buffer = [0; 4096];
            while let Ok(1..) = tls.read(&mut buffer).await {
                tls.write_all(OK).await.unwrap();
            }
        }
    })
    .await
}

/// What is in the mesh proves who it is twice: its ztunnel by the mesh's certificate, the application by its own inside.
#[tokio::test]
async fn tls_within_hbone_is_proven_at_both_ends() {
    let (ca, backends, stranger) = (Ca::new(), Ca::new(), Ca::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tunnel = listener.local_addr().unwrap();
    let acceptor = tls_acceptor(&backends, None);
    let plain = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&plain);
    let handler = move |tunnel: Tunnel| {
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        async move {
            let Ok(mut tls) = acceptor.accept(tunnel.accept().unwrap()).await else { return };
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = tls.read(&mut buffer).await {
                seen.lock().unwrap().extend_from_slice(&buffer[..read]);
                tls.write_all(OK).await.unwrap();
            }
        }
    };
    tokio::spawn(hbone::Server::new(ca.identity(SERVER)).serve(listener, handler, CancellationToken::new()));
    let upstreams = upstreams_of(&ca, Forbids::MeshOnly);
    let to = |identity: &str, name: &str, pem: &str| {
        let endpoint = by_hbone(tunnel, identity);
        let tls = Tls { server_name: name.into(), alt_names: [].into(), roots: Roots::Inline(pem.into()) };
        Arc::new(Endpoint { via: endpoint.via.with_tls(Arc::new(tls)), ..Endpoint::clone(&endpoint) })
    };
    for (identity, name, pem) in [
        ("spiffe://cluster.local/ns/tools/sa/other", "api.example.com", &backends.pem),
        (SERVER, "other.example.com", &backends.pem),
        (SERVER, "api.example.com", &stranger.pem),
    ] {
        let sent = upstreams.send(&to(identity, name, pem), UpstreamHttp::Http1, post("/secret", "{}")).await;
        assert!(matches!(sent, Err(SendFault::Dial(_))), "{identity} {name}: {sent:?}");
    }
    assert!(plain.lock().unwrap().is_empty(), "nothing was said to whom was not proven");
    let good = to(SERVER, "api.example.com", &backends.pem);
    let response = upstreams.send(&good, UpstreamHttp::Http1, post("/mcp", "{}")).await.unwrap();
    assert_eq!(text(response).await, "ok");
    assert!(plain.lock().unwrap().starts_with(b"POST /mcp"));
}

fn by_tls(server: &Server, name: &str, pem: &str) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        id: "external".into(),
        at: At::Dns { host: "api.example.com".into(), port: server.addr.port() },
        via: Via::Tls(Arc::new(Tls {
            server_name: name.into(),
            alt_names: [].into(),
            roots: Roots::Inline(pem.into()),
        })),
        weight: 1,
        distance: 0,
        tunnel_port: HBONE_PORT,
        traffic: None,
    })
}

#[tokio::test]
async fn an_external_server_must_prove_its_name() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let server = tls_server(&ca).await;
    let upstreams = upstreams_of(&ca, Forbids::MeshOnly);
    let good = by_tls(&server, "api.example.com", &ca.pem);
    let response = upstreams.send(&good, UpstreamHttp::Http1, post("/", "{}")).await.unwrap();
    assert_eq!(text(response).await, "ok");
    for (name, pem) in [("other.example.com", &ca.pem), ("api.example.com", &stranger.pem)] {
        let fault =
            upstreams.send(&by_tls(&server, name, pem), UpstreamHttp::Http1, post("/", "{}")).await.unwrap_err();
        assert!(matches!(fault, SendFault::Dial(DialFault::Tls(_))), "{name}: {fault:?}");
    }
    let fault =
        upstreams.send(&by_tls(&server, "x", "no roots"), UpstreamHttp::Http1, post("/", "{}")).await.unwrap_err();
    assert_eq!((fault.reason(), fault.blame()), ("external_tls_settings", Blame::Policy));
}

/// gRPC is HTTP/2, in TLS too, and servers of it take nothing else.
#[tokio::test]
async fn a_server_of_http2_in_tls_gets_that() {
    let ca = Ca::new();
    let acceptor = tls_acceptor(&ca, Some("h2"));
    let server = Server::start(move |_, tcp| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let answer = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                Ok::<_, std::convert::Infallible>(Response::new(format!("{:?}", request.version())))
            });
            let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _gone = builder.serve_connection(hyper_util::rt::TokioIo::new(tls), answer).await;
        }
    })
    .await;
    let upstreams = upstreams_of(&ca, Forbids::MeshOnly);
    let endpoint = by_tls(&server, "api.example.com", &ca.pem);
    let response = upstreams.send(&endpoint, UpstreamHttp::Http2, post("/", "{}")).await.unwrap();
    assert_eq!(text(response).await, "HTTP/2.0");
    let fault = upstreams.send(&endpoint, UpstreamHttp::Http1, post("/", "{}")).await.unwrap_err();
    assert!(matches!(fault, SendFault::Dial(DialFault::Tls(_))), "{fault:?}");
}

#[tokio::test]
async fn an_external_name_that_points_here_is_not_dialled() {
    let ca = Ca::new();
    let server = tls_server(&ca).await;
    let upstreams = upstreams_of(&ca, Forbids::ByRange);
    let endpoint = by_tls(&server, "api.example.com", &ca.pem);
    let fault = upstreams.send(&endpoint, UpstreamHttp::Http1, post("/", "{}")).await.unwrap_err();
    assert!(matches!(fault, SendFault::Dial(DialFault::Dns(DnsFault::Forbidden))), "{fault:?}");
    assert_eq!(server.accepted(), 0);
}

fn websocket() -> Request<OutBody> {
    let request = Request::get("/ws").header("host", "h").header("sec-websocket-version", "13");
    request.body(OutBody::empty()).unwrap()
}

async fn upgrade(answer: &'static [u8]) -> (Result<Upgraded, SendFault>, String) {
    let seen = Arc::new(Mutex::new(String::new()));
    let record = Arc::clone(&seen);
    let server = Server::start(move |_, mut tcp| {
        let record = Arc::clone(&record);
        async move {
            *record.lock().unwrap() = read_request(&mut tcp).await.unwrap();
            tcp.write_all(answer).await.unwrap();
            let mut buffer = [0; 64];
            while let Ok(n @ 1..) = tcp.read(&mut buffer).await {
                tcp.write_all(&buffer[..n]).await.unwrap();
            }
        }
    })
    .await;
    let result = upstreams()
        .upgrade(&server.plain(), &HeaderValue::from_static("websocket"), websocket(), &Departure::default())
        .await;
    let seen = seen.lock().unwrap().clone();
    (result, seen)
}

#[tokio::test]
async fn a_websocket_becomes_bytes() {
    let (switched, seen) =
        upgrade(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: upgrade\r\nsec-websocket-accept: a\r\n\r\nfirst").await;
    assert!(seen.contains("upgrade: websocket\r\n") && seen.contains("connection: upgrade\r\n"), "{seen}");
    let Ok(Upgraded::Switched { head, mut io, .. }) = switched else { panic!("{switched:?}") };
    assert_eq!(head.headers()["sec-websocket-accept"], "a");
    assert!(head.headers().get("connection").is_none());
    io.write_all(b" and echo").await.unwrap();
    let mut got = [0; 14];
    io.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"first and echo");
}

#[tokio::test]
async fn a_server_may_decline_and_may_not_switch_to_something_else() {
    let (declined, _) = upgrade(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    let Ok(Upgraded::Declined(response)) = declined else { panic!("{declined:?}") };
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(text(response).await, "no");
    let (other, _) = upgrade(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n").await;
    assert!(matches!(other, Err(SendFault::NotHttp)), "{other:?}");
}

#[tokio::test]
async fn bytes_go_to_a_plain_endpoint_and_failures_are_remembered() {
    let server = Server::start(|_, mut tcp| async move {
        tcp.write_all(b"hello").await.unwrap();
    })
    .await;
    let upstreams = upstreams();
    let caller = WorkloadId::parse("spiffe://cluster.local/ns/agents/sa/a").unwrap();
    let mut io = upstreams.connect_tcp(&server.plain(), &caller).await.unwrap().0.boxed();
    let mut got = String::new();
    io.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "hello");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = endpoint(listener.local_addr().unwrap(), Via::Plain);
    drop(listener);
    for _ in 0..3 {
        assert!(upstreams.connect_tcp(&dead, &caller).await.is_err());
    }
    let both = [Arc::new(Endpoint { weight: u32::MAX, ..(*dead).clone() }), server.plain()];
    assert_eq!(upstreams.pick(&both, None).unwrap().id, both[1].id, "the dead one is left alone");
}

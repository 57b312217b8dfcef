//! Whatever a provider does but allow, nothing reaches the server: unless its failures are declared to let calls go on.

use std::net::SocketAddr;

use agent_waypoint::wire::ext_authz::{
    CheckResponse, DeniedHttpResponse, HttpResponse, OkHttpResponse, QueryParameter,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::provider::{Provider, allow, allow_with, answer, deny, header};
use super::{documents, get};
use crate::lab::{Lab, Nobody, Upstream};
use crate::plain_ports::http::{WEB, hello};

/// How long a provider is waited for that answers in the end, and one that never does.
const ANSWERS: &str = "30s";
const SILENT: &str = "0.5s";

/// Status of a GET with the provider failing closed, and failing open.
async fn both(upstream: &Upstream, addr: SocketAddr, kind: &str, timeout: &str) -> (u16, u16) {
    let mut out = [0, 0];
    for (at, open) in [false, true].into_iter().enumerate() {
        let declared = format!("{kind} timeout: {timeout}, statusOnError: '503', failOpen: {open}");
        let lab = Lab::start(&documents(upstream.addr, addr, &declared, "[{}]")).await;
        let before = upstream.bytes();
        out[at] = get(&lab, "/x", "").await.status;
        assert_eq!(upstream.bytes() > before, out[at] == 200, "{kind} {open}");
    }
    (out[0], out[1])
}

/// A listener that takes connections and says these bytes, or nothing, for ever.
async fn says(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut chunk = [0; 4096];
                drop(stream.read(&mut chunk).await);
                drop(tokio::io::AsyncWriteExt::write_all(&mut stream, bytes).await);
                while !bytes.is_empty() && stream.read(&mut chunk).await.is_ok_and(|read| read > 0) {}
                tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            });
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_over_http_that_fails() {
    let upstream = hello().await;
    let gone = Nobody::at("127.0.0.1");
    let rows: [(&str, SocketAddr); 6] = [
        ("nobody there", gone.addr),
        ("silent", says(b"").await),
        ("no HTTP", says(b"hello there, this is no HTTP\r\n\r\n").await),
        ("5xx", says(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").await),
        (
            "another protocol",
            says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await,
        ),
        ("cut off", says(b"HTTP/1.1 200 O").await),
    ];
    for (what, addr) in rows {
        assert_eq!(both(&upstream, addr, "http", SILENT).await, (503, 200), "{what}");
    }
    // A refusal is one whatever becomes of its body, and whatever is declared of failures.
    let rows: [(&str, SocketAddr, u16); 3] = [
        ("too long", says(b"HTTP/1.1 403 No\r\nContent-Length: 99999999\r\n\r\nx").await, 403),
        ("not found", says(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").await, 404),
        ("success of another kind", says(b"HTTP/1.1 204 No Content\r\n\r\n").await, 403),
    ];
    for (what, addr, status) in rows {
        assert_eq!(both(&upstream, addr, "http", ANSWERS).await, (status, status), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_over_grpc_that_fails() {
    let upstream = hello().await;
    type Script = fn() -> Result<CheckResponse, tonic::Status>;
    let rows: [(&str, Script, (u16, u16)); 12] = [
        ("what a caller can make too long for it", || Err(tonic::Status::resource_exhausted("x")), (503, 503)),
        ("gRPC error", || Err(tonic::Status::unavailable("x")), (503, 200)),
        ("permission denied as an error", || Err(tonic::Status::permission_denied("x")), (503, 200)),
        ("nothing", || Ok(CheckResponse::default()), (503, 200)),
        (
            "says that it failed",
            || answer(13, Some(HttpResponse::ErrorResponse(DeniedHttpResponse::default()))),
            (503, 200),
        ),
        ("both", || answer(0, Some(HttpResponse::DeniedResponse(DeniedHttpResponse::default()))), (503, 200)),
        (
            "a query",
            || {
                let set = vec![QueryParameter { key: "a".into(), value: "b".into() }];
                allow_with(OkHttpResponse { query_parameters_to_set: set, ..OkHttpResponse::default() })
            },
            (503, 200),
        ),
        (
            "a header that is none",
            || allow_with(OkHttpResponse { headers: vec![header("a b", "c")], ..OkHttpResponse::default() }),
            (503, 200),
        ),
        (
            "a value with a line end",
            || allow_with(OkHttpResponse { headers: vec![header("a", "b\r\nc: d")], ..OkHttpResponse::default() }),
            (503, 200),
        ),
        (
            "too large",
            || {
                allow_with(OkHttpResponse {
                    headers: vec![header("a", &"b".repeat(1 << 20))],
                    ..OkHttpResponse::default()
                })
            },
            (503, 200),
        ),
        ("denied without words", || answer(7, None), (403, 403)),
        ("denied with a status that is none", || deny(99, &[("a b", "c")], "no"), (403, 403)),
    ];
    for (what, script, expected) in rows {
        let provider = Provider::start(move |_| script()).await;
        assert_eq!(both(&upstream, provider.addr, "grpc", ANSWERS).await, expected, "{what}");
    }
    let gone = Nobody::at("127.0.0.1");
    for (what, addr) in [
        ("nobody there", gone.addr),
        ("silent", says(b"").await),
        ("no HTTP/2", says(b"HTTP/1.1 200 OK\r\n\r\n").await),
    ] {
        assert_eq!(both(&upstream, addr, "grpc", SILENT).await, (503, 200), "{what}");
    }
}

/// What documents do wrongly is refused whatever is declared of failures.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_not_there() {
    let upstream = hello().await;
    let provider = Provider::start(|_| allow()).await;
    for (from, to) in [
        ("name: p, envoy", "name: other, envoy"),
        ("service: authz.tools", "service: gone.tools"),
        ("port: 80, failOpen", "port: 81, failOpen"),
        ("failOpen: true", "failOpen: true, unknownField: 1"),
        ("failOpen: true", "failOpen: true, timeout: soon"),
    ] {
        let all =
            documents(upstream.addr, provider.addr, "grpc failOpen: true", r#"[{to: [{operation: {paths: ["/x"]}}]}]"#);
        assert!(all.contains(from), "{from}");
        let lab = Lab::start(&all.replace(from, to)).await;
        assert_eq!(get(&lab, "/x", "").await.status, 403, "{to}");
        assert_eq!(upstream.bytes(), 0, "{to}");
    }
    let lab = Lab::start(
        &documents(upstream.addr, provider.addr, "grpc", r#"[{to: [{operation: {paths: ["/x"]}}]}]"#)
            .replace("name: p, envoy", "name: other, envoy"),
    )
    .await;
    assert_eq!(get(&lab, "/y", "").await.status, 200, "what its rules do not match goes on, as in Istio");
    assert!(provider.seen().is_empty());
}

/// A header that no check could carry, and a provider that fails open: the request went on unasked.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_27488_a_header_that_is_no_text() {
    let upstream = hello().await;
    let provider = Provider::start(|_| allow()).await;
    for kind in ["grpc", "http"] {
        let declared = format!("{kind} failOpen: true");
        let lab = Lab::start(&documents(upstream.addr, provider.addr, &declared, "[{}]")).await;
        for field in [&b"x-role: admin\xff\r\n"[..], b"x-role: \xc0\xae\r\n", b"x-\xff: a\r\n"] {
            let request = [b"GET /x HTTP/1.1\r\nHost: web\r\n", field, b"\r\n"].concat();
            assert_eq!(lab.raw("agents/reader", WEB, &request).await.status, 400, "{kind} {field:?}");
        }
    }
    assert_eq!((upstream.bytes(), provider.seen().len()), (0, 0));
}

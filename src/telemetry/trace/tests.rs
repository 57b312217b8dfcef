use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::super::*;
use crate::id::{Peer, WorkloadId};

/// As much of an OTLP/gRPC collector as shows what came: path and raw protobuf of each export.
async fn collector(listener: TcpListener, got: mpsc::Sender<(String, Vec<u8>)>) {
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let got = got.clone();
        tasks.spawn(async move {
            let mut connection = h2::server::handshake(tcp).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let got = got.clone();
                let answer = async move {
                    let path = request.uri().path().to_owned();
                    let mut body = request.into_body();
                    let mut bytes = Vec::new();
                    while let Some(Ok(chunk)) = body.data().await {
                        body.flow_control().release_capacity(chunk.len()).unwrap();
                        bytes.extend_from_slice(&chunk);
                    }
                    let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                    let mut out = respond.send_response(head, false).unwrap();
                    out.send_data(Bytes::from_static(&[0, 0, 0, 0, 0]), false).unwrap();
                    out.send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect())
                        .unwrap();
                    got.send((path, bytes)).await.unwrap();
                };
                tokio::spawn(answer);
            }
        });
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

const TRACE: [u8; 16] =
    [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];

fn call(telemetry: &Telemetry, tool: &str, traceparent: Option<&str>) {
    let id = WorkloadId::parse("spiffe://cluster.local/ns/agents/sa/researcher").unwrap();
    let peer = Peer::verified(id, "10.0.0.7:41000".parse().unwrap(), SystemTime::now());
    let mut guard = telemetry.begin(&peer, Protocol::Mcp);
    let mut headers = http::HeaderMap::new();
    if let Some(traceparent) = traceparent {
        headers.insert("traceparent", traceparent.parse().unwrap());
    }
    guard.trace_parent(&headers);
    guard.operation(Operation { method: "tools/call".into(), name: Some(tool.into()), kind: Some("tool"), path: None });
    guard.allowed(Ruling { reason: "allowed", ..Ruling::default() });
    guard.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_one_span_under_its_sampled_parent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (got, mut exports) = mpsc::channel(16);
    let server = tokio::spawn(collector(listener, got));
    let tracing = Tracing::start(&endpoint).unwrap();
    let telemetry =
        Telemetry::new(Arc::new(Metrics::new()), AccessLog::discard(), Some(tracing), Keyed::from_key(&[1; 32]));
    call(&telemetry, "get_alone", None);
    call(&telemetry, "get_child", Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    call(&telemetry, "get_unsampled", Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"));
    telemetry.flush(Duration::from_secs(10)).await;
    let (path, bytes) = tokio::time::timeout(Duration::from_secs(60), exports.recv()).await.unwrap().unwrap();
    assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    for expected in
        ["tools/call get_alone", "tools/call get_child", "mcp.method.name", "gen_ai.tool.name", "agent-waypoint"]
    {
        assert!(contains(&bytes, expected.as_bytes()), "{expected} is missing");
    }
    assert!(contains(&bytes, &TRACE), "the caller's trace id is missing");
    assert!(!contains(&bytes, b"get_unsampled"), "a span was made against the caller's sampling decision");
    server.abort();
}

#[test]
fn an_endpoint_that_cannot_be_spoken_to_is_named() {
    let fault = Tracing::start("collector:4317").unwrap_err();
    assert!(fault.to_string().contains("collector:4317") && fault.to_string().contains("http://"), "{fault}");
}

//! How messages are framed on both sides: lengths that were said stay said, trailers arrive, and an answer that cannot be
//! trusted goes to nobody else.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::http::{WEB, hello, istio, until, web};
use super::server::Raw;
use crate::lab::{Lab, PATIENCE, Reply, eventually, service};

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_was_said_is_passed_on_both_ways() {
    let upstream = hello().await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let request = b"POST /up HTTP/1.1\r\nHost: w\r\nContent-Length: 4\r\n\r\nbody";
    let reply = lab.raw("agents/reader", WEB, request).await;
    assert!(reply.head.to_ascii_lowercase().contains("content-length: 5"), "{reply:?}");
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(seen.contains("content-length: 4\r\n") && !seen.contains("chunked"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_stays_chunked() {
    let upstream = Raw::answering(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"]).await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let request =
        b"POST /up HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nbody\r\n0\r\nX-T: v\r\n\r\n";
    let reply = lab.raw("agents/reader", WEB, request).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("hi"), "{reply:?}");
    eventually("the body's end", async || upstream.seen().ends_with("4\r\nbody\r\n0\r\n\r\n")).await;
}

/// A gRPC-like server: one path answers with a message and trailers, another with trailers only.
async fn grpc() -> Raw {
    Raw::start(|accepted| async move {
        let Ok(mut connection) = h2::server::handshake(accepted.io).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let mut body = request.into_parts();
                while let Some(Ok(data)) = body.1.data().await {
                    body.1.flow_control().release_capacity(data.len()).unwrap();
                }
                let te = body.0.headers.get("te").map_or("none", |te| te.to_str().unwrap()).to_owned();
                let mut head = Response::new(());
                head.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
                head.headers_mut().insert("x-te", te.parse().unwrap());
                if body.0.uri.path() == "/svc/Missing" {
                    head.headers_mut().insert("grpc-status", "12".parse().unwrap());
                    respond.send_response(head, true).unwrap();
                    return;
                }
                let mut send = respond.send_response(head, false).unwrap();
                send.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), false).unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                send.send_trailers(trailers).unwrap();
            });
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_passes_with_its_trailers_and_trailers_only() {
    let upstream = grpc().await;
    let documents =
        [service("calls", "127.0.9.3", upstream.addr, "grpc"), service("any", "127.0.9.4", upstream.addr, "")]
            .join("---\n");
    let lab = Lab::start(&documents).await;
    for authority in ["127.0.9.3:80", "127.0.9.4:80"] {
        let stream = lab.tunnel("agents/reader", authority).await.unwrap();
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let call = |path: &str| {
            Request::post(format!("http://calls{path}"))
                .header("te", "trailers")
                .header("content-type", "application/grpc")
                .body(())
                .unwrap()
        };
        let (answer, mut send) = requests.send_request(call("/svc/Get"), false).unwrap();
        send.send_data(Bytes::from_static(b"\0\0\0\0\x02yo"), true).unwrap();
        let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["x-te"], "trailers");
        let mut body = answer.into_body();
        assert_eq!(&body.data().await.unwrap().unwrap()[..], b"\0\0\0\0\x02hi");
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");

        let (answer, _) = requests.send_request(call("/svc/Missing"), true).unwrap();
        let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.headers()["grpc-status"], "12");
        // gRPC clients take `grpc-status` in the head for the status only where the head is also the end.
        assert!(answer.body().is_end_stream(), "{authority}: trailers-only has become a head and an empty body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_an_answer_are_no_answer_to_the_next_caller() {
    let upstream = Raw::answering(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean",
    ])
    .await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let first = lab.raw("agents/mallory", WEB, b"GET /1 HTTP/1.1\r\nHost: w\r\n\r\n").await;
    assert_eq!(first.body, "ok", "{first:?}");
    let second = lab.raw("agents/reader", WEB, b"GET /2 HTTP/1.1\r\nHost: w\r\n\r\n").await;
    assert_eq!(second.body, "clean", "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_contradict_themselves_end_with_their_caller() {
    let rows: [(&'static [&'static str], &str); 5] = [
        (&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"], "short"),
        (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n"], ""),
        (&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhey"], ""),
        (&["HTTP/1.1 200 OK\r\nX: a\r\n b\r\nBad Header: 1\r\n\r\n"], ""),
        (&["garbage garbage garbage\r\n\r\n"], ""),
    ];
    for (answers, most) in rows {
        let read = CancellationToken::new();
        let gone = read.clone();
        let upstream = Raw::start(move |mut accepted| {
            let gone = gone.clone();
            async move {
                if accepted.head().await.is_some() {
                    accepted.io.write_all(answers[0].as_bytes()).await.unwrap();
                    gone.cancelled().await;
                }
            }
        })
        .await;
        let lab = Lab::start(&web(upstream.addr, "")).await;
        let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n").await.unwrap();
        // The connection ends once the caller has what there is to have of the answer.
        let mut all = if most.is_empty() { String::new() } else { until(&mut stream, most.as_bytes()).await };
        read.cancel();
        all += &until(&mut stream, b"never").await;
        let whole = all.ends_with("0\r\n\r\n") || all.starts_with("HTTP/1.1 50");
        assert!(all.starts_with("HTTP/1.1 50") || !whole, "{answers:?}: {all}");
        assert!(all.starts_with("HTTP/1.1 50") || all.contains(most), "{answers:?}: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_left_is_never_the_next_callers() {
    // The first caller leaves before its answer; it must not come to the second.
    let upstream = Raw::start(|mut accepted| async move {
        while let Some(head) = accepted.head().await {
            let secret = head.contains("/slow");
            if secret {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            let body = if secret { "secret" } else { "public" };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n{body}");
            if accepted.io.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    // One pooled connection.
    assert_eq!(lab.raw("agents/alice", WEB, b"GET /fast HTTP/1.1\r\nHost: w\r\n\r\n").await.body, "public");
    for _ in 0..3 {
        let mut leaving = lab.tunnel("agents/alice", WEB).await.unwrap();
        leaving.write_all(b"GET /slow HTTP/1.1\r\nHost: w\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(leaving);
        let reply = lab.raw("agents/bob", WEB, b"GET /fast HTTP/1.1\r\nHost: w\r\n\r\n").await;
        assert_eq!(reply.body, "public");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_interim_answers_ends() {
    let upstream = Raw::start(|mut accepted| async move {
        if accepted.head().await.is_none() {
            return;
        }
        while accepted.io.write_all(&b"HTTP/1.1 102 Processing\r\n\r\n".repeat(500)).await.is_ok() {}
    })
    .await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: w\r\n\r\n").await.unwrap();
    let reply = Reply::read(&mut stream).await;
    assert_eq!(reply.status, 502, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_breaks_off_is_shown_as_broken_to_the_server() {
    let upstream = Raw::start(|mut accepted| async move { while accepted.read().await.is_some() {} }).await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let reply = Reply::read(&mut stream).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(!upstream.seen().contains("\r\n0\r\n"), "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_when_it_is_no_longer_permitted() {
    let upstream = Raw::start(|mut accepted| async move { while accepted.read().await.is_some() {} }).await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 1000\r\n\r\nhalf").await.unwrap();
    eventually("half of it has arrived", async || upstream.seen().ends_with("half")).await;
    lab.edit(&web(upstream.addr, &istio("DENY", "[{}]"))).await;
    let reply = Reply::read(&mut stream).await;
    assert_eq!(reply.status, 403, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_answer_that_drips_ends_when_it_is_no_longer_permitted() {
    // A byte every tenth of a second: longer than anybody waits.
    const LENGTH: usize = 10_000;
    let upstream = Raw::start(|mut accepted| async move {
        if accepted.head().await.is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
            accepted.io.write_all(head.as_bytes()).await.unwrap();
            while accepted.io.write_all(b".").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    })
    .await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: w\r\n\r\n").await.unwrap();
    until(&mut stream, b"\r\n\r\n...").await;
    lab.edit(&web(upstream.addr, &istio("DENY", "[{}]"))).await;
    let rest = until(&mut stream, b"never").await;
    assert!(rest.len() < LENGTH - 3, "it must not look whole: {}", rest.len());
}

//! What one caller or a careless server leaves behind on a connection to a server never reaches another caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::http::{WEB, until, web};
use super::server::Raw;
use crate::lab::{Lab, Reply, eventually};

const GET: &[u8] = b"GET /next HTTP/1.1\r\nHost: w\r\n\r\n";

/// Answers the first request of a connection with `first` and, a while later, `late`; later ones with `clean`. Says when all
/// that is left behind was written.
async fn leaving(first: &'static str, late: &'static str) -> (Raw, CancellationToken) {
    let left = CancellationToken::new();
    let told = left.clone();
    let server = Raw::start(move |mut accepted| {
        let told = told.clone();
        async move {
            while let Some(head) = accepted.head().await {
                let is_first = head.contains(" /first ");
                let answer = if is_first { first } else { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean" };
                if accepted.io.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                if is_first {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let _closed = accepted.io.write_all(late.as_bytes()).await;
                    told.cancel();
                }
            }
        }
    });
    (server.await, left)
}

const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_an_answer_ends_the_connection() {
    let rows = [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", POISON),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", ""),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n", POISON),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 46\r\n\r\n", POISON),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", ""),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", POISON),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            POISON,
        ),
    ];
    for (method, first, late) in rows {
        let (upstream, left) = leaving(first, late).await;
        let lab = Lab::start(&web(upstream.addr, "")).await;
        let mut mallory = lab.tunnel("agents/mallory", WEB).await.unwrap();
        mallory.write_all(format!("{method} /first HTTP/1.1\r\nHost: w\r\n\r\n").as_bytes()).await.unwrap();
        until(&mut mallory, b"\r\n\r\n").await;
        left.cancelled().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        for _ in 0..3 {
            let reply = lab.raw("agents/victim", WEB, GET).await;
            assert_eq!(reply.body, "clean", "{method} {first:?}: {reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_answered_before_its_end_is_not_followed_by_anothers() {
    let upstream = Raw::start(|mut accepted| async move {
        if accepted.head().await.is_none() {
            return;
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
        let _closed = accepted.io.write_all(answer.as_bytes()).await;
        // What comes now is the rest of that body, or the connection is not to be used.
        while accepted.read().await.is_some() {}
    })
    .await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut mallory = lab.tunnel("agents/mallory", WEB).await.unwrap();
    mallory.write_all(b"POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 1000\r\n\r\nGET /x").await.unwrap();
    until(&mut mallory, b"early").await;
    let reply = lab.raw("agents/victim", WEB, GET).await;
    assert_eq!((reply.status, upstream.connections()), (200, 2), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_nobody_asked_for_is_no_answer() {
    let upstream =
        Raw::answering(&["HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbytes"])
            .await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    assert_eq!(lab.raw("agents/reader", WEB, GET).await.status, 502);
    let other = b"GET / HTTP/1.1\r\nHost: w\r\nConnection: upgrade\r\nUpgrade: irc\r\n\r\n";
    assert_eq!(lab.raw("agents/reader", WEB, other).await.status, 502);
    assert!(!upstream.seen().to_ascii_lowercase().contains("upgrade"), "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_websocket_leaves_http_behind() {
    let upstream = Raw::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"]).await;
    let deny = super::http::istio("DENY", "[{to: [{operation: {paths: ['/admin']}}]}]");
    let lab = Lab::start(&web(upstream.addr, &deny)).await;
    let mut stream = lab.tunnel("agents/mallory", WEB).await.unwrap();
    stream
        .write_all(b"GET /chat HTTP/1.1\r\nHost: w\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /admin HTTP/1.1\r\nHost: w\r\n\r\n")
        .await
        .unwrap();
    assert!(until(&mut stream, b"no").await.starts_with("HTTP/1.1 200"));
    assert_eq!(Reply::read(&mut stream).await.status, 403);
    assert!(!upstream.seen().contains("/admin"), "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_gets_an_answer_that_it_can_read() {
    let upstream = Raw::answering(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"]).await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\nHost: w\r\n\r\n").await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert!(all.ends_with("\r\n\r\nhi") && !all.contains("chunked"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_without_a_body_says_so() {
    let upstream = Raw::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]).await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let reply = lab.raw("agents/reader", WEB, b"POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(reply.status, 200);
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(seen.contains("content-length: 0\r\n"), "{seen}");
    lab.raw("agents/reader", WEB, GET).await;
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(!seen.split_once("get /next").unwrap().1.contains("content-length"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_costs_a_caller_nothing() {
    // Keeps no connection, without saying so.
    let upstream = Raw::start(|mut accepted| async move {
        if accepted.head().await.is_some() {
            let _closed = accepted.io.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    for _ in 0..20 {
        let reply = lab.raw("agents/reader", WEB, GET).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_said_all_and_then_left_is_not_waited_for() {
    let left = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&left);
    let upstream = Raw::start(move |mut accepted| {
        let left = Arc::clone(&count);
        async move {
            while accepted.read().await.is_some() {}
            left.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    stream.write_all(GET).await.unwrap();
    stream.shutdown().await.unwrap();
    eventually("the server is asked", async || upstream.connections() == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(left.load(Ordering::SeqCst), 0, "only half has been closed");
    drop(stream);
    eventually("the server is told", async || left.load(Ordering::SeqCst) == 1).await;
}

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::config::limits::{MAX_DISCARD, MAX_HEAD};
use crate::intake::body::BodyFault;
use crate::intake::tests::{By, by, data, echo, fed, ok, once};
use crate::intake::{no_body, text_body};

type Serving = JoinHandle<Result<(), IntakeFault>>;

fn start(handler: By) -> (DuplexStream, Serving, CancellationToken) {
    let (near, far) = duplex(256 << 10);
    let drain = CancellationToken::new();
    let serving = tokio::spawn(serve_http1(near, handler, drain.clone()));
    (far, serving, drain)
}

/// Reads until exactly `expected` has come.
async fn expect(io: &mut DuplexStream, expected: &str) {
    let mut got = vec![0; expected.len()];
    let read = timeout(Duration::from_secs(3600), io.read_exact(&mut got)).await;
    assert_eq!((String::from_utf8_lossy(&got).as_ref(), read.is_ok()), (expected, true));
}

async fn rest(mut io: DuplexStream) -> String {
    let mut all = String::new();
    io.read_to_string(&mut all).await.unwrap();
    all
}

fn said(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn requests_one_after_the_other_and_pipelined() {
    let (mut io, serving, _drain) = start(echo());
    io.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    expect(&mut io, &said("GET /a ")).await;
    io.write_all(
        b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcPOST /c HTTP/1.1\r\nHost: h\r\n\
          Transfer-Encoding: chunked\r\n\r\n1\r\nd\r\n2;x\r\nef\r\n0\r\nX: y\r\n\r\nGET /d HTTP/1.1\r\nHost: h\r\n\
          Connection: close\r\n\r\nGET /never HTTP/1.1\r\n",
    )
    .await
    .unwrap();
    expect(&mut io, &said("POST /b abc")).await;
    expect(&mut io, &said("POST /c def")).await;
    let last = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nGET /d ";
    assert_eq!(rest(io).await, last);
    assert!(serving.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_pipelined_request_is_not_handled_before_the_answer_is_out() {
    let (feed, _dropped, body) = fed();
    let first = once(body);
    let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let (mut io, _serving, _drain) = start(by(move |_request| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let body = first().unwrap_or_else(no_body);
        async move { ok(body) }
    }));
    io.write_all(&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2)).await.unwrap();
    expect(&mut io, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    tokio::task::yield_now().await;
    assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 1);
    drop(feed);
    expect(&mut io, "0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_no_request_is_answered_once_and_ends_the_connection() {
    for (request, status) in [
        ("GET / HTTP/1.1\nHost: h\n\n".to_owned(), "400 Bad Request"),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            "400 Bad Request",
        ),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n".to_owned(), "501 Not Implemented"),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), "505 HTTP Version Not Supported"),
        (
            format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(MAX_HEAD)),
            "431 Request Header Fields Too Large",
        ),
        ("\u{16}\u{3}\u{1}".to_owned(), "400 Bad Request"),
        ("GET / HT".to_owned(), "400 Bad Request"),
    ] {
        let (mut io, serving, _drain) = start(by(|_request| async { panic!("must not be handled") }));
        io.write_all(request.as_bytes()).await.unwrap();
        io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        io.shutdown().await.unwrap();
        let answer = rest(io).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:.40} {answer}");
        assert!(answer.contains("connection: close\r\n") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
        assert!(matches!(serving.await.unwrap(), Err(IntakeFault::Head(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn consent_is_given_when_the_body_is_wanted() {
    let (mut io, _serving, _drain) = start(echo());
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    io.write_all(head).await.unwrap();
    expect(&mut io, "HTTP/1.1 100 Continue\r\n\r\n").await;
    io.write_all(b"ab").await.unwrap();
    expect(&mut io, &said("POST / ab")).await;
    // A body that came without waiting needs no consent.
    io.write_all(&[&head[..], b"cd"].concat()).await.unwrap();
    expect(&mut io, &said("POST / cd")).await;
}

#[tokio::test(start_paused = true)]
async fn without_consent_the_connection_ends() {
    let (keep, kept) = std::sync::mpsc::channel();
    for keeps in [false, true] {
        let keep = Mutex::new(keep.clone());
        let (mut io, serving, _drain) = start(by(move |request| {
            if keeps {
                keep.lock().unwrap().send(request.body).unwrap();
            }
            async { ok(text_body("no")) }
        }));
        io.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").await.unwrap();
        assert_eq!(rest(io).await, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        assert!(serving.await.unwrap().is_ok());
    }
    assert_eq!(kept.try_iter().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_read_by_another_task() {
    let (mut io, _serving, _drain) = start(by(|request: Request| async move {
        let mut reading = tokio::spawn(async move { request.body.collect().await.unwrap().to_bytes() });
        // Wakes the connection's own task again and again: it must not take the bytes' wake-up for itself.
        loop {
            if let Ok(body) = timeout(Duration::from_millis(1), &mut reading).await {
                return ok(text_body(body.unwrap()));
            }
        }
    }));
    io.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n").await.unwrap();
    for part in ["a", "b", "c", "d"] {
        sleep(Duration::from_millis(10)).await;
        io.write_all(part.as_bytes()).await.unwrap();
    }
    assert!(timeout(Duration::from_secs(60), expect(&mut io, &said("abcd"))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_is_dropped_up_to_a_limit() {
    let (mut io, serving, _drain) = start(by(|request| async move { ok(text_body(request.head.path)) }));
    let small = format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {MAX_DISCARD}\r\n\r\n");
    io.write_all(small.as_bytes()).await.unwrap();
    expect(&mut io, &said("/a")).await;
    io.write_all(&vec![b'x'; MAX_DISCARD]).await.unwrap();
    let large = format!("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", MAX_DISCARD + 1);
    io.write_all(large.as_bytes()).await.unwrap();
    assert_eq!(rest(io).await, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/b");
    assert!(serving.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_endless_chunked_rest_ends_the_connection() {
    let (mut io, serving, _drain) = start(by(|request| async move { ok(text_body(request.head.path)) }));
    io.write_all(b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    expect(&mut io, &said("/a")).await;
    let chunk = [&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n"].concat();
    while io.write_all(&chunk).await.is_ok() {}
    assert!(serving.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_malformed_says_so() {
    for (sent, said) in [
        ("Content-Length: 3\r\n\r\nab", "the body ended early"),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nabX", "malformed body: malformed line end in a chunked body"),
    ] {
        let (mut io, _serving, _drain) = start(echo());
        io.write_all(format!("POST / HTTP/1.1\r\nHost: h\r\n{sent}").as_bytes()).await.unwrap();
        io.shutdown().await.unwrap();
        let answer = rest(io).await;
        assert!(answer.ends_with(&format!("connection: close\r\n\r\nPOST / {said}")), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn time_for_a_head_and_between_heads() {
    let (mut io, serving, _drain) = start(echo());
    let begun = Instant::now();
    sleep(HTTP_IDLE_TIMEOUT / 2).await;
    io.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    sleep(HEAD_TIMEOUT - Duration::from_millis(1)).await;
    io.write_all(b"A: b\r\n").await.unwrap();
    let answer = rest(io).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert_eq!(begun.elapsed(), HTTP_IDLE_TIMEOUT / 2 + HEAD_TIMEOUT);
    assert!(matches!(serving.await.unwrap(), Err(IntakeFault::Head(HeadFault::Timeout))));

    let (io, serving, _drain) = start(echo());
    let begun = Instant::now();
    assert_eq!(rest(io).await, "");
    assert_eq!(begun.elapsed(), HTTP_IDLE_TIMEOUT);
    assert!(serving.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn drain_finishes_the_request_at_hand() {
    let (feed, _dropped, body) = fed();
    let body = once(body);
    let (mut io, serving, drain) = start(by(move |_request| {
        let body = body();
        async move { ok(body.unwrap_or_else(no_body)) }
    }));
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    expect(&mut io, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    drain.cancel();
    feed.send(data("a")).await.unwrap();
    drop(feed);
    assert_eq!(rest(io).await, "1\r\na\r\n0\r\n\r\n");
    assert!(serving.await.unwrap().is_ok());

    let (io, serving, drain) = start(echo());
    drain.cancel();
    assert_eq!(rest(io).await, "");
    assert!(serving.await.unwrap().is_ok());

    let (mut io, _serving, drain) = start(by(|_request| async {
        sleep(Duration::from_millis(20)).await;
        ok(no_body())
    }));
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(5)).await;
    drain.cancel();
    assert_eq!(rest(io).await, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn each_frame_goes_out_before_the_next_is_there() {
    let (feed, _dropped, body) = fed();
    let body = once(body);
    let (mut io, _serving, _drain) = start(by(move |_request| {
        let body = body();
        async move { ok(body.unwrap()) }
    }));
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    expect(&mut io, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for _ in 0..3 {
        feed.send(data("data: x\n\n")).await.unwrap();
        expect(&mut io, "9\r\ndata: x\n\n\r\n").await;
    }
    feed.send(Err(BodyFault::Upstream)).await.unwrap();
    assert_eq!(rest(io).await, "", "no last chunk after a fault");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stopped_sending_gets_its_answer() {
    let (mut io, serving, _drain) = start(by(|_request| async {
        sleep(Duration::from_millis(20)).await;
        ok(text_body("late"))
    }));
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    io.shutdown().await.unwrap();
    assert_eq!(rest(io).await, said("late"));
    assert!(serving.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stopped_sending_is_not_waited_for_in_silence() {
    let (feed, dropped, body) = fed();
    let body = once(body);
    let (mut io, serving, _drain) = start(by(move |_request| {
        let body = body();
        async move { ok(body.unwrap()) }
    }));
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    io.shutdown().await.unwrap();
    let begun = Instant::now();
    sleep(HALF_CLOSED_SILENCE / 2).await;
    feed.send(data("a")).await.unwrap();
    assert!(dropped.await.is_err());
    assert_eq!(begun.elapsed(), HALF_CLOSED_SILENCE / 2 + HALF_CLOSED_SILENCE);
    assert!(matches!(serving.await.unwrap(), Err(IntakeFault::Connection(_))));
}

/// A stream whose reading side fails when it is told to, as a tunnel does that the far end resets.
struct Resets {
    io: DuplexStream,
    reset: tokio::sync::oneshot::Receiver<()>,
}

impl AsyncRead for Resets {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        if Pin::new(&mut self.reset).poll(cx).is_ready() {
            return std::task::Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Resets {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_gone_ends_the_answer_or_the_work_at_once() {
    for (request, unread) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", true),
    ] {
        for answers in [true, false] {
            let (_feed, dropped, body) = fed();
            let body = once(body);
            let handler = by(move |request: Request| {
                let body = body();
                async move {
                    drop(request);
                    if !answers {
                        // Held by the work itself: dropped only if the work is.
                        let _held = body;
                        std::future::pending::<()>().await;
                        return Answer::Reset;
                    }
                    ok(body.unwrap())
                }
            });
            let (near, mut io) = duplex(1 << 10);
            let (tell, reset) = tokio::sync::oneshot::channel();
            let serving = tokio::spawn(serve_http1(Resets { io: near, reset }, handler, CancellationToken::new()));
            io.write_all(request.as_bytes()).await.unwrap();
            if answers {
                expect(&mut io, "HTTP/1.1 200 OK\r\n").await;
            } else {
                sleep(Duration::from_millis(1)).await;
            }
            let begun = Instant::now();
            tell.send(()).unwrap();
            assert!(dropped.await.is_err());
            assert_eq!(begun.elapsed(), Duration::ZERO, "unread {unread}, answers {answers}");
            assert!(matches!(serving.await.unwrap(), Err(IntakeFault::Connection(_))));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_reader_stops_the_body() {
    let (feed, _dropped, body) = fed();
    let body = once(body);
    let (near, mut io) = duplex(1 << 10);
    let handler = by(move |_request| {
        let body = body();
        async move { ok(body.unwrap()) }
    });
    let _serving = tokio::spawn(serve_http1(near, handler, CancellationToken::new()));
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut sent = 0;
    let frame = || Ok(http_body::Frame::data(Bytes::from(vec![b'x'; 32 << 10])));
    while timeout(Duration::from_secs(5), feed.send(frame())).await.is_ok() {
        sent += 1;
    }
    assert!(sent <= 8 + 2, "{sent} frames taken: the queue of the test and no more than two");
}

#[tokio::test]
async fn a_body_that_outlives_its_exchange_reads_nothing_of_the_next() {
    let (keep, kept) = std::sync::mpsc::channel();
    let keep = Mutex::new(keep);
    let (mut io, serving, _drain) = start(by(move |request| {
        keep.lock().unwrap().send(request.body).unwrap();
        async { ok(text_body("x")) }
    }));
    for _ in 0..2 {
        io.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").await.unwrap();
        expect(&mut io, &said("x")).await;
    }
    let (mut first, mut second) = (kept.recv().unwrap(), kept.recv().unwrap());
    assert_eq!(first.frame().await.unwrap().unwrap_err(), BodyFault::Over);
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert_eq!(second.frame().await.unwrap().unwrap_err(), BodyFault::Over);
    assert_eq!(rest(io).await, "", "a kept body does not keep the stream");
}

/// A task of its own may pass a body on, and be left with it when the answer is out: it must not wait for ever.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_more_of_a_body_learns_that_its_exchange_is_over() {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let (mut io, _serving, _drain) = start(by(move |request| {
        let (begun, waits) = tokio::sync::oneshot::channel();
        let (tell, mut body) = (tell.clone(), request.body);
        tokio::spawn(async move {
            begun.send(body.frame().await.unwrap().is_ok()).unwrap();
            tell.send(body.frame().await.unwrap().unwrap_err()).await.unwrap();
        });
        async move {
            assert!(waits.await.unwrap());
            ok(text_body("x"))
        }
    }));
    io.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na").await.unwrap();
    expect(&mut io, &said("x")).await;
    let told = timeout(Duration::from_secs(3_600), told.recv()).await;
    assert_eq!(told.expect("woken"), Some(BodyFault::Over));
}

#[tokio::test(start_paused = true)]
async fn answers_of_every_kind() {
    let (mut io, _serving, _drain) = start(by(|request| async move {
        let mut response = Response::new(text_body("abc"));
        response.headers_mut().insert("content-length", HeaderValue::from_static("77"));
        response.headers_mut().insert("connection", HeaderValue::from_static("x-hop"));
        response.headers_mut().insert("x-hop", HeaderValue::from_static("1"));
        *response.status_mut() = request.head.path.trim_start_matches('/').parse().unwrap();
        Answer::Response(response)
    }));
    for (method, path, expected) in [
        ("GET", "/200", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"),
        ("HEAD", "/200", "HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n"),
        ("GET", "/204", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "/304", "HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\n\r\n"),
        ("GET", "/299", "HTTP/1.1 299 \r\ncontent-length: 3\r\n\r\nabc"),
    ] {
        io.write_all(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
        expect(&mut io, expected).await;
    }
    io.write_all(b"GET /100 HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(rest(io).await, "");

    let (mut io, serving, _drain) = start(by(|_request| async { Answer::Reset }));
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(rest(io).await, "");
    assert!(serving.await.unwrap().is_ok());
}

#[tokio::test]
async fn http10_ends_where_the_connection_ends() {
    let (mut io, _serving, _drain) = start(by(|_request| async {
        let (feed, _dropped, body) = fed();
        feed.try_send(data("abc")).unwrap();
        ok(body)
    }));
    io.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    assert_eq!(rest(io).await, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc");
}

#[tokio::test]
async fn websocket_becomes_bytes_both_ways() {
    let (theirs, mut upstream) = duplex(64);
    let theirs = once(theirs);
    let (mut io, serving, _drain) = start(by(move |request: Request| {
        assert_eq!(request.upgrade, Some(Upgrade::WebSocket));
        let mut head = Response::new(());
        head.headers_mut().insert("sec-websocket-accept", HeaderValue::from_static("x"));
        let io = Box::new(theirs().unwrap());
        async move { Answer::Switch { head, io } }
    }));
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly").await.unwrap();
    let head = "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: x\r\nupgrade: websocket\r\n\
                connection: upgrade\r\n\r\n";
    expect(&mut io, head).await;
    expect(&mut upstream, "early").await;
    upstream.write_all(b"down").await.unwrap();
    expect(&mut io, "down").await;
    io.shutdown().await.unwrap();
    assert_eq!(upstream.read(&mut [0; 1]).await.unwrap(), 0);
    upstream.write_all(b"after").await.unwrap();
    drop(upstream);
    assert_eq!(rest(io).await, "after", "half-closed, not closed");
    assert!(serving.await.unwrap().is_ok());
}

#[tokio::test]
async fn no_switch_unless_asked() {
    let (mut io, _serving, _drain) =
        start(by(|_request| async { Answer::Switch { head: Response::new(()), io: Box::new(duplex(1).0) } }));
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(rest(io).await, "");
}

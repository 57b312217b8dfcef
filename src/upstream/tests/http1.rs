use std::sync::Mutex;

use http::{Method, StatusCode, Uri};
use http_body_util::StreamBody;
use tokio::sync::mpsc;

use super::*;
use crate::config::limits::{MAX_CALLS_PER_ENDPOINT, MAX_FIELDS, POOL_IDLE, POOL_IDLE_PER_ENDPOINT};
use crate::fault::Retry;

async fn send(upstreams: &Upstreams, server: &Server) -> Result<Response<InBody>, SendFault> {
    upstreams.send(&server.plain(), UpstreamHttp::Http1, post("/mcp", "{}")).await
}

#[tokio::test]
async fn what_was_permitted_goes_out_and_what_came_back_is_passed_on() {
    let seen = Arc::new(Mutex::new(String::new()));
    let record = Arc::clone(&seen);
    let server = Server::start(move |_, mut tcp| {
        let record = Arc::clone(&record);
        async move {
            *record.lock().unwrap() = read_request(&mut tcp).await.unwrap();
            let answer =
                b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\n\
                keep-alive: timeout=5\r\nx-kept: 1\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n\
                4\r\n\x1f\x8b\x08\x00\r\n0\r\n\r\n";
            tcp.write_all(answer).await.unwrap();
        }
    })
    .await;
    let mut request = post("http://ignored.example/mcp?a=1&b=%2F", r#"{"id":1}"#);
    for (name, value) in [
        ("origin", "https://app.example"),
        ("connection", "close, x-nominated"),
        ("x-nominated", "1"),
        ("te", "trailers"),
        ("expect", "100-continue"),
        ("transfer-encoding", "chunked"),
        ("content-length", "999"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = upstreams().send(&server.plain(), UpstreamHttp::Http1, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND, "redirects are the caller's business");
    let fields: Vec<_> = response.headers().keys().map(|name| name.as_str().to_owned()).collect();
    assert!(["location", "x-kept", "content-encoding"].iter().all(|name| fields.contains(&(*name).to_owned())));
    assert_eq!(fields.len(), 3, "{fields:?}");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"\x1f\x8b\x08\x00", "not decompressed");
    let seen = seen.lock().unwrap().clone();
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /mcp?a=1&b=%2F HTTP/1.1");
    lines.sort_unstable();
    let expected = [
        "content-length: 8",
        "host: repo.tools.svc",
        "origin: https://app.example",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    assert_eq!(lines, expected);
    assert_eq!(body, r#"{"id":1}"#);
}

#[tokio::test]
async fn a_connection_is_used_again_once_its_response_was_read() {
    let server = Server::start(|_, tcp| answering(tcp, OK)).await;
    let upstreams = upstreams();
    for _ in 0..3 {
        assert_eq!(text(send(&upstreams, &server).await.unwrap()).await, "ok");
        settle().await;
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn nobody_comes_after_a_caller_whom_servers_know_by_the_connection() {
    let server = Server::start(|_, tcp| answering(tcp, OK)).await;
    let upstreams = upstreams();
    let mut connections = 0;
    for (proof, apart) in [
        (None, false),
        (Some("NTLM TlRMTVNTUAADAAAA"), true),
        (Some("negotiate YII="), true),
        (Some("Negotiate"), true),
        (Some("Bearer ntlm"), false),
        (Some("Basic bnRsbTpudGxt"), false),
    ] {
        let mut request = post("/mcp", "{}");
        request.headers_mut().extend(proof.map(|proof| (http::header::AUTHORIZATION, proof.parse().unwrap())));
        let sent = upstreams.send(&server.plain(), UpstreamHttp::Http1, request).await;
        assert_eq!(text(sent.unwrap()).await, "ok");
        settle().await;
        assert_eq!(text(send(&upstreams, &server).await.unwrap()).await, "ok");
        settle().await;
        connections += usize::from(connections == 0) + usize::from(apart);
        assert_eq!(server.accepted(), connections, "{proof:?}");
    }
}

#[tokio::test]
async fn a_connection_is_not_shared_while_its_response_is_under_way() {
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no";
    let server = Server::start(|_, tcp| answering(tcp, HALF)).await;
    let upstreams = upstreams();
    let _unfinished = send(&upstreams, &server).await.unwrap();
    settle().await;
    let _other = send(&upstreams, &server).await.unwrap();
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn another_way_to_the_same_address_is_another_connection() {
    let a: Arc<Endpoint> = endpoint("10.0.0.1:80".parse().unwrap(), Via::Plain);
    let id = |text: &str| WorkloadId::parse(text).unwrap();
    let hbone = |text: &str| Via::Hbone { expect: Arc::from([id(text)]) };
    let b = Arc::new(Endpoint { via: hbone("spiffe://cluster.local/ns/a/sa/b"), ..(*a).clone() });
    let c = Arc::new(Endpoint { via: hbone("spiffe://cluster.local/ns/a/sa/c"), ..(*a).clone() });
    let heavier = Arc::new(Endpoint { weight: 9, ..(*a).clone() });
    let key = |endpoint| pool::Key::new(endpoint, UpstreamHttp::Http1);
    assert!(key(&a) != key(&b) && key(&b) != key(&c) && key(&a) == key(&heavier));
    assert!(pool::Key::new(&a, UpstreamHttp::Http2) != key(&a));
}

#[tokio::test]
async fn dropping_a_response_in_the_middle_tells_the_server() {
    let (told, mut closed) = mpsc::channel(1);
    let server = Server::start(move |_, mut tcp| {
        let told = told.clone();
        async move {
            read_request(&mut tcp).await.unwrap();
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n").await.unwrap();
            let mut rest = Vec::new();
            let _reset_or_end = tcp.read_to_end(&mut rest).await;
            told.send(()).await.unwrap();
        }
    })
    .await;
    let mut body = send(&upstreams(), &server).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
    drop(body);
    tokio::time::timeout(PATIENCE, closed.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_response_takes_the_connection_along() {
    let (told, mut closed) = mpsc::channel(1);
    let server = Server::start(move |_, mut tcp| {
        let told = told.clone();
        async move {
            read_request(&mut tcp).await.unwrap();
            let mut rest = Vec::new();
            let _reset_or_end = tcp.read_to_end(&mut rest).await;
            told.send(()).await.unwrap();
        }
    })
    .await;
    let upstreams = upstreams();
    assert!(tokio::time::timeout(Duration::from_millis(50), send(&upstreams, &server)).await.is_err());
    tokio::time::timeout(PATIENCE, closed.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_not_used() {
    let server = Server::start(|_, mut tcp| async move {
        read_request(&mut tcp).await.unwrap();
        tcp.write_all(OK).await.unwrap();
    })
    .await;
    let upstreams = upstreams();
    for _ in 0..3 {
        assert_eq!(text(send(&upstreams, &server).await.unwrap()).await, "ok");
        settle().await;
    }
    assert_eq!(server.accepted(), 3);
}

/// The server closes, and we send before the pool had a turn to notice: it is found out while the request is still whole,
/// which goes out on a fresh connection.
#[tokio::test(flavor = "current_thread")]
async fn a_request_of_which_nothing_was_written_goes_out_again_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (close, may_close) = std::sync::mpsc::channel::<()>();
    let (closed, is_closed) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let mut requests = 0;
        for connection in 0..2 {
            use std::io::{Read, Write};
            let (mut tcp, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"{}") {
                let mut byte = [0];
                tcp.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            requests += 1;
            tcp.write_all(OK).unwrap();
            if connection == 0 {
                may_close.recv().unwrap();
                drop(tcp);
                closed.send(()).unwrap();
            }
        }
        requests
    });
    let (upstreams, endpoint) = (upstreams(), endpoint(addr, Via::Plain));
    let first = upstreams.send(&endpoint, UpstreamHttp::Http1, post("/", "{}")).await.unwrap();
    assert_eq!(text(first).await, "ok");
    settle().await;
    assert!(upstreams.inner.pool.take_one(&pool::Key::new(&endpoint, UpstreamHttp::Http1)).is_some_and(|one| {
        upstreams.inner.pool.put_one(&pool::Key::new(&endpoint, UpstreamHttp::Http1), one);
        true
    }));
    close.send(()).unwrap();
    is_closed.recv().unwrap();
    // The runtime hears of the end and wakes the connection's task, but this one has its turn first.
    tokio::task::yield_now().await;
    let second = upstreams.send(&endpoint, UpstreamHttp::Http1, post("/", "{}")).await.unwrap();
    assert_eq!(text(second).await, "ok");
    assert_eq!(server.join().unwrap(), 2, "each request was seen once");
}

#[tokio::test]
async fn a_request_that_may_have_been_seen_never_goes_out_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let server = Server::start(move |_, mut tcp| {
        let count = Arc::clone(&count);
        async move {
            // The first on a connection is answered, the second is read, and then the server is gone.
            read_request(&mut tcp).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tcp.write_all(OK).await.unwrap();
            read_request(&mut tcp).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let upstreams = upstreams();
    assert_eq!(text(send(&upstreams, &server).await.unwrap()).await, "ok");
    settle().await;
    let fault = send(&upstreams, &server).await.unwrap_err();
    assert!(matches!(fault, SendFault::Broken), "{fault:?}");
    assert_eq!(fault.retry(), Retry::Unsafe);
    settle().await;
    assert_eq!((requests.load(Ordering::SeqCst), server.accepted()), (2, 1));
}

#[tokio::test]
async fn another_endpoint_is_tried_once_when_nothing_could_be_sent() {
    // Bound and not listening: nobody else can take the port.
    let gone = tokio::net::TcpSocket::new_v4().unwrap();
    gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = endpoint(gone.local_addr().unwrap(), Via::Plain);
    let server = Server::start(|_, tcp| answering(tcp, OK)).await;
    let all = [Arc::new(Endpoint { weight: u32::MAX, ..(*dead).clone() }), server.plain()];
    let upstreams = upstreams();
    let (to, response) = upstreams.send_to_one_of(&all, None, UpstreamHttp::Http1, post("/", "{}")).await.unwrap();
    assert_eq!((&to.id, text(response).await.as_str()), (&all[1].id, "ok"));
    let sticky = upstreams.send_to_one_of(&all, Some(&dead.id), UpstreamHttp::Http1, post("/", "{}")).await;
    let fault = sticky.unwrap_err();
    assert!(matches!(fault, SendFault::Dial(DialFault::Connect(_))), "{fault:?}");
    assert_eq!((fault.retry(), fault.stage()), (Retry::Safe, crate::fault::Stage::Dial));
    let only = upstreams.send_to_one_of(&all[..1], None, UpstreamHttp::Http1, post("/", "{}")).await;
    assert!(matches!(only, Err(SendFault::Dial(_))));
    let none = upstreams.send_to_one_of(&[], None, UpstreamHttp::Http1, post("/", "{}")).await;
    assert!(matches!(none, Err(SendFault::NoEndpoint(NoEndpoint::Empty))));
}

#[tokio::test]
async fn one_that_has_as_much_as_it_may_is_passed_by() {
    let (full, other) =
        (Server::start(|_, tcp| answering(tcp, OK)).await, Server::start(|_, tcp| answering(tcp, OK)).await);
    let all = [Arc::new(Endpoint { weight: u32::MAX, ..(*full.plain()).clone() }), other.plain()];
    let upstreams = upstreams();
    let _open: Vec<_> = (0..MAX_CALLS_PER_ENDPOINT).map(|_| upstreams.inner.live.begin(&all[0]).unwrap()).collect();
    let sent = |all: Vec<Arc<Endpoint>>| {
        let upstreams = upstreams.clone();
        async move { upstreams.send_to_one_of(&all, None, UpstreamHttp::Http1, post("/", "{}")).await }
    };
    assert_eq!(sent(all.to_vec()).await.unwrap().0.id, all[1].id);
    let fault = sent(all[..1].to_vec()).await.unwrap_err();
    assert!(matches!(fault, SendFault::Dial(DialFault::Full)), "{fault:?}");
    assert_eq!((fault.retry(), fault.blame()), (Retry::Safe, Blame::Waypoint));
    assert_eq!((full.accepted(), other.accepted()), (0, 1));
    let busy = sent(all[1..].to_vec()).await.unwrap().1;
    assert_eq!(upstreams.inner.live.calls(&all[1]), 1, "until its body was read");
    assert_eq!(text(busy).await, "ok");
    assert_eq!(upstreams.inner.live.calls(&all[1]), 0);
}

#[tokio::test]
async fn what_is_no_acceptable_response_is_a_fault() {
    let many = "x-a: 1\r\n".repeat(MAX_FIELDS + 1);
    let huge = format!("x: {}\r\n", "y".repeat(70 << 10));
    let cases: [(String, &str); 5] = [
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), "upstream_not_http"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
            "upstream_not_http",
        ),
        (format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "upstream_head_too_large"),
        (format!("HTTP/1.1 200 OK\r\n{huge}\r\n"), "upstream_head_too_large"),
        (String::new(), "upstream_broken"),
    ];
    for (answer, reason) in cases {
        let answer: &'static [u8] = Box::leak(answer.into_boxed_str()).as_bytes();
        let server = Server::start(move |_, mut tcp| async move {
            read_request(&mut tcp).await.unwrap();
            tcp.write_all(answer).await.unwrap();
        })
        .await;
        let fault = send(&upstreams(), &server).await.unwrap_err();
        assert_eq!((fault.reason(), fault.retry()), (reason, Retry::Unsafe), "{:.40}", String::from_utf8_lossy(answer));
        assert_eq!(server.accepted(), 1);
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_not_taken_for_whole() {
    let server = Server::start(|_, mut tcp| async move {
        read_request(&mut tcp).await.unwrap();
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    })
    .await;
    let response = send(&upstreams(), &server).await.unwrap();
    assert!(matches!(response.into_body().collect().await, Err(BodyBroken)));
}

#[tokio::test]
async fn a_caller_that_stops_in_the_middle_is_not_forwarded_as_whole() {
    let (seen, mut sees) = mpsc::channel(1);
    let server = Server::start(move |_, mut tcp| {
        let seen = seen.clone();
        async move {
            let mut all = Vec::new();
            let _reset_or_end = tcp.read_to_end(&mut all).await;
            seen.send(String::from_utf8(all).unwrap()).await.unwrap();
        }
    })
    .await;
    let frames = [Ok(http_body::Frame::data(Bytes::from_static(b"half"))), Err("caller went away")];
    let body = OutBody::stream(StreamBody::new(futures_util::stream::iter(frames)));
    let request = Request::post("/").header("host", "h").body(body).unwrap();
    let fault = upstreams().send(&server.plain(), UpstreamHttp::Http1, request).await.unwrap_err();
    assert!(matches!(fault, SendFault::CallerBody), "{fault:?}");
    let seen = sees.recv().await.unwrap();
    assert!(!seen.contains("0\r\n\r\n"), "the last chunk would say that it is whole: {seen}");
}

#[tokio::test]
async fn requests_that_cannot_be_expressed_are_not_sent() {
    let server = Server::start(|_, tcp| answering(tcp, OK)).await;
    let upstreams = upstreams();
    let build = |method: Method, uri: &str, hosts: &[&str]| {
        let mut request = Request::new(OutBody::empty());
        (*request.method_mut(), *request.uri_mut()) = (method, uri.parse::<Uri>().unwrap());
        hosts.iter().for_each(|host| {
            request.headers_mut().append("host", host.parse().unwrap());
        });
        request
    };
    for version in [UpstreamHttp::Http1, UpstreamHttp::Http2] {
        for request in [
            build(Method::GET, "/", &[]),
            build(Method::GET, "/", &["a", "b"]),
            build(Method::CONNECT, "a:443", &["a"]),
        ] {
            let fault = upstreams.send(&server.plain(), version, request).await.unwrap_err();
            assert!(matches!(fault, SendFault::NotSendable), "{fault:?}");
        }
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn idle_connections_are_few_and_end_in_time() {
    let server = Server::start(|_, tcp| answering(tcp, OK)).await;
    let upstreams = upstreams();
    let calls = (0..POOL_IDLE_PER_ENDPOINT + 10).map(|_| send(&upstreams, &server));
    let responses = futures_util::future::join_all(calls).await;
    for response in responses {
        text(response.unwrap()).await;
    }
    settle().await;
    let key = pool::Key::new(&server.plain(), UpstreamHttp::Http1);
    let mut kept = Vec::new();
    while let Some(one) = upstreams.inner.pool.take_one(&key) {
        kept.push(one);
    }
    assert_eq!(kept.len(), POOL_IDLE_PER_ENDPOINT);
    upstreams.inner.pool.put_one(&key, kept.remove(0));
    tokio::time::pause();
    tokio::time::advance(POOL_IDLE - Duration::from_secs(1)).await;
    upstreams.inner.pool.sweep();
    let one = upstreams.inner.pool.take_one(&key).expect("still there");
    upstreams.inner.pool.put_one(&key, one);
    tokio::time::advance(POOL_IDLE).await;
    upstreams.inner.pool.sweep();
    assert!(upstreams.inner.pool.take_one(&key).is_none());
    tokio::time::resume();
    drop(kept);
    upstreams.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn closing_ends_what_is_idle_and_lets_the_rest_finish() {
    let (finish, go) = tokio::sync::watch::channel(false);
    let server = Server::start(move |_, mut tcp| {
        let mut go = go.clone();
        async move {
            read_request(&mut tcp).await.unwrap();
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await.unwrap();
            go.wait_for(|go| *go).await.unwrap();
            tcp.write_all(b"ok").await.unwrap();
            let mut rest = Vec::new();
            assert_eq!(tcp.read_to_end(&mut rest).await.unwrap(), 0);
        }
    })
    .await;
    let upstreams = upstreams();
    let response = send(&upstreams, &server).await.unwrap();
    let closing = tokio::spawn({
        let upstreams = upstreams.clone();
        async move { upstreams.close(2 * PATIENCE).await }
    });
    settle().await;
    assert!(!closing.is_finished(), "one response is under way");
    finish.send(true).unwrap();
    assert_eq!(text(response).await, "ok");
    tokio::time::timeout(PATIENCE, closing).await.unwrap().unwrap();
}

/// A server that sends `answer` byte by byte.
async fn drip(answer: &'static str) -> Result<Response<InBody>, SendFault> {
    let server = Server::start(move |_, mut tcp| async move {
        read_request(&mut tcp).await.unwrap();
        for byte in answer.bytes() {
            tcp.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    })
    .await;
    send(&upstreams(), &server).await
}

#[tokio::test]
async fn a_head_may_come_in_any_pieces() {
    for answer in [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nx: 1\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    ] {
        assert_eq!(text(drip(answer).await.unwrap()).await, "ok", "{answer:?}");
    }
    assert!(matches!(
        drip("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok").await,
        Err(SendFault::NotHttp)
    ));
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_are_no_answer() {
    let server = Server::start(|_, mut tcp| async move {
        read_request(&mut tcp).await.unwrap();
        tcp.write_all(OK).await.unwrap();
        settle().await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await.unwrap();
        let _their_end = tcp.read(&mut [0; 1]).await;
    })
    .await;
    let upstreams = upstreams();
    for late in [true, false] {
        // What comes with the answer, and what comes to an idle connection.
        assert_eq!(text(send(&upstreams, &server).await.unwrap()).await, "ok");
        if late {
            settle().await;
            settle().await;
        }
    }
    let together: &'static [u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let server = Server::start(move |_, tcp| answering(tcp, together)).await;
    for _ in 0..2 {
        assert_eq!(text(send(&upstreams, &server).await.unwrap()).await, "ok");
        settle().await;
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_connection_is_not_used_again_where_the_server_may_not_have_ended_its_answer() {
    for answer in [
        &b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"[..],
        b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n",
    ] {
        let server = Server::start(move |_, tcp| answering(tcp, answer)).await;
        let upstreams = upstreams();
        for _ in 0..2 {
            drop(send(&upstreams, &server).await);
            settle().await;
        }
        assert_eq!(server.accepted(), 2, "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn a_large_request_and_its_answer_cross() {
    // Answers before it has read the request, which is larger than what the sockets hold.
    let server = Server::start(|_, mut tcp| async move {
        let answer = vec![b'x'; 4 << 20];
        tcp.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len()).as_bytes()).await.unwrap();
        let (mut read, mut write) = tcp.into_split();
        let reading = async {
            let (mut left, mut chunk) = (8 << 20, vec![0; 64 << 10]);
            while left > 0 {
                let Ok(some @ 1..) = read.read(&mut chunk).await else { break };
                left -= some.min(left);
            }
        };
        let (written, ()) = tokio::join!(write.write_all(&answer), reading);
        written.unwrap();
    })
    .await;
    let request = post("/", vec![b'y'; 8 << 20]);
    let response = upstreams().send(&server.plain(), UpstreamHttp::Http1, request).await.unwrap();
    assert_eq!(text(response).await.len(), 4 << 20);
}

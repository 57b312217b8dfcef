use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request as HttpRequest, Response, Version};
use http_body::Frame;
use tokio::io::duplex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::config::limits::STREAM_WINDOW;
use crate::intake::tests::{By, by, data, echo, fed, ok, once};
use crate::intake::{Answer, BodyFault, Place, Request, text_body};
use crate::wire::path::Normalization;

type Serving = JoinHandle<Result<(), IntakeFault>>;

async fn start(handler: By) -> (SendRequest<Bytes>, Serving, CancellationToken) {
    let (near, far) = duplex(64 << 10);
    let drain = CancellationToken::new();
    let serving = tokio::spawn(serve_h2c(near, handler, drain.clone()));
    let (client, connection) = h2::client::handshake(far).await.unwrap();
    drop(tokio::spawn(connection));
    (client.ready().await.unwrap(), serving, drain)
}

fn get(uri: &str) -> HttpRequest<()> {
    HttpRequest::builder().version(Version::HTTP_2).uri(uri).body(()).unwrap()
}

async fn read(body: &mut RecvStream) -> Result<(String, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        all.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((String::from_utf8(all).unwrap(), body.trailers().await?))
}

async fn ask(client: &mut SendRequest<Bytes>, request: HttpRequest<()>) -> Result<(u16, String), h2::Error> {
    let (response, _send) = client.send_request(request, true)?;
    let mut response = response.await?;
    Ok((response.status().as_u16(), read(response.body_mut()).await?.0))
}

#[tokio::test]
async fn requests_are_normalised_like_those_of_http1() {
    let (mut client, _serving, _drain) = start(by(|request: Request| async move {
        assert_eq!(request.version, Version::HTTP_2);
        let head = request.head;
        let mut names: Vec<_> = head.headers.iter().map(|(n, v)| format!("{n}={}", v.to_str().unwrap())).collect();
        names.sort_unstable();
        ok(text_body(format!("{} {} {:?} {} {names:?}", head.method, head.path, head.query, head.host)))
    }))
    .await;
    let mut request = get("http://Tools.NS:80/a/%62?q=1");
    for (name, value) in [
        ("host", "tools.ns:80"),
        ("te", "trailers"),
        ("cookie", "a=b"),
        ("cookie", "c=d"),
        ("x-envoy-peer", "x"),
        ("x-forwarded-client-cert", "x"),
        ("x-http-method-override", "DELETE"),
        ("expect", "100-continue"),
        ("x-a", "b"),
    ] {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let expected = "GET /a/b Some(\"q=1\") tools.ns:80 [\"cookie=a=b; c=d\", \"te=trailers\", \"x-a=b\"]";
    assert_eq!(ask(&mut client, request).await.unwrap(), (200, expected.to_owned()));
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_next_is_served() {
    let (mut client, _serving, _drain) = start(echo()).await;
    for (uri, field, status) in [
        ("http://h/x/../mcp", None, 400),
        ("http://h//mcp", None, 400),
        ("http://h/a%2fb", None, 400),
        ("http://h/", Some(("host", "other")), 400),
        ("http://u@h/", None, 400),
        ("ftp://h/", None, 400),
        ("http://h/", Some(("content_length", "1")), 400),
        ("http://h/", Some(("mcp_session_id", "1")), 400),
        ("http://h/", Some(("expect", "200-ok")), 417),
    ] {
        let mut request = get(uri);
        if let Some((name, value)) = field {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(ask(&mut client, request).await.unwrap().0, status, "{uri} {field:?}");
    }
    for name in ["mcp-session-id", "mcp-name", "authorization", "content-type", "origin"] {
        let mut request = get("http://h/");
        request.headers_mut().append(name, HeaderValue::from_static("a"));
        request.headers_mut().append(name, HeaderValue::from_static("a"));
        assert_eq!(ask(&mut client, request).await.unwrap().0, 400, "{name}");
    }
    let mut request = get("http://h/");
    request.headers_mut().insert("a", HeaderValue::from_bytes(b"\xe9").unwrap());
    assert_eq!(ask(&mut client, request).await.unwrap().0, 400);
    let mut request = get("http://h/");
    for at in 0..200 {
        request.headers_mut().insert(HeaderName::try_from(format!("x-{at}")).unwrap(), HeaderValue::from_static("a"));
    }
    assert_eq!(ask(&mut client, request).await.unwrap().0, 431);
    let connect = HttpRequest::builder().method("CONNECT").uri("h:80").body(()).unwrap();
    assert_eq!(ask(&mut client, connect).await.unwrap().0, 501);
    assert_eq!(ask(&mut client, get("http://h/a")).await.unwrap(), (200, "GET /a ".to_owned()));
}

/// A handler with places for so many streams.
#[derive(Clone)]
struct Few(By, Arc<tokio::sync::Semaphore>);

impl Handler for Few {
    async fn handle(&self, request: Request) -> Answer {
        self.0.handle(request).await
    }

    fn place(&self) -> Option<Place> {
        Some(Box::new(Arc::clone(&self.1).try_acquire_owned().ok()?))
    }
}

#[tokio::test]
async fn a_stream_has_its_place_until_its_answer_is_out_and_more_are_refused() {
    let (near, far) = duplex(64 << 10);
    let handler = Few(by(|_| async { ok(text_body("answer")) }), Arc::new(tokio::sync::Semaphore::new(1)));
    drop(tokio::spawn(serve_h2c(near, handler, CancellationToken::new())));
    // What is answered cannot go out.
    let (mut client, connection) = h2::client::Builder::new().initial_window_size(0).handshake(far).await.unwrap();
    drop(tokio::spawn(connection));
    client = client.ready().await.unwrap();
    let (first, _) = client.send_request(get("http://h/a"), true).unwrap();
    let first = first.await.unwrap();
    for _ in 0..3 {
        let refused = ask(&mut client, get("http://h/b")).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::REFUSED_STREAM));
    }
    // Its caller is gone.
    drop(first);
    let next = async {
        loop {
            let (next, _) = client.send_request(get("http://h/c"), true).unwrap();
            if next.await.is_ok() {
                return;
            }
        }
    };
    timeout(Duration::from_secs(60), next).await.expect("the place is given back");
}

#[test]
fn connection_specific_fields_are_refused() {
    for (name, value) in [
        ("connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ] {
        let mut request = get("http://h/");
        request.headers_mut().insert(name, HeaderValue::from_static(value));
        let fault = head::normalise(request.into_parts().0, Normalization::Strict).unwrap_err();
        assert_eq!(fault, crate::wire::http1::FieldFault::ConnectionSpecific.into(), "{name}");
    }
}

#[tokio::test]
async fn bodies_and_trailers() {
    let (mut client, _serving, _drain) = start(by(|request: Request| async move {
        use http_body_util::BodyExt;
        let body = request.body.collect().await.unwrap();
        assert!(body.trailers().is_none(), "trailers of a request are dropped");
        let (feed, _dropped, answer) = fed();
        feed.try_send(Ok(Frame::data(body.to_bytes()))).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        feed.try_send(Ok(Frame::trailers(trailers))).unwrap();
        ok(answer)
    }))
    .await;
    let mut request = get("http://h/");
    *request.method_mut() = http::Method::POST;
    let (response, mut send) = client.send_request(request, false).unwrap();
    send.send_data("ab".into(), false).unwrap();
    send.send_data("cd".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("mcp-name", HeaderValue::from_static("danger"));
    send.send_trailers(trailers).unwrap();
    let mut response = response.await.unwrap();
    let (text, trailers) = read(response.body_mut()).await.unwrap();
    assert_eq!((&*text, &trailers.unwrap()["grpc-status"]), ("abcd", &HeaderValue::from_static("0")));
}

#[tokio::test]
async fn a_large_body_goes_both_ways_through_small_windows() {
    let (mut client, _serving, _drain) =
        start(by(|request: Request| async move { ok(http_body_util::BodyExt::boxed_unsync(request.body)) })).await;
    let whole = Bytes::from(vec![b'x'; 6 << 20]);
    let mut request = get("http://h/");
    *request.method_mut() = http::Method::POST;
    let (response, mut send) = client.send_request(request, false).unwrap();
    let sent = whole.clone();
    let sending = tokio::spawn(async move {
        let mut left = sent;
        while !left.is_empty() {
            send.reserve_capacity(left.len());
            let room = poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
            let part = left.split_to(room.min(left.len()));
            send.send_data(part, left.is_empty()).unwrap();
        }
    });
    let mut response = response.await.unwrap();
    assert_eq!(read(response.body_mut()).await.unwrap().0.len(), whole.len());
    sending.await.unwrap();
}

#[tokio::test]
async fn a_body_that_nobody_reads_opens_no_window() {
    let (mut client, _serving, _drain) = start(by(|request: Request| async move {
        std::future::pending::<()>().await;
        drop(request);
        Answer::Reset
    }))
    .await;
    let mut request = get("http://h/");
    *request.method_mut() = http::Method::POST;
    let (_response, mut send) = client.send_request(request, false).unwrap();
    let mut sent = 0;
    send.reserve_capacity(64 << 20);
    while let Ok(room) = timeout(Duration::from_millis(200), poll_fn(|cx| send.poll_capacity(cx))).await {
        let room = room.unwrap().unwrap();
        send.send_data(Bytes::from(vec![0; room]), false).unwrap();
        sent += room;
    }
    assert!(sent > 0 && sent <= STREAM_WINDOW as usize, "{sent}");
}

#[tokio::test]
async fn abandoned_bodies_give_their_window_back() {
    let (keep, _kept) = std::sync::mpsc::channel();
    let keep = std::sync::Mutex::new(keep);
    let (mut client, _serving, _drain) = start(by(move |mut request: Request| {
        let (feed, _dropped, answer) = fed();
        keep.lock().unwrap().send(feed).unwrap();
        async move {
            use http_body_util::BodyExt;
            // Takes one frame, leaves the rest, and goes on answering.
            drop(request.body.frame().await);
            drop(request);
            ok(answer)
        }
    }))
    .await;
    // In sum twice the connection's window, in frames as large as they may be.
    let mut open = Vec::new();
    for _ in 0..2 * CONNECTION_WINDOW / MAX_FRAME {
        let mut request = get("http://h/");
        *request.method_mut() = http::Method::POST;
        let (response, mut send) = client.send_request(request, false).unwrap();
        send.reserve_capacity(MAX_FRAME as usize);
        while send.capacity() < MAX_FRAME as usize {
            let room = timeout(Duration::from_secs(60), poll_fn(|cx| send.poll_capacity(cx))).await;
            room.expect("the connection's window is used up").unwrap().unwrap();
        }
        send.send_data(Bytes::from(vec![0; MAX_FRAME as usize]), false).unwrap();
        open.push((response.await.unwrap(), send));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_cancels_the_work_and_the_answer() {
    for answers in [true, false] {
        let (_feed, dropped, body) = fed();
        let body = once(body);
        let (mut client, _serving, _drain) = start(by(move |_request| {
            let body = body();
            async move {
                match body {
                    Some(body) if answers => ok(body),
                    held => {
                        std::future::pending::<()>().await;
                        drop(held);
                        Answer::Reset
                    }
                }
            }
        }))
        .await;
        let (response, mut send) = client.send_request(get("http://h/"), true).unwrap();
        if answers {
            assert_eq!(response.await.unwrap().status(), 200);
        } else {
            sleep(Duration::from_millis(20)).await;
        }
        send.send_reset(Reason::CANCEL);
        let ended = timeout(Duration::from_secs(60), dropped).await;
        assert!(matches!(ended, Ok(Err(_))), "answers {answers}");
    }
}

#[tokio::test]
async fn each_frame_goes_out_at_once_and_a_fault_resets() {
    let (feed, _dropped, body) = fed();
    let body = once(body);
    let (mut client, _serving, _drain) = start(by(move |_request| {
        let body = body();
        async move { ok(body.unwrap()) }
    }))
    .await;
    let (response, _send) = client.send_request(get("http://h/"), true).unwrap();
    let mut response = response.await.unwrap();
    for _ in 0..3 {
        feed.send(data("data: x\n\n")).await.unwrap();
        assert_eq!(response.body_mut().data().await.unwrap().unwrap(), "data: x\n\n");
    }
    feed.send(Err(BodyFault::Upstream)).await.unwrap();
    let error = response.body_mut().data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn answers_without_a_body_and_resets() {
    let (mut client, _serving, _drain) = start(by(|request: Request| async move {
        let mut response = Response::new(text_body("abc"));
        response.headers_mut().insert("connection", HeaderValue::from_static("close"));
        match &*request.head.path {
            "/reset" => return Answer::Reset,
            path => *response.status_mut() = path.trim_start_matches('/').parse().unwrap(),
        }
        Answer::Response(response)
    }))
    .await;
    for (method, uri, status, body) in
        [("GET", "http://h/200", 200, "abc"), ("HEAD", "http://h/200", 200, ""), ("GET", "http://h/204", 204, "")]
    {
        let mut request = get(uri);
        *request.method_mut() = method.parse().unwrap();
        assert_eq!(ask(&mut client, request).await.unwrap(), (status, body.to_owned()));
    }
    for uri in ["http://h/reset", "http://h/101"] {
        assert_eq!(ask(&mut client, get(uri)).await.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
    }
}

#[tokio::test(start_paused = true)]
async fn drain_finishes_the_streams_at_hand() {
    let (go, gone) = oneshot::channel::<()>();
    let gone = once(gone);
    let handled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handled);
    let (mut client, serving, drain) = start(by(move |_request| {
        counter.fetch_add(1, Ordering::SeqCst);
        let gone = gone();
        async move {
            if let Some(gone) = gone {
                gone.await.unwrap();
            }
            ok(text_body("x"))
        }
    }))
    .await;
    let (response, _send) = client.send_request(get("http://h/"), true).unwrap();
    while handled.load(Ordering::SeqCst) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    drain.cancel();
    sleep(Duration::from_millis(20)).await;
    assert!(ask(&mut client, get("http://h/")).await.is_err(), "no new stream after GOAWAY");
    go.send(()).unwrap();
    assert_eq!(read(response.await.unwrap().body_mut()).await.unwrap().0, "x");
    drop(client);
    assert!(serving.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_and_a_silent_one_end() {
    let (_client, serving, _drain) = start(echo()).await;
    let begun = tokio::time::Instant::now();
    serving.await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), HTTP_IDLE_TIMEOUT);

    let (near, _far) = duplex(64);
    let begun = tokio::time::Instant::now();
    let ended = serve_h2c(near, echo(), CancellationToken::new()).await;
    assert!(matches!(ended, Err(IntakeFault::Connection(_))));
    assert_eq!(begun.elapsed(), HEAD_TIMEOUT);
}

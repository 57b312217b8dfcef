use http::StatusCode;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;
use crate::config::limits::UPSTREAM_STREAMS;
use crate::fault::{Faulty, Retry};

type Echoed = Response<http_body_util::Full<Bytes>>;

/// Answers with what it saw: method, scheme, authority, path, `Host` field and body.
async fn echo(request: Request<hyper::body::Incoming>) -> Result<Echoed, hyper::Error> {
    let uri = request.uri();
    let head = format!(
        "{} {} {} {} {:?} {:?} ",
        request.method(),
        uri.scheme_str().unwrap_or("-"),
        uri.authority().map_or("-", |authority| authority.as_str()),
        uri.path_and_query().unwrap(),
        request.headers().get("host"),
        request.headers().get("te"),
    );
    let body = request.into_body().collect().await?.to_bytes();
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(Response::new([head.as_bytes(), &body].concat().into()))
}

async fn echoing() -> Server {
    Server::start(|_, tcp| async move {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ended = server.serve_connection(TokioIo::new(tcp), service_fn(echo)).await;
    })
    .await
}

#[tokio::test]
async fn the_host_becomes_the_authority() {
    let server = echoing().await;
    let mut request = post("/a?b=c", "{}");
    for (name, value) in
        [("te", "trailers"), ("connection", "te"), ("keep-alive", "1"), ("transfer-encoding", "chunked")]
    {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = upstreams().send(&server.plain(), UpstreamHttp::Http2, request).await.unwrap();
    assert_eq!(text(response).await, r#"POST http repo.tools.svc /a?b=c None Some("trailers") {}"#);
}

#[tokio::test]
async fn after_goaway_requests_go_over_a_fresh_connection() {
    let server = Server::start(|_, tcp| async move {
        let mut connection = h2::server::handshake(tcp).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(Response::new(()), true).unwrap();
            connection.graceful_shutdown();
        }
    })
    .await;
    let (upstreams, endpoint) = (upstreams(), server.plain());
    for _ in 0..3 {
        text(upstreams.send(&endpoint, UpstreamHttp::Http2, post("/", "")).await.unwrap()).await;
        settle().await;
    }
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn many_requests_share_few_connections() {
    let server = echoing().await;
    let upstreams = upstreams();
    let endpoint = server.plain();
    let count = UPSTREAM_STREAMS + 20;
    let calls = (0..count).map(|_| upstreams.send(&endpoint, UpstreamHttp::Http2, post("/", "x")));
    let responses = futures_util::future::join_all(calls).await;
    assert_eq!(server.accepted(), 2, "{count} requests that are under way at once");
    for response in responses {
        text(response.unwrap()).await;
    }
    let again = upstreams.send(&endpoint, UpstreamHttp::Http2, post("/", "x")).await.unwrap();
    text(again).await;
    assert_eq!(server.accepted(), 2, "places were given back");
}

/// Each answer waits for all calls: one that waited for a place would hold all.
#[tokio::test]
async fn a_connection_takes_no_more_requests_than_its_server_says() {
    for (most, count, connections) in [(1, 3, 3), (10, 25, 3)] {
        let all = Arc::new(tokio::sync::Barrier::new(count));
        let server = Server::start(move |_, tcp| {
            let all = Arc::clone(&all);
            async move {
                let mut builder = h2::server::Builder::new();
                let mut connection = builder.max_concurrent_streams(most).handshake::<_, Bytes>(tcp).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let all = Arc::clone(&all);
                    tokio::spawn(async move {
                        all.wait().await;
                        respond.send_response(Response::new(()), true).unwrap();
                    });
                }
            }
        })
        .await;
        let (upstreams, endpoint) = (upstreams(), server.plain());
        let calls = (0..count).map(|_| upstreams.send(&endpoint, UpstreamHttp::Http2, post("/", "")));
        let answers = tokio::time::timeout(PATIENCE, futures_util::future::join_all(calls)).await;
        for answer in answers.expect("all are under way at once") {
            text(answer.unwrap()).await;
        }
        assert_eq!(server.accepted(), connections, "{count} calls to a server that takes {most}");
    }
}

#[tokio::test]
async fn a_stream_refused_unprocessed_may_be_sent_again_and_another_reset_may_not() {
    for (reason, retry) in [(h2::Reason::REFUSED_STREAM, Retry::Safe), (h2::Reason::INTERNAL_ERROR, Retry::Unsafe)] {
        let server = Server::start(move |_, tcp| async move {
            let mut connection = h2::server::handshake(tcp).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_reset(reason);
            }
        })
        .await;
        let sent = upstreams().send(&server.plain(), UpstreamHttp::Http2, post("/", "{}")).await;
        let fault = sent.unwrap_err();
        assert_eq!(fault.retry(), retry, "{reason}: {fault:?}");
        assert_eq!(server.accepted(), 1);
    }
}

#[tokio::test]
async fn dropping_a_response_resets_its_stream_and_no_other() {
    let (told, mut reset) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |_, tcp| {
        let told = told.clone();
        async move {
            let mut connection = h2::server::handshake(tcp).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    let mut out = respond.send_response(Response::new(()), false).unwrap();
                    out.send_data(Bytes::from_static(b"one"), false).unwrap();
                    let reason = std::future::poll_fn(|cx| out.poll_reset(cx)).await;
                    told.send(reason.unwrap()).await.unwrap();
                });
            }
        }
    })
    .await;
    let (upstreams, endpoint) = (upstreams(), server.plain());
    let mut kept = upstreams.send(&endpoint, UpstreamHttp::Http2, post("/", "{}")).await.unwrap().into_body();
    drop(upstreams.send(&endpoint, UpstreamHttp::Http2, post("/", "{}")).await.unwrap());
    let reason = tokio::time::timeout(PATIENCE, reset.recv()).await.unwrap().unwrap();
    assert_eq!(reason, h2::Reason::CANCEL);
    assert_eq!(kept.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_upload_is_cut_off_where_its_answer_is_over_first() {
    let (told, mut ended) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |_, tcp| {
        let told = told.clone();
        async move {
            // It takes nothing, and does not say that it will not.
            let mut builder = h2::server::Builder::new();
            let mut connection = builder.initial_window_size(0).handshake::<_, Bytes>(tcp).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                respond.send_response(Response::new(()), true).unwrap();
                let told = told.clone();
                tokio::spawn(async move {
                    let end = request.into_body().data().await;
                    told.send(end.map(|data| data.unwrap_err().reason())).await.unwrap();
                });
            }
        }
    })
    .await;
    let (upstreams, endpoint) = (upstreams(), server.plain());
    let stream = || OutBody::stream(http_body_util::Full::new(Bytes::from_static(b"part")));
    // The first is before the server's settings are known.
    let bodies = [OutBody::empty(), OutBody::full(vec![b'x'; 1 << 20]), stream()];
    for (body, reason) in bodies.into_iter().zip([None, Some(h2::Reason::CANCEL), Some(h2::Reason::CANCEL)]) {
        let mut request = post("/", "");
        *request.body_mut() = body;
        let answered = upstreams.send(&endpoint, UpstreamHttp::Http2, request).await.unwrap();
        assert_eq!(text(answered).await, "");
        let end = tokio::time::timeout(PATIENCE, ended.recv()).await.expect("it is told").unwrap();
        assert_eq!(end.flatten(), reason);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_server_that_speaks_only_http1_is_a_fault() {
    let server = Server::start(|_, tcp| answering(tcp, OK)).await;
    let (upstreams, endpoint) = (upstreams(), server.plain());
    let sent = upstreams.send(&endpoint, UpstreamHttp::Http2, post("/", "{}"));
    let fault = tokio::time::timeout(PATIENCE, sent).await.unwrap().unwrap_err();
    assert_eq!(fault.stage(), crate::fault::Stage::Forward, "{fault:?}");
}

#[tokio::test]
async fn trailers_come_through() {
    let server = Server::start(|_, tcp| async move {
        let mut connection = h2::server::handshake(tcp).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut out = respond.send_response(Response::new(()), false).unwrap();
            out.send_data(Bytes::from_static(b"grpc"), false).unwrap();
            out.send_trailers([("grpc-status".parse().unwrap(), "7".parse().unwrap())].into_iter().collect()).unwrap();
        }
    })
    .await;
    let response = upstreams().send(&server.plain(), UpstreamHttp::Http2, post("/", "{}")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let all = response.into_body().collect().await.unwrap();
    assert_eq!(all.trailers().unwrap()["grpc-status"], "7");
}

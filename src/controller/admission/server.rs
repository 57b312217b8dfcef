use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Serving;
use super::review::review;
use crate::policy::on_compile_thread;

/// Connections at once.
const CONNECTIONS: usize = 128;
/// One review, bytes: an object of etcd's largest size, old and new, and some.
const MAX_BODY: usize = 8 << 20;
/// Handshake, and one request with its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An API server keeps its connections; one that is unused for so long is closed.
const IDLE: Duration = Duration::from_secs(300);
/// Where reviews are posted.
const PATH: &str = "/validate";

/// Takes connections until `stop`.
pub(super) async fn serve(listener: TcpListener, serving: Serving, (tasks, stop): (TaskTracker, CancellationToken)) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((tcp, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (serving, stop) = (Arc::clone(&serving), stop.clone());
        tasks.spawn(async move {
            let _ended = stop.run_until_cancelled(connection(tcp, serving)).await;
            drop(place);
        });
    }
}

async fn connection(tcp: TcpStream, serving: Serving) {
    let Some(config) = serving.load_full() else { return };
    let Ok(Ok(stream)) = tokio::time::timeout(TIMEOUT, TlsAcceptor::from(config).accept(tcp)).await else { return };
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admission connection ended");
    }
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST || request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND, "POST an AdmissionReview to /validate\n");
    }
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let Ok(Ok(body)) = tokio::time::timeout(TIMEOUT, body).await else {
        return plain(StatusCode::BAD_REQUEST, "the review could not be read\n");
    };
    let body = body.to_bytes();
    let reviewed = tokio::task::spawn_blocking(move || on_compile_thread(|| review(&body))).await;
    match reviewed {
        Ok(Some(review)) => {
            let mut response = Response::new(Full::new(Bytes::from(review.to_string())));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Ok(None) => plain(StatusCode::BAD_REQUEST, "this is no AdmissionReview\n"),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the check failed\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

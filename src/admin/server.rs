use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pages::Page;
use crate::config::limits::{ADMIN_CONNECTIONS, ADMIN_TIMEOUT};

/// Request head that is read, bytes: enough for a browser, the least that hyper takes.
const HEAD: usize = 8 << 10;

/// By which names a server may be addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// Any: probes and scrapers use what they like.
    Any,
    /// An IP address or `localhost`: a web page that made its own name point here gets nothing (DNS rebinding).
    Addresses,
}

/// Answers GET and HEAD on `listener` with `pages` until `stop`, one request per connection, each within
/// [`ADMIN_TIMEOUT`], [`ADMIN_CONNECTIONS`] at once (more wait in the kernel's queue).
///
/// A connection that cannot be served is ended; the server goes on.
pub async fn serve<P>(listener: TcpListener, hosts: Hosts, pages: P, stop: CancellationToken)
where
    P: Fn(&str) -> Page + Send + Sync + 'static,
{
    let pages = Arc::new(pages);
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
    let tasks = TaskTracker::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (Ok(place), Ok((tcp, _))) = (place, accepted) else {
            // Out of descriptors, most likely: give others time to close theirs.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let pages = Arc::clone(&pages);
        tasks.spawn(async move {
            if tokio::time::timeout(ADMIN_TIMEOUT, connection(tcp, hosts, pages)).await.is_err() {
                tracing::debug!("admin connection took too long");
            }
            drop(place);
        });
    }
    tasks.close();
    // Each ends by itself within ADMIN_TIMEOUT.
    tasks.wait().await;
}

async fn connection<P>(tcp: TcpStream, hosts: Hosts, pages: Arc<P>)
where
    P: Fn(&str) -> Page + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let page = answer(&request, hosts, &*pages);
        async move { Ok::<_, Infallible>(page) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .timer(TokioTimer::new())
        .header_read_timeout(ADMIN_TIMEOUT)
        .serve_connection(TokioIo::new(tcp), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection ended");
    }
}

fn answer(request: &Request<Incoming>, hosts: Hosts, pages: &impl Fn(&str) -> Page) -> Response<Full<Bytes>> {
    let page = if request.method() != Method::GET && request.method() != Method::HEAD {
        Page::status(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n")
    } else if hosts == Hosts::Addresses && request.headers().get(HOST).is_some_and(|host| !is_address(host)) {
        Page::status(StatusCode::FORBIDDEN, "address this server by IP or as localhost\n")
    } else {
        pages(request.uri().path())
    };
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = page.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

fn is_address(host: &HeaderValue) -> bool {
    let Ok(authority) = http::uri::Authority::try_from(host.as_bytes()) else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;

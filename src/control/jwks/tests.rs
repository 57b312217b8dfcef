use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::fetch::Fetcher;
use super::*;
use crate::config::limits::JWKS_MAX_BODY;
use crate::policy::token::{KeyHosts, KeyUrl};
use crate::upstream::dns::{DnsFault, Forbids, Found, Resolve};

/// Every name is at 127.0.0.1.
struct Here;

impl Resolve for Here {
    fn resolve(&self, _host: Arc<str>) -> BoxFuture<'static, Result<Found, DnsFault>> {
        let addresses = vec![IpAddr::from([127, 0, 0, 1])];
        async { Ok(Found { addresses, ttl: Duration::from_secs(9) }) }.boxed()
    }
}

/// A server that gives every connection the same answer and then closes it.
async fn server(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, answer) = (listener.local_addr().unwrap(), answer.into());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 2048];
            drop(stream.read(&mut head).await);
            drop(stream.write_all(&answer).await);
            drop(stream.shutdown().await);
        }
    });
    addr
}

fn fetcher(hosts: &[String], roots: ExternalRoots) -> Fetcher {
    let dns = Dns::new(Arc::new(Here), Forbids::MeshOnly, Arc::new(|_| false));
    let hosts = KeyHosts::new(hosts.iter().map(|host| host.parse().unwrap()).collect());
    Fetcher::new(hosts, dns, roots, Arc::new(|_| false))
}

async fn get(fetcher: &Fetcher, url: &str) -> Result<usize, &'static str> {
    let body = fetcher.get(&KeyUrl::parse(url).unwrap()).await;
    body.map(|body| body.len()).map_err(|fault| fault.reason())
}

fn answer(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn only_a_whole_answer_of_a_bounded_length_is_taken() {
    let long = "x".repeat(JWKS_MAX_BODY + 1);
    let rows = [
        (answer("200 OK", "", "{}"), Ok(2)),
        ("HTTP/1.1 200 OK\r\n\r\n{}".to_owned(), Ok(2)),
        (answer("200 OK", "Content-Encoding: identity\r\n", "{}"), Ok(2)),
        (answer("200 OK", "", long.get(1..).unwrap()), Ok(JWKS_MAX_BODY)),
        (answer("200 OK", "", &long), Err("jwks_body")),
        (format!("HTTP/1.1 200 OK\r\n\r\n{long}"), Err("jwks_body")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_owned(), Err("jwks_body")),
        (answer("200 OK", "Content-Encoding: gzip\r\n", "{}"), Err("jwks_encoding")),
        (answer("302 Found", "Location: http://169.254.169.254/\r\n", ""), Err("jwks_redirect")),
        (answer("307 Temporary Redirect", "Location: /other\r\n", ""), Err("jwks_redirect")),
        (answer("204 No Content", "", ""), Err("jwks_status")),
        (answer("404 Not Found", "", "{}"), Err("jwks_status")),
        ("SSH-2.0-x\r\n".to_owned(), Err("jwks_http")),
        (String::new(), Err("jwks_http")),
    ];
    for (text, want) in rows {
        let addr = server(text.clone()).await;
        let fetcher = fetcher(&[format!("http://{addr}")], ExternalRoots::System);
        let start = text.get(..60.min(text.len())).unwrap();
        assert_eq!(get(&fetcher, &format!("http://{addr}/keys")).await, want, "{start}");
    }
}

#[tokio::test]
async fn a_host_is_asked_where_the_list_names_it_at_addresses_that_it_may_have() {
    let addr = server(answer("200 OK", "", "{}")).await;
    let port = addr.port();
    let rows = [
        (format!("http://{addr}"), format!("http://{addr}/k"), Ok(2)),
        (format!("http://idp:{port}"), format!("http://idp:{port}/k"), Err("jwks_address")),
        (format!("http://idp:{port}=127.0.0.0/8"), format!("http://idp:{port}/k"), Ok(2)),
        (format!("http://idp:{port}=10.0.0.0/8"), format!("http://idp:{port}/k"), Err("jwks_address")),
        (format!("http://idp:{port}=127.0.0.0/8"), format!("http://{addr}/k"), Err("jwks_host")),
        (format!("https://{addr}"), format!("http://{addr}/k"), Err("jwks_host")),
        (format!("http://{addr}"), "http://127.0.0.1:1/k".to_owned(), Err("jwks_host")),
    ];
    for (host, url, want) in rows {
        let fetcher = fetcher(std::slice::from_ref(&host), ExternalRoots::System);
        assert_eq!(get(&fetcher, &url).await, want, "{host}: {url}");
    }
}

#[tokio::test]
async fn over_https_the_server_is_whom_its_name_says() {
    let made = rcgen::generate_simple_self_signed(["idp.example".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], rustls_pki_types::PrivateKeyDer::try_from(key).unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 2048];
            drop(stream.read(&mut head).await);
            drop(stream.write_all(answer("200 OK", "", "{}").as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    let ours = || ExternalRoots::Inline(made.cert.pem().into_bytes().into());
    let other = rcgen::generate_simple_self_signed(["idp.example".to_owned()]).unwrap().cert.pem();
    let hosts = [format!("idp.example:{port}=127.0.0.0/8"), format!("other.example:{port}=127.0.0.0/8")];
    let good = format!("https://idp.example:{port}/k");
    assert_eq!(get(&fetcher(&hosts, ours()), &good).await, Ok(2));
    assert!(get(&fetcher(&hosts, ours()), &good.replace("idp.", "other.")).await.is_err(), "another name");
    let strangers = ExternalRoots::Inline(other.into_bytes().into());
    assert!(get(&fetcher(&hosts, strangers), &good).await.is_err(), "another root");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_what_the_rule_gives_it_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let host: KeySource = KeySource::Set(KeyUrl::parse(&format!("http://{addr}/k")).unwrap());
    let lease = Keyring::default().keys("tools", host, Duration::from_secs(3)).unwrap();
    let keys = lease.keys();
    let fetcher = fetcher(&[format!("http://{addr}")], ExternalRoots::System);
    let start = Instant::now();
    assert_eq!(fetch(keys, &fetcher).await.unwrap_err().reason(), "jwks_timeout");
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[test]
fn a_failure_is_tried_again_soon_and_then_less_often() {
    let source = KeySource::Set(KeyUrl::parse("https://idp/k").unwrap());
    let lease = Keyring::default().keys("tools", source, Duration::from_secs(3)).unwrap();
    let keys = lease.keys();
    let mut backoff = Backoff::new(FIRST_RETRY, JWKS_RETRY);
    let waits: Vec<Duration> = (0..8).map(|_| settle(keys, Err(FetchFault::Timeout), &mut backoff)).collect();
    assert!(waits.first().unwrap() <= &FIRST_RETRY && waits.last().unwrap() >= &(JWKS_RETRY / 2), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= JWKS_RETRY), "{waits:?}");
}

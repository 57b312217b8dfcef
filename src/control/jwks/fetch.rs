//! One GET of a document of an issuer's.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, HOST, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;

use super::address::may_dial;
use crate::config::limits::{DIAL_TIMEOUT, JWKS_MAX_BODY, MAX_HEAD};
use crate::fault::Faulty as _;
use crate::net::{BoxedIo, ConnectFault, dial_tcp};
use crate::policy::token::{KeyFault, KeyHosts, KeyUrl};
use crate::tls::{ExternalFault, ExternalRoots, HandshakeFault, external_client};
use crate::upstream::dns::{Answers, Dns, DnsFault, InMesh};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchFault {
    /// The list does not name the host: of what an issuer's description says, as documents are refused before.
    #[error("keys may not be fetched from {0}: it is not in --jwks-hosts")]
    Host(String),
    /// The name.
    #[error(transparent)]
    Dns(#[from] DnsFault),
    /// Every address of the host is one that may not be dialled.
    #[error(
        "{0} is private, of this host, its link, a metadata service or the mesh; write its network into --jwks-hosts, as HOST=NETWORK, if that is meant"
    )]
    Address(IpAddr),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectFault),
    /// The roots or the name.
    #[error(transparent)]
    Tls(#[from] ExternalFault),
    /// The server is not whom its name says.
    #[error(transparent)]
    Handshake(#[from] HandshakeFault),
    /// HTTP itself.
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    /// A redirect, wherever it leads.
    #[error("the server answers by a redirect, which is not followed; write the URL that it leads to")]
    Redirect,
    /// Any other status than 200.
    #[error("the server answers {0}")]
    Status(StatusCode),
    /// Compressed, though nobody asked for that.
    #[error("the answer is compressed")]
    Encoding,
    /// Longer than [`JWKS_MAX_BODY`], or broken off.
    #[error("the answer is longer than {JWKS_MAX_BODY} bytes, or breaks off")]
    Body,
    /// Not in time.
    #[error("no answer in time")]
    Timeout,
    /// No JWK set.
    #[error(transparent)]
    Keys(KeyFault),
    /// No description of an issuer.
    #[error("the answer does not describe an issuer, or names no URL of keys")]
    Discovery,
    /// That of another one.
    #[error("the answer describes another issuer")]
    Issuer,
}

impl FetchFault {
    /// A fixed word for metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Host(_) => "jwks_host",
            Self::Dns(fault) => fault.reason(),
            Self::Address(_) => "jwks_address",
            Self::Connect(fault) => fault.reason(),
            Self::Tls(_) => "jwks_tls",
            Self::Handshake(fault) => fault.reason(),
            Self::Http(_) => "jwks_http",
            Self::Redirect => "jwks_redirect",
            Self::Status(_) => "jwks_status",
            Self::Encoding => "jwks_encoding",
            Self::Body => "jwks_body",
            Self::Timeout => "jwks_timeout",
            Self::Keys(_) => "jwks_keys",
            Self::Discovery => "jwks_discovery",
            Self::Issuer => "jwks_issuer",
        }
    }
}

/// The way to hosts of keys.
pub(super) struct Fetcher {
    hosts: KeyHosts,
    dns: Dns,
    roots: ExternalRoots,
    in_mesh: InMesh,
}

impl Fetcher {
    pub(super) fn new(hosts: KeyHosts, dns: Dns, roots: ExternalRoots, in_mesh: InMesh) -> Self {
        Self { hosts, dns, roots, in_mesh }
    }

    /// The body of `url`. Its own time is the caller's to bound.
    pub(super) async fn get(&self, url: &KeyUrl) -> Result<Bytes, FetchFault> {
        if !self.hosts.lists(url) {
            return Err(FetchFault::Host(url.authority()));
        }
        let tcp = dial_tcp(self.address(url).await?, DIAL_TIMEOUT).await?;
        let io: BoxedIo = if url.secure() {
            let (name, roots) = (url.host().to_owned(), self.roots.clone());
            // The system's roots come from disk.
            let client = tokio::task::spawn_blocking(move || external_client(&name, &[], &roots)).await;
            Box::new(client.unwrap_or(Err(ExternalFault::Unusable))?.connect(tcp).await?)
        } else {
            Box::new(tcp)
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(io)).await?;
        let exchange = async move {
            let response = sender.send_request(request(url)).await?;
            let status = response.status();
            if status.is_redirection() {
                return Err(FetchFault::Redirect);
            }
            if status != StatusCode::OK {
                return Err(FetchFault::Status(status));
            }
            if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
                return Err(FetchFault::Encoding);
            }
            let body = Limited::new(response.into_body(), JWKS_MAX_BODY).collect().await;
            body.map(http_body_util::Collected::to_bytes).map_err(|_too_long_or_broken| FetchFault::Body)
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            biased;
            body = &mut exchange => body,
            // What was read before it ended is still to be had.
            _ended = &mut connection => exchange.await,
        }
    }

    /// Where the host is dialled.
    async fn address(&self, url: &KeyUrl) -> Result<SocketAddr, FetchFault> {
        if let Ok(address) = url.host().parse::<IpAddr>() {
            // The list names the address itself.
            return Ok(SocketAddr::new(address, url.port()));
        }
        let networks = self.hosts.networks(url);
        let found = self.dns.lookup(&Arc::from(url.host()), Answers::Mesh).await?;
        let in_mesh = |address: IpAddr| (self.in_mesh)(address.to_canonical());
        let usable = found.iter().find(|address| may_dial(**address, &networks, in_mesh(**address)));
        match (usable, found.first()) {
            (Some(address), _) => Ok(SocketAddr::new(*address, url.port())),
            (None, Some(address)) => Err(FetchFault::Address(*address)),
            (None, None) => Err(FetchFault::Dns(DnsFault::NoAddress)),
        }
    }
}

fn request(url: &KeyUrl) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    if let Ok(target) = url.target().parse() {
        *request.uri_mut() = target;
    }
    let headers = request.headers_mut();
    for (name, value) in [
        (HOST, url.authority()),
        (ACCEPT, "application/json".to_owned()),
        (USER_AGENT, concat!("agent-waypoint/", env!("CARGO_PKG_VERSION")).to_owned()),
    ] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    request
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

//! `probe`: one connection, one request, and one line about what became of it.
//!
//! With `--through` it opens an HBONE tunnel there, with the certificate given and whatever authority and headers;
//! without, it is plain TCP. Nothing is captured or routed here: what is dialled is what was said.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agent_waypoint::control::identity::{BundlePath, FilePaths, FileSource};
use agent_waypoint::hbone::{DialFault, Pool};
use agent_waypoint::id::TrustDomain;
use agent_waypoint::tls::Expect;
use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::events;

/// Most of an answer that is read, bytes.
const MAX_ANSWER: usize = 64 << 10;
/// Most of an answer that is shown, characters.
const SHOWN: usize = 600;

/// How long more of an answer is waited for whose end is not known.
const A_WHILE: Duration = Duration::from_secs(1);

/// `probe`
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// HBONE: whom to open the tunnel at
    #[arg(long, value_name = "ADDR", requires_all = ["cert", "key", "roots"])]
    through: Option<SocketAddr>,
    /// Certificate chain, PEM
    #[arg(long)]
    cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long)]
    key: Option<PathBuf>,
    /// The mesh's roots, PEM
    #[arg(long)]
    roots: Option<PathBuf>,
    /// Header of the CONNECT, NAME=VALUE. May be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", requires = "through")]
    headers: Vec<String>,
    /// What to write once connected
    #[arg(long, default_value = "GET /healthz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")]
    request: String,
    /// Seconds until it is given up
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// The address to dial, or the authority to ask for
    to: String,
}

/// What became of it.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
enum Outcome {
    /// Bytes came back.
    Answered { status: Option<u16>, body: String },
    /// The tunnel was refused with this status.
    Connect { status: u16 },
    /// No connection, or one that was reset.
    Reset { during: &'static str },
    /// Ended without a byte.
    Closed,
    /// Nothing came in time.
    Silent { during: &'static str },
    /// Something else.
    Failed { why: String },
}

/// Probes and prints.
pub(crate) async fn run(args: ProbeArgs) -> anyhow::Result<()> {
    let patience = Duration::from_secs(args.patience);
    let outcome = match args.through {
        None => plain(&args, patience).await?,
        Some(through) => Box::pin(tunnelled(&args, through, patience)).await?,
    };
    events::print(&outcome);
    Ok(())
}

async fn plain(args: &ProbeArgs, patience: Duration) -> anyhow::Result<Outcome> {
    let to: SocketAddr = args.to.parse().with_context(|| format!("{}: not an address", args.to))?;
    Ok(match timeout(patience, TcpStream::connect(to)).await {
        Ok(Ok(tcp)) => ask(tcp, &args.request, patience).await,
        Ok(Err(error)) => of_io(&error, "connect"),
        Err(_) => Outcome::Silent { during: "connect" },
    })
}

async fn tunnelled(args: &ProbeArgs, through: SocketAddr, patience: Duration) -> anyhow::Result<Outcome> {
    let given = |path: &Option<PathBuf>| path.clone().context("a file is missing");
    let bundle = BundlePath { trust_domain: None, path: given(&args.roots)? };
    let paths = FilePaths { certificate: given(&args.cert)?, key: given(&args.key)?, bundles: vec![bundle] };
    let (_source, identity) = FileSource::open(paths).await?;
    let mut headers = http::HeaderMap::new();
    for header in &args.headers {
        let (name, value) = header.split_once('=').context("--header NAME=VALUE")?;
        headers.append(http::HeaderName::try_from(name)?, http::HeaderValue::try_from(value)?);
    }
    // An outsider does not care who answers, as long as the certificate is of the mesh.
    let anyone = Expect::TrustDomain(TrustDomain::parse(identity.id().trust_domain().as_str())?);
    let pool = Pool::new(identity);
    let opened = timeout(patience, Box::pin(pool.connect_with(through, anyone, &args.to, &headers))).await;
    Ok(match opened {
        Ok(Ok(stream)) => ask(stream, &args.request, patience).await,
        Ok(Err(DialFault::Refused(status))) => Outcome::Connect { status: status.as_u16() },
        Ok(Err(fault)) => Outcome::Failed { why: fault.to_string() },
        Err(_) => Outcome::Silent { during: "connect" },
    })
}

/// Whether this is a whole answer as far as its own length or last chunk says so; an event stream says neither.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let (head, body) = answer.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    match length {
        Some(length) => body.len() >= length,
        None => head.contains("transfer-encoding: chunked") && body.ends_with(b"0\r\n\r\n"),
    }
}

/// Writes the request and reads until the answer is whole, or until a while after the first bytes.
async fn ask(mut io: impl AsyncRead + AsyncWrite + Unpin, request: &str, patience: Duration) -> Outcome {
    if let Err(error) = io.write_all(request.as_bytes()).await {
        return of_io(&error, "write");
    }
    let mut answer = Vec::new();
    let mut chunk = vec![0; 8 << 10];
    while !is_whole(&answer) {
        // An event stream goes on; what it begins with is enough.
        let wait = if answer.is_empty() { patience } else { A_WHILE };
        match timeout(wait, io.read(&mut chunk)).await {
            Ok(Ok(0)) if answer.is_empty() => return Outcome::Closed,
            Ok(Ok(0)) => break,
            Ok(Ok(n)) => {
                answer.extend(chunk.iter().take(n));
                if answer.len() > MAX_ANSWER {
                    break;
                }
            }
            Ok(Err(error)) if answer.is_empty() => return of_io(&error, "read"),
            Err(_) if answer.is_empty() => return Outcome::Silent { during: "read" },
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or(&*text, |(_, body)| body);
    Outcome::Answered { status, body: body.chars().take(SHOWN).collect() }
}

fn of_io(error: &std::io::Error, during: &'static str) -> Outcome {
    if matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionAborted
    ) {
        return Outcome::Reset { during };
    }
    Outcome::Failed { why: format!("{during}: {error}") }
}

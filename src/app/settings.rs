use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::control::feed::FeedAddress;
use crate::control::files::FilesFault;
use crate::control::identity::{DevFault, FileFault, FilePaths, WorkloadApiFault};
use crate::control::istiod::xds::Myself;
use crate::control::istiod::{CaFault, CertificateLife, Istiod};
use crate::control::sealing::KeyFileFault;
use crate::id::{IdFault, TrustDomain, WorkloadId};
use crate::net::ListenFault;
use crate::policy::token::KeyHost;
use crate::proxy::StoreFault;
use crate::seal::SealFault;
use crate::telemetry::trace::TraceFault;

/// What a waypoint is started with.
#[derive(Debug)]
pub struct Settings {
    /// Documents: files or directories, watched.
    pub files: Vec<PathBuf>,
    /// The controller's feed, instead of files.
    pub feed: Option<FeedFrom>,
    /// Where state is kept that a restart should find again; none: nowhere.
    pub state_dir: Option<PathBuf>,
    /// The other replicas of this waypoint, `HOST:PORT`, beside those that istiod tells of.
    pub replicas: Vec<String>,
    /// Who and where from istiod; from the documents where absent.
    pub mesh: Option<InMesh>,
    /// Whether istiod's own template started us, so that we must be ready in time even without documents.
    pub dropped_in: bool,
    /// Where our identity comes from.
    pub identity: IdentitySource,
    /// Our trust domain, which identities in documents are of.
    pub trust_domain: TrustDomain,
    /// From where keys of tokens may be fetched; nowhere where empty.
    pub jwks_hosts: Vec<KeyHost>,
    /// Whom servers of keys are taken from, instead of the operating system's roots: PEM.
    pub jwks_roots: Option<PathBuf>,
    /// HBONE; port 0 takes a free one.
    pub hbone_addr: SocketAddr,
    /// Metrics.
    pub stats_addr: SocketAddr,
    /// Readiness.
    pub ready_addr: SocketAddr,
    /// Dumps.
    pub admin_addr: SocketAddr,
    /// How long streams may go on once asked to end.
    pub drain: Duration,
    /// Time in which a server must have answered an MCP message.
    pub mcp_answer: Duration,
    /// Where the access log goes.
    pub access_log: AccessLogTo,
    /// Keys that seal MCP session ids; those of the feed where absent, and without one a key of this process alone.
    pub sealing_key_file: Option<PathBuf>,
    /// Whether servers are told who calls, in `x-forwarded-client-cert`.
    pub tells_caller: bool,
    /// OTLP/gRPC collector (`OTEL_EXPORTER_OTLP_ENDPOINT`).
    pub otlp_endpoint: Option<String>,
}

/// The controller's feed.
#[derive(Debug, Clone)]
pub struct FeedFrom {
    /// Where it is.
    pub address: FeedAddress,
    /// Who must answer there.
    pub controller: WorkloadId,
    /// Our namespace.
    pub namespace: String,
    /// Our pod's name, which tells us from the other replicas.
    pub pod: String,
}

/// The mesh that we are in.
#[derive(Debug, Clone)]
pub struct InMesh {
    /// The way to istiod.
    pub istiod: Istiod,
    /// Who we are there.
    pub myself: Myself,
    /// The Gateway that we are, in our namespace.
    pub gateway: String,
}

/// Where the waypoint's own identity comes from.
#[derive(Debug, Clone)]
pub enum IdentitySource {
    /// The embedded CA in this directory; loopback only.
    Dev {
        /// The CA's directory.
        dir: PathBuf,
    },
    /// PEM files, watched.
    Files(FilePaths),
    /// istiod's CA.
    IstioCa {
        /// The way to it.
        istiod: Istiod,
        /// Who we are there.
        id: WorkloadId,
        /// How long its certificates live.
        life: CertificateLife,
    },
    /// SPIFFE Workload API, `unix:///..`
    WorkloadApi(String),
}

/// Where the access log goes.
pub enum AccessLogTo {
    /// One JSON line per call.
    Stdout,
    /// Nowhere.
    Nowhere,
    /// The same lines to someone else.
    Writer(Box<dyn Write + Send>),
}

impl fmt::Debug for AccessLogTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "Stdout",
            Self::Nowhere => "Nowhere",
            Self::Writer(_) => "Writer",
        })
    }
}

/// Why a waypoint could not start: one clear line for the person who wrote the command.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenFault),
    /// Certificate, key or roots in files.
    #[error(transparent)]
    IdentityFiles(#[from] FileFault),
    /// The embedded CA.
    #[error(transparent)]
    Dev(#[from] DevFault),
    /// The Workload API.
    #[error(transparent)]
    WorkloadApi(#[from] WorkloadApiFault),
    /// An identity that cannot be one.
    #[error("own identity: {0}")]
    Identity(#[from] IdFault),
    /// Documents that cannot be read at all.
    #[error(transparent)]
    Files(#[from] FilesFault),
    /// istiod's CA, when asked to end before it answered.
    #[error(transparent)]
    IstioCa(#[from] CaFault),
    /// The roots of servers of keys.
    #[error("--jwks-roots {}: {error}", file.display())]
    JwksRoots {
        /// Which file.
        file: PathBuf,
        /// Why it cannot be read.
        error: std::io::Error,
    },
    /// The directory of what is kept over a restart.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The file of sealing keys.
    #[error(transparent)]
    SealingKeys(#[from] KeyFileFault),
    /// A sealing key.
    #[error(transparent)]
    Seal(#[from] SealFault),
    /// The OTLP endpoint.
    #[error(transparent)]
    Trace(#[from] TraceFault),
    /// The system gave no thread or socket.
    #[error("the system refused a thread or a socket: {0}")]
    System(#[from] std::io::Error),
}

//! The data path from a tunnel to its answer: read, decode, authorize, route, forward.
//!
//! Input: [`hbone::Tunnel`]s from proven peers. Output: exactly what was authorized, to exactly the endpoint that was
//! chosen. It reads the published snapshot and never writes it; only [`answer`] chooses what a caller is told.

mod a2a;
mod answer;
mod attempts;
mod authenticate;
mod beside;
mod budget;
mod copies;
mod cursors;
mod custom;
mod definitions;
mod flow;
mod heavy;
mod http;
mod labels;
mod leave;
mod mcp;
mod note;
mod parameters;
mod quotas;
mod route;
mod sessions;
mod shares;
#[cfg(test)]
mod sizes;
mod stages;
mod tasks;
mod tcp;
mod tunnel;
mod watched;
mod wordings;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::limits;
use crate::hbone;
use crate::id::WorkloadId;
use crate::mesh::Published;
use crate::seal::Sealer;
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;

pub use a2a::StoreFault;
use budget::Budget;
use custom::Checks;
use definitions::Definitions;
use heavy::Heavy;
use parameters::Parameters;
use quotas::Quotas;
use sessions::Sessions;
use tasks::Tasks;
use wordings::Wordings;

/// The data path. A clone is one pointer.
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

/// What every call of the process shares.
#[derive(Debug)]
struct Shared {
    published: Arc<Published>,
    upstreams: Upstreams,
    telemetry: Telemetry,
    sessions: Sessions,
    addresses: mcp::Addresses,
    tasks: Tasks,
    owners: Arc<a2a::Owners>,
    replicas: Arc<a2a::Replicas>,
    wordings: Wordings,
    manners: mcp::Manners,
    definitions: Definitions,
    parameters: Parameters,
    budget: Arc<Budget>,
    /// HTTP/2 streams in tunnels.
    streams: Arc<Budget>,
    quotas: Quotas,
    heavy: Heavy,
    checks: Checks,
    copies: copies::Copies,
    retrying: attempts::Retrying,
    /// Whether servers are told who calls.
    tells_caller: bool,
    drain: CancellationToken,
    mcp_answer: Duration,
}

impl Proxy {
    /// A data path over what is published. All replicas of this waypoint share `me`, our own identity, and `sealer`, which
    /// seals what callers bring back, and say alike whether servers are told who calls (`tells_caller`). `drain` asks it to
    /// finish what is in flight; `mcp_answer` is the time in which a server must have answered an MCP message.
    pub fn new(
        published: Arc<Published>,
        upstreams: Upstreams,
        telemetry: Telemetry,
        (me, sealer, tells_caller): (WorkloadId, Sealer, bool),
        (drain, mcp_answer): (CancellationToken, Duration),
    ) -> Self {
        let owners = Arc::new(a2a::Owners::new(limits::MAX_OWNED, limits::MAX_OWNED_PER_PRINCIPAL));
        let share = limits::MAX_SESSIONS_PER_PRINCIPAL;
        let tasks = Tasks::new(sealer.clone(), limits::MAX_TASKS, limits::MAX_TASKS_PER_PRINCIPAL);
        let sessions = Sessions::new(sealer, limits::MAX_SESSIONS, share, limits::SESSION_IDLE);
        let budget = Budget::new(limits::DECODE_BUDGET, limits::DECODE_BUDGET_PER_PRINCIPAL);
        let quotas = Quotas::new(Arc::clone(&published), limits::MAX_QUOTAS, limits::MAX_QUOTAS_PER_PRINCIPAL);
        Self {
            shared: Arc::new(Shared {
                published,
                upstreams,
                telemetry,
                sessions,
                addresses: mcp::Addresses::default(),
                tasks,
                replicas: Arc::new(a2a::Replicas::new(Arc::clone(&owners), me)),
                owners,
                wordings: Wordings::default(),
                manners: mcp::Manners::default(),
                definitions: Definitions::new(limits::MAX_DEFINITIONS, limits::DEFINITION_AGE),
                parameters: Parameters::default(),
                budget,
                streams: Budget::new(limits::MAX_INNER_STREAMS, limits::MAX_INNER_STREAMS_PER_PRINCIPAL),
                quotas,
                heavy: Heavy::default(),
                checks: Checks::default(),
                copies: copies::Copies::default(),
                retrying: attempts::Retrying::default(),
                tells_caller,
                drain,
                mcp_answer,
            }),
        }
    }

    /// Reads whose A2A tasks are whose from `directory`, and keeps it there from now on.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn keep_owners(&self, directory: &Path) -> Result<(), StoreFault> {
        a2a::keep_owners(&self.shared.owners, directory)
    }

    /// Tells the other replicas of this waypoint whose A2A tasks are whose, until `stop`: those at `named` (`HOST:PORT`), and
    /// those that istiod tells of, at the same port as we.
    pub async fn share_owners(&self, tunnels: hbone::Pool, (named, port): (Vec<String>, u16), stop: CancellationToken) {
        let published = Arc::clone(&self.shared.published);
        Arc::clone(&self.shared.replicas).keep(tunnels, (named, port), published, stop).await;
    }

    /// There are no other replicas of this waypoint.
    pub fn shares_with_nobody(&self) {
        self.shared.replicas.are_none();
    }

    /// Tells the other replicas that nothing is served here any more.
    pub async fn farewell(&self) {
        self.shared.replicas.farewell().await;
    }

    /// MCP sessions whose labels are known now.
    pub fn labelled(&self) -> usize {
        self.shared.owners.labels().len()
    }

    /// Whether every other replica tells us what it learns, so that labels of sessions are known.
    pub fn knows_labels(&self) -> bool {
        self.shared.owners.is_whole()
    }

    /// Whether the other replicas told what they know of owners.
    pub fn knows_owners(&self) -> watch::Receiver<bool> {
        self.shared.replicas.caught_up()
    }

    /// The way out.
    pub fn upstreams(&self) -> &Upstreams {
        &self.shared.upstreams
    }

    /// Serves one CONNECT stream to its end.
    pub async fn serve(&self, tunnel: hbone::Tunnel) {
        tunnel::serve(&self.shared, tunnel).await;
    }

    /// MCP sessions of which something is remembered now.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.len()
    }

    /// A2A tasks and contexts whose owner is known now.
    pub fn owned(&self) -> usize {
        self.shared.owners.len()
    }

    /// Other replicas that tell us now whose A2A tasks are whose.
    pub fn linked(&self) -> usize {
        self.shared.replicas.linked()
    }

    /// Budgets of calls that are not full now.
    pub fn quotas(&self) -> usize {
        self.shared.quotas.len()
    }

    /// Bytes held for decoding now.
    pub fn bytes_held(&self) -> usize {
        self.shared.budget.used()
    }
}

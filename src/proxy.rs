//! The data path from a tunnel to its answer: read, decode, authorize, route, forward.
//!
//! Input: [`hbone::Tunnel`]s from proven peers. Output: exactly what was authorized, to exactly the endpoint that was
//! chosen. It reads the published snapshot and never writes it; only [`answer`] chooses what a caller is told.

mod a2a;
mod answer;
mod beside;
mod budget;
mod flow;
mod heavy;
mod http;
mod mcp;
mod note;
mod route;
mod sessions;
#[cfg(test)]
mod sizes;
mod stages;
mod tasks;
mod tcp;
mod tunnel;
mod watched;
mod wordings;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::limits;
use crate::hbone;
use crate::mesh::Published;
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;

use budget::Budget;
use heavy::Heavy;
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
    tasks: Tasks,
    owners: a2a::Owners,
    wordings: Wordings,
    manners: mcp::Manners,
    budget: Arc<Budget>,
    heavy: Heavy,
    drain: CancellationToken,
}

impl Proxy {
    /// A data path over what is published. `drain` asks it to finish what is in flight.
    pub fn new(
        published: Arc<Published>,
        upstreams: Upstreams,
        telemetry: Telemetry,
        drain: CancellationToken,
    ) -> Self {
        let sessions = Sessions::new(limits::MAX_SESSIONS, limits::SESSION_IDLE);
        let budget = Budget::new(limits::DECODE_BUDGET, limits::DECODE_BUDGET_PER_PRINCIPAL);
        Self {
            shared: Arc::new(Shared {
                published,
                upstreams,
                telemetry,
                sessions,
                tasks: Tasks::new(limits::MAX_TASKS),
                owners: a2a::Owners::new(limits::MAX_OWNED, limits::MAX_OWNED_PER_PRINCIPAL),
                wordings: Wordings::default(),
                manners: mcp::Manners::default(),
                budget,
                heavy: Heavy::default(),
                drain,
            }),
        }
    }

    /// Serves one CONNECT stream to its end.
    pub async fn serve(&self, tunnel: hbone::Tunnel) {
        tunnel::serve(&self.shared, tunnel).await;
    }

    /// MCP sessions bound now.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.len()
    }

    /// A2A tasks and contexts whose owner is known now.
    pub fn owned(&self) -> usize {
        self.shared.owners.len()
    }

    /// Bytes held for decoding now.
    pub fn bytes_held(&self) -> usize {
        self.shared.budget.used()
    }
}

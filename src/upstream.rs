//! The way out: from an endpoint of the mesh to a connection, and HTTP over it.
//!
//! Input: endpoints and requests that were permitted. Output: byte streams and responses, untouched but for hop-by-hop
//! fields. This room knows no policy; it never follows a redirect, never decompresses, and sends a request twice only
//! where the server provably saw nothing of it.

mod body;
mod caller;
mod crowd;
mod departure;
mod dial;
pub mod dns;
mod ejection;
mod exchange;
mod external;
mod fault;
mod fields;
mod http1;
mod kept;
mod live;
mod outlier;
mod pick;
mod pool;
mod upgrade;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use body::{BodyBroken, InBody, OutBody, Stopped};
pub use caller::{Caller, Client};
pub use crowd::Place;
pub use departure::Departure;
pub use dial::Line;
pub use exchange::{Sent, UpstreamHttp};
pub use fault::{DialFault, SendFault};
pub use live::{Busy, Seen};
pub use outlier::Why;
pub use pick::NoEndpoint;
pub use upgrade::Upgraded;

use crate::config::limits::{DIAL_TIMEOUT, POOL_IDLE};
use crate::fault::{Blame, Faulty as _};
use crate::hbone;
use crate::id::WorkloadId;
use crate::mesh::{Endpoint, Target, TargetKey};
use crowd::Crowd;
use dial::{Dialer, Dialled};
use dns::Dns;
use ejection::Outcome;
use live::Live;
use pool::Pool;

/// Everything that reaches endpoints; a clone is one pointer.
#[derive(Clone)]
pub struct Upstreams {
    inner: Arc<Inner>,
}

struct Inner {
    dialer: Dialer,
    pool: Pool,
    live: Live,
    crowd: Crowd,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Upstreams {
    /// Starts with empty pools, and a task that closes what stays idle. Must be called within a tokio runtime.
    pub fn new(tunnels: hbone::Pool, dns: Dns) -> Self {
        let inner = Inner {
            dialer: Dialer::new(tunnels, dns),
            pool: Pool::default(),
            live: Live::default(),
            crowd: Crowd::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let this = Self { inner: Arc::new(inner) };
        let sweeper = this.clone();
        this.inner.tasks.spawn(async move { sweeper.sweep().await });
        this
    }

    /// A point at random, for a choice by weight.
    pub fn dice() -> u64 {
        pick::random()
    }

    /// One of `endpoints`: the nearest of those that are not left alone after failures, by weight and by what is under way;
    /// or exactly the one with id `stick`.
    ///
    /// # Errors
    /// [`NoEndpoint`]
    pub fn pick(&self, endpoints: &[Arc<Endpoint>], stick: Option<&str>) -> Result<Arc<Endpoint>, NoEndpoint> {
        self.inner.live.pick(endpoints, stick)
    }

    /// As [`Upstreams::pick`], of a target's, in the way that a DestinationRule says, for that client.
    ///
    /// # Errors
    /// [`NoEndpoint`]
    pub fn pick_of(
        &self,
        target: &Target,
        stick: Option<&str>,
        client: &Client<'_>,
    ) -> Result<Arc<Endpoint>, NoEndpoint> {
        self.inner.live.pick_of(target, stick, client)
    }

    /// A call of `caller` to `target` begins; it ends when the place is dropped.
    ///
    /// # Errors
    /// [`NoEndpoint::TargetFull`], [`NoEndpoint::ShareFull`]
    pub fn enter(&self, target: &TargetKey, caller: &WorkloadId) -> Result<Place, NoEndpoint> {
        self.inner.crowd.enter(target, caller)
    }

    /// The call of that place goes to `endpoint`.
    ///
    /// # Errors
    /// [`NoEndpoint::ShareFull`]
    pub fn at(&self, place: Place, endpoint: &Endpoint) -> Result<Place, NoEndpoint> {
        self.inner.crowd.at(place, &endpoint.id)
    }

    /// Bytes to `endpoint`, fresh, within [`DIAL_TIMEOUT`] or what a DestinationRule says. The endpoint's failures are
    /// remembered. It counts as called until [`Busy`] is dropped.
    ///
    /// # Errors
    /// [`DialFault`]; nothing of a call was sent.
    pub async fn connect_tcp(&self, endpoint: &Endpoint, caller: &WorkloadId) -> Result<(Line, Busy), DialFault> {
        let live = &self.inner.live;
        let busy = live.begin(endpoint)?.by(live.services.connection(endpoint)?);
        let dialled = self.dial(endpoint, UpstreamHttp::Http1).await;
        let outcome = match &dialled {
            // What it would be for HTTP.
            Ok(_) => Some(Outcome::Status(200)),
            Err(fault) => fault.outcome(),
        };
        if let Some(outcome) = outcome {
            live.services.heard(endpoint, outcome, Caller::of(caller));
        }
        Ok((dialled?.line, busy))
    }

    async fn dial(&self, endpoint: &Endpoint, version: UpstreamHttp) -> Result<Dialled, DialFault> {
        let (live, one) = (&self.inner.live, self.inner.live.one(endpoint));
        let _dialing = one.dial()?;
        let said = endpoint.traffic.as_ref().and_then(|traffic| traffic.bounds.connect);
        let most = said.map_or(DIAL_TIMEOUT, |said| said.min(DIAL_TIMEOUT));
        let dialled = tokio::time::timeout(most, self.inner.dialer.connect(endpoint, version)).await;
        let result = dialled.unwrap_or(Err(DialFault::Timeout));
        match &result {
            Ok(_) => live.reached(&one),
            Err(fault) => {
                tracing::debug!(endpoint = %endpoint.id, %fault, "endpoint not reached");
                if fault.blame() == Blame::Upstream {
                    live.failed(&one);
                }
            }
        }
        result
    }

    /// The endpoints that were lately called, in order of their ids.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.live.seen()
    }

    /// How often any endpoint was left alone for that reason.
    pub fn ejections(&self, why: Why) -> u64 {
        self.inner.live.total(why)
    }

    /// Ends every idle connection and takes no new ones into the pool; streams under way go on until `limit`.
    pub async fn close(&self, limit: Duration) {
        self.inner.stop.cancel();
        self.inner.pool.clear();
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.inner.tasks.len(), "upstream connections still open at the end");
        }
    }

    async fn sweep(&self) {
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                () = tokio::time::sleep(POOL_IDLE / 4) => {}
                () = self.inner.pool.stirred() => {}
            }
            self.inner.pool.sweep();
            self.inner.live.sweep();
            self.inner.crowd.sweep();
        }
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").field("pool", &self.inner.pool).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

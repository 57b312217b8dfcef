//! What happened, told once: each call leaves one decision record, and every number, log line and span comes from it.
//!
//! Input: what the stages know. Output: access log on stdout, metrics as text, OTLP spans, our own logs on stderr.
//! This room never decides, never holds a call up (queues are bounded and overflow is counted), and never writes
//! arguments, tokens or session ids: those leave as keyed digests only.

pub mod access_log;
pub mod keyed;
pub mod logs;
pub mod metrics;
pub mod record;
mod text;
pub mod trace;

use std::sync::Arc;
use std::time::Duration;

pub use access_log::AccessLog;
pub use keyed::Keyed;
pub use metrics::Metrics;
pub use record::{Beside, Meter, Operation, Outcome, Protocol, Record, RecordGuard, Ruling, Site};
pub use trace::Tracing;

use crate::id::Peer;

/// The handle that every room holds; a clone is one pointer.
#[derive(Debug, Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    tracing: Option<Tracing>,
    keyed: Keyed,
}

impl Telemetry {
    /// Puts the sinks together. `tracing` is absent where no OTLP endpoint is configured.
    pub fn new(metrics: Arc<Metrics>, access_log: AccessLog, tracing: Option<Tracing>, keyed: Keyed) -> Self {
        Self { inner: Arc::new(Inner { metrics, access_log, tracing, keyed }) }
    }

    /// For tests and tools: metrics only, no access log, no traces.
    pub fn quiet() -> Self {
        let metrics = Arc::new(Metrics::new());
        Self::new(metrics, AccessLog::discard(), None, Keyed::random())
    }

    /// Opens the record of one call; it is written when the guard is finished or dropped.
    pub fn begin(&self, peer: &Peer, protocol: Protocol) -> RecordGuard {
        RecordGuard::open(self.clone(), peer, protocol)
    }

    /// Takes a finished record to every sink. [`RecordGuard`] calls this; nothing else needs to.
    pub fn record(&self, record: Box<Record>) {
        self.inner.metrics.observe(&record);
        if let Some(tracing) = &self.inner.tracing {
            tracing.observe(&record);
        }
        if !self.inner.access_log.write(record) {
            self.inner.metrics.access_log_dropped();
        }
    }

    /// The counters and gauges.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Digests for values that may not be written.
    pub fn keyed(&self) -> &Keyed {
        &self.inner.keyed
    }

    pub(crate) fn tracing(&self) -> Option<&Tracing> {
        self.inner.tracing.as_ref()
    }

    /// Writes out what is queued, for at most `limit`: access log, then spans. For the end of the process.
    pub async fn flush(&self, limit: Duration) {
        self.inner.access_log.flush(limit).await;
        if let Some(tracing) = &self.inner.tracing {
            tracing.shutdown(limit).await;
        }
    }
}

//! Counters, gauges and histograms, and their text for a scraper.
//!
//! Istio's standard metrics come from decision records (`istio`), our own from plain methods here. No label value is
//! of a caller's choosing except the proven identity, and the number of label sets is bounded (`capped`).
//! `prometheus-client` appends `_total` to counters by itself, so the names here stand without it.

mod capped;
mod istio;
mod own;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::registry::Registry;

pub use istio::TcpCounters;
pub use own::{Direction, DocumentCounts, Open};

use super::record::{Protocol, Record};
use crate::fault::Faulty;
use istio::Istio;
use own::Own;

/// Content type of [`Metrics::encode`] (OpenMetrics 1.0).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of the process. Methods never block and never fail.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    istio: Istio,
    own: Own,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All families at zero, with the limits of [`crate::config::limits::TABLE`] and the build already set.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let istio = Istio::register(&mut registry);
        let own = Own::register(&mut registry);
        Self { registry, istio, own }
    }

    /// The text of all metrics, OpenMetrics 1.0.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing into a String does not fail; a scraper must not take half a page for a whole one.
            Err(_) => String::new(),
        }
    }

    pub(super) fn observe(&self, record: &Record) {
        self.own.decision(record);
        if let Some(fault) = &record.fault {
            self.own.fault(fault.stage.as_str(), fault.reason);
        }
        if record.protocol != Protocol::Tcp && !record.within {
            self.istio.request(record);
        }
    }

    pub(super) fn tcp_opened(&self, record: &Record) -> Arc<TcpCounters> {
        self.istio.tcp_opened(record)
    }

    pub(super) fn access_log_dropped(&self) {
        self.own.access_log_dropped();
    }

    /// A TLS handshake failed; `reason` is a fixed word.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.own.handshake_failed(reason);
    }

    /// The keys of an issuer were fetched, or why they were not.
    pub fn jwks_fetched(&self, result: &'static str) {
        self.own.jwks_fetched(result);
    }

    /// A CONNECT was refused with `status`.
    pub fn connect_refused(&self, status: http::StatusCode) {
        self.own.connect_refused(status.as_u16());
    }

    /// A failure that belongs to no call (a call's failure comes with its record).
    pub fn fault(&self, fault: &dyn Faulty) {
        self.own.fault(fault.stage().as_str(), fault.reason());
    }

    /// One TLS connection is open as long as the value lives.
    pub fn connection(&self, direction: Direction) -> Open {
        self.own.connection(direction)
    }

    /// One CONNECT tunnel is open as long as the value lives.
    pub fn tunnel(&self, direction: Direction) -> Open {
        self.own.tunnel(direction)
    }

    /// One TLS connection was opened (+1) or ended (-1), for who cannot hold an [`Open`].
    pub fn connections(&self, direction: Direction, change: i64) {
        self.own.connections(direction, change);
    }

    /// How the last reading of the documents went.
    pub fn documents(&self, counts: DocumentCounts) {
        self.own.documents(counts);
    }

    /// Targets whose every call is refused because of their documents.
    pub fn targets_closed(&self, targets: usize) {
        self.own.targets_closed(targets);
    }

    /// Entries taken out of a list result, because the caller may not call them.
    pub fn list_entries_hidden(&self, entries: usize) {
        self.own.list_entries_hidden(entries);
    }

    /// Entries of tools/list whose definition is not pinned.
    pub fn tools_not_pinned(&self, tools: usize) {
        self.own.tools_not_pinned(tools);
    }

    /// A copy of a request, as a route mirrors it: `sent`, `failed`, `refused` by rules, `dropped` as there are too many, or
    /// to `nowhere`.
    pub fn copied(&self, result: &'static str) {
        self.own.copied(result);
    }

    /// A request is tried again, as its route says.
    pub fn retried(&self) {
        self.own.retried();
    }

    /// A push of the feed was refused whole, as it is older than what is in force.
    pub fn documents_older(&self) {
        self.own.documents_older();
    }

    /// Strings replaced in what a server said, because a policy says so.
    pub fn strings_redacted(&self, strings: usize) {
        self.own.strings_redacted(strings);
    }

    /// A call about which an authorization provider was asked, and what came of it; both are names of documents' or ours.
    pub fn checked(&self, provider: &Arc<str>, result: &'static str) {
        self.own.checked(provider, result);
    }

    /// When our own certificate ends.
    pub fn certificate_expires(&self, at: SystemTime) {
        let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.own.certificate_expires(seconds);
    }

    /// A2A tasks and contexts whose owner is known.
    pub fn a2a_owned(&self, owned: usize) {
        self.own.a2a_owned(owned);
    }

    /// Other replicas of this waypoint that tell us now whose A2A tasks are whose.
    pub fn a2a_linked(&self, replicas: usize) {
        self.own.a2a_linked(replicas);
    }

    /// MCP sessions whose labels are known now, and whether all that matter are (`whole`).
    pub fn labelled(&self, sessions: usize, whole: bool) {
        self.own.labelled(sessions, whole);
    }

    /// Budgets of calls that are not full.
    pub fn quotas(&self, quotas: usize) {
        self.own.quotas(quotas);
    }

    /// MCP sessions that are bound to a caller.
    pub fn sessions(&self, sessions: usize) {
        self.own.sessions(sessions);
    }

    /// Endpoints that can be reached past their waypoint; `reason` is a fixed word.
    pub fn unguarded_endpoints(&self, reason: &'static str, endpoints: usize) {
        self.own.unguarded_endpoints(reason, endpoints);
    }

    /// Endpoints that get no calls; `reason` is a fixed word.
    pub fn held_endpoints(&self, reason: &'static str, endpoints: usize) {
        self.own.held_endpoints(reason, endpoints);
    }

    /// Endpoints that are left alone after failures, and how often any was; `reason` is a fixed word.
    pub fn ejected(&self, reason: &'static str, counts: (usize, u64)) {
        self.own.ejected(reason, counts);
    }

    /// Bytes held for decoding, of [`crate::config::limits::DECODE_BUDGET`].
    pub fn decode_budget_used(&self, bytes: usize) {
        self.own.decode_budget_used(bytes);
    }
}

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::super::record::Record;
use super::capped::{Capped, Fold};
use crate::config::limits::{METRIC_LABEL_SETS, TABLE};

/// Which side of us a connection or tunnel is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From callers.
    Inbound,
    /// To endpoints.
    Outbound,
}

/// Something that counts as open until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it says that the thing is closed"]
pub struct Open(Gauge);

impl Open {
    fn count(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How one reading of all documents went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DocumentCounts {
    /// In force.
    pub accepted: usize,
    /// With errors; what they select is closed.
    pub refused: usize,
    /// Of kinds that are nobody's concern here.
    pub skipped: usize,
}

/// Metrics that are ours alone, `agent_waypoint_*`.
#[derive(Debug)]
pub(super) struct Own {
    decisions: Family<Decision, Counter>,
    decisions_capped: Capped<Decision, Counter>,
    handshakes: Family<[(&'static str, &'static str); 1], Counter>,
    refused: Family<[(&'static str, String); 1], Counter>,
    faults: Family<[(&'static str, &'static str); 2], Counter>,
    jwks: Family<[(&'static str, &'static str); 1], Counter>,
    connections: Family<[(&'static str, &'static str); 1], Gauge>,
    tunnels: Family<[(&'static str, &'static str); 1], Gauge>,
    documents: Family<[(&'static str, &'static str); 1], Gauge>,
    closed: Gauge,
    dropped: Counter,
    hidden: Counter,
    redacted: Counter,
    checks: Family<Check, Counter>,
    copies: Family<[(&'static str, &'static str); 1], Counter>,
    retries: Counter,
    documents_older: Counter,
    not_pinned: Counter,
    certificate: Gauge,
    sessions: Gauge,
    a2a_owned: Gauge,
    a2a_linked: Gauge,
    labelled: Gauge,
    whole: Gauge,
    quotas: Gauge,
    budget: Gauge,
    unguarded: Family<[(&'static str, &'static str); 1], Gauge>,
    held: Family<[(&'static str, &'static str); 1], Gauge>,
    ejected: Family<[(&'static str, &'static str); 1], Gauge>,
    ejections: Family<[(&'static str, &'static str); 1], Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decision {
    decision: &'static str,
    reason: &'static str,
    protocol: &'static str,
    destination_service: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Check {
    provider: Arc<str>,
    result: &'static str,
}

impl Fold for Decision {
    fn without_caller(&self) -> Self {
        Self { destination_service: "other".into(), ..self.clone() }
    }

    fn anonymous(&self) -> Self {
        Self { decision: self.decision, reason: "other", protocol: "other", destination_service: "other".into() }
    }
}

impl Own {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self {
            decisions: Family::default(),
            decisions_capped: Capped::new(METRIC_LABEL_SETS),
            handshakes: Family::default(),
            refused: Family::default(),
            faults: Family::default(),
            jwks: Family::default(),
            connections: Family::default(),
            tunnels: Family::default(),
            documents: Family::default(),
            closed: Gauge::default(),
            dropped: Counter::default(),
            hidden: Counter::default(),
            redacted: Counter::default(),
            checks: Family::default(),
            copies: Family::default(),
            retries: Counter::default(),
            documents_older: Counter::default(),
            not_pinned: Counter::default(),
            certificate: Gauge::default(),
            sessions: Gauge::default(),
            a2a_owned: Gauge::default(),
            a2a_linked: Gauge::default(),
            labelled: Gauge::default(),
            whole: Gauge::default(),
            quotas: Gauge::default(),
            budget: Gauge::default(),
            unguarded: Family::default(),
            held: Family::default(),
            ejected: Family::default(),
            ejections: Family::default(),
        };
        this.register_counters(registry);
        this.register_gauges(registry);
        this
    }

    fn register_counters(&self, registry: &mut Registry) {
        let own = registry.sub_registry_with_prefix("agent_waypoint");
        own.register("decisions", "Calls by decision and reason", self.decisions.clone());
        own.register("handshake_failures", "TLS handshakes that failed, by reason", self.handshakes.clone());
        own.register("refused_connects", "CONNECT requests refused, by status", self.refused.clone());
        own.register("faults", "Failures by stage and reason", self.faults.clone());
        own.register("jwks_fetches", "Fetches of the keys of tokens, by result", self.jwks.clone());
        own.register("access_log_dropped", "Access log lines lost to a full queue", self.dropped.clone());
        own.register("list_entries_hidden", "Entries taken out of list results", self.hidden.clone());
        let listed = "Entries of tools/list whose definition is not pinned";
        own.register("tools_not_pinned", listed, self.not_pinned.clone());
        own.register("strings_redacted", "Strings replaced in what servers said", self.redacted.clone());
        own.register("provider_checks", "Calls about which a provider was asked, by result", self.checks.clone());
        own.register("mirrored_requests", "Copies of requests that routes mirror, by result", self.copies.clone());
        own.register("retries", "Requests that were tried again as a route says", self.retries.clone());
        own.register(
            "documents_older",
            "Pushes of the feed that were refused whole, as they are older than what is in force",
            self.documents_older.clone(),
        );
    }

    fn register_gauges(&self, registry: &mut Registry) {
        let own = registry.sub_registry_with_prefix("agent_waypoint");
        own.register("connections", "Open TLS connections", self.connections.clone());
        own.register("tunnels", "Open CONNECT tunnels", self.tunnels.clone());
        own.register("documents", "Documents by state", self.documents.clone());
        own.register("targets_closed", "Targets closed by their documents", self.closed.clone());
        let ends = "When our certificate ends, seconds since 1970";
        own.register("certificate_expiry_timestamp_seconds", ends, self.certificate.clone());
        own.register("sessions", "MCP sessions bound to a caller", self.sessions.clone());
        own.register("a2a_owned", "A2A tasks and contexts whose owner is known", self.a2a_owned.clone());
        let linked = "Other replicas that tell us whose A2A tasks are whose";
        own.register("a2a_linked_replicas", linked, self.a2a_linked.clone());
        own.register("labelled_sessions", "MCP sessions whose labels are known", self.labelled.clone());
        let whole = "Whether every other replica tells us of labels, so that they are known";
        own.register("replicas_whole", whole, self.whole.clone());
        own.register("quotas", "Budgets of calls that are not full", self.quotas.clone());
        own.register("decode_budget_used_bytes", "Bytes held for decoding", self.budget.clone());
        let unguarded = "Endpoints that can be reached past their waypoint, by reason";
        own.register("unguarded_endpoints", unguarded, self.unguarded.clone());
        own.register("held_endpoints", "Endpoints that get no calls, by reason", self.held.clone());
        own.register("ejected_endpoints", "Endpoints left alone after failures, by reason", self.ejected.clone());
        own.register("ejections", "Times that an endpoint was left alone, by reason", self.ejections.clone());
        let limits = Family::<[(&'static str, &'static str); 2], Gauge>::default();
        for (name, value, unit) in TABLE {
            limits.get_or_create(&[("name", *name), ("unit", *unit)]).set(signed(*value));
        }
        own.register("limit", "The limits this process runs with", limits);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        own.register("build", "The build of this process", build);
    }

    pub(super) fn decision(&self, record: &Record) {
        let set = Decision {
            decision: record.outcome.as_str(),
            reason: record.ruling.reason,
            protocol: record.protocol.as_str(),
            destination_service: record.site.as_ref().map_or_else(|| "unknown".into(), |site| Arc::clone(&site.host)),
        };
        self.decisions_capped.get(&set, |set| self.decisions.get_or_create_owned(set)).inc();
    }

    pub(super) fn handshake_failed(&self, reason: &'static str) {
        self.handshakes.get_or_create(&[("reason", reason)]).inc();
    }

    pub(super) fn jwks_fetched(&self, result: &'static str) {
        self.jwks.get_or_create(&[("result", result)]).inc();
    }

    pub(super) fn connect_refused(&self, status: u16) {
        self.refused.get_or_create(&[("status", status.to_string())]).inc();
    }

    pub(super) fn fault(&self, stage: &'static str, reason: &'static str) {
        self.faults.get_or_create(&[("stage", stage), ("reason", reason)]).inc();
    }

    pub(super) fn connections(&self, direction: Direction, change: i64) {
        self.connections.get_or_create(&[("direction", word(direction))]).inc_by(change);
    }

    pub(super) fn connection(&self, direction: Direction) -> Open {
        Open::count(self.connections.get_or_create_owned(&[("direction", word(direction))]))
    }

    pub(super) fn tunnel(&self, direction: Direction) -> Open {
        Open::count(self.tunnels.get_or_create_owned(&[("direction", word(direction))]))
    }

    pub(super) fn documents(&self, counts: DocumentCounts) {
        for (state, count) in [("accepted", counts.accepted), ("refused", counts.refused), ("skipped", counts.skipped)]
        {
            self.documents.get_or_create(&[("state", state)]).set(signed(count as u64));
        }
    }

    pub(super) fn targets_closed(&self, targets: usize) {
        self.closed.set(signed(targets as u64));
    }

    pub(super) fn access_log_dropped(&self) {
        self.dropped.inc();
    }

    pub(super) fn list_entries_hidden(&self, entries: usize) {
        self.hidden.inc_by(entries as u64);
    }

    pub(super) fn tools_not_pinned(&self, tools: usize) {
        self.not_pinned.inc_by(tools as u64);
    }

    pub(super) fn strings_redacted(&self, strings: usize) {
        self.redacted.inc_by(strings as u64);
    }

    pub(super) fn checked(&self, provider: &Arc<str>, result: &'static str) {
        self.checks.get_or_create_owned(&Check { provider: Arc::clone(provider), result }).inc();
    }

    pub(super) fn copied(&self, result: &'static str) {
        self.copies.get_or_create(&[("result", result)]).inc();
    }

    pub(super) fn retried(&self) {
        self.retries.inc();
    }

    pub(super) fn documents_older(&self) {
        self.documents_older.inc();
    }

    pub(super) fn certificate_expires(&self, seconds: u64) {
        self.certificate.set(signed(seconds));
    }

    pub(super) fn a2a_owned(&self, owned: usize) {
        self.a2a_owned.set(signed(owned as u64));
    }

    pub(super) fn a2a_linked(&self, replicas: usize) {
        self.a2a_linked.set(signed(replicas as u64));
    }

    pub(super) fn labelled(&self, sessions: usize, whole: bool) {
        self.labelled.set(signed(sessions as u64));
        self.whole.set(i64::from(whole));
    }

    pub(super) fn quotas(&self, quotas: usize) {
        self.quotas.set(signed(quotas as u64));
    }

    pub(super) fn sessions(&self, sessions: usize) {
        self.sessions.set(signed(sessions as u64));
    }

    pub(super) fn unguarded_endpoints(&self, reason: &'static str, endpoints: usize) {
        self.unguarded.get_or_create(&[("reason", reason)]).set(signed(endpoints as u64));
    }

    pub(super) fn held_endpoints(&self, reason: &'static str, endpoints: usize) {
        self.held.get_or_create(&[("reason", reason)]).set(signed(endpoints as u64));
    }

    pub(super) fn ejected(&self, reason: &'static str, (endpoints, times): (usize, u64)) {
        self.ejected.get_or_create(&[("reason", reason)]).set(signed(endpoints as u64));
        self.ejections.get_or_create(&[("reason", reason)]).inner().store(times, Ordering::Relaxed);
    }

    pub(super) fn decode_budget_used(&self, bytes: usize) {
        self.budget.set(signed(bytes as u64));
    }
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}

/// Gauges are signed; nothing here comes near the end of the range.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

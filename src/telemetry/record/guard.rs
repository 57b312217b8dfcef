use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime};

use aws_lc_rs::rand;

use super::super::Telemetry;
use super::super::keyed::hex;
use super::super::metrics::TcpCounters;
use super::super::text::bounded;
use super::{FaultNote, Operation, Outcome, Protocol, Record, Ruling, Site};
use crate::fault::{Faulty, Stage};
use crate::id::Peer;
use crate::policy::Shadow;

/// The open record of one call. Finishing or dropping it writes the record, once.
///
/// It moves with the call: through the stages by value, then into the response body or the byte copier, so that the
/// record is written when the last byte went out.
#[derive(Debug)]
#[must_use = "dropping the guard writes the record"]
pub struct RecordGuard {
    telemetry: Telemetry,
    record: Option<Box<Record>>,
    meter: Meter,
    beside: Beside,
    started: Instant,
}

/// Counts the bytes of one call; clones count into the same call.
///
/// For TCP the numbers also move the live `istio_tcp_*_bytes_total` counters, so a tunnel of days is seen as it runs.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<MeterInner>);

#[derive(Debug, Default)]
struct MeterInner {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    tcp: std::sync::OnceLock<Arc<TcpCounters>>,
}

/// Where what was decoded beside a stream is told to the record of its call, while that moves on its own way.
#[derive(Debug, Clone, Default)]
pub struct Beside(Arc<std::sync::OnceLock<(Operation, Shadow)>>);

impl Beside {
    /// What the bytes turned out to ask for, and what DryRun policies make of it. Counts once.
    pub fn saw(&self, operation: Operation, shadow: Shadow) {
        let _kept_the_first = self.0.set((operation, shadow));
    }
}

impl Meter {
    /// Bytes that came from the caller.
    pub fn received(&self, bytes: usize) {
        self.0.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(tcp) = self.0.tcp.get() {
            tcp.received(bytes as u64);
        }
    }

    /// Bytes that went to the caller.
    pub fn sent(&self, bytes: usize) {
        self.0.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(tcp) = self.0.tcp.get() {
            tcp.sent(bytes as u64);
        }
    }
}

impl RecordGuard {
    pub(in super::super) fn open(telemetry: Telemetry, peer: &Peer, protocol: Protocol) -> Self {
        let record = Record {
            time: SystemTime::now(),
            took: std::time::Duration::ZERO,
            request_id: request_id(),
            peer: bounded(peer.id().uri()),
            peer_namespace: peer.id().istio().map(|istio| bounded(&istio.namespace)),
            source: peer.addr(),
            site: None,
            protocol,
            operation: Operation::default(),
            outcome: Outcome::Error,
            ruling: Ruling { reason: "abandoned", ..Ruling::default() },
            subject: None,
            session: None,
            arguments: None,
            status: None,
            grpc_status: None,
            bytes_in: 0,
            bytes_out: 0,
            upstream: None,
            upstream_identity: None,
            fault: None,
            parent: None,
            within: false,
        };
        Self {
            telemetry,
            record: Some(Box::new(record)),
            meter: Meter::default(),
            beside: Beside::default(),
            started: Instant::now(),
        }
    }

    /// It is about a message inside the stream of another call, and no HTTP request of its own.
    pub fn within(&mut self) {
        self.with(|record| record.within = true);
    }

    /// 16 random hex digits: what a caller is told, so that its owner can find this record.
    pub fn request_id(&self) -> Arc<str> {
        self.record.as_ref().map(|record| Arc::clone(&record.request_id)).unwrap_or_default()
    }

    /// The Service port, once it was found.
    pub fn site(&mut self, site: &Arc<Site>) {
        self.with(|record| record.site = Some(Arc::clone(site)));
    }

    /// The protocol, where it became known later than the tunnel.
    pub fn protocol(&mut self, protocol: Protocol) {
        self.with(|record| record.protocol = protocol);
    }

    /// What was asked for.
    pub fn operation(&mut self, operation: Operation) {
        self.with(|record| record.operation = operation);
    }

    /// Digests only: see [`super::super::Keyed`].
    pub fn subject(&mut self, digest: Arc<str>) {
        self.with(|record| record.subject = Some(digest));
    }

    /// Digests only: see [`super::super::Keyed`].
    pub fn session(&mut self, digest: Arc<str>) {
        self.with(|record| record.session = Some(digest));
    }

    /// Digests only: see [`super::super::Keyed`].
    pub fn arguments(&mut self, digest: Arc<str>) {
        self.with(|record| record.arguments = Some(digest));
    }

    /// Policy said yes. For bytes, the connection counts as opened from here on.
    pub fn allowed(&mut self, ruling: Ruling) {
        self.decided(Outcome::Allow, ruling);
        let opened = self.record.as_ref().filter(|record| record.protocol == Protocol::Tcp);
        if let Some(record) = opened {
            let _ = self.meter.0.tcp.get_or_init(|| self.telemetry.metrics().tcp_opened(record));
        }
    }

    /// Policy said no.
    pub fn denied(&mut self, ruling: Ruling) {
        self.decided(Outcome::Deny, ruling);
    }

    /// A stage failed. A decision made before stands, for what it permitted may have been done; without one the
    /// outcome is `error`.
    pub fn failed(&mut self, fault: &dyn Faulty) {
        let note = FaultNote {
            stage: fault.stage(),
            blame: fault.blame(),
            reason: fault.reason(),
            detail: bounded(&fault.to_string()),
        };
        self.with(|record| {
            if record.outcome == Outcome::Error {
                record.ruling.reason = note.reason;
            }
            record.fault = Some(note);
        });
    }

    /// HTTP status answered to the caller.
    pub fn status(&mut self, status: http::StatusCode) {
        self.with(|record| record.status = Some(status.as_u16()));
    }

    /// `grpc-status` answered to the caller.
    pub fn grpc_status(&mut self, status: u16) {
        self.with(|record| record.grpc_status = Some(status));
    }

    /// The endpoint chosen, and the identity expected of it where it must prove one.
    pub fn upstream(&mut self, endpoint: &str, identity: Option<&str>) {
        self.with(|record| {
            record.upstream = Some(bounded(endpoint));
            record.upstream_identity = identity.map(bounded);
        });
    }

    /// Takes the parent of this call's span from the request's `traceparent`. Without tracing it does nothing.
    pub fn trace_parent(&mut self, headers: &http::HeaderMap) {
        let parent = self.telemetry.tracing().and_then(|tracing| tracing.parent(headers));
        self.with(|record| record.parent = parent);
    }

    /// The byte counter of this call.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// The place for what is decoded beside the call's stream.
    pub fn beside(&self) -> Beside {
        self.beside.clone()
    }

    /// Writes the record. The same as dropping the guard, said aloud.
    pub fn finish(self) {
        drop(self);
    }

    fn decided(&mut self, outcome: Outcome, ruling: Ruling) {
        let ruling = Ruling { detail: ruling.detail.as_deref().map(bounded), ..ruling };
        self.with(|record| {
            record.outcome = outcome;
            record.ruling = ruling;
        });
    }

    fn with(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }
}

impl Drop for RecordGuard {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        record.took = self.started.elapsed();
        record.bytes_in = self.meter.0.bytes_in.load(Ordering::Relaxed);
        record.bytes_out = self.meter.0.bytes_out.load(Ordering::Relaxed);
        if let Some((operation, shadow)) = self.beside.0.get() {
            // The call stays the HTTP request that it was decided on as; what it named is for people to see.
            record.operation = Operation {
                name: operation.name.clone(),
                kind: operation.kind,
                ..std::mem::take(&mut record.operation)
            };
            record.ruling.shadow = Some(shadow.clone());
        }
        if let Some(tcp) = self.meter.0.tcp.get() {
            tcp.closed();
        }
        self.telemetry.record(record);
    }
}

/// Response flags in Envoy's words (its access log reference, `%RESPONSE_FLAGS%`), as far as they fit; `-` for none.
pub(in super::super) fn response_flags(record: &Record) -> &'static str {
    let Some(fault) = &record.fault else {
        let denied_bytes = record.outcome == Outcome::Deny && record.protocol == Protocol::Tcp;
        return if denied_bytes { "DENY" } else { "-" };
    };
    match (fault.stage, fault.blame) {
        (_, crate::fault::Blame::Waypoint) => "UO",
        (Stage::Dial, _) => "UF",
        (Stage::Route, _) => "UH",
        (Stage::Forward, crate::fault::Blame::Caller) => "DC",
        (Stage::Forward, _) => "UC",
        (Stage::Read | Stage::Decode, _) => "DPE",
        (Stage::Accept | Stage::Authenticate | Stage::Tunnel | Stage::Authorize, _) => "-",
    }
}

/// The next of a series that begins at a random number and, mixed, looks like one at every step: no two are the same in a
/// process. It finds a record and opens nothing, so nobody need be kept from guessing it. SplitMix64 (Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators", OOPSLA 2014).
fn request_id() -> Arc<str> {
    static SERIES: LazyLock<AtomicU64> = LazyLock::new(|| {
        let mut seed = [0_u8; 8];
        // Without randomness a process's ids are those of every other one.
        let _ = rand::fill(&mut seed);
        AtomicU64::new(u64::from_le_bytes(seed))
    });
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut mixed = SERIES.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hex(&(mixed ^ (mixed >> 31)).to_be_bytes()).into()
}

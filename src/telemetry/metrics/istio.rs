use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::super::record::{Protocol, Record, response_flags};
use super::capped::{Capped, Fold};
use crate::config::limits::METRIC_LABEL_SETS;

/// Istio's standard metrics (istio.io, "Istio Standard Metrics") as a waypoint reports them.
#[derive(Debug)]
pub(super) struct Istio {
    requests: Family<Labels, Counter>,
    duration: Family<Labels, Histogram, fn() -> Histogram>,
    request_bytes: Family<Labels, Histogram, fn() -> Histogram>,
    response_bytes: Family<Labels, Histogram, fn() -> Histogram>,
    opened: Family<Labels, Counter>,
    closed: Family<Labels, Counter>,
    sent: Family<Labels, Counter>,
    received: Family<Labels, Counter>,
    http: Capped<Labels, HttpMeters>,
    tcp: Capped<Labels, TcpCounters>,
}

#[derive(Debug)]
struct HttpMeters {
    requests: Counter,
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

/// The live counters of one kind of TCP connection.
#[derive(Debug)]
pub struct TcpCounters {
    opened: Counter,
    closed: Counter,
    sent: Counter,
    received: Counter,
}

impl TcpCounters {
    pub(in super::super) fn closed(&self) {
        self.closed.inc();
    }
    pub(in super::super) fn sent(&self, bytes: u64) {
        self.sent.inc_by(bytes);
    }
    pub(in super::super) fn received(&self, bytes: u64) {
        self.received.inc_by(bytes);
    }
}

fn milliseconds() -> Histogram {
    Histogram::new([
        0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.8e6, 3.6e6,
    ])
}

fn bytes() -> Histogram {
    Histogram::new([256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0])
}

impl Istio {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(milliseconds),
            request_bytes: Family::new_with_constructor(bytes),
            response_bytes: Family::new_with_constructor(bytes),
            opened: Family::default(),
            closed: Family::default(),
            sent: Family::default(),
            received: Family::default(),
            http: Capped::new(METRIC_LABEL_SETS),
            tcp: Capped::new(METRIC_LABEL_SETS),
        };
        registry.register("istio_requests", "Requests answered", this.requests.clone());
        let took = "From the request's head to the last byte of the answer, milliseconds";
        registry.register("istio_request_duration_milliseconds", took, this.duration.clone());
        registry.register("istio_request_bytes", "Request body, bytes", this.request_bytes.clone());
        registry.register("istio_response_bytes", "Response body, bytes", this.response_bytes.clone());
        registry.register("istio_tcp_connections_opened", "TCP connections permitted", this.opened.clone());
        registry.register("istio_tcp_connections_closed", "TCP connections ended", this.closed.clone());
        registry.register("istio_tcp_sent_bytes", "Bytes to callers over TCP", this.sent.clone());
        registry.register("istio_tcp_received_bytes", "Bytes from callers over TCP", this.received.clone());
        this
    }

    pub(super) fn request(&self, record: &Record) {
        let meters = self.http.get(&Labels::of(record), |labels| HttpMeters {
            requests: self.requests.get_or_create_owned(labels),
            duration: self.duration.get_or_create_owned(labels),
            request_bytes: self.request_bytes.get_or_create_owned(labels),
            response_bytes: self.response_bytes.get_or_create_owned(labels),
        });
        meters.requests.inc();
        meters.duration.observe(record.took.as_secs_f64() * 1e3);
        meters.request_bytes.observe(float(record.bytes_in));
        meters.response_bytes.observe(float(record.bytes_out));
    }

    pub(super) fn tcp_opened(&self, record: &Record) -> Arc<TcpCounters> {
        let counters = self.tcp.get(&Labels::of(record), |labels| TcpCounters {
            opened: self.opened.get_or_create_owned(labels),
            closed: self.closed.get_or_create_owned(labels),
            sent: self.sent.get_or_create_owned(labels),
            received: self.received.get_or_create_owned(labels),
        });
        counters.opened.inc();
        counters
    }
}

/// Bytes as a histogram takes them; beyond 2^53 the last digits are lost.
fn float(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a histogram bucket needs no more")]
    {
        bytes as f64
    }
}

/// What varies in Istio's label set; the rest is constant for a waypoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Labels {
    source_principal: Arc<str>,
    source_namespace: Arc<str>,
    destination_principal: Arc<str>,
    destination_service: Arc<str>,
    destination_name: Arc<str>,
    destination_namespace: Arc<str>,
    protocol: &'static str,
    response_code: u16,
    grpc_status: Option<u16>,
    flags: &'static str,
}

const UNKNOWN: &str = "unknown";
const OTHER: &str = "other";

impl Labels {
    fn of(record: &Record) -> Self {
        let unknown = || Arc::from(UNKNOWN);
        let site = record.site.as_ref();
        Self {
            source_principal: Arc::clone(&record.peer),
            source_namespace: record.peer_namespace.clone().unwrap_or_else(unknown),
            destination_principal: record.upstream_identity.clone().unwrap_or_else(unknown),
            destination_service: site.map_or_else(unknown, |site| Arc::clone(&site.host)),
            destination_name: site.map_or_else(unknown, |site| Arc::clone(&site.name)),
            destination_namespace: site.map_or_else(unknown, |site| Arc::clone(&site.namespace)),
            protocol: match record.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Grpc => "grpc",
                Protocol::Mcp | Protocol::A2a | Protocol::Http => "http",
            },
            // 0 stands for no answer, as in Envoy.
            response_code: record.status.filter(|code| (100..600).contains(code)).unwrap_or(0),
            grpc_status: record.grpc_status.filter(|code| *code <= 16),
            flags: response_flags(record),
        }
    }
}

impl Fold for Labels {
    fn without_caller(&self) -> Self {
        Self { source_principal: OTHER.into(), source_namespace: OTHER.into(), ..self.clone() }
    }

    fn anonymous(&self) -> Self {
        let other: Arc<str> = OTHER.into();
        Self {
            source_principal: Arc::clone(&other),
            source_namespace: Arc::clone(&other),
            destination_principal: Arc::clone(&other),
            destination_service: Arc::clone(&other),
            destination_name: Arc::clone(&other),
            destination_namespace: other,
            protocol: OTHER,
            response_code: 0,
            grpc_status: None,
            flags: "-",
        }
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let code = self.response_code.to_string();
        let tcp = self.protocol == "tcp";
        let pairs = [
            ("reporter", "waypoint"),
            ("source_workload", UNKNOWN),
            ("source_canonical_service", UNKNOWN),
            ("source_canonical_revision", UNKNOWN),
            ("source_workload_namespace", &self.source_namespace),
            ("source_principal", &self.source_principal),
            ("source_app", UNKNOWN),
            ("source_version", UNKNOWN),
            ("source_cluster", UNKNOWN),
            ("destination_workload", UNKNOWN),
            ("destination_workload_namespace", &self.destination_namespace),
            ("destination_principal", &self.destination_principal),
            ("destination_app", UNKNOWN),
            ("destination_version", UNKNOWN),
            ("destination_service", &self.destination_service),
            ("destination_canonical_service", UNKNOWN),
            ("destination_canonical_revision", UNKNOWN),
            ("destination_service_name", &self.destination_name),
            ("destination_service_namespace", &self.destination_namespace),
            ("destination_cluster", UNKNOWN),
            ("request_protocol", self.protocol),
            ("response_flags", self.flags),
            ("connection_security_policy", "mutual_tls"),
        ];
        for pair in pairs {
            pair.encode(encoder.encode_label())?;
        }
        if !tcp {
            ("response_code", code.as_str()).encode(encoder.encode_label())?;
        }
        if let Some(status) = self.grpc_status {
            ("grpc_response_status", status.to_string()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

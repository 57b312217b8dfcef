use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::*;
use super::*;
use crate::config::limits::{METRIC_LABEL_SETS, TABLE};
use crate::fault::{Blame, Retry, Stage};
use crate::id::{Peer, WorkloadId};

fn peer(service_account: &str) -> Peer {
    let id = WorkloadId::parse(&format!("spiffe://cluster.local/ns/agents/sa/{service_account}")).unwrap();
    Peer::verified(id, "10.0.0.7:41000".parse().unwrap(), SystemTime::now() + Duration::from_secs(60))
}

fn site() -> Arc<Site> {
    let host = "repo.tools.svc.cluster.local".into();
    Arc::new(Site { host, name: "repo".into(), namespace: "tools".into(), port: 80 })
}

fn ruling(reason: &'static str) -> Ruling {
    Ruling { reason, ..Ruling::default() }
}

#[derive(Debug, thiserror::Error)]
#[error("no connection")]
struct Refused;

impl Faulty for Refused {
    fn blame(&self) -> Blame {
        Blame::Upstream
    }
    fn retry(&self) -> Retry {
        Retry::Safe
    }
    fn stage(&self) -> Stage {
        Stage::Dial
    }
    fn reason(&self) -> &'static str {
        "refused"
    }
}

/// One of everything that can happen.
fn everything() -> Telemetry {
    let telemetry = Telemetry::quiet();
    let mut call = telemetry.begin(&peer("researcher"), Protocol::Mcp);
    call.site(&site());
    call.allowed(ruling("allowed"));
    call.failed(&Refused);
    call.status(http::StatusCode::SERVICE_UNAVAILABLE);
    call.meter().received(300);
    call.finish();
    let mut bytes = telemetry.begin(&peer("researcher"), Protocol::Tcp);
    bytes.site(&site());
    bytes.allowed(ruling("allowed"));
    bytes.meter().sent(5);
    bytes.finish();
    let metrics = telemetry.metrics();
    metrics.checked(&"p".into(), "allowed");
    metrics.copied("sent");
    metrics.handshake_failed("expired");
    metrics.jwks_fetched("jwks_redirect");
    metrics.connect_refused(http::StatusCode::NOT_FOUND);
    drop(metrics.connection(Direction::Inbound));
    drop(metrics.tunnel(Direction::Outbound));
    metrics.documents(DocumentCounts { accepted: 3, refused: 1, skipped: 2 });
    metrics.targets_closed(1);
    metrics.list_entries_hidden(4);
    metrics.certificate_expires(SystemTime::UNIX_EPOCH + Duration::from_secs(99));
    metrics.sessions(2);
    metrics.decode_budget_used(1024);
    telemetry
}

#[test]
fn the_names_are_these_and_no_others() {
    let text = everything().metrics().encode();
    let names: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .filter(|name| !["_bucket", "_sum"].iter().any(|part| name.ends_with(part)))
        .collect();
    let expected = [
        "agent_waypoint_a2a_linked_replicas",
        "agent_waypoint_a2a_owned",
        "agent_waypoint_access_log_dropped_total",
        "agent_waypoint_build_info",
        "agent_waypoint_certificate_expiry_timestamp_seconds",
        "agent_waypoint_connections",
        "agent_waypoint_decisions_total",
        "agent_waypoint_decode_budget_used_bytes",
        "agent_waypoint_documents",
        "agent_waypoint_documents_older_total",
        "agent_waypoint_faults_total",
        "agent_waypoint_handshake_failures_total",
        "agent_waypoint_jwks_fetches_total",
        "agent_waypoint_labelled_sessions",
        "agent_waypoint_limit",
        "agent_waypoint_list_entries_hidden_total",
        "agent_waypoint_refused_connects_total",
        "agent_waypoint_sessions",
        "agent_waypoint_provider_checks_total",
        "agent_waypoint_mirrored_requests_total",
        "agent_waypoint_replicas_whole",
        "agent_waypoint_retries_total",
        "agent_waypoint_quotas",
        "agent_waypoint_strings_redacted_total",
        "agent_waypoint_targets_closed",
        "agent_waypoint_tools_not_pinned_total",
        "agent_waypoint_tunnels",
        "istio_request_bytes_count",
        "istio_request_duration_milliseconds_count",
        "istio_requests_total",
        "istio_response_bytes_count",
        "istio_tcp_connections_closed_total",
        "istio_tcp_connections_opened_total",
        "istio_tcp_received_bytes_total",
        "istio_tcp_sent_bytes_total",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(text.matches("agent_waypoint_limit{").count(), TABLE.len());
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_request_carries_istios_labels_and_the_proven_caller() {
    let text = everything().metrics().encode();
    let line = text.lines().find(|line| line.starts_with("istio_requests_total{")).unwrap();
    for label in [
        r#"reporter="waypoint""#,
        r#"source_principal="spiffe://cluster.local/ns/agents/sa/researcher""#,
        r#"source_workload_namespace="agents""#,
        r#"destination_service="repo.tools.svc.cluster.local""#,
        r#"destination_service_name="repo""#,
        r#"destination_service_namespace="tools""#,
        r#"request_protocol="http""#,
        r#"response_code="503""#,
        r#"response_flags="UF""#,
        r#"connection_security_policy="mutual_tls""#,
    ] {
        assert!(line.contains(label), "{label} is missing in {line}");
    }
    assert!(line.ends_with("} 1"), "{line}");
    assert!(text.contains(r#"agent_waypoint_decisions_total{decision="allow",reason="allowed",protocol="mcp""#));
    assert!(text.contains(r#"agent_waypoint_faults_total{stage="dial",reason="refused"} 1"#));
}

#[test]
fn a_tunnel_is_counted_while_it_runs() {
    let telemetry = Telemetry::quiet();
    let mut guard = telemetry.begin(&peer("a"), Protocol::Tcp);
    guard.allowed(ruling("allowed"));
    let meter = guard.meter();
    meter.sent(5);
    meter.received(7);
    let value = |name: &str| {
        let text = telemetry.metrics().encode();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap_or_default().to_owned();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    assert_eq!(value("istio_tcp_connections_opened_total"), "1");
    assert_eq!(value("istio_tcp_connections_closed_total"), "0");
    assert_eq!(
        (value("istio_tcp_sent_bytes_total"), value("istio_tcp_received_bytes_total")),
        ("5".into(), "7".into())
    );
    guard.finish();
    assert_eq!(value("istio_tcp_connections_closed_total"), "1");
    assert_eq!(value("istio_tcp_sent_bytes_total"), "5", "bytes are not counted twice at the end");
}

#[test]
fn what_is_open_is_counted_until_it_is_dropped() {
    let metrics = Metrics::new();
    let open = metrics.tunnel(Direction::Inbound);
    assert!(metrics.encode().contains("agent_waypoint_tunnels{direction=\"inbound\"} 1\n"));
    drop(open);
    assert!(metrics.encode().contains("agent_waypoint_tunnels{direction=\"inbound\"} 0\n"));
}

#[test]
fn a_refused_tunnel_was_never_opened() {
    let telemetry = Telemetry::quiet();
    let mut guard = telemetry.begin(&peer("a"), Protocol::Tcp);
    guard.denied(ruling("not_allowed"));
    guard.finish();
    assert!(!telemetry.metrics().encode().contains("istio_tcp_connections_opened_total{"));
}

#[test]
fn callers_cannot_multiply_label_sets_without_bound() {
    let telemetry = Telemetry::quiet();
    let calls = METRIC_LABEL_SETS + 500;
    for n in 0..calls {
        let mut guard = telemetry.begin(&peer(&format!("sa{n}")), Protocol::Http);
        guard.site(&site());
        guard.allowed(ruling("allowed"));
        guard.finish();
    }
    let text = telemetry.metrics().encode();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("istio_requests_total{")).collect();
    assert_eq!(lines.len(), METRIC_LABEL_SETS + 1);
    let other = lines.iter().find(|line| line.contains(r#"source_principal="other""#)).unwrap();
    assert!(other.contains(r#"destination_service_name="repo""#), "the destination is still told apart");
    assert!(other.ends_with(" 500"), "{other}");
}

#[test]
fn destinations_and_statuses_together_cannot_either() {
    let telemetry = Telemetry::quiet();
    for n in 0..METRIC_LABEL_SETS * 2 + 300 {
        let mut guard = telemetry.begin(&peer("a"), Protocol::Http);
        guard.site(&Arc::new(Site { host: format!("s{n}").into(), name: "s".into(), namespace: "n".into(), port: 1 }));
        guard.finish();
    }
    let text = telemetry.metrics().encode();
    let lines = text.lines().filter(|line| line.starts_with("istio_requests_total{"));
    assert_eq!(lines.count(), METRIC_LABEL_SETS * 2 + 1);
}

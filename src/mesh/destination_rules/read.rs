use std::time::Duration;

use super::{OfPort, Rule, of_host, of_one};
use crate::config::limits::{DIAL_TIMEOUT, POOL_IDLE};
use crate::document::destination_rule::{ConnectionPool, ConsistentHash, LoadBalancer, OutlierDetection, Simple, Span};
use crate::mesh::TargetKey;
use crate::mesh::found::Found;
use crate::mesh::traffic::{Bounds, Choice, Outliers, Traffic, Trait};

/// What a rule says of the calls to one port.
pub(super) fn traffic((of, endpoints): (TargetKey, usize), policy: &OfPort<'_>) -> Traffic {
    Traffic {
        of,
        endpoints,
        choice: policy.load_balancer.and_then(choice),
        bounds: policy.connection_pool.map(bounds).unwrap_or_default(),
        outliers: policy.outlier_detection.map(outliers),
    }
}

fn choice(written: &LoadBalancer) -> Option<Choice> {
    if let Some(hash) = &written.consistent_hash {
        return own(hash).map(Choice::Own);
    }
    match written.simple? {
        Simple::Random => Some(Choice::Random),
        Simple::RoundRobin => Some(Choice::InTurn),
        Simple::LeastConn | Simple::LeastRequest => Some(Choice::LessBusy),
        Simple::Unspecified | Simple::Passthrough => None,
    }
}

fn own(hash: &ConsistentHash) -> Option<Trait> {
    let header = hash.http_header_name.as_ref().map(|name| Trait::Header(name.to_ascii_lowercase().into()));
    let cookie = || hash.http_cookie.as_ref().map(|cookie| Trait::Cookie(cookie.name.as_str().into()));
    let address = || hash.use_source_ip.filter(|wanted| *wanted).map(|_| Trait::Address);
    let query = || hash.http_query_parameter_name.as_ref().map(|name| Trait::Query(name.as_str().into()));
    header.or_else(cookie).or_else(address).or_else(query)
}

fn bounds(written: &ConnectionPool) -> Bounds {
    // Zero, and what proto has for "nobody said".
    let some = |number: i32| u32::try_from(number).ok().filter(|number| *number > 0);
    Bounds {
        connections: some(written.tcp.max_connections),
        waiting: some(written.http.http1_max_pending_requests),
        requests: some(written.http.http2_max_requests),
        requests_per_connection: some(written.http.max_requests_per_connection),
        retries: some(written.http.max_retries),
        connect: written.tcp.connect_timeout.map(|span| span.0).filter(|time| !time.is_zero()),
        idle: written.http.idle_timeout.map(|span| span.0).filter(|time| !time.is_zero()),
    }
}

/// With the defaults of Istio's reference.
fn outliers(written: &OutlierDetection) -> Outliers {
    let some = |number: u32| Some(number).filter(|number| *number > 0);
    let old = written.consecutive_errors.and_then(|number| u32::try_from(number).ok());
    let span = |written: Option<Span>, or: u64| {
        written.map(|span| span.0).filter(|time| !time.is_zero()).unwrap_or_else(|| Duration::from_secs(or))
    };
    let percent = |number: i32| u32::try_from(number).unwrap_or(0).min(100);
    Outliers {
        errors: some(written.consecutive_5xx_errors.or(old).unwrap_or(5)),
        gateway_errors: written.consecutive_gateway_errors.and_then(some),
        counts_connections: !written.split_external_local_origin_errors,
        interval: span(written.interval, 10),
        time: span(written.base_ejection_time, 30),
        most: written.max_ejection_percent.map_or(10, percent),
        least_well: percent(written.min_health_percent),
    }
}

/// Tells what of a rule has no effect, wherever it applies.
pub(super) fn told<'a>(rule: &'a Rule, found: &mut Found<'a>) {
    let spec = &rule.spec;
    let mut warn = |field: String, reason: &str| found.warn(&rule.origin, field, reason);
    match spec.host.as_str() {
        "" => warn("spec.host".to_owned(), "names no host, so that it has no effect"),
        host if host.contains('.')
            && !host.starts_with('*')
            && (host.ends_with(".svc") || host.matches('.').count() == 1) =>
        {
            let reason =
                "has no effect on a Service, as for Istio: write its name alone, or NAME.NAMESPACE.svc.CLUSTER-DOMAIN";
            warn("spec.host".to_owned(), reason);
        }
        _ => {}
    }
    if !spec.subsets.is_empty() {
        warn("spec.subsets".to_owned(), "have no effect: no route leads to one here, and calls go to all endpoints");
    }
    let Some(policy) = &spec.traffic_policy else { return };
    for (name, field) in
        [("tunnel", &policy.tunnel), ("proxyProtocol", &policy.proxy_protocol), ("retryBudget", &policy.retry_budget)]
    {
        if field.is_some() {
            warn(format!("spec.trafficPolicy.{name}"), "has no effect here; leave it out");
        }
    }
    let ports = policy.port_level_settings.iter().enumerate().map(of_one);
    for (field, said) in std::iter::once(of_host(policy)).chain(ports) {
        said.load_balancer.iter().for_each(|one| of_balancer(one, &field, &mut warn));
        said.connection_pool.iter().for_each(|one| of_pool(one, &field, &mut warn));
        said.outlier_detection.iter().for_each(|one| of_outliers(one, &field, &mut warn));
    }
}

fn of_balancer(written: &LoadBalancer, at: &str, warn: &mut impl FnMut(String, &str)) {
    if written.simple == Some(Simple::Passthrough) {
        let reason = "PASSTHROUGH has no effect: a waypoint calls endpoints that it knows, never the address that was called; LEAST_REQUEST holds";
        warn(format!("{at}.loadBalancer.simple"), reason);
    }
    if written.locality_lb_setting.is_some() {
        let reason =
            "has no effect: near is what the Service prefers (spec.trafficDistribution, internalTrafficPolicy)";
        warn(format!("{at}.loadBalancer.localityLbSetting"), reason);
    }
    if written.warmup.is_some() || written.warmup_duration_secs.is_some() {
        warn(format!("{at}.loadBalancer.warmup"), "has no effect here; leave it out");
    }
    if let Some(hash) = &written.consistent_hash {
        if own(hash).is_none() {
            let reason = "says not by what; name httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName; LEAST_REQUEST holds";
            warn(format!("{at}.loadBalancer.consistentHash"), reason);
        }
        if written.simple.is_some() {
            warn(format!("{at}.loadBalancer.simple"), "stands beside consistentHash, which holds; keep one of them");
        }
    }
}

fn of_pool(written: &ConnectionPool, at: &str, warn: &mut impl FnMut(String, &str)) {
    let (tcp, http) = (&written.tcp, &written.http);
    let unread = [
        ("tcp.tcpKeepalive", tcp.tcp_keepalive.is_some()),
        ("tcp.maxConnectionDuration", tcp.max_connection_duration.is_some()),
        ("tcp.idleTimeout", tcp.idle_timeout.is_some()),
        ("http.h2UpgradePolicy", http.h2_upgrade_policy.as_deref().is_some_and(|policy| policy != "DEFAULT")),
        ("http.useClientProtocol", http.use_client_protocol),
        ("http.maxConcurrentStreams", http.max_concurrent_streams != 0),
    ];
    for (name, _) in unread.iter().filter(|(_, written)| *written) {
        warn(
            format!("{at}.connectionPool.{name}"),
            "has no effect here; a port's HTTP version follows its appProtocol",
        );
    }
    if tcp.connect_timeout.is_some_and(|time| time.0 > DIAL_TIMEOUT) {
        let reason = format!("is over {} s, which is the most here and holds", DIAL_TIMEOUT.as_secs());
        warn(format!("{at}.connectionPool.tcp.connectTimeout"), &reason);
    }
    if http.idle_timeout.is_some_and(|time| time.0 > POOL_IDLE) {
        let reason = format!("is over {} s, which is the most here and holds", POOL_IDLE.as_secs());
        warn(format!("{at}.connectionPool.http.idleTimeout"), &reason);
    }
}

fn of_outliers(written: &OutlierDetection, at: &str, warn: &mut impl FnMut(String, &str)) {
    if written.consecutive_local_origin_failures.is_some() {
        let reason =
            "has no effect: an endpoint that cannot be reached is left alone after three tries, while there is another";
        warn(format!("{at}.outlierDetection.consecutiveLocalOriginFailures"), reason);
    }
    if written.max_ejection_percent.is_some_and(|percent| !(0..=100).contains(&percent)) {
        warn(format!("{at}.outlierDetection.maxEjectionPercent"), "is no percentage from 0 to 100");
    }
}

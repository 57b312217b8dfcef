//! networking.istio.io `DestinationRule`, in Istio's own fields, every one known by name. What of it has an effect here is
//! `mesh`'s to say.

use std::num::NonZeroU16;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny};

use super::duration::go_duration;

/// `spec` of a `DestinationRule`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DestinationRuleSpec {
    /// Of whose calls it speaks: a full name, a name of the rule's own namespace, or `*` and the end of full names.
    pub host: String,
    /// How it is called.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of the workloads, for routes of Istio's own.
    pub subsets: Vec<Subset>,
    /// Namespaces that see it; all where it names none.
    pub export_to: Vec<String>,
    /// Sidecars that go by it. A rule with this is theirs alone.
    pub workload_selector: Option<Present>,
}

/// A field that is known by its name; nothing in it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Present;

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Self)
    }
}

/// `trafficPolicy`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TrafficPolicy {
    /// Which endpoint.
    pub load_balancer: Option<LoadBalancer>,
    /// How many calls and connections.
    pub connection_pool: Option<ConnectionPool>,
    /// Which endpoints are left alone.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to originate.
    pub tls: Option<ClientTls>,
    /// One port's own settings, in place of all of the above.
    pub port_level_settings: Vec<PortPolicy>,
    /// CONNECT through the host.
    pub tunnel: Option<Present>,
    /// The PROXY protocol.
    pub proxy_protocol: Option<Present>,
    /// A share of calls that may be retries.
    pub retry_budget: Option<Present>,
}

/// One entry of `portLevelSettings`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortPolicy {
    /// Which port.
    pub port: PortSelector,
    /// Which endpoint.
    pub load_balancer: Option<LoadBalancer>,
    /// How many calls and connections.
    pub connection_pool: Option<ConnectionPool>,
    /// Which endpoints are left alone.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to originate.
    pub tls: Option<ClientTls>,
}

/// `portLevelSettings[].port`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortSelector {
    /// The Service's port.
    pub number: NonZeroU16,
}

/// One entry of `subsets`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// Labels of its workloads.
    #[serde(default)]
    pub labels: Present,
    /// How it is called.
    #[serde(default)]
    pub traffic_policy: Option<Present>,
}

/// `loadBalancer`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadBalancer {
    /// One of the simple ways.
    pub simple: Option<Simple>,
    /// The same endpoint for the same caller.
    pub consistent_hash: Option<ConsistentHash>,
    /// Nearness.
    pub locality_lb_setting: Option<Present>,
    /// A slow start.
    pub warmup_duration_secs: Option<Present>,
    /// A slow start.
    pub warmup: Option<Present>,
}

/// `simple`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Simple {
    /// What is best.
    Unspecified,
    /// As `LEAST_REQUEST`.
    LeastConn,
    /// Any.
    Random,
    /// Where the client called.
    Passthrough,
    /// In turn.
    RoundRobin,
    /// Of two the one with less under way.
    LeastRequest,
}

/// `consistentHash`: one of the first four, and how hashes are spread, which plays no part here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConsistentHash {
    /// By a request header.
    pub http_header_name: Option<String>,
    /// By a cookie.
    pub http_cookie: Option<HttpCookie>,
    /// By the client's address.
    pub use_source_ip: Option<bool>,
    /// By a parameter of the query.
    pub http_query_parameter_name: Option<String>,
    /// Ring hash.
    pub ring_hash: Option<Present>,
    /// Maglev.
    pub maglev: Option<Present>,
    /// Ring hash, as it was once written.
    pub minimum_ring_size: Option<Present>,
}

/// `httpCookie`. Only its name has an effect: no cookie is made here for who has none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpCookie {
    /// Its name.
    pub name: String,
    /// Its path.
    #[serde(default)]
    pub path: String,
    /// How long one lives that is made for who has none.
    #[serde(default)]
    pub ttl: Option<Span>,
    /// Attributes of one that is made.
    #[serde(default)]
    pub attributes: Option<Present>,
}

/// `connectionPool`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConnectionPool {
    /// Of connections.
    pub tcp: TcpPool,
    /// Of requests.
    pub http: HttpPool,
}

/// `connectionPool.tcp`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TcpPool {
    /// Connections of HTTP/1.1 and TCP.
    pub max_connections: i32,
    /// For each of them to be made.
    pub connect_timeout: Option<Span>,
    /// Keep-alive of sockets.
    pub tcp_keepalive: Option<Present>,
    /// How long one lives.
    pub max_connection_duration: Option<Present>,
    /// How long one is kept that nobody uses.
    pub idle_timeout: Option<Present>,
}

/// `connectionPool.http`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpPool {
    /// Requests that wait for a connection.
    pub http1_max_pending_requests: i32,
    /// Requests under way.
    #[serde(rename = "http2MaxRequests")]
    pub http2_max_requests: i32,
    /// Requests that one connection takes.
    pub max_requests_per_connection: i32,
    /// Requests that are being tried again.
    pub max_retries: i32,
    /// How long a connection is kept that nobody uses.
    pub idle_timeout: Option<Span>,
    /// Whether HTTP/1.1 becomes HTTP/2.
    pub h2_upgrade_policy: Option<String>,
    /// Whether the client's version is kept.
    pub use_client_protocol: bool,
    /// Streams of one connection.
    pub max_concurrent_streams: i32,
}

/// `outlierDetection`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OutlierDetection {
    /// Answers 5xx in a row; 5 where absent, none where 0.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// As it was once written.
    pub consecutive_errors: Option<i32>,
    /// Answers 502, 503 and 504 in a row; none where absent or 0.
    pub consecutive_gateway_errors: Option<u32>,
    /// Whether connections that fail count for themselves.
    pub split_external_local_origin_errors: bool,
    /// How many of those in a row.
    pub consecutive_local_origin_failures: Option<u32>,
    /// What passes between two looks; 10 s where absent.
    pub interval: Option<Span>,
    /// How long an endpoint is left alone the first time; 30 s where absent.
    pub base_ejection_time: Option<Span>,
    /// Percent of endpoints; 10 where absent.
    pub max_ejection_percent: Option<i32>,
    /// Percent of endpoints below which all are called; 0 where absent.
    pub min_health_percent: i32,
}

/// `tls`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientTls {
    /// Which.
    pub mode: TlsMode,
    /// Certificate to present.
    pub client_certificate: Option<String>,
    /// Its key.
    pub private_key: Option<String>,
    /// Whom to trust.
    pub ca_certificates: Option<String>,
    /// A Secret with all three.
    pub credential_name: Option<String>,
    /// Names any of which the certificate must have.
    pub subject_alt_names: Vec<String>,
    /// Name to send.
    pub sni: Option<String>,
    /// Whether nothing is verified.
    pub insecure_skip_verify: Option<bool>,
    /// Certificates that are trusted no more.
    pub ca_crl: Option<String>,
}

/// `tls.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// None.
    #[default]
    Disable,
    /// TLS.
    Simple,
    /// TLS with a certificate of our own.
    Mutual,
    /// The mesh's own.
    IstioMutual,
}

/// A time, as Istio's CRDs write it: `10s`, `1.5s`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format_args!("{text:?} is no time: write 10s, 1.5s, 500ms or 1h30m"));
        go_duration(&text).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use crate::document::{Documents, Source, load};

    fn rule(spec: &str) -> Documents {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r, namespace: tools}}\nspec: {spec}\n"
        );
        load([Source { file: std::sync::Arc::new("r.yaml".into()), text }])
    }

    #[test]
    fn every_field_of_istios_is_known() {
        let whole = "{host: web, exportTo: ['.'], workloadSelector: {matchLabels: {a: b}}, subsets: [{name: v1, labels: {v: '1'}, trafficPolicy: {}}],
          trafficPolicy: {tunnel: {}, proxyProtocol: {version: V2}, retryBudget: {percent: 20},
            loadBalancer: {simple: ROUND_ROBIN, localityLbSetting: {enabled: true}, warmup: {duration: 1s}, warmupDurationSecs: 1s,
              consistentHash: {httpCookie: {name: c, path: /, ttl: 0s, attributes: [{name: a}]}, ringHash: {minimumRingSize: 5}, maglev: {tableSize: 5}, minimumRingSize: 4}},
            connectionPool: {tcp: {maxConnections: 1, connectTimeout: 1.5s, tcpKeepalive: {time: 1s}, maxConnectionDuration: 1s, idleTimeout: 1s},
              http: {http1MaxPendingRequests: 1, http2MaxRequests: 1, maxRequestsPerConnection: 1, maxRetries: 1, idleTimeout: 1s, h2UpgradePolicy: UPGRADE, useClientProtocol: true, maxConcurrentStreams: 1}},
            outlierDetection: {consecutive5xxErrors: 1, consecutiveErrors: 1, consecutiveGatewayErrors: 1, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 1,
              interval: 1s, baseEjectionTime: 1m, maxEjectionPercent: 100, minHealthPercent: 1},
            tls: {mode: MUTUAL, clientCertificate: a, privateKey: b, caCertificates: c, credentialName: d, subjectAltNames: [e], sni: f, insecureSkipVerify: false, caCrl: g},
            portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}, connectionPool: {}, outlierDetection: {}, tls: {mode: ISTIO_MUTUAL}}]}}";
        let read = rule(whole);
        assert!(read.problems.is_empty(), "{:?}", read.problems);
        assert_eq!(read.destination_rules.len(), 1);
    }

    #[test]
    fn what_is_misspelt_is_told_and_closes_nothing_but_where_tls_was_meant() {
        for (spec, field, closes) in [
            (
                "{host: web, trafficPolicy: {loadBalancer: {simpel: RANDOM}}}",
                "spec.trafficPolicy.loadBalancer.simpel",
                0,
            ),
            (
                "{host: web, trafficPolicy: {loadBalancer: {simple: FASTEST}}}",
                "spec.trafficPolicy.loadBalancer.simple",
                0,
            ),
            (
                "{host: web, trafficPolicy: {outlierDetection: {interval: 10}}}",
                "spec.trafficPolicy.outlierDetection.interval",
                0,
            ),
            (
                "{host: web, trafficPolicy: {outlierDetection: {interval: 10 s}}}",
                "spec.trafficPolicy.outlierDetection.interval",
                0,
            ),
            ("{host: web, trafficPolicy: {tls: {mode: SIMPEL}}}", "spec.trafficPolicy.tls.mode", 1),
            ("{host: web, trafficPolicy: {tsl: {mode: SIMPLE}}}", "spec.trafficPolicy.tsl", 1),
        ] {
            let read = rule(spec);
            assert_eq!(read.problems.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), [field], "{spec}");
            assert_eq!((read.closures.len(), read.refused), (closes, 1), "{spec}: {:?}", read.closures);
        }
    }
}

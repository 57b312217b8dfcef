//! `gateway.networking.k8s.io` `HTTPRoute`, and `GRPCRoute` as the HTTPRoute that it amounts to: only the shape stands
//! here. Fields that exist and are not built are known by name, and refused where they are compiled.

mod auth;
mod other;

use serde::Deserialize;

pub use auth::{AuthProtocol, ExternalAuth};
pub use other::{GrpcRouteSpec, TcpRouteSpec};

/// `spec` of an `HTTPRoute`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpRouteSpec {
    /// What the route is attached to; a waypoint takes Services.
    pub parent_refs: Vec<ParentRef>,
    /// Hosts that the request must name, if there are some.
    pub hostnames: Vec<String>,
    /// The first that matches best holds.
    pub rules: Vec<HttpRule>,
    /// `None` for Services.
    pub use_default_gateways: Option<String>,
    /// Whether it leads connections and not requests: a `TCPRoute`.
    #[serde(skip)]
    pub bytes: bool,
}

/// One entry of `parentRefs`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// API group; the Gateway API's where absent.
    #[serde(default = "gateway_group")]
    pub group: String,
    /// `Gateway` where absent.
    #[serde(default = "gateway_kind")]
    pub kind: String,
    /// The route's own where absent.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Of a Gateway.
    pub section_name: Option<String>,
    /// Of a Service; every port where absent.
    pub port: Option<u16>,
}

fn gateway_group() -> String {
    "gateway.networking.k8s.io".to_owned()
}

fn gateway_kind() -> String {
    "Gateway".to_owned()
}

/// One entry of `rules`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpRule {
    /// For logs.
    pub name: Option<String>,
    /// OR; every request where empty.
    pub matches: Vec<HttpMatch>,
    /// In order.
    pub filters: Vec<Filter>,
    /// By weight.
    pub backend_refs: Vec<BackendRef>,
    /// How long.
    pub timeouts: Timeouts,
    /// Whether to try again.
    pub retry: Option<Retry>,
    /// Not built.
    pub session_persistence: Option<serde_json::Value>,
}

/// One entry of `matches`: fields AND.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpMatch {
    /// Prefix `/` where absent.
    pub path: PathMatch,
    /// AND
    pub headers: Vec<NamedMatch>,
    /// AND
    pub query_params: Vec<NamedMatch>,
    /// Exact.
    pub method: Option<String>,
}

/// `path`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PathMatch {
    /// How.
    pub r#type: PathMatchType,
    /// What.
    pub value: String,
}

impl Default for PathMatch {
    fn default() -> Self {
        Self { r#type: PathMatchType::PathPrefix, value: "/".to_owned() }
    }
}

/// `path.type`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum PathMatchType {
    /// The whole path.
    Exact,
    /// Whole segments at its start.
    #[default]
    PathPrefix,
    /// RE2 syntax over the whole path.
    RegularExpression,
}

/// One entry of `headers` or `queryParams`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedMatch {
    /// How.
    #[serde(default)]
    pub r#type: TextMatchType,
    /// Of what.
    pub name: String,
    /// What.
    pub value: String,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum TextMatchType {
    /// By bytes.
    #[default]
    Exact,
    /// RE2 syntax over the whole value.
    RegularExpression,
}

/// One entry of `filters`: the field that `type` names.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    /// Which.
    pub r#type: String,
    /// `RequestHeaderModifier`
    pub request_header_modifier: Option<HeaderModifier>,
    /// `ResponseHeaderModifier`
    pub response_header_modifier: Option<HeaderModifier>,
    /// `RequestRedirect`
    pub request_redirect: Option<RequestRedirect>,
    /// `URLRewrite`
    pub url_rewrite: Option<UrlRewrite>,
    /// `RequestMirror`
    pub request_mirror: Option<RequestMirror>,
    /// Not built.
    pub cors: Option<serde_json::Value>,
    /// `ExternalAuth`
    pub external_auth: Option<ExternalAuth>,
    /// Not built.
    pub extension_ref: Option<serde_json::Value>,
}

/// `requestMirror`: where copies of requests go, and of how many.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestMirror {
    /// Where to.
    pub backend_ref: BackendRef,
    /// Of a hundred; all where neither this nor `fraction` is there.
    pub percent: Option<u32>,
    /// In finer steps.
    pub fraction: Option<Fraction>,
}

/// `fraction`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fraction {
    /// So many
    pub numerator: u32,
    /// of so many; 100 where absent.
    pub denominator: Option<u32>,
}

/// `retry`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retry {
    /// Statuses after which to try again, beside no answer at all.
    pub codes: Vec<u16>,
    /// How often; once where absent.
    pub attempts: Option<u32>,
    /// The least time between two tries.
    pub backoff: Option<String>,
}

/// Changes of headers: set, then add, then remove.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HeaderModifier {
    /// Replaces.
    pub set: Vec<Header>,
    /// Appends.
    pub add: Vec<Header>,
    /// Takes away.
    pub remove: Vec<String>,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Name
    pub name: String,
    /// Value
    pub value: String,
}

/// `requestRedirect`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestRedirect {
    /// `http` or `https`; http where absent.
    pub scheme: Option<String>,
    /// The request's where absent.
    pub hostname: Option<String>,
    /// The request's where absent.
    pub path: Option<PathModifier>,
    /// The scheme's where one is named, else the request's.
    pub port: Option<u16>,
    /// 302 where absent.
    pub status_code: Option<u16>,
}

/// `urlRewrite`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UrlRewrite {
    /// The request's where absent.
    pub hostname: Option<String>,
    /// The request's where absent.
    pub path: Option<PathModifier>,
}

/// `path` of a redirect or rewrite.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum PathModifier {
    /// The whole path.
    ReplaceFullPath {
        /// By this.
        #[serde(rename = "replaceFullPath")]
        replace_full_path: String,
    },
    /// The prefix that matched.
    ReplacePrefixMatch {
        /// By this.
        #[serde(rename = "replacePrefixMatch")]
        replace_prefix_match: String,
    },
}

/// `timeouts`, Gateway API durations (`1h2m3s4ms`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// Of the whole exchange.
    pub request: Option<String>,
    /// Of one try.
    pub backend_request: Option<String>,
}

/// One entry of `backendRefs`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendRef {
    /// API group; core where absent.
    #[serde(default)]
    pub group: String,
    /// `Service` where absent.
    #[serde(default = "service_kind")]
    pub kind: String,
    /// The route's own where absent.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Port of the Service.
    pub port: Option<u16>,
    /// Share of the requests; 1 where absent.
    #[serde(default = "one")]
    pub weight: u32,
    /// Header modifiers for this backend alone.
    #[serde(default)]
    pub filters: Vec<Filter>,
}

fn service_kind() -> String {
    "Service".to_owned()
}

fn one() -> u32 {
    1
}

/// `spec` of a `ReferenceGrant`: who may refer to what of its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReferenceGrantSpec {
    /// OR
    pub from: Vec<GrantFrom>,
    /// OR
    pub to: Vec<GrantTo>,
}

/// One entry of `from`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantFrom {
    /// API group
    pub group: String,
    /// Kind
    pub kind: String,
    /// Namespace
    pub namespace: String,
}

/// One entry of `to`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantTo {
    /// API group; empty for core.
    pub group: String,
    /// Kind
    pub kind: String,
    /// All of the kind where absent.
    pub name: Option<String>,
}

//! Routes of other kinds, as the HTTPRoute that each amounts to.

use serde::Deserialize;

use super::{
    BackendRef, Filter, HttpMatch, HttpRouteSpec, HttpRule, NamedMatch, ParentRef, PathMatch, PathMatchType,
    TextMatchType,
};

/// `spec` of a `GRPCRoute`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrpcRouteSpec {
    parent_refs: Vec<ParentRef>,
    hostnames: Vec<String>,
    rules: Vec<GrpcRule>,
    use_default_gateways: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct GrpcRule {
    name: Option<String>,
    matches: Vec<GrpcMatch>,
    filters: Vec<Filter>,
    backend_refs: Vec<BackendRef>,
    session_persistence: Option<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct GrpcMatch {
    method: Option<GrpcMethod>,
    headers: Vec<NamedMatch>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct GrpcMethod {
    r#type: TextMatchType,
    service: Option<String>,
    method: Option<String>,
}

impl GrpcRouteSpec {
    /// The HTTPRoute that it amounts to: a call is a POST to `/SERVICE/METHOD`.
    pub fn into_http(self) -> HttpRouteSpec {
        let Self { parent_refs, hostnames, rules, use_default_gateways } = self;
        let rules = rules.into_iter().map(GrpcRule::into_http).collect();
        HttpRouteSpec { parent_refs, hostnames, rules, use_default_gateways, bytes: false }
    }
}

impl GrpcRule {
    fn into_http(self) -> HttpRule {
        let Self { name, matches, filters, backend_refs, session_persistence } = self;
        let matches = matches.into_iter().map(GrpcMatch::into_http).collect();
        HttpRule { name, matches, filters, backend_refs, session_persistence, ..HttpRule::default() }
    }
}

impl GrpcMatch {
    fn into_http(self) -> HttpMatch {
        let GrpcMethod { r#type, service, method } = self.method.unwrap_or_default();
        let exact = r#type == TextMatchType::Exact;
        let (r#type, value) = match (service, method) {
            (None, None) => (PathMatchType::PathPrefix, "/".to_owned()),
            (Some(service), Some(method)) if exact => (PathMatchType::Exact, format!("/{service}/{method}")),
            (Some(service), None) if exact => (PathMatchType::PathPrefix, format!("/{service}")),
            (None, Some(method)) if exact => {
                (PathMatchType::RegularExpression, format!("/[^/]+/{}", regex::escape(&method)))
            }
            (service, method) => {
                let any = || "[^/]+".to_owned();
                let (service, method) = (service.unwrap_or_else(any), method.unwrap_or_else(any));
                (PathMatchType::RegularExpression, format!("/(?:{service})/(?:{method})"))
            }
        };
        let path = PathMatch { r#type, value };
        HttpMatch { path, headers: self.headers, query_params: Vec::new(), method: Some("POST".to_owned()) }
    }
}

/// `spec` of a `TCPRoute`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TcpRouteSpec {
    parent_refs: Vec<ParentRef>,
    rules: Vec<TcpRule>,
    use_default_gateways: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct TcpRule {
    name: Option<String>,
    backend_refs: Vec<BackendRef>,
}

impl TcpRouteSpec {
    /// A route of everything to its backends; none where it has not exactly one rule, as a second one could never match.
    pub fn into_http(self) -> Option<HttpRouteSpec> {
        let Self { parent_refs, rules, use_default_gateways } = self;
        let [TcpRule { name, backend_refs }] = <[TcpRule; 1]>::try_from(rules).ok()?;
        let rule = HttpRule { name, backend_refs, ..HttpRule::default() };
        Some(HttpRouteSpec {
            parent_refs,
            rules: vec![rule],
            use_default_gateways,
            bytes: true,
            ..HttpRouteSpec::default()
        })
    }
}

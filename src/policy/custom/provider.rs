//! Providers as meshConfig declares them, every field read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::names::Names;
use crate::config::limits::{CHECK_TIMEOUT, MAX_BODY};
use crate::document::extension_provider::{ExtAuthz, ExtensionProvider};
use crate::document::http_route::{AuthProtocol, ExternalAuth};
use crate::wire::http1::fields;

/// Whom policies can name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Providers(BTreeMap<Arc<str>, Result<Arc<Provider>, Arc<str>>>);

/// Someone who is asked about calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// By which policies name it.
    pub name: Arc<str>,
    /// In what protocol.
    pub speaks: Speaks,
    /// Namespace of its Service or ServiceEntry, where that is said.
    pub namespace: Option<Arc<str>>,
    /// Host name of it, lower case.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// How long an answer is waited for, at most [`CHECK_TIMEOUT`].
    pub timeout: Duration,
    /// Whether a call goes on where the provider failed.
    pub fail_open: bool,
    /// What a caller is told where it failed.
    pub status_on_error: StatusCode,
    /// What it gets of a request's body; nothing where none.
    pub body: Option<BodyTerms>,
    /// Whether routes are chosen by the headers as it left them.
    pub clears_route: bool,
}

/// How a provider is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaks {
    /// `envoy.service.auth.v3.Authorization/Check`
    Grpc,
    /// The request again, without its body, and the answer's status decides.
    Http(Box<HttpTerms>),
}

/// What only HTTP has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTerms {
    /// Put before the path.
    pub prefix: Box<str>,
    /// The request's headers that it gets, besides `Authorization`.
    pub sent: Names,
    /// Headers that it gets in place of the request's.
    pub added: Vec<(HeaderName, HeaderValue)>,
    /// Headers of its permission that go into the request.
    pub to_upstream: Names,
    /// Headers of its refusal that go to the caller; all where none is named.
    pub on_deny: Option<Names>,
    /// Headers of its permission that go into the caller's answer.
    pub on_allow: Names,
}

/// What a provider gets of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyTerms {
    /// Bytes at most.
    pub max: usize,
    /// Whether a longer body is cut; else it is refused.
    pub partial: bool,
    /// gRPC: whether it is sent as bytes.
    pub as_bytes: bool,
}

impl Provider {
    /// Whom a route asks about its requests, by the route's name; `host` is what it is called.
    ///
    /// # Errors
    /// The field that cannot be, and why.
    pub fn of_route(
        name: &str,
        (host, port): (&str, u16),
        written: &ExternalAuth,
    ) -> Result<Self, (&'static str, String)> {
        let speaks = match (written.protocol, &written.grpc, &written.http) {
            (AuthProtocol::Grpc, grpc, None) => {
                if grpc.as_ref().is_some_and(|grpc| !grpc.allowed_headers.is_empty()) {
                    return Err(("grpc.allowedHeaders", "is not built: over gRPC all headers are shown".to_owned()));
                }
                Speaks::Grpc
            }
            (AuthProtocol::Http, None, terms) => {
                let terms = terms.clone().unwrap_or_default();
                let path = &terms.path;
                let odd = path.contains(['?', '#']) || format!("{path}/").parse::<http::uri::PathAndQuery>().is_err();
                if !path.is_empty() && (!path.starts_with('/') || odd) {
                    return Err(("http.path", format!("{path:?} is no path")));
                }
                let names = |field, names: &[String]| Names::read("", names).map_err(|told| (field, told));
                Speaks::Http(Box::new(HttpTerms {
                    prefix: path.trim_end_matches('/').into(),
                    sent: names("http.allowedHeaders", &terms.allowed_headers)?,
                    added: Vec::new(),
                    to_upstream: names("http.allowedResponseHeaders", &terms.allowed_response_headers)?,
                    on_deny: None,
                    on_allow: Names::default(),
                }))
            }
            (AuthProtocol::Grpc, _, Some(_)) => return Err(("http", "is not of protocol GRPC".to_owned())),
            (AuthProtocol::Http, Some(_), _) => return Err(("grpc", "is not of protocol HTTP".to_owned())),
        };
        let max = written.forward_body.map(|body| usize::from(body.max_size)).filter(|max| *max > 0);
        Ok(Self {
            name: name.into(),
            speaks,
            namespace: None,
            host: host.into(),
            port,
            timeout: CHECK_TIMEOUT,
            fail_open: false,
            status_on_error: StatusCode::FORBIDDEN,
            body: max.map(|max| BodyTerms { max, partial: true, as_bytes: false }),
            clears_route: false,
        })
    }
}

impl Providers {
    /// Reads what meshConfig lists; what is no provider of authorization is passed over.
    pub fn read(written: &[ExtensionProvider]) -> Self {
        let mut all: BTreeMap<Arc<str>, Result<Arc<Provider>, Arc<str>>> = BTreeMap::new();
        for one in written {
            let read = match (&one.envoy_ext_authz_http, &one.envoy_ext_authz_grpc) {
                (None, None) => continue,
                (Some(_), Some(_)) => Err("is asked over HTTP and over gRPC: keep one".to_owned()),
                (Some(written), None) => written.clone().and_then(|written| http(&one.name, &written)),
                (None, Some(written)) => written.clone().and_then(|written| grpc(&one.name, &written)),
            };
            let read = if all.contains_key(one.name.as_str()) { Err("stands twice".to_owned()) } else { read };
            all.insert(one.name.as_str().into(), read.map(Arc::new).map_err(Into::into));
        }
        Self(all)
    }

    /// The provider of that name.
    ///
    /// # Errors
    /// Why there is none.
    pub fn get(&self, name: &str) -> Result<Arc<Provider>, Arc<str>> {
        let unknown = || {
            let known: Vec<&str> = self.0.keys().map(|name| &**name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(format!("is none of meshConfig's extensionProviders ({known})").into())
        };
        self.0.get(name).cloned().unwrap_or_else(unknown)
    }

    /// Those that can be asked.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.values().filter_map(|one| one.as_ref().ok())
    }
}

fn grpc(name: &str, written: &ExtAuthz) -> Result<Provider, String> {
    let only_http = ExtAuthz {
        service: written.service.clone(),
        port: written.port,
        timeout: written.timeout.clone(),
        fail_open: written.fail_open,
        status_on_error: written.status_on_error.clone(),
        clear_route_cache: written.clear_route_cache,
        include_request_body_in_check: written.include_request_body_in_check,
        ..ExtAuthz::default()
    };
    if only_http != *written {
        return Err("envoyExtAuthzGrpc has pathPrefix and lists of headers no more than Istio's: take them away".into());
    }
    common(name, written, Speaks::Grpc)
}

fn http(name: &str, written: &ExtAuthz) -> Result<Provider, String> {
    if !written.path_prefix.is_empty() && !written.path_prefix.starts_with('/') {
        return Err(format!("pathPrefix: {:?} must begin with `/`", written.path_prefix));
    }
    if format!("{}/", written.path_prefix).parse::<http::uri::PathAndQuery>().is_err()
        || written.path_prefix.contains(['?', '#'])
    {
        return Err(format!("pathPrefix: {:?} is no path", written.path_prefix));
    }
    let sent = match written.include_request_headers_in_check.as_slice() {
        [] => &written.include_headers_in_check,
        some => some,
    };
    let mut added = Vec::new();
    for (key, value) in &written.include_additional_headers_in_check {
        let name = HeaderName::from_bytes(key.as_bytes()).ok().filter(fields::is_editable);
        let (Some(name), Ok(value)) = (name, HeaderValue::from_str(value)) else {
            return Err(format!("includeAdditionalHeadersInCheck: {key}: {value:?} cannot be sent"));
        };
        added.push((name, value));
    }
    let on_deny = Names::read("headersToDownstreamOnDeny", &written.headers_to_downstream_on_deny)?;
    let terms = HttpTerms {
        prefix: written.path_prefix.as_str().into(),
        sent: Names::read("includeRequestHeadersInCheck", sent)?,
        added,
        to_upstream: Names::read("headersToUpstreamOnAllow", &written.headers_to_upstream_on_allow)?,
        on_deny: (!written.headers_to_downstream_on_deny.is_empty()).then_some(on_deny),
        on_allow: Names::read("headersToDownstreamOnAllow", &written.headers_to_downstream_on_allow)?,
    };
    common(name, written, Speaks::Http(Box::new(terms)))
}

fn common(name: &str, written: &ExtAuthz, speaks: Speaks) -> Result<Provider, String> {
    let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=63).contains(&name.len()) || !name.bytes().all(label) || name.starts_with('-') || name.ends_with('-') {
        return Err("its name must be lower-case letters, digits and hyphens".into());
    }
    let (namespace, host) = match written.service.split_once('/') {
        Some((namespace, host)) => (Some(namespace), host),
        None => (None, written.service.as_str()),
    };
    if host.is_empty() || host.contains('/') || namespace.is_some_and(str::is_empty) {
        return Err(format!("service: {:?} is not [NAMESPACE/]HOSTNAME", written.service));
    }
    let port = u16::try_from(written.port).ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| format!("port: {} is none", written.port))?;
    let timeout = match &written.timeout {
        None => CHECK_TIMEOUT,
        Some(text) => seconds(text).ok_or_else(|| format!("timeout: {text:?} is no duration: write 5s or 0.25s"))?,
    };
    let status = match written.status_on_error.as_str() {
        "" => StatusCode::FORBIDDEN,
        text => {
            let status = text.parse().ok().and_then(|code: u16| StatusCode::from_u16(code).ok());
            // A caller takes an interim status, or success, for something else than a refusal.
            let final_one = status.filter(|status| status.as_u16() >= 300 && status.as_u16() <= 599);
            final_one.ok_or_else(|| format!("statusOnError: {text:?} is no status of a refusal"))?
        }
    };
    let body = written.include_request_body_in_check.map(|body| BodyTerms {
        max: usize::try_from(body.max_request_bytes).unwrap_or(MAX_BODY).min(MAX_BODY),
        partial: body.allow_partial_message,
        as_bytes: body.pack_as_bytes,
    });
    if body.is_some_and(|body| body.max == 0) {
        return Err("includeRequestBodyInCheck: maxRequestBytes must be more than 0".into());
    }
    Ok(Provider {
        name: name.into(),
        speaks,
        namespace: namespace.map(Into::into),
        host: host.to_ascii_lowercase().into(),
        port,
        timeout: timeout.min(CHECK_TIMEOUT),
        fail_open: written.fail_open,
        status_on_error: status,
        body,
        clears_route: written.clear_route_cache,
    })
}

/// `5s`, `0.250s`: a duration as protobuf's JSON writes it; not zero.
fn seconds(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || !digits(whole) || rest.len() > 9 || !digits(rest) {
        return None;
    }
    let nanos: u32 = format!("{rest:0<9}").parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanos)).filter(|one| !one.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::mesh_config::MeshConfig;

    fn read(provider: &str) -> Result<Arc<Provider>, String> {
        let config = MeshConfig::parse(&format!("extensionProviders: [{provider}]")).unwrap();
        Providers::read(&config.extension_providers).get("p").map_err(|why| why.to_string())
    }

    #[test]
    fn what_is_written_is_what_holds() {
        let http = read(
            "{name: p, envoyExtAuthzHttp: {service: sys/Authz.example.com, port: 8000, timeout: 0.25s, failOpen: true, \
             statusOnError: '503', pathPrefix: /check, includeRequestHeadersInCheck: [cookie, 'x-*'], \
             includeAdditionalHeadersInCheck: {x-k: v}, headersToUpstreamOnAllow: [x-user], \
             headersToDownstreamOnDeny: [x-why], headersToDownstreamOnAllow: [set-cookie], clearRouteCache: true, \
             includeRequestBodyInCheck: {maxRequestBytes: 10, allowPartialMessage: true}}}",
        )
        .unwrap();
        assert_eq!((http.namespace.as_deref(), &*http.host, http.port), (Some("sys"), "authz.example.com", 8000));
        assert_eq!((http.timeout, http.fail_open, http.clears_route), (Duration::from_millis(250), true, true));
        assert_eq!(http.status_on_error, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(http.body, Some(BodyTerms { max: 10, partial: true, as_bytes: false }));
        let Speaks::Http(terms) = &http.speaks else { panic!("{http:?}") };
        assert!(terms.sent.has(&http::header::COOKIE) && terms.on_deny.is_some());
        let grpc = read("{name: p, envoyExtAuthzGrpc: {service: authz.sys.svc.cluster.local, port: 9000}}").unwrap();
        assert_eq!((grpc.timeout, grpc.fail_open), (CHECK_TIMEOUT, false), "no call waits for Istio's ten minutes");
        assert_eq!((&grpc.speaks, grpc.status_on_error), (&Speaks::Grpc, StatusCode::FORBIDDEN));
        let patient = read("{name: p, envoyExtAuthzGrpc: {service: a, port: 9, timeout: 600s}}").unwrap();
        assert_eq!(patient.timeout, CHECK_TIMEOUT);
    }

    #[test]
    fn what_istio_refuses_is_no_provider() {
        for (provider, told) in [
            ("{name: q, envoyExtAuthzGrpc: {service: a, port: 9}}", "(q)"),
            ("{name: p, zipkin: {}}", "(none)"),
            ("{name: p, envoyExtAuthzGrpc: {service: a}}", "port"),
            ("{name: p, envoyExtAuthzGrpc: {service: a, port: 70000}}", "port"),
            ("{name: p, envoyExtAuthzGrpc: {port: 9}}", "service"),
            ("{name: p, envoyExtAuthzGrpc: {service: a/b/c, port: 9}}", "service"),
            ("{name: p, envoyExtAuthzGrpc: {service: a, port: 9, timeout: 5m}}", "timeout"),
            ("{name: p, envoyExtAuthzGrpc: {service: a, port: 9, timeout: 0s}}", "timeout"),
            ("{name: p, envoyExtAuthzGrpc: {service: a, port: 9, statusOnError: '200'}}", "statusOnError"),
            ("{name: p, envoyExtAuthzGrpc: {service: a, port: 9, statusOnError: x}}", "statusOnError"),
            ("{name: p, envoyExtAuthzGrpc: {service: a, port: 9, pathPrefix: /x}}", "pathPrefix"),
            ("{name: p, envoyExtAuthzGrpc: {service: a, port: 9, failopen: true}}", "failopen"),
            ("{name: p, envoyExtAuthzHttp: {service: a, port: 9, pathPrefix: x}}", "pathPrefix"),
            ("{name: p, envoyExtAuthzHttp: {service: a, port: 9, pathPrefix: '/x?y'}}", "pathPrefix"),
            ("{name: p, envoyExtAuthzHttp: {service: a, port: 9, headersToUpstreamOnAllow: ['*']}}", "`*` alone"),
            ("{name: p, envoyExtAuthzHttp: {service: a, port: 9, includeAdditionalHeadersInCheck: {host: a}}}", "host"),
            ("{name: p, envoyExtAuthzHttp: {service: a, port: 9, includeRequestBodyInCheck: {}}}", "maxRequestBytes"),
            (
                "{name: p, envoyExtAuthzHttp: {service: a, port: 9}, envoyExtAuthzGrpc: {service: a, port: 9}}",
                "keep one",
            ),
            (
                "{name: p, envoyExtAuthzGrpc: {service: a, port: 9}}, {name: p, envoyExtAuthzGrpc: {service: a, port: 9}}",
                "twice",
            ),
        ] {
            let why = read(provider).unwrap_err();
            assert!(why.contains(told), "{provider}: {why}");
        }
    }
}

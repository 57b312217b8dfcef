//! One route's rules: filters and backends read, and what is not built refused with its place.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::matches::when;
use crate::config::limits::MAX_RETRIES;
use crate::document::http_route::{
    BackendRef, Filter, HeaderModifier, HttpMatch, HttpRouteSpec, HttpRule, PathMatchType, PathModifier,
    RequestRedirect,
};
use crate::document::{Document, Documents, duration, http_route};
use crate::mesh::attached::Owned;
use crate::mesh::found::Found;
use crate::mesh::route::{Auth, Backend, HeaderEdit, Mirror, PathEdit, Redirect, Retry, Then};
use crate::mesh::services::CLUSTER_DOMAIN;
use crate::mesh::{TargetKey, TargetKind};
use crate::policy::Provider;
use crate::wire::http1::fields;
use crate::wire::path::Normalization;

/// A rule that was read.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) matches: Vec<HttpMatch>,
    pub(super) then: Arc<Then>,
}

/// Reads one route.
pub(super) struct Reader<'r, 'a> {
    pub(super) document: &'a Document<HttpRouteSpec>,
    pub(super) documents: &'a Documents,
    pub(super) ports: &'r HashSet<(Owned<'r>, u16)>,
    pub(super) found: &'r mut Found<'a>,
}

impl Reader<'_, '_> {
    pub(super) fn rules(&mut self) -> Vec<Rule> {
        // As the API server fills it in.
        let default = [HttpRule::default()];
        let written = &self.document.spec.rules;
        let rules = if written.is_empty() { default.iter() } else { written.iter() };
        rules.enumerate().map(|(at, rule)| self.rule(rule, &format!("spec.rules[{at}]"))).collect()
    }

    fn refuse(&mut self, field: String, reason: impl Into<String>) {
        self.found.refuse(&self.document.origin, field, reason);
    }

    fn rule(&mut self, rule: &HttpRule, path: &str) -> Rule {
        if rule.session_persistence.is_some() {
            self.refuse(format!("{path}.sessionPersistence"), "is not built: leave it out, and let a DestinationRule keep callers at one endpoint (loadBalancer.consistentHash)");
        }
        let matches = if rule.matches.is_empty() { vec![HttpMatch::default()] } else { rule.matches.clone() };
        for (at, one) in matches.iter().enumerate() {
            if let Err((field, reason)) = when(one, &Arc::default()) {
                self.refuse(format!("{path}.matches[{at}].{field}"), reason);
            }
        }
        let by_prefix = matches.iter().all(|one| one.path.r#type == PathMatchType::PathPrefix);
        let mut then = Then {
            request: HeaderEdit::default(),
            response: HeaderEdit::default(),
            redirect: None,
            host: None,
            path: None,
            backends: Box::default(),
            auth: None,
            mirrors: Box::default(),
            timeout: self.duration(rule.timeouts.request.as_ref(), &format!("{path}.timeouts.request")),
            each: self.duration(rule.timeouts.backend_request.as_ref(), &format!("{path}.timeouts.backendRequest")),
            retry: rule.retry.as_ref().map(|retry| self.retry(retry, &format!("{path}.retry"))),
        };
        let mirrors = rule.filters.iter().enumerate().filter(|(_, filter)| filter.r#type == "RequestMirror");
        let mirrors = mirrors.filter_map(|(at, filter)| self.mirror(filter, &format!("{path}.filters[{at}]")));
        then.mirrors = mirrors.collect();
        for (at, filter) in rule.filters.iter().enumerate() {
            self.filter(filter, &mut then, by_prefix, &format!("{path}.filters[{at}]"));
        }
        let backends = rule.backend_refs.iter().enumerate();
        let backends = backends.map(|(at, backend)| self.backend(backend, &format!("{path}.backendRefs[{at}]")));
        then.backends = backends.collect();
        if then.redirect.is_some() && !then.backends.is_empty() {
            self.refuse(format!("{path}.backendRefs"), "cannot stand beside a RequestRedirect, which is the answer");
        }
        Rule { matches, then: Arc::new(then) }
    }

    /// Zero is none.
    fn duration(&mut self, text: Option<&String>, field: &str) -> Option<Duration> {
        let text = text?;
        let known = duration(text);
        if known.is_none() {
            let reason = format!("{text:?} is no duration: write it as `1h30m`, `10s` or `500ms`");
            self.refuse(field.to_owned(), reason);
        }
        known.filter(|known| !known.is_zero())
    }

    fn retry(&mut self, written: &http_route::Retry, path: &str) -> Retry {
        let attempts = written.attempts.unwrap_or(1);
        if attempts > MAX_RETRIES {
            self.refuse(format!("{path}.attempts"), format!("must be at most {MAX_RETRIES}"));
        }
        for (at, code) in written.codes.iter().enumerate().filter(|(_, code)| !(400..600).contains(*code)) {
            self.refuse(format!("{path}.codes[{at}]"), format!("{code} is no status of an error (400 to 599)"));
        }
        let backoff = self.duration(written.backoff.as_ref(), &format!("{path}.backoff"));
        Retry { codes: written.codes.as_slice().into(), attempts, backoff }
    }

    fn auth(&mut self, written: &http_route::ExternalAuth, path: &str) -> Option<Auth> {
        let to = self.reference(&written.backend_ref, &format!("{path}.backendRef"), self.unled());
        let BackendRef { name, namespace, port, .. } = &written.backend_ref;
        let namespace = namespace.as_ref().unwrap_or(&self.document.meta.namespace);
        let host = format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}");
        match Provider::of_route(self.document.origin.title(), (&host, port.unwrap_or(0)), written) {
            Ok(provider) => Some(Auth { to, provider: Arc::new(provider) }),
            Err((field, reason)) => {
                self.refuse(format!("{path}.{field}"), reason);
                None
            }
        }
    }

    fn mirror(&mut self, filter: &Filter, path: &str) -> Option<Mirror> {
        let Some(written) = &filter.request_mirror else {
            self.empty(path, "requestMirror");
            return None;
        };
        let field = format!("{path}.requestMirror");
        let (share, of) = match (written.percent, written.fraction) {
            (None, None) => (1, 1),
            (Some(percent), None) => (percent, 100),
            (None, Some(fraction)) => (fraction.numerator, fraction.denominator.unwrap_or(100)),
            (Some(_), Some(_)) => {
                self.refuse(field, "has `percent` and `fraction`: one of them says of how many requests");
                return None;
            }
        };
        if of == 0 || share > of {
            self.refuse(field, format!("{share} of {of} is no share of all requests"));
            return None;
        }
        let to = self.reference(&written.backend_ref, &format!("{field}.backendRef"), "no copies are made");
        Some(Mirror { to, share, of })
    }

    fn filter(&mut self, filter: &Filter, then: &mut Then, by_prefix: bool, path: &str) {
        match filter.r#type.as_str() {
            "RequestHeaderModifier" | "ResponseHeaderModifier" => {
                self.edits((filter, path), (&mut then.request, &mut then.response));
            }
            "RequestRedirect" => {
                let Some(redirect) = &filter.request_redirect else { return self.empty(path, "requestRedirect") };
                then.redirect = self.redirect(redirect, by_prefix, &format!("{path}.requestRedirect"));
            }
            "URLRewrite" => {
                let Some(rewrite) = &filter.url_rewrite else { return self.empty(path, "urlRewrite") };
                let field = format!("{path}.urlRewrite");
                then.host = rewrite.hostname.as_ref().and_then(|host| self.host(host, &format!("{field}.hostname")));
                then.path = rewrite.path.as_ref().and_then(|new| self.path(new, by_prefix, &format!("{field}.path")));
            }
            "ExternalAuth" => {
                let Some(auth) = &filter.external_auth else { return self.empty(path, "externalAuth") };
                if then.auth.is_some() {
                    return self.refuse(path.to_owned(), "is the second ExternalAuth of a rule: keep one");
                }
                then.auth = self.auth(auth, &format!("{path}.externalAuth"));
            }
            // Read by itself.
            "RequestMirror" => {}
            other => self.refuse(format!("{path}.type"), format!("{other} is not built: take the filter away")),
        }
    }

    fn empty(&mut self, path: &str, field: &str) {
        self.refuse(format!("{path}.{field}"), "is missing: `type` says that it is there");
    }

    fn edits(&mut self, (filter, path): (&Filter, &str), (request, response): (&mut HeaderEdit, &mut HeaderEdit)) {
        let (written, edit, name) = match filter.r#type.as_str() {
            "RequestHeaderModifier" => (&filter.request_header_modifier, request, "requestHeaderModifier"),
            _ => (&filter.response_header_modifier, response, "responseHeaderModifier"),
        };
        match written {
            Some(written) => self.headers(written, edit, &format!("{path}.{name}")),
            None => self.empty(path, name),
        }
    }

    fn headers(&mut self, written: &HeaderModifier, edit: &mut HeaderEdit, path: &str) {
        for (name, list) in [("set", &written.set), ("add", &written.add)] {
            for (at, header) in list.iter().enumerate() {
                let field = format!("{path}.{name}[{at}]");
                let header_name = self.header(&header.name, &field);
                let Ok(value) = HeaderValue::from_str(&header.value) else {
                    self.refuse(format!("{field}.value"), "is no value of a header");
                    continue;
                };
                let to = if name == "set" { &mut edit.set } else { &mut edit.add };
                to.extend(header_name.map(|header_name| (header_name, value)));
            }
        }
        for (at, name) in written.remove.iter().enumerate() {
            let name = self.header(name, &format!("{path}.remove[{at}]"));
            edit.remove.extend(name);
        }
    }

    fn header(&mut self, text: &str, field: &str) -> Option<HeaderName> {
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) if fields::is_editable(&name) => Some(name),
            Ok(_) => {
                self.refuse(
                    field.to_owned(),
                    format!("{text} is for the waypoint alone to say; `URLRewrite` changes hosts"),
                );
                None
            }
            Err(_) => {
                self.refuse(field.to_owned(), format!("{text:?} is no name of a header"));
                None
            }
        }
    }

    fn redirect(&mut self, written: &RequestRedirect, by_prefix: bool, path: &str) -> Option<Redirect> {
        let scheme = match written.scheme.as_deref() {
            None => None,
            Some("http") => Some("http"),
            Some("https") => Some("https"),
            Some(_) => {
                self.refuse(format!("{path}.scheme"), "must be http or https");
                return None;
            }
        };
        let status = match written.status_code.unwrap_or(302) {
            code @ (301 | 302 | 303 | 307 | 308) => StatusCode::from_u16(code).ok()?,
            _ => {
                self.refuse(format!("{path}.statusCode"), "must be 301, 302, 303, 307 or 308");
                return None;
            }
        };
        let hostname = written.hostname.as_ref().and_then(|host| self.host(host, &format!("{path}.hostname")));
        let new = written.path.as_ref().and_then(|new| self.path(new, by_prefix, &format!("{path}.path")));
        Some(Redirect { scheme, hostname, port: written.port, path: new, status })
    }

    fn host(&mut self, text: &str, field: &str) -> Option<Box<str>> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        if text.is_empty() || !text.bytes().all(plain) {
            self.refuse(field.to_owned(), format!("{text:?} is no host name"));
            return None;
        }
        Some(text.to_ascii_lowercase().into())
    }

    fn path(&mut self, written: &PathModifier, by_prefix: bool, field: &str) -> Option<PathEdit> {
        let (text, prefix) = match written {
            PathModifier::ReplaceFullPath { replace_full_path } => (replace_full_path, false),
            PathModifier::ReplacePrefixMatch { replace_prefix_match } => (replace_prefix_match, true),
        };
        if prefix && !by_prefix {
            self.refuse(field.to_owned(), "ReplacePrefixMatch needs matches of type PathPrefix");
            return None;
        }
        let whole = if prefix && text.is_empty() { "/" } else { text.as_str() };
        match Normalization::Base.apply(whole) {
            Ok(path) if prefix => Some(PathEdit::Prefix(path.into())),
            Ok(path) => Some(PathEdit::Full(path.into())),
            Err(fault) => {
                self.refuse(field.to_owned(), format!("{text:?}: {fault}"));
                None
            }
        }
    }

    fn backend(&mut self, written: &BackendRef, path: &str) -> Backend {
        let mut backend = Backend {
            weight: written.weight,
            to: self.reference(written, path, self.unled()),
            request: HeaderEdit::default(),
            response: HeaderEdit::default(),
        };
        for (at, filter) in written.filters.iter().enumerate() {
            let field = format!("{path}.filters[{at}]");
            if matches!(filter.r#type.as_str(), "RequestHeaderModifier" | "ResponseHeaderModifier") {
                self.edits((filter, &field), (&mut backend.request, &mut backend.response));
            } else {
                self.refuse(format!("{field}.type"), "a backend takes header modifiers only: put it into the rule");
            }
        }
        backend
    }

    /// The port that is meant; none, and a warning that says what becomes of it, where there is none that may be.
    fn reference(&mut self, written: &BackendRef, path: &str, so: &str) -> Option<TargetKey> {
        let own = &self.document.meta.namespace;
        let namespace = written.namespace.as_ref().unwrap_or(own);
        let kind = match (written.group.as_str(), written.kind.as_str()) {
            ("" | "core", "Service") => TargetKind::Service,
            ("networking.istio.io", "ServiceEntry") => TargetKind::ServiceEntry,
            (group, kind) => {
                self.told(format!("{path}.kind"), &format!("{group}/{kind} is no backend that is known here"), so);
                return None;
            }
        };
        if namespace != own && !self.granted(namespace, written) {
            self.told(
                format!("{path}.namespace"),
                &format!("no ReferenceGrant of {namespace} lets {own} refer to it"),
                so,
            );
            return None;
        }
        let Some(port) = written.port else {
            self.told(format!("{path}.port"), "is missing: a Service is reached on a port", so);
            return None;
        };
        if !self.ports.contains(&((kind, namespace.as_str(), written.name.as_str()), port)) {
            let what = format!("there is no {} {namespace}/{}:{port} here", kind.as_str(), written.name);
            self.told(format!("{path}.name"), &what, so);
            return None;
        }
        let (namespace, name) = (namespace.as_str().into(), written.name.as_str().into());
        Some(TargetKey { kind, namespace, name, port, at: None })
    }

    /// What becomes of calls that a backend would get which is not there.
    fn unled(&self) -> &'static str {
        if self.document.spec.bytes {
            "connections that it would get are refused"
        } else {
            "requests that it would get are answered 500"
        }
    }

    fn told(&mut self, field: String, what: &str, so: &str) {
        self.found.warn(&self.document.origin, field, format!("{what}; {so}"));
    }

    fn granted(&self, namespace: &str, written: &BackendRef) -> bool {
        let (own, kind) = (&self.document.meta.namespace, self.document.origin.title().split(' ').next());
        self.documents.reference_grants.iter().filter(|grant| grant.meta.namespace == namespace).any(|grant| {
            let from = grant.spec.from.iter().any(|from| {
                from.group == "gateway.networking.k8s.io" && Some(from.kind.as_str()) == kind && from.namespace == *own
            });
            let to = grant.spec.to.iter().any(|to| {
                let group = if written.group == "core" { "" } else { &written.group };
                to.group == *group
                    && to.kind == written.kind
                    && to.name.as_ref().is_none_or(|name| *name == written.name)
            });
            from && to
        })
    }
}

mod taken;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use regex::Regex;

pub use taken::Taken;

use super::TargetKey;
use super::led::Legs;
use crate::call::HttpHead;
use crate::policy::Provider;
use crate::wire::http1::fields;

/// The routes of one port, most specific first.
#[derive(Debug)]
pub struct Routes {
    pub(super) ways: Box<[Way]>,
    /// Where they lead, each once.
    pub(super) backends: Box<[TargetKey]>,
    /// Hash of what they were made of.
    pub(super) revision: u64,
    pub(super) legs: Legs,
}

impl Routes {
    pub(super) fn new(ways: Vec<Way>, revision: u64) -> Self {
        let mut backends: Vec<TargetKey> = Vec::new();
        for key in ways.iter().flat_map(|way| &way.then.backends).filter_map(|backend| backend.to.as_ref()) {
            if !backends.contains(key) {
                backends.push(key.clone());
            }
        }
        Self { ways: ways.into(), backends: backends.into(), revision, legs: Legs::default() }
    }

    /// The way of a connection, of which nothing is known.
    pub fn first(&self) -> Option<&Way> {
        self.ways.first()
    }

    /// Whether somebody is asked about the requests of some of them.
    pub fn ask(&self) -> bool {
        self.ways.iter().any(|way| way.then.auth.is_some())
    }

    /// Where they lead, each once.
    pub fn backends(&self) -> &[TargetKey] {
        &self.backends
    }

    /// The way that holds for a request; none where routes are attached and none of them matches.
    pub fn choose(&self, head: &HttpHead) -> Option<&Way> {
        self.ways.iter().find(|way| way.when.matches(head))
    }
}

/// One match of one rule, and what becomes of what it matches.
#[derive(Debug)]
pub struct Way {
    /// `HTTPRoute namespace/name rules[0]`
    pub name: Arc<str>,
    pub(super) when: When,
    /// What becomes of the request.
    pub then: Arc<Then>,
}

impl Way {
    /// The prefix that matched, for filters that replace it.
    pub fn prefix(&self) -> &str {
        if let Path::Prefix(prefix) = &self.when.path { prefix } else { "" }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub struct Then {
    /// Changes of the request's headers.
    pub request: HeaderEdit,
    /// Changes of the response's headers.
    pub response: HeaderEdit,
    /// Answered by a redirect instead of a backend.
    pub redirect: Option<Redirect>,
    /// New host, and new path.
    pub host: Option<Box<str>>,
    /// New path.
    pub path: Option<PathEdit>,
    /// Where to, by weight.
    pub backends: Box<[Backend]>,
    /// Who is asked about requests, once rules permit them.
    pub auth: Option<Auth>,
    /// Where copies go.
    pub mirrors: Box<[Mirror]>,
    /// How long until the head of the response, over all tries.
    pub timeout: Option<Duration>,
    /// The same of each try.
    pub each: Option<Duration>,
    /// Whether to try again.
    pub retry: Option<Retry>,
}

/// Who is asked about requests.
#[derive(Debug)]
pub struct Auth {
    /// The port of a Service; none where there is none, or none that may be referred to: 500.
    pub to: Option<TargetKey>,
    /// How.
    pub provider: Arc<Provider>,
}

/// Where copies of requests go.
#[derive(Debug)]
pub struct Mirror {
    /// The port of a Service; none where there is none, or none that may be referred to: no copies.
    pub to: Option<TargetKey>,
    /// Of how many requests, out of `of`.
    pub(super) share: u32,
    pub(super) of: u32,
}

impl Mirror {
    /// Whether a request at point `dice` has a copy.
    pub fn takes(&self, dice: u64) -> bool {
        dice.checked_rem(u64::from(self.of)).is_some_and(|point| point < u64::from(self.share))
    }
}

/// When a request is tried again, and how often.
#[derive(Debug)]
pub struct Retry {
    /// After these statuses, and after no answer.
    pub codes: Box<[u16]>,
    /// How often.
    pub attempts: u32,
    /// The least time between two tries.
    pub backoff: Option<Duration>,
}

impl Then {
    /// The backend at point `dice` of the line on which each takes as much as its weight; none where all are zero.
    pub fn backend(&self, dice: u64) -> Option<&Backend> {
        let whole: u64 = self.backends.iter().map(|backend| u64::from(backend.weight)).sum();
        let mut point = dice.checked_rem(whole)?;
        for backend in &self.backends {
            match point.checked_sub(u64::from(backend.weight)) {
                None => return Some(backend),
                Some(rest) => point = rest,
            }
        }
        None
    }
}

/// One backend.
#[derive(Debug)]
pub struct Backend {
    /// How much of the whole it takes.
    pub weight: u32,
    /// The port of a Service; none where there is none, or none that may be referred to: 500.
    pub to: Option<TargetKey>,
    /// Changes of the request's headers, after the rule's.
    pub request: HeaderEdit,
    /// Changes of the response's headers, before the rule's.
    pub response: HeaderEdit,
}

/// Changes of headers: set, then add, then remove.
#[derive(Debug, Default)]
pub struct HeaderEdit {
    pub(super) set: Vec<(HeaderName, HeaderValue)>,
    pub(super) add: Vec<(HeaderName, HeaderValue)>,
    pub(super) remove: Vec<HeaderName>,
}

impl HeaderEdit {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.names().next().is_none()
    }

    /// Whose values it changes.
    pub(super) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.set.iter().chain(&self.add).map(|(name, _)| name).chain(&self.remove)
    }

    /// Makes the changes. With what is set or removed goes what servers take for it that read `_` and `-` alike: else a
    /// caller's word would stand beside the route's.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            fields::remove_alike(headers, name);
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            // Of a field that may stand once, two would be read in two ways.
            if fields::may_stand_twice(name) {
                headers.append(name, value.clone());
            } else {
                headers.insert(name, value.clone());
            }
        }
        for name in &self.remove {
            fields::remove_alike(headers, name);
            headers.remove(name);
        }
    }
}

/// A redirect.
#[derive(Debug)]
pub struct Redirect {
    pub(super) scheme: Option<&'static str>,
    pub(super) hostname: Option<Box<str>>,
    pub(super) port: Option<u16>,
    pub(super) path: Option<PathEdit>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

impl Redirect {
    /// The `Location` for a request that matched by `prefix`.
    pub fn location(&self, head: &HttpHead, prefix: &str) -> String {
        let (name, port) = head.host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).unzip();
        let name = self.hostname.as_deref().or(name).unwrap_or(&head.host);
        let scheme = self.scheme.unwrap_or("http");
        // Named: that one. Else the scheme's own where a scheme is named, else the request's.
        let port = match (self.port, self.scheme) {
            (Some(80), _) if scheme == "http" => String::new(),
            (Some(443), _) if scheme == "https" => String::new(),
            (Some(port), _) => format!(":{port}"),
            (None, Some(_)) => String::new(),
            (None, None) => port.map_or_else(String::new, |port| format!(":{port}")),
        };
        let path = self.path.as_ref().map_or_else(|| head.path.clone(), |path| path.apply(&head.path, prefix));
        let query = head.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        format!("{scheme}://{name}{port}{path}{query}")
    }
}

/// A new path.
#[derive(Debug)]
pub enum PathEdit {
    /// All of it.
    Full(Box<str>),
    /// The prefix that matched.
    Prefix(Box<str>),
}

impl PathEdit {
    /// The path that `path`, matched by `prefix`, becomes.
    pub fn apply(&self, path: &str, prefix: &str) -> String {
        match self {
            Self::Full(full) => full.to_string(),
            Self::Prefix(new) => {
                let rest = path.strip_prefix(prefix.trim_end_matches('/')).unwrap_or_default();
                let joined = format!("{}{rest}", new.trim_end_matches('/'));
                if joined.starts_with('/') { joined } else { format!("/{joined}") }
            }
        }
    }
}

/// What a request must be.
#[derive(Debug)]
pub(super) struct When {
    /// Lower case, without port; `*.example` for all below. Any where empty.
    pub(super) hosts: Arc<[Box<str>]>,
    pub(super) path: Path,
    pub(super) method: Option<Method>,
    pub(super) headers: Box<[(HeaderName, Text)]>,
    pub(super) query: Box<[(Box<str>, Text)]>,
}

#[derive(Debug)]
pub(super) enum Path {
    Exact(Box<str>),
    Prefix(Box<str>),
    Regex(Regex),
}

#[derive(Debug)]
pub(super) enum Text {
    Exact(Box<str>),
    Regex(Regex),
}

impl Text {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

impl When {
    fn matches(&self, head: &HttpHead) -> bool {
        self.of_host(&head.host)
            && self.of_path(&head.path)
            && self.method.as_ref().is_none_or(|method| *method == head.method)
            && self.headers.iter().all(|(name, text)| {
                // All lines of one name are one value (RFC 9110 section 5.3).
                let lines: Vec<_> = head.headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
                !lines.is_empty() && text.matches(&lines.join(","))
            })
            && self.query.iter().all(|(name, text)| {
                let pairs = head.query.as_deref().unwrap_or_default().split('&');
                // The first of several counts, as in the Gateway API's own tests.
                let first =
                    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).find(|(key, _)| *key == &**name);
                first.is_some_and(|(_, value)| text.matches(value))
            })
    }

    fn of_host(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
        self.hosts.is_empty()
            || self.hosts.iter().any(|own| match own.strip_prefix('*') {
                Some(end) => name.len() > end.len() && name.ends_with(end),
                None => **own == *name,
            })
    }

    fn of_path(&self, path: &str) -> bool {
        match &self.path {
            Path::Exact(exact) => **exact == *path,
            Path::Regex(regex) => regex.is_match(path),
            Path::Prefix(prefix) => {
                let rest = path.strip_prefix(prefix.trim_end_matches('/'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// What sorts the more specific first: exact before prefix, longer before shorter, then a method, then more headers,
    /// then more query parameters (Gateway API, HTTPRouteRule).
    pub(super) fn rank(
        &self,
    ) -> (u8, std::cmp::Reverse<usize>, bool, std::cmp::Reverse<usize>, std::cmp::Reverse<usize>) {
        use std::cmp::Reverse;
        let (kind, length) = match &self.path {
            Path::Exact(exact) => (0, exact.len()),
            Path::Regex(regex) => (1, regex.as_str().len()),
            Path::Prefix(prefix) => (2, prefix.len()),
        };
        (kind, Reverse(length), self.method.is_none(), Reverse(self.headers.len()), Reverse(self.query.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_stand_once_does() {
        let (token, other) = (http::header::AUTHORIZATION, HeaderName::from_static("x-a"));
        let value = HeaderValue::from_static;
        let mut headers = HeaderMap::from_iter([(token.clone(), value("sent")), (other.clone(), value("sent"))]);
        let add = vec![(token.clone(), value("route's")), (other.clone(), value("route's"))];
        HeaderEdit { add, ..HeaderEdit::default() }.apply(&mut headers);
        assert_eq!(headers.get_all(token).iter().collect::<Vec<_>>(), ["route's"]);
        assert_eq!(headers.get_all(other).iter().collect::<Vec<_>>(), ["sent", "route's"]);
    }

    #[test]
    fn what_servers_take_for_it_goes_with_what_is_set_or_removed() {
        let (value, name) = (HeaderValue::from_static, HeaderName::from_static);
        let sent = ["x_tenant", "x_debug", "x_other"].map(|sent| (name(sent), value("caller's")));
        let mut headers = HeaderMap::from_iter(sent);
        let set = vec![(name("x-tenant"), value("route's"))];
        HeaderEdit { set, add: Vec::new(), remove: vec![name("x-debug")] }.apply(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-tenant", "x_other"]);
    }
}

//! From a document's fields to a rule's: every value read, every fault with its place.

use http::HeaderName;

use super::field::{Field, Values};
use super::header;
use super::identity::{self, Account, Glob};
use super::path::PathPattern;
use super::rule::IstioRule;
use super::token::Subject;
use crate::document::authorization_policy::{Condition, IstioRule as Written, Operation, Source};
use crate::policy::pattern::Pattern;
use crate::policy::problems::{Problems, negated};
use crate::policy::rule::Effect;
use crate::policy::source::block;
use crate::wire::path::{canonical_spelling, spelling};

/// Reads the rules of one policy.
pub(super) struct Reader<'a> {
    /// The policy's, for service accounts without one.
    pub(super) namespace: &'a str,
    /// The mesh's, then its aliases.
    pub(super) trust_domains: &'a [String],
    pub(super) problems: &'a mut Problems,
}

/// A list and its `not` form, with the path and name of the first.
struct Lists<'a> {
    path: &'a str,
    name: &'a str,
    any: &'a [String],
    none: &'a [String],
}

impl Reader<'_> {
    pub(super) fn rule(&mut self, written: &Written, effect: Effect, path: &str) -> IstioRule {
        let from = written.from.iter().enumerate();
        let from = from.map(|(at, from)| self.source(&from.source, &format!("{path}.from[{at}].source")));
        let from: Box<[Box<[Field]>]> = from.collect();
        let to = written.to.iter().enumerate();
        let to = to.map(|(at, to)| self.operation(&to.operation, effect, &format!("{path}.to[{at}].operation")));
        let to: Box<[Box<[Field]>]> = to.collect();
        let when = written.when.iter().enumerate();
        let when = when.filter_map(|(at, when)| self.condition(when, &format!("{path}.when[{at}]")));
        let when: Box<[Field]> = when.collect();
        let http = |fields: &[Field]| fields.iter().any(Field::is_http);
        let has_http = from.iter().chain(&to).any(|fields| http(fields)) || http(&when);
        IstioRule { from, to, when, effect, has_http }
    }

    fn source(&mut self, source: &Source, path: &str) -> Box<[Field]> {
        if *source == Source::default() {
            self.problems.error(path, "names nobody: leave `from` out for every caller");
        }
        let accounts = (&source.service_accounts, &source.not_service_accounts);
        let beside = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
        let some = |list: &Vec<String>| !list.is_empty();
        if (some(accounts.0) || some(accounts.1)) && beside.into_iter().any(some) {
            let reason = "cannot stand beside principals or namespaces (Istio's API server refuses it)";
            self.problems.error(format_args!("{path}.serviceAccounts"), reason);
        }
        if some(&source.remote_ip_blocks) || some(&source.not_remote_ip_blocks) {
            self.warn_of_remote_ip(&format!("{path}.remoteIpBlocks"));
        }
        let of = |name, any, none| Lists { path, name, any, none };
        let fields = [
            self.principals(&of("principals", &source.principals, &source.not_principals)),
            self.values(&of("namespaces", &source.namespaces, &source.not_namespaces), Glob::parse)
                .map(Field::Namespace),
            self.accounts(&of("serviceAccounts", accounts.0, accounts.1)),
            self.trust_domains(&of("trustDomains", &source.trust_domains, &source.not_trust_domains)),
            self.subjects(&of("requestPrincipals", &source.request_principals, &source.not_request_principals)),
            self.values(&of("ipBlocks", &source.ip_blocks, &source.not_ip_blocks), block).map(Field::SourceIp),
            self.values(&of("remoteIpBlocks", &source.remote_ip_blocks, &source.not_remote_ip_blocks), block)
                .map(Field::RemoteIp),
        ];
        fields.into_iter().flatten().collect()
    }

    fn operation(&mut self, operation: &Operation, effect: Effect, path: &str) -> Box<[Field]> {
        if *operation == Operation::default() {
            self.problems.error(path, "names nothing: leave `to` out for every operation");
        }
        let of = |name, any, none| Lists { path, name, any, none };
        let fields = [
            self.hosts(&of("hosts", &operation.hosts, &operation.not_hosts)),
            self.values(&of("ports", &operation.ports, &operation.not_ports), port).map(Field::DestinationPort),
            self.texts(&of("methods", &operation.methods, &operation.not_methods)).map(Field::Method),
            self.paths(&of("paths", &operation.paths, &operation.not_paths), effect),
        ];
        fields.into_iter().flatten().collect()
    }

    fn condition(&mut self, when: &Condition, path: &str) -> Option<Field> {
        let lists = Lists { path, name: "values", any: &when.values, none: &when.not_values };
        if when.values.is_empty() && when.not_values.is_empty() {
            self.problems.error(path, "has neither `values` nor `notValues`: name at least one value");
        }
        match when.key.as_str() {
            "source.ip" => self.values(&lists, block).map(Field::SourceIp),
            "remote.ip" => {
                self.warn_of_remote_ip(&format!("{path}.key"));
                self.values(&lists, block).map(Field::RemoteIp)
            }
            "source.namespace" => self.values(&lists, Glob::parse).map(Field::Namespace),
            "source.serviceAccount" => self.accounts(&lists),
            "source.trustDomain" => self.trust_domains(&lists),
            "source.principal" => self.principals(&lists),
            "request.auth.principal" => self.subjects(&lists),
            "request.auth.audiences" => self.claim(&["aud"], &lists),
            "request.auth.presenter" => self.claim(&["azp"], &lists),
            "destination.ip" => self.values(&lists, block).map(Field::DestinationIp),
            "destination.port" => self.values(&lists, port).map(Field::DestinationPort),
            "connection.sni" => self.texts(&lists).map(Field::Sni),
            key => match bracketed(key) {
                Some(("request.headers", names)) => match names.as_slice() {
                    [name] => self.header(name, &lists),
                    _ => self.unknown(key, path),
                },
                Some(("request.auth.claims", names)) => self.claim(&names, &lists),
                _ => self.unknown(key, path),
            },
        }
    }

    fn unknown(&mut self, key: &str, path: &str) -> Option<Field> {
        let known = "source.ip, remote.ip, source.namespace, source.serviceAccount, source.trustDomain, source.principal, \
                     request.headers[NAME], request.auth.principal, request.auth.audiences, request.auth.presenter, \
                     request.auth.claims[NAME], destination.ip, destination.port, connection.sni";
        let reason = match key {
            "" => format!("is empty: write one of {known}"),
            _ if key.starts_with("experimental.envoy.filters.") => {
                "reads what a filter of Envoy wrote down, and there is no Envoy here".to_owned()
            }
            _ => format!("`{key}` is no attribute of Istio's; they are {known}"),
        };
        self.problems.error(format_args!("{path}.key"), reason);
        None
    }

    fn header(&mut self, name: &str, lists: &Lists<'_>) -> Option<Field> {
        let key = format!("{}.key", lists.path);
        match name.to_ascii_lowercase().as_str() {
            ":method" => return self.texts(lists).map(Field::Method),
            ":path" => return self.texts(lists).map(Field::Target),
            ":authority" | "host" => return self.hosts(lists),
            _ => {}
        }
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            self.problems.error(key, format_args!("`{name}` is no name of a header"));
            return None;
        };
        if !header::is_seen(&header) {
            let reason = format!("`{name}` ends at this hop and is not among what rules see: leave the condition out");
            self.problems.error(key, reason);
            return None;
        }
        self.texts(lists).map(|values| Field::Header(header, values))
    }

    fn claim(&mut self, path: &[&str], lists: &Lists<'_>) -> Option<Field> {
        let path = path.iter().map(|name| Box::from(*name)).collect();
        self.texts(lists).map(|values| Field::Claim(path, values))
    }

    fn principals(&mut self, lists: &Lists<'_>) -> Option<Field> {
        if lists.any.iter().chain(lists.none).any(|text| text.contains("://")) {
            let reason = "can never match: principals are written without spiffe://";
            self.problems.warning(format_args!("{}.{}", lists.path, lists.name), reason);
        }
        let own = self.trust_domains;
        self.expanded(lists, |text| identity::with_aliases(text, own)).map(Field::Principal)
    }

    fn trust_domains(&mut self, lists: &Lists<'_>) -> Option<Field> {
        let own = self.trust_domains;
        self.expanded(lists, |text| identity::domain_with_aliases(text, own)).map(Field::TrustDomain)
    }

    fn accounts(&mut self, lists: &Lists<'_>) -> Option<Field> {
        let own = self.namespace;
        self.values(lists, |text| Account::parse(own, text)).map(Field::ServiceAccount)
    }

    fn subjects(&mut self, lists: &Lists<'_>) -> Option<Field> {
        let values = self.values(lists, Subject::parse)?;
        if !values.any.iter().chain(&values.none).all(Subject::is_whole) {
            let reason = "can never match without a subject: write `ISSUER/SUBJECT`, `ISSUER/*` or `*`";
            self.problems.warning(format_args!("{}.{}", lists.path, lists.name), reason);
        }
        Some(Field::RequestPrincipal(values))
    }

    fn hosts(&mut self, lists: &Lists<'_>) -> Option<Field> {
        let lower = |patterns: Box<[Pattern]>| patterns.iter().map(Pattern::to_lower_case).collect();
        let Values { any, none } = self.texts(lists)?;
        Some(Field::Host(Values { any: lower(any), none: lower(none) }))
    }

    /// Each as written, and in the spelling that it has in a normalised path: a rule on `/caf%c3%a9` is one on `/caf%C3%A9`.
    /// What refuses is also in the spelling of a canonical one, which paths have beside an AgentPolicy.
    fn paths(&mut self, lists: &Lists<'_>, effect: Effect) -> Option<Field> {
        let Values { any, none } = self.values(lists, PathPattern::parse)?;
        let all = |patterns: Box<[PathPattern]>, refuses: bool| {
            let spellings = |pattern: PathPattern| {
                let canonical = if refuses { pattern.respelt(canonical_spelling) } else { None };
                [pattern.respelt(spelling), canonical, Some(pattern)]
            };
            patterns.into_iter().flat_map(spellings).flatten().collect()
        };
        let permits = effect == Effect::Allow;
        Some(Field::Path(Values { any: all(any, !permits), none: all(none, permits) }))
    }

    fn texts(&mut self, lists: &Lists<'_>) -> Option<Values<Pattern>> {
        self.expanded(lists, |text| vec![text.to_owned()])
    }

    /// Patterns, each of which may stand for several.
    fn expanded(&mut self, lists: &Lists<'_>, expand: impl Fn(&str) -> Vec<String>) -> Option<Values<Pattern>> {
        let field = format!("{}.{}", lists.path, lists.name);
        let all = |list: &[String]| list.iter().flat_map(|text| expand(text)).collect::<Vec<_>>();
        let (any, none) = (all(lists.any), all(lists.none));
        let many = self.problems.many((lists.path, lists.name), (&any, &none), Pattern::istio);
        if many.any.iter().chain(&many.none).any(Pattern::has_plain_star) {
            self.problems.warning(&field, "holds a `*` that means itself: it is a wildcard only at one end");
        }
        let values = Values { any: many.any.into(), none: many.none.into() };
        (!lists.any.is_empty() || !lists.none.is_empty()).then_some(values)
    }

    /// The values of a list and its `not` form, read by `parse`; none where both are empty.
    fn values<T>(&mut self, lists: &Lists<'_>, parse: impl Fn(&str) -> Result<T, String>) -> Option<Values<T>> {
        let mut read = |name: &str, list: &[String]| {
            let mut out = Vec::with_capacity(list.len());
            for (at, text) in list.iter().enumerate() {
                match parse(text) {
                    Ok(value) => out.push(value),
                    Err(reason) => self.problems.error(format_args!("{}.{name}[{at}]", lists.path), reason),
                }
            }
            out.into_boxed_slice()
        };
        let values = Values { any: read(lists.name, lists.any), none: read(&negated(lists.name), lists.none) };
        (!lists.any.is_empty() || !lists.none.is_empty()).then_some(values)
    }

    fn warn_of_remote_ip(&mut self, field: &str) {
        let reason = "is the last address of x-forwarded-for, which a caller in the mesh writes itself: it proves nothing \
                      here; `ipBlocks` is the address that the call came from";
        self.problems.warning(field, reason);
    }
}

fn port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| format!("`{text}` is no port"))
}

/// `a[b][c]` is `a` and `[b, c]`.
fn bracketed(key: &str) -> Option<(&str, Vec<&str>)> {
    let (name, rest) = key.split_once('[')?;
    let names: Vec<&str> = rest.strip_suffix(']')?.split("][").collect();
    names.iter().all(|name| !name.is_empty() && !name.contains(['[', ']'])).then_some((name, names))
}

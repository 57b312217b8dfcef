use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;

use super::identity::{Account, Glob};
use super::path::PathPattern;
use super::rule::is_tcp;
use super::token::{self, Subject};
use super::{header, identity};
use crate::call::HttpHead;
use crate::policy::pattern::Pattern;
use crate::policy::reading::Reading;
use crate::policy::rule::Effect;
use crate::policy::scope::{Lens, Scope};
use crate::policy::truth::Truth;

/// `values` and `notValues` of one attribute, or a field and its `not` form.
#[derive(Debug)]
pub(super) struct Values<T> {
    pub(super) any: Box<[T]>,
    pub(super) none: Box<[T]>,
}

impl<T> Values<T> {
    /// One of the first, if there are some, and none of the second.
    pub(super) fn hold(&self, matches: impl Fn(&T) -> bool) -> bool {
        (self.any.is_empty() || self.any.iter().any(&matches)) && !self.none.iter().any(&matches)
    }
}

/// One attribute of a call and what a rule wants of it.
#[derive(Debug)]
pub(super) enum Field {
    Principal(Values<Pattern>),
    TrustDomain(Values<Pattern>),
    Namespace(Values<Glob>),
    ServiceAccount(Values<Account>),
    SourceIp(Values<IpNet>),
    RemoteIp(Values<IpNet>),
    DestinationIp(Values<IpNet>),
    DestinationPort(Values<u16>),
    Sni(Values<Pattern>),
    RequestPrincipal(Values<Subject>),
    /// A claim by its path.
    Claim(Box<[Box<str>]>, Values<Pattern>),
    Header(HeaderName, Values<Pattern>),
    /// Patterns are in lower case, as the host is.
    Host(Values<Pattern>),
    Method(Values<Pattern>),
    Path(Values<PathPattern>),
    /// `request.headers[:path]`: the path with its query.
    Target(Values<Pattern>),
}

impl Field {
    /// Whether only HTTP has it.
    pub(super) fn is_http(&self) -> bool {
        match self {
            Self::RequestPrincipal(_)
            | Self::Claim(..)
            | Self::Header(..)
            | Self::Host(_)
            | Self::Method(_)
            | Self::Path(_)
            | Self::Target(_) => true,
            Self::Principal(_)
            | Self::TrustDomain(_)
            | Self::Namespace(_)
            | Self::ServiceAccount(_)
            | Self::SourceIp(_)
            | Self::RemoteIp(_)
            | Self::DestinationIp(_)
            | Self::DestinationPort(_)
            | Self::Sni(_) => false,
        }
    }

    pub(super) fn reads_jwt(&self) -> bool {
        matches!(self, Self::RequestPrincipal(_) | Self::Claim(..))
    }

    /// Whether the attribute is as wanted, for a rule of `effect`.
    pub(super) fn truth(&self, scope: &Scope<'_>, effect: Effect) -> Truth {
        if self.is_http() && is_tcp(scope) {
            // Dropped; an ALLOW rule with it is not even asked.
            return Truth::from(effect != Effect::Allow);
        }
        let id = scope.facts.peer.id();
        let head = scope.facts.request.filter(|_| scope.lens != Lens::Anything);
        match self {
            Self::Principal(values) => values.hold(|pattern| pattern.matches(id.principal())).into(),
            Self::TrustDomain(values) => values.hold(|pattern| pattern.matches(id.trust_domain().as_str())).into(),
            Self::Namespace(values) => values.hold(|glob| identity::is_in(id.principal(), glob)).into(),
            Self::ServiceAccount(values) => values.hold(|account| account.is(id.principal())).into(),
            Self::SourceIp(values) => values.hold(|block| block.contains(&source_ip(scope))).into(),
            Self::RemoteIp(_) if scope.lens == Lens::Anything => Truth::Unknown,
            Self::RemoteIp(values) => values.hold(|block| block.contains(&remote_ip(scope))).into(),
            Self::DestinationIp(values) => {
                let addresses = &scope.facts.destination.addresses;
                readings(addresses, effect, |address| values.hold(|block| block.contains(address)))
            }
            Self::DestinationPort(values) => values.hold(|port| *port == scope.facts.destination.port).into(),
            // TLS of the client's own, which is not looked into; HTTP came without any.
            Self::Sni(_) if scope.facts.request.is_none() => Truth::Unknown,
            Self::Sni(values) => values.hold(|_| false).into(),
            Self::RequestPrincipal(_) | Self::Claim(..) if scope.lens == Lens::Anything => Truth::Unknown,
            Self::RequestPrincipal(values) => values.hold(|subject| subject.is(scope.facts.claims)).into(),
            Self::Claim(path, values) => values.hold(|pattern| token::claim(scope.facts.claims, path, pattern)).into(),
            Self::Header(name, values) => of(head, |head| header::truth(head, name, values, effect)),
            Self::Host(values) => of(head, |head| values.hold(|pattern| pattern.matches(&head.host)).into()),
            Self::Method(values) => of(head, |head| values.hold(|one| one.matches(head.method.as_str())).into()),
            Self::Path(Values { any, none }) => {
                of(head, |head| Reading::of(&head.path).holds(any, none, effect != Effect::Allow).into())
            }
            Self::Target(values) => of(head, |head| {
                let target = head.target();
                values.hold(|pattern| pattern.matches(&target)).into()
            }),
        }
    }
}

/// What the request says, where there is one and it is known.
fn of(head: Option<&HttpHead>, truth: impl FnOnce(&HttpHead) -> Truth) -> Truth {
    head.map_or(Truth::Unknown, truth)
}

/// Where one attribute can be read in several ways, a rule that refuses matches in any of them, and one that permits only
/// in all. With no way to read it at all nothing is known.
pub(super) fn readings<T>(of: &[T], effect: Effect, holds: impl Fn(&T) -> bool) -> Truth {
    match (of.is_empty(), effect) {
        (true, _) => Truth::Unknown,
        (false, Effect::Allow) => of.iter().all(holds).into(),
        (false, Effect::Deny | Effect::Require | Effect::Audit) => of.iter().any(holds).into(),
    }
}

fn source_ip(scope: &Scope<'_>) -> IpAddr {
    scope.facts.peer.addr().ip().to_canonical()
}

/// The last address of `x-forwarded-for`, which is what Envoy takes for the client at every proxy but a gateway; the
/// peer's where there is none. Said by the caller, then: Istio's `remoteIpBlocks` prove nothing at a waypoint.
fn remote_ip(scope: &Scope<'_>) -> IpAddr {
    let fields = scope.facts.request.map(|head| head.headers.get_all("x-forwarded-for"));
    let last = fields.and_then(|fields| fields.iter().next_back()?.to_str().ok()?.rsplit(',').next());
    let said = last.and_then(|text| text.trim().parse::<IpAddr>().ok());
    said.map_or_else(|| source_ip(scope), |ip| ip.to_canonical())
}

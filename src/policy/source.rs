use std::net::IpAddr;

use ipnet::IpNet;

use super::matcher::{Absence, Many, Seen};
use super::pattern::Pattern;
use super::problems::Problems;
use super::scope::{Lens, Scope};
use super::truth::Truth;
use crate::document::agent_policy::From;

/// One entry of `from`, compiled: all of its fields must match.
#[derive(Debug, Default)]
pub(super) struct Source {
    principals: Many,
    service_accounts: Many,
    namespaces: Many,
    trust_domains: Many,
    request_principals: Many,
    ip_blocks: Vec<IpNet>,
    not_ip_blocks: Vec<IpNet>,
}

impl Source {
    /// Compiles an entry of a policy in `namespace`; `path` is that of the entry.
    pub(super) fn compile(namespace: &str, from: &From, path: &str, problems: &mut Problems) -> Self {
        if *from == From::default() {
            problems.error(path, "names nobody: leave `from` out for every caller, or name a field");
        }
        let account = |text: &str| service_account(namespace, text);
        Self {
            principals: problems.many((path, "principals"), (&from.principals, &from.not_principals), principal),
            service_accounts: problems.many(
                (path, "serviceAccounts"),
                (&from.service_accounts, &from.not_service_accounts),
                account,
            ),
            namespaces: problems.many((path, "namespaces"), (&from.namespaces, &from.not_namespaces), label),
            trust_domains: problems.many(
                (path, "trustDomains"),
                (&from.trust_domains, &from.not_trust_domains),
                Pattern::parse,
            ),
            request_principals: problems.many(
                (path, "requestPrincipals"),
                (&from.request_principals, &from.not_request_principals),
                Pattern::parse,
            ),
            ip_blocks: blocks(&format!("{path}.ipBlocks"), &from.ip_blocks, problems),
            not_ip_blocks: blocks(&format!("{path}.notIpBlocks"), &from.not_ip_blocks, problems),
        }
    }

    /// Whether the caller matches.
    pub(super) fn truth(&self, scope: &Scope<'_>, absence: Absence) -> Truth {
        let id = scope.facts.peer.id();
        let istio = id.istio();
        let namespace = istio.map_or(Seen::Absent, |id| Seen::Value(&id.namespace));
        self.principals
            .truth(Seen::Value(id.principal()), absence)
            .and(|| self.trust_domains.truth(Seen::Value(id.trust_domain().as_str()), absence))
            .and(|| self.namespaces.truth(namespace, absence))
            .and(|| self.account(scope, absence))
            .and(|| self.address(scope).into())
            .and(|| self.token(scope, absence))
    }

    /// Whether a token's claims are looked at.
    pub(super) fn reads_jwt(&self) -> bool {
        !self.request_principals.is_empty()
    }

    fn account(&self, scope: &Scope<'_>, absence: Absence) -> Truth {
        if self.service_accounts.is_empty() {
            return Truth::True;
        }
        // `namespace/name` is the principal's tail with `/sa/` taken out; compared in two halves, without building it.
        let Some(id) = scope.facts.peer.id().istio() else { return absence.truth() };
        let matches = |pattern: &Pattern| pair_matches(pattern, &id.namespace, '/', &id.service_account);
        let any = self.service_accounts.any.is_empty() || self.service_accounts.any.iter().any(matches);
        (any && !self.service_accounts.none.iter().any(matches)).into()
    }

    fn address(&self, scope: &Scope<'_>) -> bool {
        let ip = scope.facts.peer.addr().ip().to_canonical();
        let within = |blocks: &[IpNet]| blocks.iter().any(|block| block.contains(&ip));
        (self.ip_blocks.is_empty() || within(&self.ip_blocks)) && !within(&self.not_ip_blocks)
    }

    fn token(&self, scope: &Scope<'_>, absence: Absence) -> Truth {
        let many = &self.request_principals;
        if many.is_empty() {
            return Truth::True;
        }
        if scope.lens == Lens::Anything {
            return Truth::Unknown;
        }
        let Some((issuer, subject)) = scope.facts.claims.and_then(|claims| Some((claims.issuer(), claims.subject()?)))
        else {
            return absence.truth();
        };
        let matches = |pattern: &Pattern| pair_matches(pattern, issuer, '/', subject);
        ((many.any.is_empty() || many.any.iter().any(matches)) && !many.none.iter().any(matches)).into()
    }
}

/// Whether the pattern matches `left`, `between` and `right` put together, without building that text.
fn pair_matches(pattern: &Pattern, left: &str, between: char, right: &str) -> bool {
    let whole = |text: &str| {
        let rest = text.strip_prefix(left).and_then(|rest| rest.strip_prefix(between));
        rest == Some(right)
    };
    match pattern {
        Pattern::Present => true,
        Pattern::Exact(text) => whole(text),
        Pattern::Prefix(prefix) => match prefix.strip_prefix(left).and_then(|rest| rest.strip_prefix(between)) {
            Some(rest) => right.starts_with(rest),
            None => left.starts_with(&**prefix),
        },
        Pattern::Suffix(suffix) => match suffix.strip_suffix(right).and_then(|rest| rest.strip_suffix(between)) {
            Some(rest) => left.ends_with(rest),
            None => right.ends_with(&**suffix),
        },
    }
}

fn principal(text: &str) -> Result<Pattern, String> {
    if text.contains("://") {
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        return Err(format!("a principal is written without the scheme: `{bare}`"));
    }
    Pattern::parse(text)
}

/// A namespace: no slash, which no namespace has.
pub(super) fn label(text: &str) -> Result<Pattern, String> {
    if text.contains('/') {
        return Err(format!("`{text}` is no namespace: it holds a slash"));
    }
    Pattern::parse(text)
}

/// `namespace/name`, or `name` in the policy's own namespace, as one pattern over `namespace/name`.
pub(super) fn service_account(own: &str, text: &str) -> Result<Pattern, String> {
    match text.split_once('/') {
        None if text.contains('*') => {
            Err(format!("`{text}` does not say which namespaces: write `{own}/*`, or `*/NAME` for every namespace"))
        }
        None if text.is_empty() => Pattern::parse(text),
        None => Pattern::parse(&format!("{own}/{text}")),
        Some((namespace, name)) if namespace.is_empty() || name.is_empty() || name.contains('/') => {
            Err(format!("`{text}` is no service account: write `namespace/name`, or `name` in `{own}`"))
        }
        Some(_) => Pattern::parse(text),
    }
}

fn blocks(path: &str, texts: &[String], problems: &mut Problems) -> Vec<IpNet> {
    let mut blocks = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        match block(text) {
            Ok(block) => blocks.push(block),
            Err(reason) => problems.error(format_args!("{path}[{at}]"), reason),
        }
    }
    blocks
}

/// An address or a CIDR block.
pub(super) fn block(text: &str) -> Result<IpNet, String> {
    match text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)) {
        Some(IpNet::V6(block)) if block.addr().to_ipv4_mapped().is_some() => {
            Err(format!("`{text}`: write the IPv4 block itself"))
        }
        Some(block) => Ok(block),
        None => Err(format!("`{text}` is no IP address or CIDR")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pair_matches_as_its_text_does(
            left in "[ab/]{0,3}", right in "[ab/]{0,3}", pattern in "[ab/]{0,4}", star in 0..3_u8,
        ) {
            let text = match star { 0 => pattern, 1 => format!("{pattern}*"), _ => format!("*{pattern}") };
            if let Ok(pattern) = Pattern::parse(&text) {
                let joined = format!("{left}/{right}");
                prop_assert_eq!(pair_matches(&pattern, &left, '/', &right), pattern.matches(&joined));
            }
        }
    }

    #[test]
    fn service_accounts_name_their_namespace() {
        let matches =
            |text: &str, account: &str| service_account("tools", text).map(|pattern| pattern.matches(account));
        assert_eq!(matches("web", "tools/web"), Ok(true));
        assert_eq!(matches("web", "other/web"), Ok(false));
        assert_eq!(matches("other/web", "other/web"), Ok(true));
        assert_eq!(matches("other/*", "other/web"), Ok(true));
        assert_eq!(matches("*/web", "other/web"), Ok(true));
        assert_eq!(matches("cert-manager.io", "tools/cert-managerXio"), Ok(false));
        for bad in ["*", "we*", "a/b/c", "/web", "a/", "", "a*/b", "a/*b"] {
            assert!(matches(bad, "tools/web").is_err(), "{bad}");
        }
    }
}

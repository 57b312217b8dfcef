//! Who a principal is, as Istio's patterns see it: anywhere in `TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`, by bytes.

/// A text in which every `*` stands for any text: how Istio reads namespaces, and nothing else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Glob(Box<[Box<str>]>);

impl Glob {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty: write a namespace, or `*` for any".into());
        }
        Ok(Self(text.split('*').map(Box::from).collect()))
    }

    fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return text == &**first };
        let Some(mut left) = text.strip_prefix(&**first) else { return false };
        for part in middle {
            match left.split_once(&**part) {
                _ if part.is_empty() => {}
                Some((_, after)) => left = after,
                None => return false,
            }
        }
        left.ends_with(&**last)
    }
}

/// What stands after each `/ns/` of the principal.
fn after_ns(principal: &str) -> impl Iterator<Item = &str> {
    tails(principal).filter_map(|tail| tail.strip_prefix("ns/"))
}

/// What stands after each slash.
fn tails(text: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(text.split_once('/'), |(_, tail)| tail.split_once('/')).map(|(_, tail)| tail)
}

/// Whether `/ns/NAMESPACE/` stands in the principal, with a namespace that matches.
pub(super) fn is_in(principal: &str, namespace: &Glob) -> bool {
    after_ns(principal).any(|after| {
        let ends = after.char_indices().filter(|(_, char)| *char == '/').map(|(at, _)| at);
        ends.into_iter().any(|end| after.get(..end).is_some_and(|name| namespace.matches(name)))
    })
}

/// One service account; patterns are not known to Istio here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Account {
    namespace: Box<str>,
    name: Box<str>,
}

impl Account {
    /// `namespace/name`, or `name` in the policy's own namespace.
    pub(super) fn parse(own: &str, text: &str) -> Result<Self, String> {
        let (namespace, name) = text.split_once('/').unwrap_or((own, text));
        let odd = [namespace, name].iter().any(|part| part.is_empty() || part.contains(['*', '/']));
        if odd {
            return Err(format!("`{text}` is no service account: write `namespace/name`, or `name` in `{own}`"));
        }
        Ok(Self { namespace: namespace.into(), name: name.into() })
    }

    /// Whether `/ns/NAMESPACE/` and, somewhere after it, the segments `sa/NAME` stand in the principal.
    pub(super) fn is(&self, principal: &str) -> bool {
        let names = |text: &str| {
            let rest = text.strip_prefix("sa/").and_then(|rest| rest.strip_prefix(&*self.name));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        after_ns(principal)
            .filter_map(|after| after.strip_prefix(&*self.namespace)?.strip_prefix('/'))
            .any(|rest| names(rest) || tails(rest).any(names))
    }
}

/// The principals that a written one stands for: in a mesh with trust-domain aliases a principal of one of its domains is
/// one of each; `cluster.local` names whatever the mesh's own is.
pub(super) fn with_aliases(written: &str, trust_domains: &[String]) -> Vec<String> {
    let as_is = || vec![written.to_owned()];
    let Some((domain, rest)) = written.split_once('/') else { return as_is() };
    let known = domain == "cluster.local" || trust_domains.iter().any(|own| star_matches(domain, own));
    if domain == "*" || rest.split('/').count() != 4 || !known || trust_domains.is_empty() {
        return as_is();
    }
    let mut all = Vec::with_capacity(trust_domains.len());
    for own in trust_domains {
        let one = if star_matches(domain, own) { written.to_owned() } else { format!("{own}/{rest}") };
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

/// The trust domains that a written one stands for.
pub(super) fn domain_with_aliases(written: &str, trust_domains: &[String]) -> Vec<String> {
    let own = trust_domains.iter().any(|own| own == written);
    if own { trust_domains.to_vec() } else { vec![written.to_owned()] }
}

/// Whether a trust domain as written in a principal, with a star in front or behind, names `domain`.
fn star_matches(written: &str, domain: &str) -> bool {
    match (written.strip_prefix('*'), written.strip_suffix('*')) {
        (Some(suffix), _) => domain.ends_with(suffix),
        (None, Some(prefix)) => domain.starts_with(prefix),
        (None, None) => written == domain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn namespaces() {
        let rows = [
            ("a", "td/ns/a/sa/x", true),
            ("a", "td/ns/ab/sa/x", false),
            ("a*", "td/ns/ab/sa/x", true),
            ("*b", "td/ns/ab/sa/x", true),
            ("a*c", "td/ns/abc/sa/x", true),
            ("*b*", "td/ns/abc/sa/x", true),
            ("*", "td/ns/abc/sa/x", true),
            ("a.c", "td/ns/abc/sa/x", false),
            ("a", "td/ns/a", false),
            ("a", "td/x/ns/a/y", true),
            ("sa", "td/ns/ns/sa/x", true),
            ("a", "ns/a/x", false),
            ("*", "td/spire/agent", false),
        ];
        for (glob, principal, want) in rows {
            assert_eq!(is_in(principal, &Glob::parse(glob).unwrap()), want, "{glob} {principal}");
        }
        assert!(Glob::parse("").is_err());
    }

    #[test]
    fn accounts() {
        let rows = [
            ("x", "td/ns/own/sa/x", true),
            ("x", "td/ns/other/sa/x", false),
            ("other/x", "td/ns/other/sa/x", true),
            ("cert-manager.io", "td/ns/own/sa/cert-managerXio", false),
            ("x", "td/ns/own/sa/xy", false),
            ("x", "td/ns/own/sa/x/y", true),
            ("x", "td/ns/own/pod/p/sa/x", true),
            ("x", "td/ns/own/pod/sa/y/x", false),
            ("x", "ns/own/sa/x", false),
        ];
        for (account, principal, want) in rows {
            assert_eq!(Account::parse("own", account).unwrap().is(principal), want, "{account} {principal}");
        }
        for bad in ["", "*", "a/*", "a/b/c", "/x", "a/"] {
            assert!(Account::parse("own", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn aliases() {
        let domains = ["new".to_owned(), "old-td".to_owned(), "other-td".to_owned()];
        let rows: &[(&str, &[&str])] = &[
            ("new/ns/a/sa/x", &["new/ns/a/sa/x", "old-td/ns/a/sa/x", "other-td/ns/a/sa/x"]),
            ("old-td/ns/a/sa/x", &["new/ns/a/sa/x", "old-td/ns/a/sa/x", "other-td/ns/a/sa/x"]),
            ("cluster.local/ns/a/sa/x", &["new/ns/a/sa/x", "old-td/ns/a/sa/x", "other-td/ns/a/sa/x"]),
            ("*-td/ns/a/sa/x", &["new/ns/a/sa/x", "*-td/ns/a/sa/x"]),
            ("foreign/ns/a/sa/x", &["foreign/ns/a/sa/x"]),
            ("*/ns/a/sa/x", &["*/ns/a/sa/x"]),
            ("new/ns/a/*", &["new/ns/a/*"]),
            ("*", &["*"]),
        ];
        for (written, want) in rows {
            assert_eq!(with_aliases(written, &domains), *want, "{written}");
        }
        assert_eq!(with_aliases("cluster.local/ns/a/sa/x", &[]), ["cluster.local/ns/a/sa/x"]);
        assert_eq!(domain_with_aliases("old-td", &domains), domains);
        assert_eq!(domain_with_aliases("cluster.local", &domains), ["cluster.local"]);
    }

    proptest! {
        #[test]
        fn globs_match_as_regular_expressions_do(glob in "[ab*]{1,5}", text in "[ab]{0,6}") {
            let regex = regex::Regex::new(&format!("^{}$", glob.replace('*', ".*"))).unwrap();
            prop_assert_eq!(Glob::parse(&glob).unwrap().matches(&text), regex.is_match(&text));
        }
    }
}

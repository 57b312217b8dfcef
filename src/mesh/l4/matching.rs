use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Account, Authorization, Connection, Group, Match, Rule, Text};

impl Authorization {
    pub(super) fn matches(&self, connection: &Connection<'_>) -> bool {
        self.groups.iter().any(|group| group.rules.iter().all(|rule| rule.holds(connection)))
    }
}

impl Group {
    /// Whom this group, as a DENY, does not refuse on `port`; none where it could let anyone else through.
    pub(super) fn exempt(&self, port: u16) -> Option<BTreeSet<Arc<str>>> {
        let mut exempt = BTreeSet::new();
        for rule in &self.rules {
            // One match that holds for everyone else is enough for the rule; the narrowest of them is the truest.
            let wide = rule.matches.iter().filter_map(|one| one.exempt(port));
            match wide.min_by_key(BTreeSet::len) {
                Some(few) => exempt.extend(few),
                None if rule.matches.is_empty() => {}
                None => return None,
            }
        }
        Some(exempt)
    }
}

impl Rule {
    fn holds(&self, connection: &Connection<'_>) -> bool {
        self.matches.is_empty() || self.matches.iter().any(|one| !one.is_empty() && one.holds(connection))
    }
}

/// A field and its `not` form.
fn field<T>(values: &[T], not: &[T], matches: impl Fn(&T) -> bool) -> bool {
    (values.is_empty() || values.iter().any(&matches)) && !not.iter().any(&matches)
}

impl Match {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn holds(&self, connection: &Connection<'_>) -> bool {
        let istio = connection.identity.and_then(|id| id.istio());
        let namespace = istio.map_or("", |istio| &istio.namespace);
        let account = |account: &Account| {
            istio.is_some_and(|id| id.namespace == account.namespace && id.service_account == account.service_account)
        };
        // Without an identity no principal matches, not even `*`.
        let principal = |text: &Text| connection.identity.is_some_and(|id| text.matches(id.principal()));
        let (from, to) = (connection.source.to_canonical(), connection.destination.ip().to_canonical());
        let port = connection.destination.port();
        field(&self.namespaces, &self.not_namespaces, |text| text.matches(namespace))
            && field(&self.service_accounts, &self.not_service_accounts, account)
            && field(&self.principals, &self.not_principals, principal)
            && field(&self.source_ips, &self.not_source_ips, |net| net.contains(&from))
            && field(&self.destination_ips, &self.not_destination_ips, |net| net.contains(&to))
            && field(&self.destination_ports, &self.not_destination_ports, |one| *one == port)
    }

    /// For whom alone it does not hold on `port`; none where that is not a finite list.
    fn exempt(&self, port: u16) -> Option<BTreeSet<Arc<str>>> {
        let about_all = Self {
            not_principals: self.not_principals.clone(),
            destination_ports: self.destination_ports.clone(),
            not_destination_ports: self.not_destination_ports.clone(),
            ..Self::default()
        };
        if self.is_empty()
            || *self != about_all
            || !field(&self.destination_ports, &self.not_destination_ports, |one| *one == port)
        {
            return None;
        }
        self.not_principals
            .iter()
            .map(|text| if let Text::Exact(text) = text { Some(Arc::clone(text)) } else { None })
            .collect()
    }
}

impl Text {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *text,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::Presence(_) => !text.is_empty(),
        }
    }
}

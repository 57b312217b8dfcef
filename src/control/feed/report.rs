use std::collections::{BTreeMap, BTreeSet};

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

/// Documents that one report names; of more it tells the namespaces.
const NAMED: usize = 1_024;
/// Namespaces that are told so.
const NAMESPACES: usize = 256;
/// Of one reason, characters.
const REASON: usize = 256;
/// Of one name, bytes: a group, a kind, and two names of Kubernetes.
const NAME: usize = 1_024;
/// Members of the node's metadata.
const UNENFORCED: &str = "agent-waypoint.dev/unenforced";
const MORE: &str = "agent-waypoint.dev/unenforced-more";
const MORE_WITHIN: &str = "agent-waypoint.dev/unenforced-more-within";

/// What a waypoint says of its documents beside that it has them: which of them do not decide, as they, or others, closed
/// their targets. Bounded, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// By the resource's name, why.
    pub unenforced: BTreeMap<String, String>,
    /// Where there are more than are named: of a document there that is not, nobody knows.
    pub more: More,
}

/// Where more documents do not decide than are named. One namespace's must not cast doubt on those of others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum More {
    /// Nowhere.
    #[default]
    No,
    /// In these namespaces.
    Within(BTreeSet<String>),
    /// Who knows.
    Anywhere,
}

impl More {
    /// Of these namespaces, as somebody says; of none, and of too many, it says nothing.
    pub fn within(namespaces: BTreeSet<String>) -> Self {
        if (1..=NAMESPACES).contains(&namespaces.len()) { Self::Within(namespaces) } else { Self::Anywhere }
    }

    fn add(&mut self, name: &str) {
        let Some(namespace) = namespace(name).filter(|_| name.len() <= NAME) else {
            *self = Self::Anywhere;
            return;
        };
        let mut all = match std::mem::replace(self, Self::Anywhere) {
            Self::No => BTreeSet::new(),
            Self::Within(all) => all,
            Self::Anywhere => return,
        };
        all.insert(namespace.to_owned());
        *self = Self::within(all);
    }

    fn is_about(&self, name: &str) -> bool {
        match self {
            Self::No => false,
            Self::Within(all) => namespace(name).is_none_or(|namespace| all.contains(namespace)),
            Self::Anywhere => true,
        }
    }
}

/// Of a resource `GROUP/KIND/NAMESPACE/NAME`.
fn namespace(name: &str) -> Option<&str> {
    name.split('/').nth(2)
}

impl Report {
    /// Of everything that is known to the waypoint.
    pub fn new<'a>(all: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut report = Self::default();
        for (name, why) in all {
            if report.unenforced.len() >= NAMED || name.len() > NAME {
                report.more.add(name);
            } else {
                report.unenforced.insert(name.to_owned(), shortened(why));
            }
        }
        report
    }

    /// What one end was told by another: the documents that it names, whether there `may_be_more`, and within which
    /// namespaces, if that was said, in a form that can be read.
    pub fn told<'a>(
        all: impl IntoIterator<Item = (&'a str, &'a str)>,
        may_be_more: bool,
        within: Option<Option<BTreeSet<String>>>,
    ) -> Self {
        let mut report = Self::new(all);
        match (may_be_more, within) {
            (false, None) => {}
            (_, Some(within)) if report.more == More::No => report.more = within.map_or(More::Anywhere, More::within),
            _ => report.more = More::Anywhere,
        }
        report
    }

    /// Whether a document decides, as far as this says; why not, if it does not.
    ///
    /// # Errors
    /// Why it does not, or that it is not known.
    pub fn of(&self, name: &str) -> Result<(), &str> {
        match self.unenforced.get(name) {
            Some(why) => Err(why),
            None if self.more.is_about(name) => {
                Err("more targets are closed there than are named; see the waypoint's own log")
            }
            None => Ok(()),
        }
    }

    /// As metadata of a node.
    pub fn metadata(&self) -> Struct {
        let value = |kind| Value { kind: Some(kind) };
        let text = |text: &String| value(Kind::StringValue(text.clone()));
        let fields = self.unenforced.iter().map(|(name, why)| (name.clone(), text(why))).collect();
        let unenforced = value(Kind::StructValue(Struct { fields }));
        let more = value(Kind::BoolValue(self.more != More::No));
        let mut fields: BTreeMap<String, Value> = [(UNENFORCED.to_owned(), unenforced), (MORE.to_owned(), more)].into();
        if let More::Within(all) = &self.more {
            let values = all.iter().map(text).collect();
            fields.insert(MORE_WITHIN.to_owned(), value(Kind::ListValue(ListValue { values })));
        }
        Struct { fields }
    }

    /// From metadata of a node; none where it says nothing of the kind, as waypoints before 0.1 did.
    pub fn read(metadata: &Struct) -> Option<Self> {
        let Some(Kind::StructValue(unenforced)) = &metadata.fields.get(UNENFORCED)?.kind else { return None };
        // What is no text is no reason, but no permission either.
        let text = |value: &Value| match &value.kind {
            Some(Kind::StringValue(why)) => why.clone(),
            _ => "no reason given".to_owned(),
        };
        let all: Vec<(&str, String)> = unenforced.fields.iter().map(|(name, why)| (name.as_str(), text(why))).collect();
        let kind = |field: &str| metadata.fields.get(field).and_then(|value| value.kind.as_ref());
        let within = kind(MORE_WITHIN).map(|within| {
            let Kind::ListValue(all) = within else { return None };
            let texts = all.values.iter().map(|value| match &value.kind {
                Some(Kind::StringValue(namespace)) => Some(namespace.clone()),
                _ => None,
            });
            texts.collect()
        });
        let may_be_more = !matches!(kind(MORE), Some(Kind::BoolValue(false)));
        Some(Self::told(all.iter().map(|(name, why)| (*name, why.as_str())), may_be_more, within))
    }
}

/// In one line of bounded length: it comes to stand in conditions, events and terminals.
fn shortened(why: &str) -> String {
    let mut rest = why.chars();
    let mut short: String = rest.by_ref().take(REASON).filter(|one| !one.is_control()).collect();
    if rest.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_again() {
        for report in [
            Report::default(),
            Report::new([("a/b/c/d", "Service tools/repo:80 is closed: no such port")]),
            Report { more: More::Anywhere, ..Report::default() },
            Report { more: More::within(["tools".to_owned(), "b".to_owned()].into()), ..Report::default() },
        ] {
            assert_eq!(Report::read(&report.metadata()), Some(report));
        }
        assert_eq!(Report::read(&Struct::default()), None, "an older waypoint says nothing");
    }

    #[test]
    fn however_much_there_is_the_report_is_bounded_and_nothing_unnamed_is_vouched_for() {
        let names: Vec<String> = (0..NAMED + 1).map(|n| format!("g/Kind/ns/{n:05}")).collect();
        let why = "é".repeat(10_000);
        let report = Report::new(names.iter().map(|name| (name.as_str(), why.as_str())));
        assert_eq!(report.unenforced.len(), NAMED);
        assert!(report.unenforced.values().all(|why| why.chars().count() == REASON + 1));
        let not_named = [names[NAMED].as_str(), "g/Kind/ns/other", "other"];
        assert!(report.of(&names[0]).is_err() && not_named.iter().all(|name| report.of(name).is_err()));
        assert_eq!(Report::new([("doc", "a\u{1b}[31m\nb")]).of("doc"), Err("a[31mb"));
        let long = "n".repeat(NAME + 1);
        let report = Report::new([(long.as_str(), "why")]);
        assert!(report.of(&long).is_err());
    }

    #[test]
    fn what_one_namespace_has_too_much_of_says_nothing_of_others() {
        let names: Vec<String> = (0..2 * NAMED).map(|n| format!("g/Kind/noisy/{n:05}")).collect();
        // The other's comes after all of them.
        let all = names.iter().map(String::as_str).chain(["g/Kind/other/closed"]).map(|name| (name, "why"));
        let report = Report::read(&Report::new(all).metadata()).unwrap();
        assert_eq!(report.of("g/Kind/quiet/p"), Ok(()), "nothing of that namespace is closed");
        for name in ["g/Kind/noisy/p", "g/Kind/noisy/02000", "g/Kind/other/closed", "g/Kind/other/open", "no name"] {
            assert!(report.of(name).is_err(), "{name}");
        }
        // Nor are namespaces that are told without bound.
        let names: Vec<String> = (0..NAMED + NAMESPACES + 1).map(|n| format!("g/Kind/ns-{n:05}/p")).collect();
        let report = Report::new(names.iter().map(|name| (name.as_str(), "why")));
        assert_eq!(report.more, More::Anywhere);
        assert!(Report::read(&report.metadata()).unwrap().of("g/Kind/quiet/p").is_err());
        // An older controller takes it for what it knows.
        let report = Report { more: More::within(["a".to_owned()].into()), ..Report::default() };
        assert_eq!(report.metadata().fields[MORE].kind, Some(Kind::BoolValue(true)));
    }

    #[test]
    fn what_says_it_in_another_shape_vouches_for_nothing() {
        let kind = |kind| Value { kind: Some(kind) };
        let odd = Struct { fields: [("doc".to_owned(), kind(Kind::NumberValue(1.0)))].into() };
        let metadata = Struct { fields: [(UNENFORCED.to_owned(), kind(Kind::StructValue(odd)))].into() };
        let report = Report::read(&metadata).unwrap();
        assert!(report.of("doc").is_err() && report.of("other").is_err(), "without `more` there may be more");
        let metadata = Struct { fields: [(UNENFORCED.to_owned(), kind(Kind::BoolValue(true)))].into() };
        assert_eq!(Report::read(&metadata), None);
    }
}

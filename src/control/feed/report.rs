use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{Struct, Value};

/// Documents that one report names; more are counted only.
const NAMED: usize = 1_024;
/// Of one reason, characters.
const REASON: usize = 256;
/// Of one name, bytes: a group, a kind, and two names of Kubernetes.
const NAME: usize = 1_024;
/// Members of the node's metadata.
const UNENFORCED: &str = "agent-waypoint.dev/unenforced";
const MORE: &str = "agent-waypoint.dev/unenforced-more";

/// What a waypoint says of its documents beside that it has them: which of them do not decide, as they, or others, closed
/// their targets. Bounded, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// By the resource's name, why.
    pub unenforced: BTreeMap<String, String>,
    /// There are more than are named: of a document that is not, nobody knows.
    pub more: bool,
}

impl Report {
    /// Of everything that is known to the waypoint.
    pub fn new<'a>(all: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut report = Self::default();
        for (name, why) in all {
            if report.unenforced.len() >= NAMED || name.len() > NAME {
                report.more = true;
            } else {
                report.unenforced.insert(name.to_owned(), shortened(why));
            }
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
            None if self.more => Err("more targets are closed there than are named; see the waypoint's own log"),
            None => Ok(()),
        }
    }

    /// As metadata of a node.
    pub fn metadata(&self) -> Struct {
        let text = |why: &String| Value { kind: Some(Kind::StringValue(why.clone())) };
        let fields = self.unenforced.iter().map(|(name, why)| (name.clone(), text(why))).collect();
        let unenforced = Value { kind: Some(Kind::StructValue(Struct { fields })) };
        let more = Value { kind: Some(Kind::BoolValue(self.more)) };
        Struct { fields: [(UNENFORCED.to_owned(), unenforced), (MORE.to_owned(), more)].into() }
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
        let mut report = Self::new(all.iter().map(|(name, why)| (*name, why.as_str())));
        let more = metadata.fields.get(MORE).and_then(|more| more.kind.as_ref());
        report.more |= !matches!(more, Some(Kind::BoolValue(false)));
        Some(report)
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
            Report { more: true, ..Report::default() },
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
        assert_eq!((report.unenforced.len(), report.more), (NAMED, true));
        assert!(report.unenforced.values().all(|why| why.chars().count() == REASON + 1));
        assert!(report.of(&names[0]).is_err() && report.of(&names[NAMED]).is_err() && report.of("other").is_err());
        assert_eq!(Report::new([("doc", "a\u{1b}[31m\nb")]).of("doc"), Err("a[31mb"));
        let long = "n".repeat(NAME + 1);
        let report = Report::new([(long.as_str(), "why")]);
        assert!(report.of(&long).is_err());
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

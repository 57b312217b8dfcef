//! Public cards, for rules: what was decided of each when it was last seen, believed or refused.
//!
//! What is decided later holds, on whichever replica: a card that was believed and then refused gives rules nothing any
//! more. Later is said by the clocks of the replicas, and by having known the earlier one; of two decisions of one moment
//! none holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::call::{A2aMount, Card};
use crate::config::limits::MAX_CARDS;
use crate::mesh::TargetKey;

/// Before the name of a card's document.
const WELL_KNOWN: &str = "/.well-known/";
/// Its names: what an agent says at the first holds, whatever it says at the one of 0.2.
const DOCUMENTS: [&str; 2] = ["agent-card.json", "agent.json"];

/// What was decided of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Of the rules that looked at it: under others it may not be verified.
    pub(super) revision: u64,
    /// When, in milliseconds since 1970, or later than what was known before.
    pub(super) at: u64,
    /// None where it was refused.
    pub(super) card: Option<Arc<Card>>,
}

/// By target, each with its path.
#[derive(Debug, Default)]
pub(super) struct Cards {
    of: HashMap<TargetKey, Vec<(Arc<str>, Seen)>>,
    count: usize,
}

impl Cards {
    /// Notes what rules of `revision` decided of the card at `path` of `target` just now; where it is news, all of it.
    pub(super) fn decide(
        &mut self,
        (target, path): (&TargetKey, &Arc<str>),
        revision: u64,
        card: Option<Card>,
    ) -> Option<Seen> {
        let known = self.find(target, path);
        if known.is_some_and(|known| known.revision == revision && known.card.as_deref() == card.as_ref()) {
            return None;
        }
        let later = known.map_or(0, |known| known.at.saturating_add(1));
        let seen = Seen { revision, at: now().max(later), card: card.map(Arc::new) };
        self.put(target, path, seen.clone());
        Some(seen)
    }

    /// Takes what another replica, or the file, says; what is known now, where that is news.
    pub(super) fn adopt(&mut self, target: &TargetKey, path: &Arc<str>, told: Seen) -> Option<Seen> {
        let now = match self.find(target, path) {
            Some(known) if *known == told || known.at > told.at => return None,
            Some(known) if known.at == told.at => Seen { card: None, ..known.clone() },
            Some(_) | None => told,
        };
        if self.find(target, path) == Some(&now) {
            return None;
        }
        self.put(target, path, now.clone());
        Some(now)
    }

    /// The card of whoever is called at `mount` of `target`, as rules of `revision` believe it: that of its own place, and
    /// where the target has no other place, that at the root.
    pub(super) fn of(&self, target: &TargetKey, mount: &A2aMount, revision: u64) -> Option<Arc<Card>> {
        let seen = self.of.get(target)?;
        let at = |place: &str, document: &str| {
            let here = |path: &str| {
                let before = path.strip_suffix(document).and_then(|path| path.strip_suffix(WELL_KNOWN));
                before == Some(place)
            };
            let mut found = seen.iter().filter(|(path, _)| here(path));
            found.find(|(_, seen)| seen.revision == revision).map(|(_, seen)| seen)
        };
        let places = [Some(&*mount.path), (!mount.of_several).then_some("")];
        let mut found = places.into_iter().flatten().flat_map(|place| DOCUMENTS.iter().map(move |name| (place, *name)));
        found.find_map(|(place, document)| at(place, document))?.card.clone()
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (&TargetKey, &Arc<str>, &Seen)> {
        self.of.iter().flat_map(|(target, seen)| seen.iter().map(move |(path, seen)| (target, path, seen)))
    }

    fn find(&self, target: &TargetKey, path: &str) -> Option<&Seen> {
        self.of.get(target)?.iter().find(|(known, _)| **known == *path).map(|(_, seen)| seen)
    }

    /// Beyond [`MAX_CARDS`] nothing new: who is not known gives rules nothing.
    fn put(&mut self, target: &TargetKey, path: &Arc<str>, seen: Seen) {
        let of = self.of.entry(target.clone()).or_default();
        match of.iter_mut().find(|(known, _)| known == path) {
            Some((_, known)) => *known = seen,
            None if self.count < MAX_CARDS => {
                of.push((Arc::clone(path), seen));
                self.count += 1;
            }
            None => {}
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::TargetKind;

    const ROOT: &str = "/.well-known/agent-card.json";

    fn target() -> TargetKey {
        TargetKey { kind: TargetKind::Service, namespace: "a".into(), name: "x".into(), port: 80, at: None }
    }

    fn card(digest: &str) -> Card {
        Card { verified: true, key_id: None, digest: digest.into(), skills: Vec::new() }
    }

    fn at(path: &str, of_several: bool) -> A2aMount {
        A2aMount { path: path.into(), of_several }
    }

    fn digest(cards: &Cards, mount: &A2aMount) -> Option<String> {
        cards.of(&target(), mount, 7).map(|card| card.digest.to_string())
    }

    fn decide(cards: &mut Cards, path: &str, card: Option<Card>) -> Option<Seen> {
        cards.decide((&target(), &path.into()), 7, card)
    }

    #[test]
    fn a_refused_card_takes_away_what_an_earlier_one_gave() {
        let mut cards = Cards::default();
        assert!(decide(&mut cards, ROOT, Some(card("1"))).is_some());
        assert_eq!(decide(&mut cards, ROOT, Some(card("1"))), None, "no news");
        assert_eq!(digest(&cards, &at("", false)).as_deref(), Some("1"));
        assert!(decide(&mut cards, ROOT, None).is_some());
        assert_eq!(digest(&cards, &at("", false)), None);
        assert_eq!(decide(&mut cards, ROOT, None), None);
        assert!(decide(&mut cards, ROOT, Some(card("1"))).is_some());
        assert_eq!(digest(&cards, &at("", false)).as_deref(), Some("1"));
        assert!(cards.of(&target(), &at("", false), 8).is_none(), "other rules have not looked at it");
    }

    #[test]
    fn each_place_has_its_own() {
        let mut cards = Cards::default();
        decide(&mut cards, ROOT, Some(card("root")));
        decide(&mut cards, "/a/.well-known/agent-card.json", Some(card("a")));
        decide(&mut cards, "/b/.well-known/agent-card.json", None);
        for (mount, found) in [
            (at("", true), Some("root")),
            (at("/a", true), Some("a")),
            (at("/b", true), None),
            (at("/c", true), None),
            // One agent whose bindings are at several places: its card may be at the root.
            (at("/c", false), Some("root")),
            (at("/b", false), None),
        ] {
            assert_eq!(digest(&cards, &mount).as_deref(), found, "{mount:?}");
        }
        // Who asks for the document of 0.2 takes nothing away from the other, and gives nothing that it lacks.
        decide(&mut cards, "/.well-known/agent.json", None);
        assert_eq!(digest(&cards, &at("", true)).as_deref(), Some("root"));
        decide(&mut cards, "/b/.well-known/agent.json", Some(card("old")));
        assert_eq!(digest(&cards, &at("/b", true)), None);
        decide(&mut cards, "/d/.well-known/agent.json", Some(card("old")));
        assert_eq!(digest(&cards, &at("/d", true)).as_deref(), Some("old"));
    }

    #[test]
    fn what_is_decided_later_holds_whoever_tells_it_last() {
        let (mut one, mut other) = (Cards::default(), Cards::default());
        let believed = decide(&mut one, ROOT, Some(card("1"))).unwrap();
        assert!(other.adopt(&target(), &ROOT.into(), believed.clone()).is_some());
        // Not later by the clock, which may stand still: later than what was known.
        let refused = decide(&mut other, ROOT, None).unwrap();
        assert!(refused.at > believed.at);
        assert!(one.adopt(&target(), &ROOT.into(), refused).is_some());
        for cards in [&mut one, &mut other] {
            assert_eq!(cards.adopt(&target(), &ROOT.into(), believed.clone()), None, "an earlier one told again");
            assert_eq!(digest(cards, &at("", false)), None);
        }
    }

    #[test]
    fn of_two_of_one_moment_none_holds() {
        let seen = |digest: &str| Seen { revision: 7, at: 5, card: Some(Arc::new(card(digest))) };
        let (mut one, mut other) = (Cards::default(), Cards::default());
        for (cards, first, second) in [(&mut one, "1", "2"), (&mut other, "2", "1")] {
            cards.adopt(&target(), &ROOT.into(), seen(first));
            assert!(cards.adopt(&target(), &ROOT.into(), seen(second)).is_some());
            assert_eq!(digest(cards, &at("", false)), None);
            assert_eq!(cards.adopt(&target(), &ROOT.into(), seen(first)), None, "and it stays so");
        }
    }

    #[test]
    fn there_are_only_so_many() {
        let mut cards = Cards::default();
        for place in 0..=MAX_CARDS {
            decide(&mut cards, &format!("/{place}{ROOT}"), Some(card("1")));
        }
        assert_eq!(cards.all().count(), MAX_CARDS);
        assert!(digest(&cards, &at("/0", true)).is_some());
        assert!(digest(&cards, &at(&format!("/{MAX_CARDS}"), true)).is_none());
    }
}

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

/// Of what a server says, bytes: some thirty kinds have a line each.
const MAX_TEXT: usize = 16 << 10;

/// What a state of the cluster holds of one kind, and how far it was followed: enough to say which of two is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edition {
    /// The last `resourceVersion` that is known to be in it; none where one was no number.
    upto: Option<u64>,
    /// Of all objects and their versions, in whatever order they came: equal sums are equal objects.
    sum: u128,
}

impl Default for Edition {
    fn default() -> Self {
        Self { upto: Some(0), sum: 0 }
    }
}

impl Edition {
    /// The API server's version `version` is in it (a number that grows, of one kind: KEP-5504). What is none leaves the kind
    /// without an order until it is listed anew.
    pub fn reached(&mut self, version: &str) {
        self.upto = self.upto.zip(version.parse().ok()).map(|(known, version): (u64, u64)| known.max(version));
    }

    /// An object is there.
    pub fn put(&mut self, object: (&str, &str, &str)) {
        self.sum = self.sum.wrapping_add(mark(object));
    }

    /// An object that was there is no more.
    pub fn remove(&mut self, object: (&str, &str, &str)) {
        self.sum = self.sum.wrapping_sub(mark(object));
    }

    /// Whether this is what there was before `held`, and no longer is. Both were the only truth of their version: where
    /// they differ, the lower is the older.
    fn is_older_than(self, held: Self) -> bool {
        self.sum != held.sum
            && match (self.upto, held.upto) {
                (Some(own), Some(held)) => own < held,
                (None, Some(held)) => held > 0,
                (_, None) => false,
            }
    }
}

/// Namespace, name and version of an object, as a number.
fn mark((namespace, name, version): (&str, &str, &str)) -> u128 {
    // A NUL is in none of them.
    let text = [namespace, name, version].join("\0");
    digest(&SHA256, text.as_bytes()).as_ref().first_chunk().map_or(0, |first| u128::from_be_bytes(*first))
}

/// Where a state stands among those that there were, kind by kind: kinds need not have versions of one clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order(BTreeMap<String, Edition>);

impl Order {
    /// How far `kind` is in it.
    pub fn put(&mut self, kind: &str, edition: Edition) {
        self.0.insert(kind.to_owned(), edition);
    }

    /// As a server says it; none where that cannot be read.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let lines = text.split(';').filter(|line| !line.is_empty());
        let kinds = lines.map(|line| {
            let (kind, edition) = line.split_once('=')?;
            let (upto, sum) = edition.split_once('.')?;
            let upto = if upto == "-" { None } else { Some(upto.parse().ok()?) };
            Some((kind.to_owned(), Edition { upto, sum: u128::from_str_radix(sum, 16).ok()? }))
        });
        kinds.collect::<Option<_>>().map(Self)
    }

    /// The kinds of which it is older than `held`, or says nothing though there were some.
    pub fn older_than<'h>(&self, held: &'h Self) -> Vec<&'h str> {
        let of = |kind: &str| self.0.get(kind).copied().unwrap_or_default();
        let older = held.0.iter().filter(|(kind, held)| of(kind).is_older_than(**held));
        older.map(|(kind, _)| kind.as_str()).collect()
    }

    /// Another state is in force, or one that says the same: what is known to be past is so for ever.
    pub fn follow(&mut self, other: Self) {
        for (kind, other) in other.0 {
            let held = self.0.entry(kind).or_default();
            if !other.is_older_than(*held) {
                let upto = if other.sum == held.sum { other.upto.max(held.upto) } else { other.upto };
                *held = Edition { upto, sum: other.sum };
            }
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, Edition { upto, sum }) in &self.0 {
            match upto {
                Some(upto) => write!(f, "{kind}={upto}.{sum:x};")?,
                None => write!(f, "{kind}=-.{sum:x};")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A replica's view of one kind: objects by number with their versions, and how far it was followed.
    fn edition(upto: u64, objects: &[(u64, u64)]) -> Edition {
        let mut edition = Edition::default();
        edition.reached(&upto.to_string());
        objects.iter().for_each(|(name, version)| edition.put(("ns", &name.to_string(), &version.to_string())));
        edition
    }

    fn order(edition: Edition) -> Order {
        Order([("Service".to_owned(), edition)].into())
    }

    #[test]
    fn what_differs_and_is_of_an_earlier_version_is_older() {
        let held = order(edition(9, &[(1, 4), (2, 9)]));
        for (said, edition, is_older) in [
            ("the same", edition(9, &[(2, 9), (1, 4)]), false),
            ("the same, of which less is known", edition(5, &[(1, 4), (2, 9)]), false),
            ("before an object came", edition(8, &[(1, 4)]), true),
            ("with one that is gone, followed as far", edition(8, &[(1, 4), (2, 9), (3, 8)]), true),
            ("after one went", edition(10, &[(1, 4)]), false),
            ("no numbers", Edition { upto: None, sum: 1 }, true),
            ("no such kind", Edition::default(), true),
        ] {
            assert_eq!(!order(edition).older_than(&held).is_empty(), is_older, "{said}");
        }
        assert_eq!(Order::default().older_than(&held), ["Service"], "of a controller that says nothing of it");
        let unknown = order(Edition { upto: None, sum: 7 });
        assert!(unknown.older_than(&Order::default()).is_empty() && Order::default().older_than(&unknown).is_empty());
    }

    #[test]
    fn what_is_said_is_read_again_and_nothing_else_is() {
        let mut order = order(edition(9, &[(1, 4)]));
        order.put("a kind", Edition { upto: None, sum: u128::MAX });
        assert_eq!(Order::read(&order.to_string()), Some(order));
        assert_eq!(Order::read(""), Some(Order::default()));
        for odd in ["Service", "Service=1", "Service=x.0", "Service=1.g", &"S=1.0;".repeat(MAX_TEXT)] {
            assert_eq!(Order::read(odd), None, "{odd:.20}");
        }
    }

    proptest! {
        /// Replicas that follow one history, each as far as it is, in whatever order a waypoint hears them: it never goes
        /// back, and whoever is not behind is heard.
        #[test]
        fn a_waypoint_goes_along_the_history_and_never_back(
            steps in prop::collection::vec((0_u64..4, any::<bool>()), 1..24),
            heard in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..3), 1..24),
        ) {
            let mut history = vec![BTreeMap::new()];
            for (version, (name, stays)) in (1_u64..).zip(steps) {
                let mut objects: BTreeMap<u64, u64> = history.last().unwrap().clone();
                if stays { objects.insert(name, version) } else { objects.remove(&name) };
                history.push(objects);
            }
            let (mut held, mut at) = (Order::default(), 0);
            for (index, unheard) in heard {
                let place = index.index(history.len());
                let objects: Vec<_> = history[place].iter().map(|(name, version)| (*name, *version)).collect();
                // A state may be known to be true for longer than since its last change, or not.
                let last = (place..).take_while(|later| history.get(*later) == history.get(place)).last().unwrap();
                let said = order(edition(last.saturating_sub(unheard).max(place) as u64, &objects));
                let refused = !said.older_than(&held).is_empty();
                let same = history[place] == history[at];
                prop_assert_eq!(refused, place < at && !same, "{} after {}", place, at);
                if !refused {
                    held.follow(said);
                    at = at.max(place);
                }
            }
        }
    }
}

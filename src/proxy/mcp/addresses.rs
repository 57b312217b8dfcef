//! The addresses of servers' own to which clients of 2024-11-05 do not post: theirs are sealed. A caller that guesses a
//! session's address would else speak in another's session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::mesh::TargetKey;

/// Addresses that are guarded at once; beyond, no session of such an address begins.
const MAX_ADDRESSES: usize = 65_536;
/// Those of one target: a server that tells of ever other ones takes none of another's.
const MAX_OF_TARGET: usize = 4_096;

/// Servers disagree on whether `/m`, `/m/` and `/M` are one path: here they are.
type Place = (TargetKey, Box<str>);

/// The addresses seen so far.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Addresses(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    places: HashMap<Place, Seen>,
    /// How many of them are each target's.
    of_targets: HashMap<TargetKey, usize>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    /// Whether sessions are told apart by the query: then whatever has one is a session's. This stays, as every server's
    /// address does.
    by_query: bool,
    /// Sessions that are known by the path alone, while they last.
    alone: usize,
}

/// One session's address; no longer guarded for its sake once this is dropped.
#[derive(Debug)]
pub(super) struct Guarded {
    addresses: Addresses,
    alone: Option<Place>,
}

impl Addresses {
    /// Guards a session's address; none where there are too many.
    pub(super) fn guard(&self, target: &TargetKey, path: &str, query: Option<&str>) -> Option<Guarded> {
        let place = place(target, path);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { places, of_targets } = &mut *known;
        if !places.contains_key(&place) {
            let of_target = of_targets.get(target).copied().unwrap_or_default();
            if places.len() >= MAX_ADDRESSES || of_target >= MAX_OF_TARGET {
                return None;
            }
            of_targets.insert(target.clone(), of_target + 1);
        }
        let entry = places.entry(place.clone()).or_default();
        let alone = query.is_none().then_some(place);
        match alone {
            Some(_) => entry.alone = entry.alone.saturating_add(1),
            None => entry.by_query = true,
        }
        Some(Guarded { addresses: self.clone(), alone })
    }

    /// Whether a message to this address could reach a session.
    pub(super) fn guards(&self, target: &TargetKey, path: &str, query: Option<&str>) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let places = &known.places;
        let seen = if places.is_empty() { None } else { places.get(&place(target, path)).copied() };
        seen.is_some_and(|seen| seen.alone > 0 || seen.by_query && query.is_some())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(place) = self.alone.take() else { return };
        let mut known = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = known.places.get_mut(&place) else { return };
        entry.alone = entry.alone.saturating_sub(1);
        if entry.alone > 0 || entry.by_query {
            return;
        }
        known.places.remove(&place);
        if let Some(of_target) = known.of_targets.get_mut(&place.0) {
            *of_target = of_target.saturating_sub(1);
            if *of_target == 0 {
                known.of_targets.remove(&place.0);
            }
        }
    }
}

fn place(target: &TargetKey, path: &str) -> Place {
    (target.clone(), path.trim_end_matches('/').to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::TargetKind;

    fn target(name: &str) -> TargetKey {
        TargetKey { kind: TargetKind::Service, namespace: "tools".into(), name: name.into(), port: 80, at: None }
    }

    #[test]
    fn whatever_could_reach_a_session_is_guarded() {
        let (addresses, notes) = (Addresses::default(), target("notes"));
        let guards = |path: &str, query: Option<&str>| addresses.guards(&notes, path, query);
        let by_query = addresses.guard(&notes, "/messages", Some("sid=A")).unwrap();
        for query in ["sid=A", "sid=A&x=1", "x=1&sid=A", "%73id=A", "sid=B", ""] {
            assert!(guards("/messages", Some(query)) && guards("/Messages/", Some(query)), "{query}");
        }
        assert!(!guards("/messages", None) && !guards("/mcp", Some("sid=A")));
        assert!(!addresses.guards(&target("other"), "/messages", Some("sid=A")));
        drop(by_query);
        assert!(guards("/messages", Some("sid=A")), "the server is as it was");
        let alone = addresses.guard(&notes, "/m/s3cret", None).unwrap();
        assert!(guards("/m/s3cret", None) && guards("/M/s3cret/", Some("x=1")));
        drop(alone);
        assert!(!guards("/m/s3cret", None));
    }

    #[test]
    fn no_server_takes_the_addresses_of_others() {
        let (addresses, many) = (Addresses::default(), target("many"));
        let kept: Vec<_> = (0..MAX_OF_TARGET)
            .filter_map(|at| addresses.guard(&many, &format!("/{at}"), (at % 2 == 0).then_some("x")))
            .collect();
        assert_eq!(kept.len(), MAX_OF_TARGET);
        assert!(
            addresses.guard(&many, "/more", Some("x")).is_none() && addresses.guard(&many, "/0", Some("y")).is_some()
        );
        assert!(addresses.guard(&target("other"), "/m", Some("x")).is_some());
        // What is given back is there for the next one, and nothing is kept of it.
        drop(kept);
        assert!(addresses.guard(&many, "/more", Some("x")).is_some());
        let alone = addresses.guard(&target("alone"), "/m", None).unwrap();
        assert_eq!(addresses.0.lock().unwrap().of_targets.len(), 3);
        drop(alone);
        assert_eq!(addresses.0.lock().unwrap().of_targets.len(), 2);
    }
}

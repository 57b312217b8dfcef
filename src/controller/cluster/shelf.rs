use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Resource;
use kube::runtime::watcher::Event;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Listing;

/// How far one kind is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Standing {
    /// Not listed yet.
    #[default]
    Pending,
    /// Listed; kept through outages.
    Listed,
    /// Listed once, and refused for long since: what is known stays, and may be old.
    Lost(String),
    /// The API server serves no such kind, so there is no object of it.
    Absent,
    /// We may not list it, or cannot read what is listed: what there is of it is not known.
    Refused(String),
}

impl Standing {
    /// Whether it is known which objects there are.
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Listed | Self::Lost(_) | Self::Absent)
    }
}

/// The objects of one kind as they come in.
#[derive(Debug)]
pub(super) struct Shelf<K> {
    inner: Mutex<Inner<K>>,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Inner<K> {
    listing: Listing<K>,
    /// A list that is not complete yet: what it leaves out was deleted, known only at its end.
    coming: Listing<K>,
    is_coming: bool,
    standing: Standing,
    /// Since when it is refused, and when it was last.
    refused: Option<(Instant, Instant)>,
}

/// A server that starts, and has not read its own roles, denies no longer than this.
const PATIENCE: Duration = Duration::from_secs(15);

impl<K> Shelf<K> {
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        let (listing, coming) = (Listing::default(), Listing::default());
        let inner = Inner { listing, coming, is_coming: false, standing: Standing::default(), refused: None };
        Self { inner: Mutex::new(inner), changed }
    }

    pub(super) fn state(&self) -> (Listing<K>, Standing) {
        let inner = self.lock();
        (inner.listing.clone(), inner.standing.clone())
    }

    /// A failure to list. Once listed, a kind stays as it was: a server that starts may deny for a while what it serves.
    /// Whether that is news.
    pub(super) fn unlisted(&self, standing: Standing) -> bool {
        let mut inner = self.lock();
        let listed = matches!(inner.standing, Standing::Listed | Standing::Lost(_));
        let news = !listed && inner.standing != standing;
        if news {
            inner.standing = standing;
            self.changed.notify_one();
        }
        news
    }

    /// What was listed is refused, and has been for [`PATIENCE`]: it is not known any more whether it is so. Whether that is
    /// news.
    pub(super) fn refused(&self, why: &str) -> bool {
        let mut inner = self.lock();
        // It is asked for again every few seconds: a refusal of long before has nothing to do with this one.
        let before = inner.refused.filter(|(_, last)| last.elapsed() < 2 * PATIENCE);
        let since = before.map_or_else(Instant::now, |(since, _)| since);
        inner.refused = Some((since, Instant::now()));
        let news = inner.standing == Standing::Listed && since.elapsed() >= PATIENCE;
        if news {
            inner.standing = Standing::Lost(why.to_owned());
            self.changed.notify_one();
        }
        news
    }

    /// What is there, or comes as a list, is so in the API server's version `version`. That is no news.
    pub(super) fn reached(&self, version: &str) {
        let mut inner = self.lock();
        if inner.is_coming { inner.coming.reached(version) } else { inner.listing.reached(version) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Resource> Shelf<K> {
    /// Whether the kind is listed now and was not before.
    pub(super) fn take(&self, event: Event<K>) -> bool {
        let mut inner = self.lock();
        inner.refused = None;
        match event {
            Event::Init => (inner.coming, inner.is_coming) = (Listing::default(), true),
            Event::InitApply(object) => inner.coming.put(object),
            Event::Apply(object) => inner.listing.put(object),
            Event::Delete(object) => inner.listing.remove(&object),
            Event::InitDone => {
                inner.listing = std::mem::take(&mut inner.coming);
                inner.is_coming = false;
                let before = std::mem::replace(&mut inner.standing, Standing::Listed);
                self.changed.notify_one();
                return before != Standing::Listed;
            }
        }
        if matches!(inner.standing, Standing::Listed | Standing::Lost(_)) {
            self.changed.notify_one();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn pod(name: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.to_owned());
        pod
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_that_is_taken_away_is_lost_after_a_while_and_comes_back_with_a_list() {
        let shelf = Shelf::new(Arc::new(Notify::new()));
        assert!(!shelf.refused("forbidden"), "never listed: that is said otherwise");
        for event in [Event::Init, Event::InitApply(pod("a")), Event::InitDone] {
            shelf.take(event);
        }
        assert!(!shelf.refused("forbidden"), "a server that starts");
        tokio::time::advance(PATIENCE).await;
        assert!(shelf.refused("forbidden"));
        assert!(!shelf.refused("forbidden"), "told once");
        let (listing, standing) = shelf.state();
        assert_eq!((listing.len(), standing.clone()), (1, Standing::Lost("forbidden".to_owned())));
        assert!(standing.is_known(), "what is known stays");
        assert!(!shelf.unlisted(Standing::Refused("forbidden".to_owned())));
        shelf.take(Event::Init);
        assert!(matches!(shelf.state().1, Standing::Lost(_)));
        assert!(shelf.take(Event::InitDone), "said again");
        assert_eq!((shelf.state().0.len(), shelf.state().1), (0, Standing::Listed));
        assert!(!shelf.refused("forbidden"), "patience begins anew");
    }

    #[test]
    fn a_new_list_takes_the_place_of_the_old_at_its_end() {
        let shelf = Shelf::new(Arc::new(Notify::new()));
        assert_eq!(shelf.state().1, Standing::Pending);
        assert!(shelf.unlisted(Standing::Absent));
        assert!(!shelf.unlisted(Standing::Absent), "told once");
        shelf.take(Event::Init);
        shelf.take(Event::InitApply(pod("a")));
        assert_eq!((shelf.state().0.len(), shelf.state().1), (0, Standing::Absent));
        assert!(shelf.take(Event::InitDone));
        shelf.take(Event::Apply(pod("b")));
        assert_eq!((shelf.state().0.len(), shelf.state().1), (2, Standing::Listed));
        // An outage: what was known stays until a new list is complete.
        assert!(!shelf.unlisted(Standing::Refused("forbidden".to_owned())));
        shelf.take(Event::Init);
        shelf.take(Event::InitApply(pod("b")));
        assert_eq!((shelf.state().0.len(), shelf.state().1), (2, Standing::Listed));
        assert!(!shelf.take(Event::InitDone));
        assert_eq!(shelf.state().0.len(), 1);
        shelf.take(Event::Delete(pod("b")));
        assert!(shelf.state().0.is_empty());
    }
}

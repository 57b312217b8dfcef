use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{Error, Event};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::shelf::{Shelf, Standing};
use super::tail::{News, Tail};

/// The watch of one kind.
pub(super) struct Watching<K> {
    pub(super) kind: String,
    /// Its versions, the best first.
    pub(super) apis: Vec<Api<K>>,
    /// What to do where it is not served.
    pub(super) remedy: &'static str,
    pub(super) shelf: Arc<Shelf<K>>,
}

/// Whether to go on with the version at hand.
enum Then {
    Stay,
    Next,
    Anew,
    End,
}

impl<K> Watching<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Send + Sync,
{
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut waits = Waits::default();
        for (number, api) in self.apis.iter().enumerate().cycle() {
            let last = number + 1 == self.apis.len();
            match self.version(api, last, &stop).await {
                Then::End | Then::Stay | Then::Anew => return,
                Then::Next if last => {
                    let wait = waits.next().unwrap_or(LONGEST);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                Then::Next => {}
            }
        }
    }

    /// Watches one version as long as it is served.
    async fn version(&self, api: &Api<K>, last: bool, stop: &CancellationToken) -> Then {
        let mut tail = Tail::new(api);
        loop {
            let news = tokio::select! {
                () = stop.cancelled() => return Then::End,
                news = tail.next() => news,
            };
            match news {
                Ok(News::Event(event)) => self.take(event),
                Ok(News::Reached(version)) => self.shelf.reached(&version),
                Err(error) => match self.fault(&error, last) {
                    Then::Stay => {}
                    // From a new list: a watch that goes on where it was tells nothing until something changes.
                    Then::Anew => tail = Tail::new(api),
                    then @ (Then::Next | Then::End) => return then,
                },
            }
        }
    }

    fn take(&self, event: Event<K>) {
        // Who wrote which field is half of an object's size and nobody's concern here.
        let listed = self.shelf.take(event.modify(|object| object.managed_fields_mut().clear()));
        if listed {
            tracing::info!(kind = self.kind, objects = self.shelf.state().0.len(), "listed");
        }
    }

    fn fault(&self, error: &Error, last: bool) -> Then {
        let kind = &self.kind;
        match code(error) {
            Some(404) => {
                if last && self.shelf.unlisted(Standing::Absent) {
                    tracing::warn!(kind, "the API server serves no such kind; {}; asked for again", self.remedy);
                }
                Then::Next
            }
            Some(403) => {
                if self.shelf.refused("forbidden") {
                    tracing::error!(kind, %error, "may be listed no more: bind the ClusterRole of manifests/ to our ServiceAccount; what is known stays, and no change of it reaches waypoints until then");
                    return Then::Anew;
                }
                if self.shelf.unlisted(Standing::Refused("forbidden".to_owned())) {
                    tracing::error!(kind, %error, "may not be listed: bind the ClusterRole of manifests/ to our ServiceAccount; asked for again, and waypoints get no documents until then");
                }
                Then::Stay
            }
            _ => {
                // Unreachable, too old a version (410), or an object that cannot be read.
                if let Error::InitialListFailed(kube::Error::SerdeError(fault)) = error
                    && self.shelf.unlisted(Standing::Refused(fault.to_string()))
                {
                    tracing::error!(kind, %fault, "an object cannot be read; asked for again");
                } else {
                    tracing::info!(kind, %error, "watch interrupted; what is known stays, asked for again");
                }
                Then::Stay
            }
        }
    }
}

/// The HTTP status in an error, where the API server answered.
#[expect(clippy::wildcard_enum_match_arm, reason = "kube::Error is open-ended; the rest are no answers")]
fn code(error: &Error) -> Option<u16> {
    match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits after failures: doubling from [`SHORTEST`] to [`LONGEST`].
pub(super) struct Waits(Duration);

impl Default for Waits {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        Some(wait)
    }
}

impl Backoff for Waits {
    fn reset(&mut self) {
        self.0 = SHORTEST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_begin_anew() {
        let mut waits = Waits::default();
        let seen: Vec<u128> = waits.by_ref().take(7).map(|wait| wait.as_millis()).collect();
        assert_eq!(seen, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        waits.reset();
        assert_eq!(waits.next(), Some(SHORTEST));
    }
}

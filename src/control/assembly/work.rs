//! The thread that puts what was handed over in force.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Next, Progress};
use super::findings::Findings;
use crate::document::Documents;
use crate::mesh::world::Here;
use crate::mesh::{Cache, Edition, Live, Published, Settings, Snapshot, build_with};

/// The thread's side.
pub(super) struct Work {
    pub(super) desk: Arc<Desk>,
    pub(super) findings: Arc<Findings>,
    pub(super) settings: Settings,
    pub(super) published: Arc<Published>,
    pub(super) stop: CancellationToken,
}

impl Work {
    /// Who and where is what the documents say.
    pub(super) fn on_documents(self) {
        let _released = Released(&self.desk);
        let mut cache = Cache::default();
        while let Some((offered, next)) = self.desk.next(&self.stop) {
            if let Next::Documents(documents) = next {
                self.put(&documents, &mut cache);
            }
            self.desk.reached(offered, Progress { documents: true, mesh: true });
        }
    }

    fn put(&self, documents: &Documents, cache: &mut Cache) {
        let start = Instant::now();
        let previous = self.published.current();
        let (snapshot, problems) = build_with(documents, &self.settings, &previous, cache);
        let (counts, targets) = (snapshot.counts(), snapshot.targets().len());
        told_closed(&snapshot, &previous);
        self.findings.tell(problems);
        self.findings.look(&snapshot);
        self.published.publish(snapshot);
        self.findings.published();
        let took = start.elapsed().as_millis();
        tracing::info!(counts.loaded, counts.refused, counts.skipped, targets, took, "documents in force");
    }

    /// Who and where is what istiod says.
    pub(super) fn in_mesh(self, here: Here) {
        let _released = Released(&self.desk);
        let mut live = Live::new(self.settings.clone(), here);
        let mut documents: Option<Box<Documents>> = None;
        let mut taken = 0;
        loop {
            let mut then = None;
            let (has, mut start, mut whole) = (documents.is_some(), Instant::now(), true);
            live.under(documents.as_deref(), |edition| {
                let progress = Progress { documents: has, mesh: edition.world.is_synced() };
                self.publish(edition, start, whole);
                self.desk.reached(taken, progress);
                let (offered, next) = self.desk.next(&self.stop)?;
                (taken, start, whole) = (offered, Instant::now(), false);
                match next {
                    Next::World(change) => Some(change),
                    Next::Documents(documents) => {
                        then = Some(documents);
                        None
                    }
                }
            });
            if then.is_none() {
                return;
            }
            documents = then;
        }
    }

    fn publish(&self, edition: Edition<'_>, start: Instant, whole: bool) {
        for target in &edition.closed {
            if let Some(reason) = target.closed() {
                tracing::error!(target = %target.key, reason, "closed: every call is refused until its documents are mended");
            }
        }
        for target in &edition.held {
            for held in &target.held {
                tracing::warn!(target = %target.key, endpoint = %held.id, reason = held.why.as_str(), "gets no calls: {}", held.why);
            }
            if target.held.is_empty() {
                tracing::info!(target = %target.key, "every endpoint gets calls again");
            }
        }
        let snapshot = edition.snapshot.clone().with_replicas(edition.world.replicas());
        let counts = snapshot.counts();
        let look = edition.targets_changed || whole || edition.problems.is_some();
        if let Some(problems) = edition.problems {
            self.findings.tell(problems);
        }
        if look {
            self.findings.look(&snapshot);
        }
        if edition.targets_changed || whole {
            self.published.publish(snapshot);
        } else {
            self.published.replace(snapshot);
        }
        self.findings.published();
        let (services, workloads) = (edition.world.services().len(), edition.world.workloads().len());
        let took = start.elapsed().as_millis();
        if whole {
            tracing::info!(
                counts.loaded,
                counts.refused,
                counts.skipped,
                services,
                workloads,
                took,
                "documents in force"
            );
        } else {
            tracing::debug!(services, workloads, took, "a change of the mesh in force");
        }
    }
}

fn told_closed(snapshot: &Snapshot, previous: &Snapshot) {
    let before = previous.closed();
    for (target, reason) in snapshot.closed() {
        if before.get(&target) != Some(&reason) {
            tracing::error!(target, reason, "closed: every call is refused until its documents are mended");
        }
    }
}

/// Lets go of those who wait when the thread ends, and says so if that is by a panic: what is in force would silently
/// stay as it is.
struct Released<'d>(&'d Desk);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("assembling ended by a panic; what is in force stays as it is until a restart");
        }
        self.0.released();
    }
}

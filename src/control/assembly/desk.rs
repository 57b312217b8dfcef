//! What was handed over and is not in force yet, and the thread that puts it there.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::findings::Findings;
use crate::document::{Documents, Input, Problem};
use crate::mesh::{Published, Settings, Snapshot, build};

/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(500);

/// Names what was handed over, to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offered(u64);

/// Between sources and the thread.
#[derive(Debug)]
pub(super) struct Desk {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    in_force: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    offered: u64,
    documents: Option<(Vec<Input>, Vec<Problem>)>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { waiting: Mutex::default(), wake: Condvar::new(), in_force: watch::Sender::new(0) }
    }
}

impl Desk {
    pub(super) fn documents(&self, inputs: Vec<Input>, faults: Vec<Problem>) -> Offered {
        let mut waiting = self.lock();
        waiting.documents = Some((inputs, faults));
        self.offered(waiting)
    }

    fn offered(&self, mut waiting: MutexGuard<'_, Waiting>) -> Offered {
        waiting.offered += 1;
        let offered = Offered(waiting.offered);
        drop(waiting);
        self.wake.notify_all();
        offered
    }

    pub(super) async fn in_force(&self, Offered(offered): Offered) {
        let mut in_force = self.in_force.subscribe();
        // The sender is ours: it cannot be gone.
        let _never = in_force.wait_for(|reached| *reached >= offered).await.is_err();
    }

    pub(super) fn in_force_blocking(&self, Offered(offered): Offered) {
        let mut waiting = self.lock();
        while *self.in_force.borrow() < offered {
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn reached(&self, offered: u64) {
        let waiting = self.lock();
        self.in_force.send_replace(offered);
        drop(waiting);
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's side.
pub(super) struct Work {
    pub(super) desk: Arc<Desk>,
    pub(super) findings: Arc<Findings>,
    pub(super) settings: Settings,
    pub(super) published: Arc<Published>,
    pub(super) stop: CancellationToken,
}

impl Work {
    pub(super) fn run(self) {
        let _released = Released(&self.desk);
        while let Some((offered, documents)) = self.next() {
            self.put(documents);
            self.desk.reached(offered);
        }
    }

    /// Waits for something to do; `None` at the end.
    fn next(&self) -> Option<(u64, Documents)> {
        let mut waiting = self.desk.lock();
        loop {
            if self.stop.is_cancelled() {
                return None;
            }
            if let Some((inputs, faults)) = waiting.documents.take() {
                let offered = waiting.offered;
                drop(waiting);
                let mut documents = Documents::assemble(inputs);
                documents.problems.extend(faults);
                return Some((offered, documents));
            }
            waiting = self.desk.wake.wait_timeout(waiting, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn put(&self, documents: Documents) {
        let start = Instant::now();
        let previous = self.published.current();
        let (snapshot, problems) = build(&documents, &self.settings, &previous);
        let (counts, targets) = (snapshot.counts(), snapshot.targets().len());
        told_closed(&snapshot, &previous);
        self.published.publish(snapshot);
        self.findings.published();
        self.findings.tell(problems);
        let took = start.elapsed().as_millis();
        tracing::info!(counts.loaded, counts.refused, counts.skipped, targets, took, "documents in force");
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
        self.0.reached(u64::MAX);
    }
}

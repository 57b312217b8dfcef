//! What was handed over and is not in force yet.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::document::{Documents, Input, Problem};
use crate::mesh::world::Change;

/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(500);

/// What is reached where nothing will be any more.
const ENDED: u64 = u64::MAX;

/// Names what was handed over, to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offered(u64);

/// What is in force by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Documents, whatever they say.
    pub documents: bool,
    /// The whole mesh, as istiod first told it.
    pub mesh: bool,
}

/// Between sources and the thread.
#[derive(Debug)]
pub(super) struct Desk {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    in_force: watch::Sender<u64>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Waiting {
    offered: u64,
    documents: Option<Queued<(Vec<Input>, Vec<Problem>)>>,
    change: Option<Queued<Change>>,
}

/// What waits, and since which offer.
#[derive(Debug)]
struct Queued<T> {
    since: u64,
    what: T,
}

/// What the thread does next.
pub(super) enum Next {
    /// Takes the world's change first, if there is one: documents are settled over the world as it is.
    World(Change),
    Documents(Box<Documents>),
}

impl Default for Desk {
    fn default() -> Self {
        let (in_force, progress) = (watch::Sender::new(0), watch::Sender::new(Progress::default()));
        Self { waiting: Mutex::default(), wake: Condvar::new(), in_force, progress }
    }
}

impl Desk {
    pub(super) fn documents(&self, inputs: Vec<Input>, faults: Vec<Problem>) -> Offered {
        let mut waiting = self.lock();
        waiting.offered += 1;
        let since = waiting.documents.as_ref().map_or(waiting.offered, |queued| queued.since);
        waiting.documents = Some(Queued { since, what: (inputs, faults) });
        self.offered(waiting)
    }

    pub(super) fn world(&self, change: Change) -> Offered {
        let mut waiting = self.lock();
        waiting.offered += 1;
        match &mut waiting.change {
            Some(queued) => queued.what.merge(change),
            None => waiting.change = Some(Queued { since: waiting.offered, what: change }),
        }
        self.offered(waiting)
    }

    fn offered(&self, waiting: MutexGuard<'_, Waiting>) -> Offered {
        let offered = Offered(waiting.offered);
        drop(waiting);
        self.wake.notify_all();
        offered
    }

    /// Whether it came to that: not where the thread ended first.
    pub(super) async fn in_force(&self, Offered(offered): Offered) -> bool {
        let mut in_force = self.in_force.subscribe();
        // The sender is ours: it cannot be gone.
        in_force.wait_for(|reached| *reached >= offered).await.is_ok_and(|reached| *reached != ENDED)
    }

    pub(super) fn in_force_blocking(&self, Offered(offered): Offered) {
        let mut waiting = self.lock();
        while *self.in_force.borrow() < offered {
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// What was taken is in force: every offer before the first that still waits.
    pub(super) fn reached(&self, taken: u64, progress: Progress) {
        let waiting = self.lock();
        let still =
            [waiting.documents.as_ref().map(|queued| queued.since), waiting.change.as_ref().map(|queued| queued.since)];
        let reached = still.into_iter().flatten().min().map_or(taken, |since| taken.min(since - 1));
        self.in_force.send_if_modified(|before| std::mem::replace(before, reached.max(*before)) < reached);
        self.progress.send_if_modified(|before| std::mem::replace(before, progress) != progress);
        drop(waiting);
        self.wake.notify_all();
    }

    /// Nothing more will be in force: nobody is to wait for it.
    pub(super) fn released(&self) {
        let waiting = self.lock();
        self.in_force.send_replace(ENDED);
        drop(waiting);
        self.wake.notify_all();
    }

    /// Waits for something to do, and the last offer that it takes in; `None` once `stop` says so.
    pub(super) fn next(&self, stop: &CancellationToken) -> Option<(u64, Next)> {
        let mut waiting = self.lock();
        loop {
            if stop.is_cancelled() {
                return None;
            }
            let offered = waiting.offered;
            if let Some(queued) = waiting.change.take() {
                return Some((offered, Next::World(queued.what)));
            }
            if let Some(Queued { what: (inputs, faults), .. }) = waiting.documents.take() {
                drop(waiting);
                let mut documents = Documents::assemble(inputs);
                documents.problems.extend(faults);
                return Some((offered, Next::Documents(Box::new(documents))));
            }
            waiting = self.wake.wait_timeout(waiting, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

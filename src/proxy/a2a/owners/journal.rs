//! What changes in the table, line by line, to whoever keeps it: a file, other replicas.
//!
//! Nobody is waited for while a line is told. Who falls behind by more than [`OWNERS_QUEUE`] lines is told everything anew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::record::Record;
use crate::config::limits::OWNERS_QUEUE;

/// One change.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Counts changes.
    pub(super) seq: u64,
    /// Whether it was learnt here, and so is for the other replicas: what another one told us it tells the others itself.
    pub(super) ours: bool,
    /// Whether it is for other replicas alone.
    pub(super) passing: bool,
    /// With the end of the line; empty where there is nothing to be kept of it.
    pub(super) text: Arc<str>,
}

/// Tells changes.
#[derive(Debug)]
pub(super) struct Journal {
    lines: broadcast::Sender<Line>,
    seq: AtomicU64,
    keepers: Mutex<Vec<Keeper>>,
}

/// One who keeps lines.
#[derive(Debug)]
struct Keeper {
    kept: watch::Receiver<u64>,
    late: CancellationToken,
}

/// One keeper's end.
#[derive(Debug)]
pub(super) struct Sink {
    /// What is told from now on.
    pub(super) lines: broadcast::Receiver<Line>,
    /// What was told before.
    pub(super) seq: u64,
    /// Up to which line it is kept.
    pub(super) kept: watch::Sender<u64>,
    /// Cancelled when a line was not kept in time; nobody waits for this keeper any more.
    pub(super) late: CancellationToken,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { lines: broadcast::Sender::new(OWNERS_QUEUE), seq: AtomicU64::new(0), keepers: Mutex::default() }
    }

    /// Tells `record` to whoever listens; its number. Call it with the table locked.
    pub(super) fn tell(&self, ours: bool, record: impl FnOnce() -> Record) -> u64 {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        if self.lines.receiver_count() > 0 {
            // What is too long to be told is a line all the same: whoever waits for it waits for those before.
            let record = record();
            let passing = matches!(record, Record::Labels(_));
            let text = record.line().unwrap_or_default().into();
            // That nobody listens any more is no fault.
            let _told = self.lines.send(Line { seq, ours, passing, text });
        }
        seq
    }

    /// A new keeper. Call it with the table locked.
    pub(super) fn sink(&self) -> Sink {
        let (kept, receiver) = watch::channel(0);
        let late = CancellationToken::new();
        let keeper = Keeper { kept: receiver, late: late.clone() };
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        // Also those that have gone meanwhile, as a link that breaks each time: nothing may have been waited for since.
        keepers.retain(|keeper| keeper.kept.has_changed().is_ok());
        keepers.push(keeper);
        drop(keepers);
        Sink { lines: self.lines.subscribe(), seq: self.seq.load(Ordering::Relaxed), kept, late }
    }

    /// Waits again for a keeper that was given up as late, once it has caught up: what is told from now on.
    pub(super) fn again(&self, sink: &mut Sink) {
        sink.late = CancellationToken::new();
        let keeper = Keeper { kept: sink.kept.subscribe(), late: sink.late.clone() };
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner).push(keeper);
    }

    /// How many may be waited for.
    #[cfg(test)]
    pub(super) fn keepers(&self) -> usize {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until every keeper has line `seq`, for `time` at most: who is later than that is given up. Whether all have it.
    pub(super) async fn reached(&self, seq: u64, time: Duration) -> bool {
        let waiting: Vec<_> = {
            let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
            keepers.retain(|keeper| keeper.kept.has_changed().is_ok());
            keepers.iter().map(|keeper| keeper.kept.clone()).collect()
        };
        let all = async {
            let mut all = true;
            for mut kept in waiting {
                // A keeper that has gone is told everything when it is back.
                all &= kept.wait_for(|kept| *kept >= seq).await.is_ok();
            }
            all
        };
        if let Ok(all) = tokio::time::timeout(time, all).await {
            all
        } else {
            let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
            keepers.retain(|keeper| {
                let kept = *keeper.kept.borrow() >= seq;
                if !kept {
                    keeper.late.cancel();
                }
                kept
            });
            false
        }
    }
}

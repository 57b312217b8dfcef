//! What changes in the table, line by line, to whoever keeps it: a file, other replicas.
//!
//! Nobody is waited for while a line is told. Who falls behind by more than [`OWNERS_QUEUE`] lines is told everything anew.

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
    /// Of the last line. Held until that is sent: tables have locks of their own, and a mark says that all before it was said.
    seq: Mutex<u64>,
    keepers: Mutex<Vec<Keeper>>,
}

/// One who keeps lines.
#[derive(Debug)]
struct Keeper {
    kept: watch::Receiver<u64>,
    late: CancellationToken,
    whose: Whose,
}

/// Who keeps lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Our own file. What it does not have in time is not missing anywhere.
    File,
    /// Another replica. One that was given up is missing until its link has ended: it serves on with what it has.
    Replica,
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
        Self { lines: broadcast::Sender::new(OWNERS_QUEUE), seq: Mutex::default(), keepers: Mutex::default() }
    }

    /// Tells `record` to whoever listens; its number. Call it with the table locked.
    pub(super) fn tell(&self, ours: bool, record: impl FnOnce() -> Record) -> u64 {
        let mut last = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        let seq = *last;
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
    pub(super) fn sink(&self, whose: Whose) -> Sink {
        let (kept, receiver) = watch::channel(0);
        let late = CancellationToken::new();
        let keeper = Keeper { kept: receiver, late: late.clone(), whose };
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        // Also those that have gone meanwhile, as a link that breaks each time: nothing may have been waited for since.
        keepers.retain(|keeper| keeper.kept.has_changed().is_ok());
        keepers.push(keeper);
        drop(keepers);
        let seq = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        Sink { lines: self.lines.subscribe(), seq: *seq, kept, late }
    }

    /// Waits again for the file, which was given up as late, once it has caught up: what is told from now on.
    pub(super) fn again(&self, sink: &mut Sink) {
        sink.late = CancellationToken::new();
        let keeper = Keeper { kept: sink.kept.subscribe(), late: sink.late.clone(), whose: Whose::File };
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner).push(keeper);
    }

    /// How many may be waited for.
    #[cfg(test)]
    pub(super) fn keepers(&self) -> usize {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until every keeper has line `seq`, for `time` at most: who is later than that is given up. Whether all have it.
    pub(super) async fn reached(&self, seq: u64, time: Duration) -> bool {
        let (waiting, missing) = {
            let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
            keepers.retain(|keeper| keeper.kept.has_changed().is_ok());
            let there = keepers.iter().filter(|keeper| !keeper.late.is_cancelled());
            let waiting: Vec<_> = there.map(|keeper| keeper.kept.clone()).collect();
            let missing = waiting.len() < keepers.len();
            (waiting, missing)
        };
        let all = async {
            let mut all = !missing;
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
                kept || keeper.whose == Whose::Replica
            });
            false
        }
    }
}

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Snapshot;

/// The snapshot in force: written by `control`, read by `proxy`, and the only thing the two share.
#[derive(Debug)]
pub struct Published {
    current: ArcSwap<Snapshot>,
    edition: watch::Sender<u64>,
}

impl Default for Published {
    fn default() -> Self {
        Self { current: ArcSwap::from_pointee(Snapshot::no_documents()), edition: watch::Sender::new(0) }
    }
}

impl Published {
    /// Starts with [`Snapshot::no_documents`], edition 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `snapshot` in force, then tells who waits on [`Published::changed`].
    pub fn publish(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.edition.send_modify(|edition| *edition += 1);
    }

    /// Puts `snapshot` in force, in which every target is as it was: nobody who waits is told.
    pub fn replace(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
    }

    /// The snapshot in force.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Counts editions; a reader that sees a new number finds that edition or a later one in [`Published::current`].
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.edition.subscribe()
    }
}

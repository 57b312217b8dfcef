//! The thread that watches: told by the filesystem where it can, by looking where it cannot.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio_util::sync::CancellationToken;

use super::store::Store;
use crate::config::limits;
use crate::control::assembly::Assembly;

/// Watches `store` until `stop`, on a thread of its own.
pub(super) fn start(store: Store, assembly: Assembly, stop: CancellationToken) -> io::Result<()> {
    let (sender, receiver) = sync_channel(1);
    let events = Events::new(sender);
    let run = move || Watch { store, assembly, events, receiver, stop }.run();
    std::thread::Builder::new().name("documents".to_owned()).spawn(run).map(drop)
}

struct Watch {
    store: Store,
    assembly: Assembly,
    events: Events,
    receiver: Receiver<()>,
    stop: CancellationToken,
}

impl Watch {
    fn run(mut self) {
        let _told = Told;
        loop {
            self.events.follow(self.store.directories());
            if self.receiver.recv_timeout(limits::FILE_POLL).is_ok() {
                self.settle();
            }
            if self.stop.is_cancelled() {
                return;
            }
            if self.store.refresh(Instant::now()) {
                self.assembly.documents(self.store.inputs(), self.store.faults());
            }
        }
    }

    /// Waits until nothing changed for a moment, so that the steps of one writer are one change.
    fn settle(&self) {
        let start = Instant::now();
        while start.elapsed() < limits::FILE_SETTLE_LONGEST && self.receiver.recv_timeout(limits::FILE_SETTLE).is_ok() {
        }
    }
}

/// Says so if the thread ends by a panic: documents would silently stay as they are.
struct Told;

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("watching documents ended by a panic; they stay as they are until a restart");
        }
    }
}

/// Directories under watch, where the filesystem can tell. It is a hint only: polling finds what it misses.
struct Events {
    watcher: Option<RecommendedWatcher>,
    followed: HashSet<PathBuf>,
    /// Keeps the channel open where there is no watcher.
    _sender: SyncSender<()>,
}

impl Events {
    fn new(sender: SyncSender<()>) -> Self {
        let wake = sender.clone();
        let told = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| changes(event.kind)) {
                // Full: a look is due anyway.
                wake.try_send(()).unwrap_or_default();
            }
        };
        let watcher = notify::recommended_watcher(told)
            .inspect_err(|error| tracing::warn!(%error, "the filesystem tells of no changes; files are polled"));
        Self { watcher: watcher.ok(), followed: HashSet::new(), _sender: sender }
    }

    /// Follows exactly these directories. One that was taken away and made again is followed anew.
    fn follow(&mut self, directories: &HashSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.followed.difference(directories) {
            // Fails where the directory itself is gone, which is as good.
            drop(watcher.unwatch(gone));
        }
        let new: Vec<_> = directories.difference(&self.followed).cloned().collect();
        self.followed.retain(|directory| directories.contains(directory));
        for directory in new {
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.followed.insert(directory)),
                Err(error) => tracing::debug!(%error, directory = %directory.display(), "polled, not watched"),
            }
        }
    }
}

/// Whether an event can be a change: our own reading is none.
fn changes(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

//! Where documents and the mesh come together: the one place that makes snapshots and publishes them.
//!
//! Sources – files, the controller's feed, istiod – hand over the newest state of what they know and go on; a thread of the
//! assembly's own compiles it. Whatever is handed over while it is busy replaces what waits, so that nothing piles up and
//! the newest is next. It decides nothing: `mesh` says what the documents mean.

mod desk;
mod findings;
mod work;

use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::document::{Input, Problem};
use crate::mesh::world::{Change, Here};
use crate::mesh::{Published, Settings};
use crate::policy::on_compile_thread;

use desk::Desk;
pub use desk::{Offered, Progress};
use findings::Findings;
pub use findings::Unenforced;
use work::Work;

/// The way in, and what was found. A cheap handle; the thread ends at `stop`.
#[derive(Debug, Clone)]
pub struct Assembly {
    desk: Arc<Desk>,
    findings: Arc<Findings>,
}

impl Assembly {
    /// Starts the thread; documents alone say who and where. Nothing is published before something is handed over.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(settings: Settings, published: Arc<Published>, stop: CancellationToken) -> io::Result<Self> {
        Self::spawn(settings, published, stop, Work::on_documents)
    }

    /// Starts the thread; who and where is what [`Assembly::world`] is told, and documents say what is intended. Until they
    /// come every call is refused.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start_in_mesh(
        settings: Settings,
        here: Here,
        published: Arc<Published>,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        Self::spawn(settings, published, stop, move |work| work.in_mesh(here))
    }

    fn spawn(
        settings: Settings,
        published: Arc<Published>,
        stop: CancellationToken,
        run: impl FnOnce(Work) + Send + 'static,
    ) -> io::Result<Self> {
        let (desk, findings) = (Arc::new(Desk::default()), Arc::new(Findings::default()));
        let work = Work { desk: Arc::clone(&desk), findings: Arc::clone(&findings), settings, published, stop };
        let run = move || on_compile_thread(|| run(work));
        std::thread::Builder::new().name("assembly".to_owned()).spawn(run)?;
        Ok(Self { desk, findings })
    }

    /// Hands over all documents as they are now. `faults` are problems of the source itself.
    pub fn documents(&self, inputs: Vec<Input>, faults: Vec<Problem>) -> Offered {
        self.desk.documents(inputs, faults)
    }

    /// Hands over a change of who and where.
    pub fn world(&self, change: Change) -> Offered {
        self.desk.world(change)
    }

    /// What is in force by now.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.desk.progress()
    }

    /// Waits until what was offered, or something newer in its place, is in force; whether it came to that, or the thread
    /// ended first, so that it never will be.
    pub async fn in_force(&self, offered: Offered) -> bool {
        self.desk.in_force(offered).await
    }

    /// As [`Assembly::in_force`], for a thread that may block.
    pub fn in_force_blocking(&self, offered: Offered) {
        self.desk.in_force_blocking(offered);
    }

    /// What is wrong with the documents in force, by place.
    pub fn problems(&self) -> Vec<Problem> {
        self.findings.problems()
    }

    /// Documents that are not in force, by the file or name that their source gave them, as it is now and as it changes.
    pub fn unenforced(&self) -> watch::Receiver<Unenforced> {
        self.findings.unenforced()
    }

    /// How many snapshots were put in force.
    pub fn editions(&self) -> u64 {
        self.findings.editions()
    }

    /// How many errors were found since the start, each counted when it is new.
    pub fn errors(&self) -> u64 {
        self.findings.errors()
    }
}

#[cfg(test)]
mod tests;

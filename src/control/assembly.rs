//! Where documents and the mesh come together: the one place that makes snapshots and publishes them.
//!
//! Sources – files, the controller's feed – hand over the newest state of what they know and go on; a thread of the
//! assembly's own compiles it. Whatever is handed over while it is busy replaces what waits, so that nothing piles up and
//! the newest is next. It decides nothing: `mesh` says what the documents mean.

mod desk;
mod findings;

use std::io;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::document::{Input, Problem};
use crate::mesh::{Published, Settings};
use crate::policy::on_compile_thread;

pub use desk::Offered;
use desk::{Desk, Work};
use findings::Findings;

/// The way in, and what was found. A cheap handle; the thread ends at `stop`.
#[derive(Debug, Clone)]
pub struct Assembly {
    desk: Arc<Desk>,
    findings: Arc<Findings>,
}

impl Assembly {
    /// Starts the thread. Nothing is published before something is handed over.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(settings: Settings, published: Arc<Published>, stop: CancellationToken) -> io::Result<Self> {
        let (desk, findings) = (Arc::new(Desk::default()), Arc::new(Findings::default()));
        let work = Work { desk: Arc::clone(&desk), findings: Arc::clone(&findings), settings, published, stop };
        let run = move || on_compile_thread(|| work.run());
        std::thread::Builder::new().name("assembly".to_owned()).spawn(run)?;
        Ok(Self { desk, findings })
    }

    /// Hands over all documents as they are now. `faults` are problems of the source itself.
    pub fn documents(&self, inputs: Vec<Input>, faults: Vec<Problem>) -> Offered {
        self.desk.documents(inputs, faults)
    }

    /// Waits until what was offered, or something newer in its place, is in force.
    pub async fn in_force(&self, offered: Offered) {
        self.desk.in_force(offered).await;
    }

    /// As [`Assembly::in_force`], for a thread that may block.
    pub fn in_force_blocking(&self, offered: Offered) {
        self.desk.in_force_blocking(offered);
    }

    /// What is wrong with the documents in force, by place.
    pub fn problems(&self) -> Vec<Problem> {
        self.findings.problems()
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

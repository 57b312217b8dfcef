//! Documents from files and directories: read at start, watched, and put in force as they change.
//!
//! What the command line names must be there at start; what stands inside documents never ends anything. The one state
//! kept between readings is what a file held before it stopped parsing, for [`crate::config::limits::FILE_GRACE`].

mod scan;
mod store;
mod watcher;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::document::{Documents, Problem, Severity};
use crate::id::TrustDomain;
use crate::mesh::{Published, Settings, Snapshot, build};
use crate::policy::on_compile_thread;

use store::Store;

/// Why the files that the command line names cannot be read. One clear line each.
#[derive(Debug, thiserror::Error)]
pub enum FilesFault {
    /// Neither file nor directory.
    #[error("{}: there is no such file or directory", .0.display())]
    Missing(PathBuf),
    /// The system does not let us.
    #[error("{}: cannot be read: {error}", .path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A directory without documents.
    #[error("{}: holds no .yaml, .yml or .json file", .0.display())]
    Empty(PathBuf),
    /// More than [`crate::config::limits::MAX_DOCUMENT_FILES`].
    #[error("{}: more than {} files of documents", .0.display(), crate::config::limits::MAX_DOCUMENT_FILES)]
    TooMany(PathBuf),
    /// No thread to watch on.
    #[error("files cannot be watched: {0}")]
    Thread(#[source] std::io::Error),
}

/// What watching found so far. A cheap handle; watching goes on when it is dropped.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    problems: Mutex<Vec<Problem>>,
    editions: AtomicU64,
    errors: AtomicU64,
}

impl Watched {
    /// What is wrong with the documents now, by place.
    pub fn problems(&self) -> Vec<Problem> {
        self.state.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many sets of documents were put in force.
    pub fn editions(&self) -> u64 {
        self.state.editions.load(Ordering::Relaxed)
    }

    /// How many errors were found since the start, each counted when it is new.
    pub fn errors(&self) -> u64 {
        self.state.errors.load(Ordering::Relaxed)
    }

    /// Remembers `problems`, and logs those that are new.
    fn tell(&self, problems: Vec<Problem>) {
        let mut last = self.state.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, problems.clone());
        drop(last);
        for problem in problems.iter().filter(|problem| before.binary_search(problem).is_err()) {
            let Problem { severity, place, document, field, reason } = problem;
            match severity {
                Severity::Error => {
                    self.state.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(file = %place.file.display(), line = place.line, document, field, "{reason}");
                }
                Severity::Warning => {
                    tracing::warn!(file = %place.file.display(), line = place.line, document, field, "{reason}");
                }
            }
        }
    }
}

/// Reads `paths` (files, or directories and what is below them) and publishes; then watches them on a thread of its own
/// and publishes again whenever what they hold changes, until `stop`. Without paths nothing is ever published.
///
/// # Errors
/// [`FilesFault`], at start only: later the same is a problem in the log and in [`Watched::problems`].
pub fn watch(
    paths: Vec<PathBuf>,
    trust_domain: TrustDomain,
    published: Arc<Published>,
    stop: CancellationToken,
) -> Result<Watched, FilesFault> {
    let watched = Watched::default();
    if paths.is_empty() {
        return Ok(watched);
    }
    let store = Store::open(paths)?;
    let force = Force { settings: Settings { trust_domain, gateway: None }, published, watched: watched.clone() };
    force.put(&store);
    watcher::start(store, force, stop).map_err(FilesFault::Thread)?;
    Ok(watched)
}

/// Reads `paths` once, as [`watch`] would at start, and says what would be in force.
///
/// # Errors
/// [`FilesFault`]
pub fn load_once(paths: Vec<PathBuf>, trust_domain: TrustDomain) -> Result<(Snapshot, Vec<Problem>), FilesFault> {
    let store = Store::open(paths)?;
    let documents = documents(&store);
    let settings = Settings { trust_domain, gateway: None };
    Ok(on_compile_thread(|| build(&documents, &settings, &Snapshot::no_documents())))
}

fn documents(store: &Store) -> Documents {
    let mut documents = Documents::assemble(store.inputs());
    documents.problems.extend(store.faults());
    documents
}

/// Puts what a store holds in force.
#[derive(Debug)]
struct Force {
    settings: Settings,
    published: Arc<Published>,
    watched: Watched,
}

impl Force {
    fn put(&self, store: &Store) {
        let start = Instant::now();
        let documents = documents(store);
        let previous = self.published.current();
        let (snapshot, problems) = on_compile_thread(|| build(&documents, &self.settings, &previous));
        let (counts, targets) = (snapshot.counts(), snapshot.targets().len());
        for (target, reason) in snapshot.closed() {
            if previous.closed().get(&target) != Some(&reason) {
                tracing::error!(target, reason, "closed: every call is refused until its documents are mended");
            }
        }
        self.published.publish(snapshot);
        self.watched.state.editions.fetch_add(1, Ordering::Relaxed);
        self.watched.tell(problems);
        let took = start.elapsed().as_millis();
        tracing::info!(counts.loaded, counts.refused, counts.skipped, targets, took, "documents in force");
    }
}

#[cfg(test)]
mod tests;

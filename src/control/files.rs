//! Documents from files and directories: read at start, watched, and handed to the assembly as they change.
//!
//! What the command line names must be there at start; what stands inside documents never ends anything. The one state
//! kept between readings is what a file held before it stopped parsing, for [`crate::config::limits::FILE_GRACE`].

mod scan;
mod store;
mod watcher;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::assembly::Assembly;
use crate::document::{Documents, Problem};
use crate::id::TrustDomain;
use crate::mesh::{Settings, Snapshot, build};
use crate::policy::on_compile_thread;
use crate::policy::token::Keyring;

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

/// Reads `paths` (files, or directories and what is below them) and has them in force when it returns; then watches them
/// on a thread of its own and hands over what they hold whenever that changes, until `stop`. Without paths nothing ever
/// is.
///
/// # Errors
/// [`FilesFault`], at start only: later the same is a problem in the log and in [`Assembly::problems`].
pub fn watch(paths: Vec<PathBuf>, assembly: &Assembly, stop: CancellationToken) -> Result<(), FilesFault> {
    if paths.is_empty() {
        return Ok(());
    }
    let store = Store::open(paths)?;
    assembly.in_force_blocking(assembly.documents(store.inputs(), store.faults()));
    watcher::start(store, assembly.clone(), stop).map_err(FilesFault::Thread)
}

/// Reads `paths` once, as [`watch`] would at start, and says what would be in force.
///
/// # Errors
/// [`FilesFault`]
pub fn load_once(paths: Vec<PathBuf>, trust_domain: TrustDomain) -> Result<(Snapshot, Vec<Problem>), FilesFault> {
    let store = Store::open(paths)?;
    let documents = documents(&store);
    let settings = Settings { trust_domain, gateway: None, keys: Keyring::default() };
    Ok(on_compile_thread(|| build(&documents, &settings, &Snapshot::no_documents())))
}

fn documents(store: &Store) -> Documents {
    let mut documents = Documents::assemble(store.inputs());
    documents.problems.extend(store.faults());
    documents
}

#[cfg(test)]
mod tests;

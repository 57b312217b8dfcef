use std::path::PathBuf;

use crate::control::files;
use crate::document::{Problem, Severity};
use crate::id::TrustDomain;
use crate::mesh::Snapshot;

/// Documents as `run` would have them in force.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    pub(super) problems: Vec<Problem>,
}

impl Loaded {
    pub(super) fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }
}

/// Reads and compiles everything that the command line names.
///
/// # Errors
/// A file that is missing or cannot be read, or a directory without documents.
pub(super) fn load(files: &[PathBuf], trust_domain: &TrustDomain) -> anyhow::Result<Loaded> {
    let (snapshot, mut problems) = files::load_once(files.to_vec(), trust_domain.clone())?;
    problems.sort_by(|a, b| (&a.place, &a.document, &a.field).cmp(&(&b.place, &b.document, &b.field)));
    Ok(Loaded { snapshot, problems })
}

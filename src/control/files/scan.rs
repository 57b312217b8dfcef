//! Which files of documents there are below the paths that the command line names.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::FilesFault;
use crate::config::limits;

/// What was found, in order of the paths and then of names.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) files: Vec<PathBuf>,
    /// Directories whose changes matter.
    pub(super) directories: HashSet<PathBuf>,
    /// Directories that are there and cannot be listed: what was known below them still counts.
    pub(super) unlisted: Vec<PathBuf>,
    pub(super) faults: Vec<FilesFault>,
    /// Canonical files already seen, so that none is read twice under two names.
    seen: HashSet<PathBuf>,
    /// Canonical directories above the one being listed, so that no link leads in circles.
    above: Vec<PathBuf>,
    /// Files met, those seen before too.
    documents: usize,
}

/// Looks at the disk.
pub(super) fn scan(paths: &[PathBuf]) -> Scan {
    let mut scan = Scan::default();
    for path in paths {
        if let Some(parent) = parent(path) {
            scan.directories.insert(parent);
        }
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                scan.faults.push(FilesFault::Missing(path.clone()))
            }
            Err(error) => {
                scan.unlisted.push(path.clone());
                scan.faults.push(FilesFault::Unreadable { path: path.clone(), error });
            }
            Ok(meta) if meta.is_dir() => {
                let before = (scan.documents, scan.faults.len());
                scan.directory(path);
                if before == (scan.documents, scan.faults.len()) {
                    scan.faults.push(FilesFault::Empty(path.clone()));
                }
            }
            Ok(_) => scan.file(path),
        }
    }
    scan
}

impl Scan {
    fn file(&mut self, path: &Path) {
        self.documents += 1;
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(parent) = parent(&canonical) {
            self.directories.insert(parent);
        }
        if !self.seen.insert(canonical) {
            return;
        }
        if self.files.len() >= limits::MAX_DOCUMENT_FILES {
            if !self.faults.iter().any(|fault| matches!(fault, FilesFault::TooMany(_))) {
                self.faults.push(FilesFault::TooMany(path.to_owned()));
            }
            return;
        }
        self.files.push(path.to_owned());
    }

    fn directory(&mut self, path: &Path) {
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.above.contains(&canonical) {
            return;
        }
        self.directories.insert(canonical.clone());
        self.above.push(canonical);
        self.entries(path);
        self.above.pop();
    }

    fn entries(&mut self, path: &Path) {
        let names = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => {
                self.unlisted.push(path.to_owned());
                self.faults.push(FilesFault::Unreadable { path: path.to_owned(), error });
                return;
            }
        };
        let mut paths: Vec<PathBuf> = names.iter().map(fs::DirEntry::path).filter(|path| !is_hidden(path)).collect();
        paths.sort();
        for path in paths {
            // Follows links; what vanished meanwhile is not there.
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => self.directory(&path),
                Ok(meta) if meta.is_file() && is_document(&path) => self.file(&path),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Hidden files are editors'; `..data` and the like are how Kubernetes swaps a mounted ConfigMap.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_document(path: &Path) -> bool {
    path.extension().and_then(|end| end.to_str()).is_some_and(|end| matches!(end, "yaml" | "yml" | "json"))
}

fn parent(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

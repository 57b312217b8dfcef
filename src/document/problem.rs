use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a document (or one of its fields) stands. Lines count from 1; 0 means the whole file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, or the name of another source.
    pub file: Arc<PathBuf>,
    /// The line.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Whether a problem closes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is closed.
    Warning,
    /// The document is not in force, and every target it selects is closed.
    Error,
}

/// One thing wrong in one document, said so that its author can mend it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// `Kind namespace/name`, as far as known.
    pub document: String,
    /// Path of the field, `spec.allow[0].when`; empty for the whole document.
    pub field: String,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}: {severity}: {}", self.place, self.document)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// A problem found by a room that knows only the document's content: its place is added by `document`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// How bad.
    pub severity: Severity,
    /// Path of the field from the document's root, `spec.allow[0].when`.
    pub field: String,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

/// The metadata that decisions need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`, `default` where absent.
    pub namespace: String,
    /// `metadata.generation`, 0 where absent (files).
    pub generation: i64,
    /// `metadata.creationTimestamp`, RFC 3339, empty where absent.
    pub created: String,
    /// `metadata.labels`
    pub labels: std::collections::BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: std::collections::BTreeMap<String, String>,
}

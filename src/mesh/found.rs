use std::collections::BTreeSet;

use crate::document::{Closes, Closure, Documents, FieldProblem, Origin, Problem, Severity};

/// What is wrong so far, and what that closes.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) problems: Vec<Problem>,
    pub(super) closures: Vec<Closure>,
    refused: BTreeSet<&'a str>,
}

impl<'a> Found<'a> {
    /// Starts with what loading found.
    pub(super) fn of(documents: &Documents) -> Self {
        let (problems, closures) = (documents.problems.clone(), documents.closures.clone());
        Self { problems, closures, refused: BTreeSet::new() }
    }

    /// Nothing yet, of documents whose own findings are told elsewhere.
    pub(super) fn empty() -> Self {
        Self { problems: Vec::new(), closures: Vec::new(), refused: BTreeSet::new() }
    }

    /// Tells, without closing anything.
    pub(super) fn warn(&mut self, origin: &Origin, field: impl Into<String>, reason: impl Into<String>) {
        let found = FieldProblem { severity: Severity::Warning, field: field.into(), reason: reason.into() };
        self.problems.push(origin.problem(found));
    }

    /// Tells, and closes what the document selects or provides.
    pub(super) fn refuse(&mut self, origin: &'a Origin, field: impl Into<String>, reason: impl Into<String>) {
        let (field, reason) = (field.into(), reason.into());
        self.fault(origin, FieldProblem { severity: Severity::Error, field, reason });
    }

    /// Takes over what a check of one document found; errors close what the document selects or provides.
    pub(super) fn fault(&mut self, origin: &'a Origin, found: FieldProblem) {
        if found.severity == Severity::Error {
            self.refused.insert(origin.title());
            let closure = Closure { closes: origin.closes().clone(), reason: because(origin, &found) };
            if closure.closes != Closes::Nothing && !self.closures.contains(&closure) {
                self.closures.push(closure);
            }
        }
        self.problems.push(origin.problem(found));
    }

    /// Tells what closes one port alone; the reason that it gives.
    pub(super) fn close(&mut self, origin: &Origin, found: FieldProblem) -> String {
        let reason = because(origin, &found);
        self.problems.push(origin.problem(found));
        reason
    }

    /// Whether a document was refused here.
    pub(super) fn is_refused(&self, origin: &Origin) -> bool {
        self.refused.contains(origin.title())
    }

    /// How many documents were refused here, beyond those refused at loading.
    pub(super) fn refused(&self) -> usize {
        self.refused.len()
    }
}

/// The reason that a closed target gives: place and line are left out, so that every replica says the same.
pub(super) fn because(origin: &Origin, found: &FieldProblem) -> String {
    if found.field.is_empty() {
        format!("{}: {}", origin.title(), found.reason)
    } else {
        format!("{}: {}: {}", origin.title(), found.field, found.reason)
    }
}

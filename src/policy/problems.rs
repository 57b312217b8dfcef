use std::fmt::Display;

use super::matcher::Many;
use super::pattern::Pattern;
use crate::document::{FieldProblem, Severity};

/// Collects what is wrong in one document, with the path of each field.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<FieldProblem>);

impl Problems {
    pub(super) fn error(&mut self, field: impl Display, reason: impl Display) {
        self.push(Severity::Error, field, reason);
    }

    pub(super) fn warning(&mut self, field: impl Display, reason: impl Display) {
        self.push(Severity::Warning, field, reason);
    }

    fn push(&mut self, severity: Severity, field: impl Display, reason: impl Display) {
        self.0.push(FieldProblem { severity, field: field.to_string(), reason: reason.to_string() });
    }

    pub(super) fn into_vec(self) -> Vec<FieldProblem> {
        self.0
    }

    /// The patterns of a field, read by `parse`; what is wrong is noted with its place.
    pub(super) fn patterns(
        &mut self,
        path: &str,
        texts: &[String],
        parse: impl Fn(&str) -> Result<Pattern, String>,
    ) -> Vec<Pattern> {
        let mut patterns = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            match parse(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(reason) => self.error(format_args!("{path}[{at}]"), reason),
            }
        }
        patterns
    }

    /// A field and its `not` form; `name` is that of the plain one.
    pub(super) fn many(
        &mut self,
        (path, name): (&str, &str),
        (any, none): (&[String], &[String]),
        parse: impl Fn(&str) -> Result<Pattern, String>,
    ) -> Many {
        let any = self.patterns(&format!("{path}.{name}"), any, &parse);
        let none = self.patterns(&format!("{path}.{}", negated(name)), none, &parse);
        let many = Many { any, none };
        if many.is_never() {
            self.warning(
                format_args!("{path}.{name}"),
                "can never match: its `not` form takes away everything it names",
            );
        }
        many
    }
}

/// `tools` -> `notTools`
pub(super) fn negated(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| format!("not{}{}", first.to_ascii_uppercase(), chars.as_str()))
}

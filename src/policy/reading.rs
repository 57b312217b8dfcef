//! A path as servers may read it: with the `;parameters` of its segments, or without.
//!
//! To a server that cuts them off, `/admin;x` is `/admin`, and `/admin;.css` no style sheet. A rule that refuses matches in
//! either reading and one that permits in both, as where a header stands twice. A pattern that speaks of a `;` itself is
//! taken at its word.

use super::pattern::Pattern;
use crate::wire::path::{has_parameters, without_parameters};

/// What paths are matched by.
pub(super) trait OfPaths {
    /// Whether `path` matches.
    fn matches(&self, path: &str) -> bool;
    /// Whether a `;` stands in it.
    fn names_parameters(&self) -> bool;
}

impl OfPaths for Pattern {
    fn matches(&self, path: &str) -> bool {
        Self::matches(self, path)
    }

    fn names_parameters(&self) -> bool {
        match self {
            Self::Present => false,
            Self::Prefix(text) | Self::Suffix(text) | Self::Exact(text) => has_parameters(text),
        }
    }
}

/// A path in its readings.
pub(super) struct Reading<'a> {
    whole: &'a str,
    cut: Option<String>,
}

impl<'a> Reading<'a> {
    pub(super) fn of(path: &'a str) -> Self {
        Self { whole: path, cut: without_parameters(path) }
    }

    /// Whether one of `any`, if there are some, and none of `none` matches; `refuses` says what the rule is for.
    pub(super) fn holds<T: OfPaths>(&self, any: &[T], none: &[T], refuses: bool) -> bool {
        let either = |one: &T| one.matches(self.whole) || self.cut.as_ref().is_some_and(|cut| one.matches(cut));
        let both = |one: &T| {
            one.matches(self.whole) && self.cut.as_ref().is_none_or(|cut| one.names_parameters() || one.matches(cut))
        };
        let (named, excluded) = if refuses {
            (any.iter().any(either), none.iter().any(both))
        } else {
            (any.iter().any(both), none.iter().any(either))
        };
        (any.is_empty() || named) && !excluded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// any, none, path, whether a rule that refuses matches, whether one that permits does
    type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a str, bool, bool);

    #[test]
    fn who_refuses_matches_either_and_who_permits_both() {
        let rows: &[Row<'_>] = &[
            (&["/admin"], &[], "/admin", true, true),
            (&["/admin"], &[], "/admin;x", true, false),
            (&["/admin/*"], &[], "/admin;x/users", true, false),
            (&["/admin*"], &[], "/admin;x", true, true),
            (&["*.css"], &[], "/admin;.css", true, false),
            (&["*.css"], &[], "/a.css;v=1", true, false),
            (&["/cars;color=red"], &[], "/cars;color=red", true, true),
            (&["/cars;*"], &[], "/cars;color=red", true, true),
            (&["*"], &["/admin"], "/admin;x", true, false),
            (&["*"], &["*.css"], "/admin;.css", true, false),
            (&["*"], &["/admin;x"], "/admin;x", false, false),
            (&[], &["/public/*"], "/public/a;b", false, false),
        ];
        let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).unwrap()).collect::<Vec<_>>();
        for (any, none, path, refuses, permits) in rows {
            let of = |refuses| Reading::of(path).holds(&patterns(any), &patterns(none), refuses);
            assert_eq!((of(true), of(false)), (*refuses, *permits), "{any:?} {none:?} {path}");
        }
    }
}

//! Paths of operations: patterns, and templates with `{*}` and `{**}`.

use crate::policy::pattern::Pattern;
use crate::policy::reading::OfPaths;
use crate::wire::path::has_parameters;

/// One entry of `paths`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathPattern {
    Text(Pattern),
    Template(Template),
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.contains("{*}") || text.contains("{**}") {
            return Template::parse(text).map(Self::Template);
        }
        Pattern::istio(text).map(Self::Text)
    }

    /// The same in another spelling, where that is another.
    pub(super) fn respelt(&self, spell: fn(&str) -> String) -> Option<Self> {
        let respelt = match self {
            Self::Text(pattern) => Self::Text(pattern.respelt(spell)),
            Self::Template(template) => Self::Template(template.respelt(spell)),
        };
        (respelt != *self).then_some(respelt)
    }
}

impl OfPaths for PathPattern {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Text(pattern) => pattern.matches(path),
            Self::Template(template) => template.matches(path),
        }
    }

    fn names_parameters(&self) -> bool {
        match self {
            Self::Text(pattern) => pattern.names_parameters(),
            Self::Template(template) => template.names_parameters(),
        }
    }
}

/// `{*}` is one segment that is not empty, `{**}` any text, with slashes or empty; it is the last of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// What stands before `{**}`, or all.
    before: Box<[Step]>,
    /// What ends the path, where there is a `{**}`.
    end: Option<Box<str>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Text(Box<str>),
    Segment,
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let bad = |what: &str| Err(format!("`{text}` is no path template: {what}"));
        let Some(segments) = text.strip_prefix('/') else { return bad("it does not begin with a slash") };
        let mut before = Vec::new();
        let mut end: Option<String> = None;
        for segment in segments.split('/') {
            match (segment, &mut end) {
                ("{*}" | "{**}", Some(_)) => return bad("nothing but text may follow `{**}`"),
                ("{*}", None) => before.extend([Step::Text("/".into()), Step::Segment]),
                ("{**}", None) => {
                    before.push(Step::Text("/".into()));
                    end = Some(String::new());
                }
                (plain, _) if plain.contains(['*', '{', '}']) => {
                    return bad("`{*}` and `{**}` stand alone in a segment, and `*`, `{` and `}` nowhere else");
                }
                (plain, Some(end)) => end.extend(["/", plain]),
                (plain, None) => before.push(Step::Text(format!("/{plain}").into())),
            }
        }
        Ok(Self { before: before.into(), end: end.map(Box::from) })
    }

    fn respelt(&self, spell: fn(&str) -> String) -> Self {
        let step = |step: &Step| match step {
            Step::Text(text) => Step::Text(spell(text).into()),
            Step::Segment => Step::Segment,
        };
        let end = self.end.as_ref().map(|end| spell(end).into());
        Self { before: self.before.iter().map(step).collect(), end }
    }

    fn names_parameters(&self) -> bool {
        let named = |step: &Step| matches!(step, Step::Text(text) if has_parameters(text));
        self.before.iter().any(named) || self.end.as_ref().is_some_and(|end| has_parameters(end))
    }

    fn matches(&self, path: &str) -> bool {
        let mut left = path;
        for step in &self.before {
            let next = match step {
                Step::Text(text) => left.strip_prefix(&**text),
                Step::Segment => {
                    let length = left.find('/').unwrap_or(left.len());
                    left.get(length..).filter(|_| length > 0)
                }
            };
            let Some(next) = next else { return false };
            left = next;
        }
        match &self.end {
            None => left.is_empty(),
            Some(end) => left.ends_with(&**end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::path::spelling;

    #[test]
    fn other_spellings_of_the_same() {
        let rows = [
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/%61dmin*", "/admin/x"),
            ("*/a|b", "/x/a%7Cb"),
            ("/a%2fb/{*}", "/a%2Fb/c"),
            ("/a/{**}/%7e", "/a//~"),
        ];
        for (pattern, path) in rows {
            let pattern = PathPattern::parse(pattern).unwrap();
            assert!(!pattern.matches(path) && pattern.respelt(spelling).unwrap().matches(path), "{pattern:?} {path}");
        }
        assert_eq!(PathPattern::parse("/a/*").unwrap().respelt(spelling), None);
    }

    /// The examples of Istio's reference, and of Envoy's tests where the two speak of the same.
    #[test]
    fn templates() {
        let rows = [
            ("/foo/{*}", "/foo/bar", true),
            ("/foo/{*}", "/foo/bar/baz", false),
            ("/foo/{*}", "/foo/", false),
            ("/foo/{*}", "/foo", false),
            ("/foo/{*}", "/foo/bar*baz", true),
            ("/foo/{**}/", "/foo/bar/", true),
            ("/foo/{**}/", "/foo//", true),
            ("/foo/{**}/", "/foo/bar", false),
            ("/foo/{*}/bar/{**}", "/foo/buzz/bar/", true),
            ("/foo/{*}/bar/{**}", "/foo/buzz/bar/baz", true),
            ("/foo/{*}/bar/{**}", "/foo/buzz/bar", false),
            ("/foo/{*}/bar/{**}", "/foo/a/b/bar/baz", false),
            ("/store/{**}/cart", "/store//cart", true),
            ("/store/{**}/cart", "/store/cart", false),
            ("/store/{**}/cart", "/store/a/b/cart", true),
            ("/store/{**}/cart", "/store/a/cart/x", false),
            ("/{**}", "/", true),
            ("/{**}", "/a/b", true),
            ("/{*}", "/", false),
            ("/{*}/x", "/a/x", true),
            ("/a/{*}/", "/a/b/", true),
            ("/a/{*}/", "/a/b", false),
        ];
        for (template, path, want) in rows {
            assert_eq!(PathPattern::parse(template).unwrap().matches(path), want, "{template} {path}");
        }
    }

    #[test]
    fn what_is_no_template() {
        for bad in [
            "/*/baz/{*}",
            "/**/baz/{*}",
            "/{**}/foo/{*}",
            "/foo/{*}.txt",
            "/{*}/{bar}",
            "/{**}/{**}",
            "/{*}/{}",
            "/{*}*",
            "{*}",
            "/a{*}",
            "/{*}/{x=*}",
        ] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_star_or_brace_in_a_plain_path_is_itself() {
        let matches = |pattern: &str, path: &str| PathPattern::parse(pattern).unwrap().matches(path);
        assert!(matches("/a*b", "/a*b") && !matches("/a*b", "/axb"));
        assert!(matches("/{a}", "/{a}") && !matches("/{a}", "/x"));
        assert!(matches("*", "/") && matches("/a*", "/a") && matches("*/b", "/a/b"));
    }
}

//! Istio's string patterns: exact, `pre*`, `*suf`, `*`. Never a regular expression: every other byte means itself.
//!
//! A pattern built by Istio's escape-free regular expressions once let `cert-managerXio` pass for `cert-manager.io`
//! (CVE-2026-39350); comparing bytes cannot.

/// One parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `*`: anything that is there (Istio: presence).
    Present,
    /// `pre*`
    Prefix(Box<str>),
    /// `*suf`
    Suffix(Box<str>),
    /// Anything else.
    Exact(Box<str>),
}

impl Pattern {
    /// Parses a pattern; the error says what is wrong with it and what to write.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty: write a value, `pre*`, `*suf` or `*`".into());
        }
        if text == "*" {
            return Ok(Self::Present);
        }
        let parsed = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (None, None) => Self::Exact(text.into()),
            (None, Some(prefix)) => Self::Prefix(prefix.into()),
            (Some(suffix), None) => Self::Suffix(suffix.into()),
            (Some(_), Some(_)) => return Err(Self::refused(text)),
        };
        let (Self::Exact(rest) | Self::Prefix(rest) | Self::Suffix(rest)) = &parsed else { return Ok(parsed) };
        if rest.contains('*') { Err(Self::refused(text)) } else { Ok(parsed) }
    }

    /// As Istio reads a value: every text is one, and a star that is neither its first nor its last character is a star.
    /// `*abc*` is whatever ends in `abc*` (istio.io/latest/docs/reference/config/security/authorization-policy/#Rule).
    pub(super) fn istio(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix('*'), text.strip_suffix('*')) {
            ("", _, _) => Err("is empty: write a value, `pre*`, `*suf` or `*`".into()),
            ("*", _, _) => Ok(Self::Present),
            (_, Some(suffix), _) => Ok(Self::Suffix(suffix.into())),
            (_, None, Some(prefix)) => Ok(Self::Prefix(prefix.into())),
            (_, None, None) => Ok(Self::Exact(text.into())),
        }
    }

    /// Whether a star stands in it that means itself.
    pub(super) fn has_plain_star(&self) -> bool {
        match self {
            Self::Present => false,
            Self::Prefix(text) | Self::Suffix(text) | Self::Exact(text) => text.contains('*'),
        }
    }

    fn refused(text: &str) -> String {
        format!("`{text}` is no pattern: one `*` may stand at the start or at the end (`pre*`, `*suf`, `*`)")
    }

    /// Whether `text` matches, byte by byte.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::Exact(exact) => text == &**exact,
        }
    }

    /// Whether this is exactly `text`, without a star.
    pub(super) fn is_exactly(&self, text: &str) -> bool {
        matches!(self, Self::Exact(exact) if &**exact == text)
    }

    /// Whether everything that `other` matches is matched by this.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present, _) => true,
            (_, Self::Exact(text)) => self.matches(text),
            (Self::Prefix(short), Self::Prefix(long)) => long.starts_with(&**short),
            (Self::Suffix(short), Self::Suffix(long)) => long.ends_with(&**short),
            _ => false,
        }
    }

    /// The same with ASCII letters in lower case, for hosts.
    pub(super) fn to_lower_case(&self) -> Self {
        self.respelt(str::to_ascii_lowercase)
    }

    /// The same in another spelling; its stars stay what they are.
    pub(super) fn respelt(&self, spell: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Present => Self::Present,
            Self::Prefix(text) => Self::Prefix(spell(text).into()),
            Self::Suffix(text) => Self::Suffix(spell(text).into()),
            Self::Exact(text) => Self::Exact(spell(text).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_bytes() {
        let rows = [
            ("a", "a", true),
            ("a", "A", false),
            ("a", "ab", false),
            ("get_*", "get_", true),
            ("get_*", "get_x", true),
            ("get_*", "xget_", false),
            ("*_ro", "x_ro", true),
            ("*_ro", "_ro", true),
            ("*_ro", "x_row", false),
            ("*", "x", true),
            ("*", "", true),
            ("a.b", "aXb", false),
            ("[a]", "a", false),
            ("cert-manager.io*", "cert-managerXio", false),
            ("ab*", "a", false),
        ];
        for (pattern, text, want) in rows {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn other_stars_are_refused() {
        for text in ["", "a*b", "**", "*a*", "a**", "**a", "*a*b", "***"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_without_stars_matches_itself_alone(text in "[a-z.\\[\\]()+?|^$]{1,8}", other in "[a-z.\\[\\]()+?|^$]{1,8}") {
            let pattern = Pattern::parse(&text).unwrap();
            prop_assert!(pattern.matches(&text));
            prop_assert_eq!(pattern.matches(&other), text == other);
        }

        #[test]
        fn parsing_never_fails_badly(text in ".{0,12}") {
            drop(Pattern::parse(&text));
        }
    }
}

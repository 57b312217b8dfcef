use super::pattern::Pattern;
use super::truth::Truth;

/// What is known of a field of a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen<'a> {
    /// Its value.
    Value(&'a str),
    /// The call has none, and never will.
    Absent,
    /// The call has one, or may have; this phase does not know it.
    Unknown,
}

/// What a field says of a value that is absent: rules that refuse match it, rules that permit do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    /// `deny`, `require`
    Matches,
    /// `allow`
    Misses,
}

impl Absence {
    pub(super) fn truth(self) -> Truth {
        Truth::from(self == Self::Matches)
    }
}

/// A field and its `not` form: one of `any` (if there are some), and none of `none`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Many {
    pub(super) any: Vec<Pattern>,
    pub(super) none: Vec<Pattern>,
}

impl Many {
    pub(super) fn is_empty(&self) -> bool {
        self.any.is_empty() && self.none.is_empty()
    }

    /// Whether the field matches; one without patterns matches everything, also what is absent.
    pub(super) fn truth(&self, seen: Seen<'_>, absence: Absence) -> Truth {
        if self.is_empty() {
            return Truth::True;
        }
        match seen {
            Seen::Value(value) => self.matches(value).into(),
            Seen::Absent => absence.truth(),
            Seen::Unknown => self.unknown(),
        }
    }

    /// Whether `value` matches.
    pub(super) fn matches(&self, value: &str) -> bool {
        (self.any.is_empty() || self.any.iter().any(|pattern| pattern.matches(value)))
            && !self.none.iter().any(|pattern| pattern.matches(value))
    }

    /// What is sure of every value.
    fn unknown(&self) -> Truth {
        if self.none.contains(&Pattern::Present) {
            return Truth::False;
        }
        if self.none.is_empty() && self.any.contains(&Pattern::Present) { Truth::True } else { Truth::Unknown }
    }

    /// Whether no value can match.
    pub(super) fn is_never(&self) -> bool {
        let excluded = |pattern: &Pattern| self.none.iter().any(|none| none.covers(pattern));
        self.none.contains(&Pattern::Present) || (!self.any.is_empty() && self.any.iter().all(excluded))
    }
}

/// Whether one of several matches; an empty iterator matches nothing.
pub(super) fn any<T>(items: &[T], mut truth: impl FnMut(&T) -> Truth) -> Truth {
    items.iter().fold(Truth::False, |sum, item| sum.or(|| truth(item)))
}

/// What a condition says: three values of logic, and failure.
///
/// `Unknown` means that it depends on what this phase does not know; `Failed` that it has no value at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Truth {
    /// Surely holds.
    True,
    /// Surely does not hold.
    False,
    /// May or may not hold once everything is known.
    Unknown,
    /// Surely fails to evaluate.
    Failed,
}

impl Truth {
    /// CEL's `&&`: false absorbs; then what is unknown may still become false.
    pub(super) fn and(self, other: impl FnOnce() -> Self) -> Self {
        if self == Self::False {
            return Self::False;
        }
        match (self, other()) {
            (_, Self::False) => Self::False,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            _ => Self::True,
        }
    }

    /// CEL's `||`: true absorbs; then what is unknown may still become true.
    pub(super) fn or(self, other: impl FnOnce() -> Self) -> Self {
        if self == Self::True {
            return Self::True;
        }
        match (self, other()) {
            (_, Self::True) => Self::True,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            _ => Self::False,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

#[cfg(test)]
mod tests {
    use super::Truth::{self, Failed, False, True, Unknown};

    /// Every value that `t` may turn out to be once everything is known.
    fn completions(t: Truth) -> Vec<Truth> {
        if t == Unknown { vec![True, False, Failed] } else { vec![t] }
    }

    #[test]
    fn a_known_result_holds_for_every_completion() {
        for a in [True, False, Unknown, Failed] {
            for b in [True, False, Unknown, Failed] {
                for (now, op) in [
                    (a.and(|| b), (|x: Truth, y: Truth| x.and(|| y)) as fn(Truth, Truth) -> Truth),
                    (a.or(|| b), |x, y| x.or(|| y)),
                ] {
                    for x in completions(a) {
                        for y in completions(b) {
                            assert!(now == Unknown || op(x, y) == now, "{a:?} {b:?} {x:?} {y:?}");
                            assert_eq!(op(x, y), op(y, x), "order does not matter");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn errors_are_absorbed_as_in_cel() {
        assert_eq!(Failed.and(|| False), False);
        assert_eq!(Failed.or(|| True), True);
        assert_eq!(Failed.and(|| True), Failed);
        assert_eq!(Failed.and(|| Unknown), Unknown, "what is unknown may turn out false");
    }
}

//! Conditions of a Service: `Guarded` and `Reachable`.

use serde::Serialize;

use super::gap::Gap;

/// `status` of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known yet.
    Unknown,
}

impl Status {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition without its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Whether it holds.
    pub status: Status,
    /// In one word.
    pub reason: &'static str,
    /// In a sentence, with the remedy.
    pub message: String,
}

/// Names beyond these are only counted.
const NAMED: usize = 5;

impl Condition {
    pub(super) fn new(status: Status, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }

    /// Not guarded, by the gravest of the gaps (which come in order).
    pub(super) fn unguarded(gaps: &[Gap]) -> Option<Self> {
        let reason = gaps.iter().map(|gap| gap.reason).min_by_key(|reason| reason.condition() == "Pending")?;
        let mut sentences = Vec::new();
        let mut rest = gaps;
        while let Some(first) = rest.first() {
            let (same, others) = rest.split_at(rest.iter().take_while(|gap| gap.reason == first.reason).count());
            let names: Vec<String> = same.iter().take(NAMED).map(ToString::to_string).collect();
            let more = same.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let (what, remedy) = (first.reason.condition(), first.reason.remedy());
            sentences.push(format!("{what}: {}{more}: {remedy}", names.join(", ")));
            rest = others;
        }
        Some(Self::new(Status::False, reason.condition(), sentences.join(". ")))
    }
}

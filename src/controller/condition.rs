//! Conditions in a status: what holds, since when, and why.

use serde_json::{Value, json};

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can say yet.
    Unknown,
}

impl Holds {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// One condition as a planner finds it; what it was before says since when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `type`, CamelCase.
    pub kind: &'static str,
    /// `status`
    pub holds: Holds,
    /// One word, CamelCase.
    pub reason: &'static str,
    /// For people; what to do where it does not hold.
    pub message: String,
}

/// Longest message that `metav1.Condition` may have, bytes.
const MAX_MESSAGE: usize = 32_768;

impl Condition {
    /// A condition.
    pub fn new(kind: &'static str, holds: impl Into<Holds>, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds: holds.into(), reason, message: message.into() }
    }

    /// As it stands in a status, with the time of its last change: that of `live` where it says the same already, else
    /// `now` (RFC 3339).
    pub fn json(&self, live: &[Value], generation: Option<i64>, now: &str) -> Value {
        let before = live.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(self.kind));
        let same = before.filter(|one| one.get("status").and_then(Value::as_str) == Some(self.holds.as_str()));
        let since = same.and_then(|one| one.get("lastTransitionTime")).and_then(Value::as_str).unwrap_or(now);
        let message: String = self.message.chars().take(MAX_MESSAGE / 4).collect();
        let mut json = json!({
            "type": self.kind,
            "status": self.holds.as_str(),
            "reason": self.reason,
            "message": message,
            "lastTransitionTime": since,
        });
        if let (Some(generation), Value::Object(fields)) = (generation, &mut json) {
            fields.insert("observedGeneration".to_owned(), generation.into());
        }
        json
    }
}

/// Now, as conditions have it.
pub fn now() -> String {
    use time::format_description::well_known::Rfc3339;
    let now = time::OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

/// The conditions in a live status.
pub fn live(status: Option<&Value>) -> &[Value] {
    status.and_then(|status| status.get("conditions")).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_the_time_since_when_it_holds() {
        let live = [json!({"type": "Accepted", "status": "True", "reason": "Old", "lastTransitionTime": "then"})];
        let since = |holds: Holds| Condition::new("Accepted", holds, "New", "m").json(&live, Some(3), "now");
        assert_eq!(since(Holds::True)["lastTransitionTime"], "then");
        assert_eq!(since(Holds::True)["reason"], "New");
        assert_eq!(since(Holds::False)["lastTransitionTime"], "now");
        assert_eq!(since(Holds::Unknown)["observedGeneration"], 3);
        assert_eq!(Condition::new("Other", true, "R", "").json(&live, None, "now")["lastTransitionTime"], "now");
        assert!(now().ends_with('Z') && !now().contains('.'));
    }
}

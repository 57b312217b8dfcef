use std::fmt;

use serde::Serialize;

use super::Revision;
use super::decision::{Reason, RuleName};

/// A decision taken apart: the verdict, then every rule in the order in which it was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// Whether the call would be allowed.
    pub allowed: bool,
    /// Why not.
    pub reason: Option<Reason>,
    /// The rule that decided; none: the default.
    pub rule: Option<RuleName>,
    /// The documents that decided.
    pub revision: Revision,
    /// Every rule, in order.
    pub findings: Vec<Finding>,
}

/// What one rule said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: RuleName,
    /// `deny`, `require` or `allow`.
    pub effect: &'static str,
    /// Whether its policy is DryRun, so that it took no part.
    pub dry_run: bool,
    /// What it said.
    pub outcome: Outcome,
    /// What decided that: a field (`from`), or the sub-expression with the values it saw.
    pub because: Option<String>,
}

/// Whether a rule matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It matched (for `require`: it is about the call, and holds).
    Matched,
    /// It did not match (for `require`: it is not about the call).
    NotMatched,
    /// `require` only: it is about the call and does not hold.
    Unmet,
    /// It could not be evaluated.
    Failed,
    /// It depends on what is not known in this phase.
    Unknown,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => write!(f, "ALLOW")?,
            Some(reason) => write!(f, "DENY ({reason})")?,
        }
        match &self.rule {
            Some(rule) => writeln!(f, " by {rule}")?,
            None => writeln!(f, " by default")?,
        }
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Matched => "matched",
            Outcome::NotMatched => "no match",
            Outcome::Unmet => "not met",
            Outcome::Failed => "failed",
            Outcome::Unknown => "unknown",
        };
        write!(f, "{:<8} {:<8} {}", outcome, self.effect, self.rule)?;
        if self.dry_run {
            f.write_str(" (dry run)")?;
        }
        if let Some(because) = &self.because {
            write!(f, ": {because}")?;
        }
        Ok(())
    }
}

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// What must hold before calls may be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// We have a certificate that is in force.
    Identity,
    /// The whole mesh was told, where istiod tells it.
    Mesh,
    /// Documents were read, so that there are rules to decide by.
    Documents,
    /// The other replicas told what they know, or did not in time.
    Owners,
    /// The listener takes connections; ends with the drain.
    Serving,
}

impl Condition {
    const ALL: [Self; 5] = [Self::Identity, Self::Mesh, Self::Documents, Self::Owners, Self::Serving];

    /// As the ready page says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Mesh => "mesh",
            Self::Documents => "documents",
            Self::Owners => "owners",
            Self::Serving => "serving",
        }
    }
}

/// Whether this process is ready, and if not, why. A clone shares the state. Nothing holds at the start.
#[derive(Debug, Clone)]
pub struct Readiness {
    unmet: Arc<Mutex<Vec<(Condition, String)>>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Every condition unmet: `not yet`.
    pub fn new() -> Self {
        Self { unmet: Arc::new(Mutex::new(Condition::ALL.map(|condition| (condition, "not yet".to_owned())).into())) }
    }

    /// `condition` holds from now on.
    pub fn met(&self, condition: Condition) {
        self.unmet.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != condition);
    }

    /// `condition` does not hold, for `reason`.
    pub fn unmet(&self, condition: Condition, reason: impl Into<String>) {
        let mut unmet = self.unmet.lock().unwrap_or_else(PoisonError::into_inner);
        unmet.retain(|(other, _)| *other != condition);
        unmet.push((condition, reason.into()));
        unmet.sort();
    }

    /// One line for each condition that does not hold.
    ///
    /// # Errors
    /// Those lines, where there are any.
    pub fn check(&self) -> Result<(), String> {
        let unmet = self.unmet.lock().unwrap_or_else(PoisonError::into_inner);
        if unmet.is_empty() {
            return Ok(());
        }
        let mut lines = String::new();
        for (condition, reason) in unmet.iter() {
            // Writing into a String does not fail.
            let _never = writeln!(lines, "{}: {reason}", condition.as_str());
        }
        Err(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_all_hold_and_not_a_moment_longer() {
        let readiness = Readiness::new();
        assert_eq!(
            readiness.check().unwrap_err(),
            "identity: not yet\nmesh: not yet\ndocuments: not yet\nowners: not yet\nserving: not yet\n"
        );
        Condition::ALL.iter().for_each(|condition| readiness.met(*condition));
        assert_eq!(readiness.check(), Ok(()));
        let shared = readiness.clone();
        shared.unmet(Condition::Serving, "draining");
        shared.unmet(Condition::Identity, "expired");
        assert_eq!(readiness.check().unwrap_err(), "identity: expired\nserving: draining\n");
    }
}

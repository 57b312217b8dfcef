use std::fmt;

use aws_lc_rs::digest;
use serde::{Serialize, Serializer};

/// Which documents decide for a target: equal documents have equal revisions, on every replica and after every restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The revision of a canonical text of documents.
    pub(super) fn of(text: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, text);
        let head = digest.as_ref().iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        Self(head)
    }

    /// The number, for comparison across processes.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

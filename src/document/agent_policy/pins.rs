use serde::{Deserialize, Serialize};

/// `spec.pins`: which definitions of tools were looked at, and what becomes of others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pins {
    /// What becomes of a tool that is not as pinned.
    #[serde(default)]
    pub mode: PinMode,
    /// Definitions; of one name there may be several, as while a new version is rolled out.
    pub tools: Vec<Pin>,
}

/// What becomes of a tool whose definition is not pinned. Of several policies for a port the strictest holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize)]
pub enum PinMode {
    /// It is counted.
    Observe,
    /// It is counted and logged.
    Warn,
    /// It is in no list, and no call of it passes.
    #[default]
    Enforce,
}

/// One definition of one tool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    /// The tool.
    pub name: String,
    /// Of its definition, 64 hex digits, as `agent-waypoint pins` prints it.
    pub sha256: String,
}

use serde::{Deserialize, Serialize};

use super::{From, To};

/// An entry of `results.labels`: an answer that it is about puts its name on the session, where rules see it from then on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Label {
    /// The label: 1 to 63 letters, digits, `-`, `_`, `.` or `/`.
    pub name: String,
    /// Entries OR. Absent: every caller.
    pub from: Option<Vec<From>>,
    /// Entries OR. Absent: whatever brings something of the server's; not base methods, nor lists.
    pub to: Option<Vec<To>>,
    /// CEL, which may read the answer. Absent: every answer. Where it cannot be evaluated, the label is put.
    pub when: Option<String>,
}

use serde::{Deserialize, Serialize};

use super::{From, To};

/// An entry of `external`: about the calls that it matches a provider is asked, before any rule decides. It permits nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct External {
    /// For logs and denials; `external[0]` where absent.
    pub name: Option<String>,
    /// Entries OR. Absent: every caller.
    pub from: Option<Vec<From>>,
    /// Entries OR. Absent: every call.
    pub to: Option<Vec<To>>,
    /// CEL. Where it cannot be evaluated, the provider is asked.
    pub when: Option<String>,
    /// One of meshConfig's `extensionProviders`.
    pub provider: String,
}

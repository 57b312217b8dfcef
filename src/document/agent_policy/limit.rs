use serde::{Deserialize, Serialize};

use super::{From, To};

/// An entry of `limits`: how many of the calls that it is about may be made in a time. It permits nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    /// For logs and denials; `limits[0]` where absent. Whoever renames a limit begins it anew.
    pub name: Option<String>,
    /// Entries OR. Absent: every caller.
    pub from: Option<Vec<From>>,
    /// Entries OR. Absent: whatever makes a server do something; not lists, nor what a task goes on with.
    pub to: Option<Vec<To>>,
    /// How many, over all replicas of the waypoint: 1 to 1,000,000.
    pub calls: u32,
    /// In which time they become free again, evenly: `1s` to `24h`, as in `1m` or `1h30m`.
    pub per: String,
    /// Which calls count together: `principal`, `subject`, `namespace` (of the caller), `service`, `tool`, with `+` between
    /// them. Absent: `principal`.
    pub key: Option<String>,
}

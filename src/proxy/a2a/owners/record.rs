use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Entry, Key, Kind};
use crate::call::{Owner, TaskState};
use crate::config::limits::MAX_NAME;
use crate::id::WorkloadId;
use crate::mesh::{TargetKey, TargetKind};

/// What is known of one id, as one line of JSON: in the file, and between replicas.
///
/// Whoever reads one of a later version leaves out what it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    kind: TargetName,
    namespace: Arc<str>,
    name: Arc<str>,
    port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<Arc<str>>,
    what: What,
    id: Arc<str>,
    /// In whose share it is.
    principal: String,
    /// Whether two replicas heard of different owners.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    disputed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum TargetName {
    Service,
    ServiceEntry,
    Workload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Task,
    Context,
}

impl Record {
    pub(super) fn of(key: &Key, entry: &Entry) -> Self {
        let target = &key.target;
        Self {
            kind: match target.kind {
                TargetKind::Service => TargetName::Service,
                TargetKind::ServiceEntry => TargetName::ServiceEntry,
                TargetKind::Workload => TargetName::Workload,
            },
            namespace: Arc::clone(&target.namespace),
            name: Arc::clone(&target.name),
            port: target.port,
            at: target.at.clone(),
            tenant: key.tenant.clone(),
            what: match key.kind {
                Kind::Task => What::Task,
                Kind::Context => What::Context,
            },
            id: Arc::clone(&key.id),
            principal: entry.principal.uri().to_owned(),
            disputed: entry.owner.is_none(),
            subject: entry.owner.as_ref().and_then(|owner| owner.subject.clone()),
            state: entry.state.map(|state| state.as_str().to_owned()),
        }
    }

    /// None where it names nobody who could own anything, or an id that no call could name.
    pub(super) fn parts(&self) -> Option<(Key, Entry)> {
        let principal = WorkloadId::parse(&self.principal).ok()?;
        if self.id.is_empty() || self.id.len() > MAX_NAME {
            return None;
        }
        let target = TargetKey {
            kind: match self.kind {
                TargetName::Service => TargetKind::Service,
                TargetName::ServiceEntry => TargetKind::ServiceEntry,
                TargetName::Workload => TargetKind::Workload,
            },
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(&self.name),
            port: self.port,
            at: self.at.clone(),
        };
        let kind = match self.what {
            What::Task => Kind::Task,
            What::Context => Kind::Context,
        };
        let owner = (!self.disputed).then(|| Owner { id: principal.clone(), subject: self.subject.clone() });
        let state = self.state.as_deref().and_then(TaskState::parse);
        let key = Key { target, tenant: self.tenant.clone(), kind, id: Arc::clone(&self.id) };
        Some((key, Entry { principal, owner: owner.map(Arc::new), state }))
    }

    /// With the end of the line.
    pub(super) fn line(&self) -> Option<String> {
        let mut line = serde_json::to_string(self).ok()?;
        line.push('\n');
        Some(line)
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

//! Tasks of MCP servers, by the ids that servers list them by, so that a caller's list holds its tasks at whichever replica it is
//! asked for. Nothing depends on it but what lists and streams show: a task that is not known here is nobody's.

use std::sync::{Arc, PoisonError};

use super::{Entry, Key, Kind, Owners, Place};
use crate::call::Owner;
use crate::mesh::TargetKey;

/// One task as its server names it.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) struct McpTask<'a> {
    pub(in crate::proxy) target: &'a TargetKey,
    /// Which made it.
    pub(in crate::proxy) endpoint: &'a Arc<str>,
    pub(in crate::proxy) id: &'a str,
    /// When, as its server says.
    pub(in crate::proxy) created: &'a str,
}

impl McpTask<'_> {
    fn key(&self) -> Key {
        let (agent, tenant) = (Some(Arc::clone(self.endpoint)), Some(self.created.into()));
        Key { place: Place { target: self.target.clone(), agent, tenant }, kind: Kind::McpTask, id: self.id.into() }
    }
}

impl Owners {
    /// A call of `tool` by `owner` became this task. The other replicas are told, and not waited for: what depends on the id
    /// that its caller gets needs none of them.
    pub(in crate::proxy) fn made_mcp(&self, task: McpTask<'_>, owner: Owner, tool: &Arc<str>) {
        let (key, principal) = (task.key(), owner.id.clone());
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.ids.touch(&key).is_none() {
            let (owner, tool) = (Some(Arc::new(owner)), Some(Arc::clone(tool)));
            self.enter(&mut table, key, Entry { principal, owner, state: None, tool }, true);
        }
    }

    /// Whose this task is, and the tool whose call made it.
    pub(in crate::proxy) fn of_mcp(&self, task: McpTask<'_>) -> Option<(Arc<Owner>, Arc<str>)> {
        let entry = self.table.lock().unwrap_or_else(PoisonError::into_inner).ids.touch(&task.key())?.clone();
        Some((entry.owner?, entry.tool?))
    }
}

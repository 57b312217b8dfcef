//! How the servers of each target answer an unknown name, learnt from their real answers, so that a hidden refusal can
//! look the same.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::call::{McpCall, McpObject};
use crate::mesh::TargetKey;
use crate::wire::mcp::UnknownName;

/// Wordings that are kept; beyond, nothing more is learnt.
const MAX_WORDINGS: usize = 4_096;

/// Servers word each kind of name in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Tool,
    Prompt,
    Resource,
}

impl Kind {
    fn of(call: &McpCall) -> Option<Self> {
        match call.object {
            McpObject::Tool { .. } => Some(Self::Tool),
            McpObject::Prompt { .. } => Some(Self::Prompt),
            McpObject::Resource(_) => Some(Self::Resource),
            McpObject::Base
            | McpObject::Task(_)
            | McpObject::Subscription(_)
            | McpObject::Setting
            | McpObject::ServerRequest(_)
            | McpObject::Other => None,
        }
    }
}

/// The wordings learnt so far.
#[derive(Debug, Default)]
pub(super) struct Wordings(Mutex<HashMap<(TargetKey, Kind), UnknownName>>);

impl Wordings {
    /// The wording of a target's servers, where one was seen.
    pub(super) fn find(&self, target: &TargetKey, call: &McpCall) -> Option<UnknownName> {
        let key = (target.clone(), Kind::of(call)?);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Keeps a wording; a newer one replaces it.
    pub(super) fn keep(&self, target: &TargetKey, call: &McpCall, wording: UnknownName) {
        let Some(kind) = Kind::of(call) else { return };
        let key = (target.clone(), kind);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_WORDINGS || kept.contains_key(&key) {
            kept.insert(key, wording);
        }
    }
}

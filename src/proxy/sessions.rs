//! Whose an MCP session is. The id that a client gets is ours, sealed: it says which server's session on which endpoint it
//! stands for, and opens only for the caller that began it, with the same token's subject, on the same target. So any
//! replica serves a session, and a restart keeps it. An unknown, a forged, an expired and another caller's id look alike
//! from outside, as none of them opens.
//!
//! What is in memory beside it ([`Session`]) can be lost: the ids of messages are sealed too, and say what they are
//! about. Nothing may pass because something is not remembered.

mod ids;
mod sealed;
mod session;
mod table;

use std::sync::Arc;

use crate::id::WorkloadId;
use crate::mesh::TargetKey;
use crate::policy::Claims;
use crate::seal::Fields;

pub(super) use sealed::{Announced, Sealed};
pub(super) use session::{Session, Sessional};
pub(super) use table::{NotBegun, Sessions};

/// For whom a session is, and on what: nobody else can open its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    /// Who began it.
    pub(super) owner: WorkloadId,
    /// Of the token that it was begun with, where there was one; see [`subject`].
    pub(super) subject: Option<Arc<str>>,
    /// The target.
    pub(super) target: TargetKey,
}

impl Holder {
    /// What is sealed for this holder is bound to it.
    pub(super) fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        fields.text(self.owner.uri()).maybe(self.subject.as_deref()).text(&self.target.to_string());
        fields
    }
}

/// What a session is known by: a server's id is unique only within the endpoint that issued it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionKey {
    /// The target.
    pub(super) target: TargetKey,
    /// The endpoint that issued the id; every request of the session goes there.
    pub(super) endpoint: Arc<str>,
    /// The server's own id: its `Mcp-Session-Id`, or its address for a session of 2024-11-05.
    pub(super) id: Arc<str>,
}

/// A session in the hands of its holder.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) key: SessionKey,
    pub(super) session: Arc<Session>,
    /// `Mcp-Session-Id` as its client knows it; none for a session of 2024-11-05.
    pub(super) token: Option<Arc<str>>,
}

/// Issuer and subject of a token as one text: of two tokens, the same only where both are.
pub(super) fn subject(claims: &Claims) -> Arc<str> {
    let issuer = claims.issuer();
    format!("{}:{issuer}{}", issuer.len(), claims.subject().unwrap_or_default()).into()
}

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::super::labels;
use super::cards::Seen;
use super::{Entry, Key, Kind, Place};
use crate::call::{Card, Owner, TaskState};
use crate::config::limits::{MAX_NAME, MAX_OWNER_LINE};
use crate::id::WorkloadId;
use crate::mesh::{TargetKey, TargetKind};

/// One line of JSON: in the file, and between replicas. Whoever reads one of a later version leaves out what it does not
/// know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Record {
    Owned(Owned),
    Card(CardSeen),
    Labels(LabelsTold),
}

/// What is known of one id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owned {
    #[serde(flatten)]
    target: Target,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<Arc<str>>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool: Option<Arc<str>>,
}

/// What is known of an agent's public card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CardSeen {
    #[serde(flatten)]
    target: Target,
    path: Arc<str>,
    /// Of the rules that looked at it.
    revision: u64,
    /// When: see [`Seen`].
    at: u64,
    /// None where it was refused.
    card: Option<Believed>,
}

/// What is known of the labels of one MCP session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LabelsTold {
    session: String,
    /// In whose share it is.
    principal: String,
    labels: Vec<Arc<str>>,
    /// Whether these are all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Believed {
    verified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<Arc<str>>,
    digest: Arc<str>,
    skills: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Target {
    kind: TargetName,
    namespace: Arc<str>,
    name: Arc<str>,
    port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Arc<str>>,
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
    McpTask,
}

impl Record {
    pub(super) fn of(key: &Key, entry: &Entry) -> Self {
        Self::Owned(Owned {
            target: Target::of(&key.place.target),
            agent: key.place.agent.clone(),
            tenant: key.place.tenant.clone(),
            what: match key.kind {
                Kind::Task => What::Task,
                Kind::Context => What::Context,
                Kind::McpTask => What::McpTask,
            },
            id: Arc::clone(&key.id),
            principal: entry.principal.uri().to_owned(),
            disputed: entry.owner.is_none(),
            subject: entry.owner.as_ref().and_then(|owner| owner.subject.clone()),
            state: entry.state.map(|state| state.as_str().to_owned()),
            tool: entry.tool.clone(),
        })
    }

    pub(super) fn of_card(target: &TargetKey, path: &Arc<str>, seen: &Seen) -> Self {
        let card = seen.card.as_deref().map(|card| Believed {
            verified: card.verified,
            key_id: card.key_id.clone(),
            digest: Arc::clone(&card.digest),
            skills: card.skills.clone(),
        });
        let (target, path) = (Target::of(target), Arc::clone(path));
        Self::Card(CardSeen { target, path, revision: seen.revision, at: seen.at, card })
    }

    /// With the end of the line; none where it is longer than what is said of one owner. A card that is too long to be told is
    /// told as one that was refused: who does not hear of it would go on with an earlier one.
    pub(super) fn line(&self) -> Option<String> {
        let mut line = serde_json::to_string(self).ok()?;
        line.push('\n');
        if line.len() <= MAX_OWNER_LINE {
            return Some(line);
        }
        match self {
            Self::Card(seen) if seen.card.is_some() => Self::Card(CardSeen { card: None, ..seen.clone() }).line(),
            Self::Card(_) | Self::Owned(_) | Self::Labels(_) => None,
        }
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

impl Owned {
    /// None where it names nobody who could own anything, or an id that no call could name.
    pub(super) fn parts(&self) -> Option<(Key, Entry)> {
        let principal = WorkloadId::parse(&self.principal).ok()?;
        if self.id.is_empty() || self.id.len() > MAX_NAME {
            return None;
        }
        let kind = match self.what {
            What::Task => Kind::Task,
            What::Context => Kind::Context,
            What::McpTask => Kind::McpTask,
        };
        let owner = (!self.disputed).then(|| Owner { id: principal.clone(), subject: self.subject.clone() });
        let state = self.state.as_deref().and_then(TaskState::parse);
        let place = Place { target: self.target.key(), agent: self.agent.clone(), tenant: self.tenant.clone() };
        let key = Key { place, kind, id: Arc::clone(&self.id) };
        Some((key, Entry { principal, owner: owner.map(Arc::new), state, tool: self.tool.clone() }))
    }
}

impl LabelsTold {
    pub(super) fn of(key: &labels::Key, entry: &labels::Entry, whole: bool) -> Self {
        let (labels, principal) = (entry.labels.clone(), entry.principal.uri().to_owned());
        Self { session: key.text(), principal, labels, whole }
    }

    /// None where it names no session, or nobody.
    pub(super) fn parts(&self) -> Option<(labels::Key, labels::Entry)> {
        let principal = WorkloadId::parse(&self.principal).ok()?;
        let entry = labels::Entry { principal, labels: self.labels.clone(), whole: self.whole };
        Some((labels::Key::parse(&self.session)?, entry))
    }
}

impl CardSeen {
    pub(super) fn parts(&self) -> (TargetKey, Arc<str>, Seen) {
        let card = self.card.as_ref().map(|card| Card {
            verified: card.verified,
            key_id: card.key_id.clone(),
            digest: Arc::clone(&card.digest),
            skills: card.skills.clone(),
        });
        let seen = Seen { revision: self.revision, at: self.at, card: card.map(Arc::new) };
        (self.target.key(), Arc::clone(&self.path), seen)
    }
}

impl Target {
    fn of(target: &TargetKey) -> Self {
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
        }
    }

    fn key(&self) -> TargetKey {
        TargetKey {
            kind: match self.kind {
                TargetName::Service => TargetKind::Service,
                TargetName::ServiceEntry => TargetKind::ServiceEntry,
                TargetName::Workload => TargetKind::Workload,
            },
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(&self.name),
            port: self.port,
            at: self.at.clone(),
        }
    }
}

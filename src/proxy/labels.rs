//! Labels of MCP sessions: which there are, and what a rule is told of them.
//!
//! A label restricts, so that to lose one would open what it closed. So they are only ever added, every replica has them
//! before the caller has the answer that put them there ([`Unshared`]), and a replica that may have missed one says that it
//! does not know ([`Ticket`]). A session whose labels nobody knows any more is over: its client begins a new one, which it
//! could have done anyway.

mod table;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use tokio::sync::watch;

use super::a2a::Owners;
use super::sessions::{Bound, Holder};
use crate::policy::{Denial, Labelled, Labeller, Rules};

pub(super) use table::{Entry, Labels};

/// A session as replicas name it to each other: a digest of whose it is, and of what its server calls it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key([u8; 32]);

impl Key {
    fn of(holder: &Holder, bound: &Bound) -> Self {
        let mut fields = holder.fields();
        fields.text(&bound.key.endpoint).text(&bound.key.id);
        let mut key = [0; 32];
        let digest = digest::digest(&digest::SHA256, &fields.into_bytes());
        key.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(key)
    }

    /// As it is written.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// As it was written.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut key = [0; 32];
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(key))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// What the rules of a call see of its session.
#[derive(Debug)]
pub(super) enum Ticket {
    /// The call begins a session: it has no labels yet.
    Begins,
    /// It is made without a session, by which nobody could know it again.
    Nobodys,
    /// It is made in one.
    Of { owners: Arc<Owners>, key: Key },
}

/// The session's labels are gone, and with them the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl Ticket {
    /// Waits a little where it was not heard for too long what the others know, and a rule asks for that.
    pub(super) async fn renew(owners: &Owners, rules: &Rules) {
        if rules.labels_sessions() {
            Box::pin(owners.renewed()).await;
        }
    }

    /// That of a call by `holder`; none where no rule asks for labels.
    ///
    /// # Errors
    /// [`Gone`]
    pub(super) fn new(
        owners: &Arc<Owners>,
        rules: &Rules,
        (session, holder): (Option<&Bound>, &Holder),
        begins: bool,
    ) -> Result<Option<Arc<Self>>, Gone> {
        if !rules.labels_sessions() {
            return Ok(None);
        }
        let ticket = match session {
            None if begins => Self::Begins,
            None => Self::Nobodys,
            Some(bound) => {
                let key = Key::of(holder, bound);
                // Where it is not known who knows what, it may be back in a moment.
                if owners.is_whole() && !owners.labels().knows(&key) {
                    return Err(Gone);
                }
                Self::Of { owners: Arc::clone(owners), key }
            }
        };
        Ok(Some(Arc::new(ticket)))
    }

    /// That of a session that has just begun, without labels; and the line by which the others know of it.
    pub(super) fn begun(owners: &Arc<Owners>, bound: &Bound, holder: &Holder) -> (Arc<Self>, u64) {
        let key = Key::of(holder, bound);
        let line = owners.begin_session(key, &holder.owner);
        (Arc::new(Self::Of { owners: Arc::clone(owners), key }), line)
    }

    /// How many labels the session has, as that changes; none where it has none that are known.
    pub(super) fn listen(&self) -> Option<watch::Receiver<usize>> {
        match self {
            Self::Of { owners, key } => owners.labels().listen(key),
            Self::Begins | Self::Nobodys => None,
        }
    }

    /// Puts on the session what an answer says; what is to be told before the answer may pass.
    pub(super) fn put(ticket: Option<&Self>, labellers: &[&Labeller]) -> Option<Unshared> {
        let denial = labellers.first()?.refuse();
        let labels: Vec<_> = labellers.iter().map(|labeller| Arc::clone(labeller.label())).collect();
        let line = match ticket {
            Some(Self::Of { owners, key }) => owners.label(key, &labels).map(|line| (Arc::clone(owners), line)),
            Some(Self::Begins | Self::Nobodys) | None => None,
        };
        Some(Unshared { line, denial })
    }
}

impl Labelled for Ticket {
    fn labels(&self) -> Option<Vec<Arc<str>>> {
        match self {
            Self::Begins => Some(Vec::new()),
            Self::Nobodys => None,
            // In this order: who is told everything only after the look may have looked at less.
            Self::Of { owners, key } => owners.is_whole().then(|| owners.labels().of(key)).flatten(),
        }
    }
}

/// Labels that an answer put on its session, which the other replicas must know before its caller has it.
#[derive(Debug)]
pub(super) struct Unshared {
    /// None where they could not be kept at all.
    line: Option<(Arc<Owners>, u64)>,
    denial: Denial,
}

impl Unshared {
    /// Waits until every replica knows them.
    ///
    /// # Errors
    /// The refusal that takes the answer's place. What is kept stays.
    pub(super) async fn told(self) -> Result<(), Box<Denial>> {
        let Self { line, denial } = self;
        let told = match line {
            Some((owners, line)) => owners.is_told(line).await,
            None => false,
        };
        if told {
            return Ok(());
        }
        tracing::warn!(
            rule = ?denial.rule,
            "an answer is withheld: the label that it puts on its session could not be kept, or not every replica has it"
        );
        Err(Box::new(denial))
    }
}

#[cfg(test)]
mod tests;

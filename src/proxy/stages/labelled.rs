//! What the rules of a call see of its session's labels.

use std::sync::Arc;

use tokio::sync::watch;

use super::super::labels::{Ticket, Unshared};
use super::{Asked, Standing};
use crate::policy::Labeller;

impl Asked {
    /// The same in a session, or none.
    pub(in super::super) fn labelled(self, labels: Option<Arc<Ticket>>) -> Self {
        Self { labels, ..self }
    }

    /// Puts on the session what an answer says; what is to be told before the answer may pass.
    pub(in super::super) fn label(&self, labellers: &[&Labeller]) -> Option<Unshared> {
        Ticket::put(self.labels.as_deref(), labellers)
    }
}

impl Standing {
    /// From now on it belongs to a session.
    pub(in super::super) fn labelled(&mut self, ticket: Arc<Ticket>) {
        self.asked.labels = Some(ticket);
    }

    /// How many labels its session has, as that changes; none where no rule asks for them.
    pub(in super::super) fn listen(&self) -> Option<watch::Receiver<usize>> {
        self.asked.labels.as_ref().and_then(|ticket| ticket.listen())
    }
}

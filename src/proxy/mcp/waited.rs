//! What a caller gets of an answer, once every replica knows what it shows.

use std::sync::Arc;

use super::super::labels::Unshared;
use super::mirror::Unpassable;
use super::reply::Reply;
use crate::policy::Denial;
use crate::wire::mcp::ServerMessage;

/// Why the caller gets no answer.
pub(super) enum Unmade {
    /// It is not for the caller.
    Unpassable(Unpassable),
    /// Other rules refuse the call; none where the target is gone.
    Revoked(Option<Box<Denial>>),
}

impl From<Unpassable> for Unmade {
    fn from(unpassable: Unpassable) -> Self {
        Self::Unpassable(unpassable)
    }
}

impl Reply {
    /// The answer to what was asked, if it is one.
    pub(super) async fn parsed(&self, read: &[u8]) -> Option<ServerMessage> {
        let mut message = self.shared.heavy.run(read.len(), || ServerMessage::parse(read).ok()).await?;
        self.awaited.takes(&mut message).then_some(message)
    }

    /// What the caller gets of an answer, once every replica knows what it puts on its session. Made anew where the rules have
    /// changed while that was waited for.
    pub(super) async fn fitted(&mut self, read: &[u8], mut message: ServerMessage) -> Result<Vec<u8>, Unmade> {
        let shared = Arc::clone(&self.shared);
        loop {
            let work =
                || self.see_through(&self.awaited.call, &mut message, false).map(|told| (told, message.canonical()));
            let (untold, body) = shared.heavy.run(read.len(), work).await?;
            let waits = untold.is_some() || self.begun.is_some();
            self.tell(untold).await.map_err(Unpassable::Refused)?;
            let turned = if waits { self.standing.turned_now(&shared.published) } else { None };
            match turned {
                None => return Ok(body),
                Some(Ok(())) => message = self.parsed(read).await.ok_or(Unpassable::Bad)?,
                Some(Err(denial)) => return Err(Unmade::Revoked(denial.map(Box::new))),
            }
        }
    }

    /// Waits until every replica knows of a session that began with the answer, and of the labels that it puts on its session.
    ///
    /// # Errors
    /// Not every replica knows the labels: the answer must not pass.
    pub(super) fn tell(&mut self, untold: Option<Unshared>) -> impl Future<Output = Result<(), Box<Denial>>> + use<> {
        let (begun, shared) = (self.begun.take(), Arc::clone(&self.shared));
        async move {
            if let Some(line) = begun {
                // Who does not hear of it does not know it, and has its client begin anew.
                shared.owners.settled(line).await;
            }
            match untold {
                Some(untold) => untold.told().await,
                None => Ok(()),
            }
        }
    }
}

//! An event that puts a label on its session waits until every replica knows it.

use std::sync::Arc;

use super::super::super::answer::mcp_refusal;
use super::super::super::note;
use super::super::super::sessions::Sessional;
use super::{Passed, Pump, sse_session};
use crate::intake::BodyFault;

impl Pump {
    /// Holds an event until every replica knows the labels that it puts on its session; where one does not, a refusal goes out
    /// instead of an answer, and nothing instead of a notification.
    ///
    /// # Errors
    /// The rules have changed meanwhile: what was made by those before must not pass, and the stream ends.
    pub(super) async fn tell(&mut self, passed: Passed) -> Result<Passed, BodyFault> {
        let (untold, answers) = self.untold.take().map_or((None, None), |held| (Some(held.0), held.1));
        let told = self.reply.tell(untold).await;
        let shared = Arc::clone(&self.reply.shared);
        if let Some(turned) = self.reply.standing.turned_now(&shared.published) {
            return Err(self.revoked(turned.err().flatten().as_ref()));
        }
        let Err(denial) = told else { return Ok(passed) };
        self.reply.record.denied(note::denial(&denial, self.reply.standing.asked().target()));
        let Some(Sessional { id, call }) = answers else { return Ok(Passed::Dropped) };
        Ok(Passed::Out(sse_session::event_of(&mcp_refusal(&self.reply.record, &id, &call, &denial))))
    }
}

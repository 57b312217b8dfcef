//! An event that puts a label on its session waits until every replica knows it.

use super::super::super::answer::mcp_refusal;
use super::super::super::note;
use super::super::super::sessions::Sessional;
use super::{Passed, Pump, sse_session};

impl Pump {
    /// Holds an event until every replica knows the labels that it puts on its session; where one does not, a refusal goes out
    /// instead of an answer, and nothing instead of a notification.
    pub(super) async fn tell(&mut self, passed: Passed) -> Passed {
        let (untold, answers) = self.untold.take().map_or((None, None), |held| (Some(held.0), held.1));
        let Err(denial) = self.reply.tell(untold).await else { return passed };
        self.reply.record.denied(note::denial(&denial, self.reply.standing.asked().target()));
        let Some(Sessional { id, call }) = answers else { return Passed::Dropped };
        Passed::Out(sse_session::event_of(&mcp_refusal(&self.reply.record, &id, &call, &denial)))
    }
}

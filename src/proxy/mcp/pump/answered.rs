//! Which request a message of the stream answers.

use super::super::super::answer::ProxyFault;
use super::super::super::sessions::Sessional;
use super::super::reply::{Awaited, Reply};
use super::{INTERNAL_ERROR, Pump, Waits};
use crate::wire::mcp::{ServerMessage, denial};

impl Pump {
    /// The request that a response answers, under whose own id it is from here on; a response to nothing that was asked is
    /// dropped.
    pub(super) fn answered(&mut self, message: &mut ServerMessage) -> Option<Sessional> {
        if let Waits::Answer { headers } = &self.waits
            && self.reply.awaited.takes(message)
        {
            self.answered = true;
            self.reply.answered();
            let learnt = self.reply.learn(headers, message, Some(self.seen.clone()));
            let Awaited { id, call, .. } = &self.reply.awaited;
            let answered = Sessional { id: id.clone()?, call: call.clone() };
            if let Err(fault) = learnt {
                self.reply.record.failed(&fault);
                let told = denial::error(Some(&answered.id), INTERNAL_ERROR, &fault.to_string(), None);
                *message = ServerMessage::parse(&told).ok()?;
            }
            return Some(answered);
        }
        let resumed = matches!(self.waits, Waits::Session { resumed: true });
        let Reply { awaited, session, .. } = &self.reply;
        let digest = awaited.call.session.clone();
        let asked = session.as_ref().and_then(|bound| bound.session.answered(message.id()?, resumed, digest));
        match asked {
            Some(asked) => {
                message.rename(&asked.id);
                Some(asked)
            }
            None => {
                self.reply.shared.telemetry.metrics().fault(&ProxyFault::UnaskedAnswer);
                None
            }
        }
    }
}

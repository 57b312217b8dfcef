//! Whether what is called is still what was decided on: the tool as it is pinned, the task that is meant. Where it has to be
//! asked, the server is.

use std::sync::Arc;

use super::super::super::answer::{self, ProxyFault};
use super::super::super::stages::Standing;
use super::super::listing;
use super::super::own::{self, Question, Unanswered};
use super::{Passage, refuse};
use crate::call::{Knowable, McpObject, Value};
use crate::intake::Answer;
use crate::mesh::Endpoint;
use crate::policy::Pinned;
use crate::upstream::NoEndpoint;
use crate::wire::mcp::task_created;

/// Why a permitted call does not go out.
pub(super) enum Unfit {
    /// The definition of its tool is not pinned.
    NotPinned,
    /// Its task is not the caller's any more.
    OtherTask,
    /// What it is about cannot be told.
    Unanswered(Unanswered),
}

impl Passage {
    /// Whether it says the id of a task and not which one of that id is meant.
    pub(super) fn is_of_task(&self) -> bool {
        self.related.is_some() || self.awaited.call.acts_on_task()
    }

    /// Whether its tasks are still the caller's at `endpoint`, by asking: a server that began anew may have given an id to
    /// another's, and what is asked now says of no task when it was made, or changes it.
    pub(super) async fn confirm(&self, standing: &Standing, endpoint: &Arc<Endpoint>) -> Result<(), Unfit> {
        let of_call = if let McpObject::Task(task) = &self.awaited.call.object { Some(task) } else { None };
        let of_call = of_call.filter(|_| self.awaited.call.acts_on_task());
        let asking = async {
            for (number, task) in of_call.into_iter().chain(&self.related).enumerate() {
                let Knowable::Known(id) = &task.id else { continue };
                let question = Question { method: "tasks/get", parameter: Some(("taskId", id)), named: true };
                let message = match own::ask(&self.shared, standing, endpoint, (number, &question)).await {
                    Ok(told) => told.message,
                    Err(Unanswered::Unreadable) => return Err(Unfit::OtherTask),
                    Err(unanswered) => return Err(Unfit::Unanswered(unanswered)),
                };
                let of = message.result().and_then(Value::as_object).and_then(task_created);
                if of.is_none() || of != task.created {
                    return Err(Unfit::OtherTask);
                }
            }
            Ok(())
        };
        tokio::time::timeout(own::TIMEOUT, asking).await.unwrap_or(Err(Unfit::OtherTask))
    }

    /// Whether the tool is defined at `endpoint` as it is pinned, where it was last listed, else by asking.
    pub(super) async fn look(&self, standing: &Standing, endpoint: &Arc<Endpoint>) -> Result<(), Unfit> {
        let Some(tool) = self.awaited.call.tool() else { return Ok(()) };
        let target = standing.asked().target();
        let place = (target.key.clone(), Arc::clone(&endpoint.id));
        let known = match self.shared.definitions.find(&place, tool) {
            Some(known) => known,
            None => {
                let listed = listing::ask(&self.shared, standing, endpoint, tool).await.map_err(Unfit::Unanswered)?;
                self.shared.note_listed(&target.rules, place.clone(), &listed);
                if !listed.iter().any(|one| one.tool == *tool) {
                    self.shared.definitions.absent(place, tool);
                }
                listed.into_iter().filter(|one| one.tool == *tool).map(|one| one.definition).collect()
            }
        };
        let pinned = !known.is_empty() && known.iter().all(|one| target.rules.pinned(tool, one) == Pinned::Yes);
        if pinned { Ok(()) } else { Err(Unfit::NotPinned) }
    }

    /// The call does not go out, as its tool is not known to be one that was looked at.
    pub(super) fn unfit(self, standing: Standing, unfit: Unfit) -> Answer {
        match unfit {
            Unfit::Unanswered(Unanswered::NoSession) if self.session.is_some() => self.no_endpoint(NoEndpoint::Gone),
            Unfit::Unanswered(Unanswered::Unsent(fault)) => {
                answer::mcp_fault(self.record, self.awaited.id.as_ref(), &fault)
            }
            Unfit::OtherTask => self.no_task(),
            Unfit::Unanswered(Unanswered::NoSession) if self.is_of_task() => self.no_task(),
            Unfit::NotPinned | Unfit::Unanswered(Unanswered::NoSession | Unanswered::Unreadable) => {
                let denial = standing.asked().target().rules.not_pinned();
                let refused = standing.refused(denial);
                refuse(self.record, &self.shared, (self.session.as_ref(), self.awaited.id.as_ref()), &refused)
            }
        }
    }

    fn no_task(self) -> Answer {
        answer::mcp_proxy_fault(self.record, self.awaited.id.as_ref(), ProxyFault::TaskUnknown)
    }
}

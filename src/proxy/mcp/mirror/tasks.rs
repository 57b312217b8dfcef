//! Whose a task is that a server's message says: learnt where a call turned into it, and told to its caller alone.

use std::sync::Arc;

use super::super::super::a2a::McpTask;
use super::super::super::sessions::Holder;
use super::super::super::tasks::Made;
use super::super::reply::Reply;
use crate::call::{Knowable, McpCall, McpObject, Owner, Task};
use crate::config::limits::MAX_NAME;
use crate::wire::mcp::{ServerMessage, task_created};

impl Reply {
    /// The caller's own task of this id.
    pub(super) fn made(&self, task: &Task) -> Option<Made> {
        let (holder, id, created) = (self.standing.asked().holder(), task.id.known()?, task.created.as_ref()?);
        let here = self.shared.tasks.find(&holder, &self.endpoint.id, id, Some(created));
        here.or_else(|| self.told_made(&holder, id, created))
    }

    /// The same, made at another replica that told of it, or before a restart.
    fn told_made(&self, holder: &Holder, id: &Arc<str>, created: &Arc<str>) -> Option<Made> {
        let task = McpTask { target: &holder.target, endpoint: &self.endpoint.id, id, created };
        let (owner, tool) = self.shared.owners.of_mcp(task)?;
        if (&owner.id, &owner.subject) != (&holder.owner, &holder.subject) {
            return None;
        }
        let made =
            Made { id: Arc::clone(id), endpoint: Arc::clone(&self.endpoint.id), tool, created: Arc::clone(created) };
        self.shared.tasks.bind(holder, &made).then_some(made)
    }

    /// Binds the task that a call of a tool turned into, so that nobody else can use it. False where its id is taken, or none,
    /// and where it does not say when it was made: nobody could tell it from a later one of its id.
    pub(super) fn learn_task(&self, request: &McpCall, message: &ServerMessage) -> bool {
        let McpObject::Tool { name, .. } = &request.object else { return true };
        let Some(tool) = name.known() else { return true };
        let (id, task) = match message.task_made() {
            Ok(None) => return true,
            Ok(Some(made)) => made,
            Err(_two) => return false,
        };
        let Some(created) = task_created(task) else {
            tracing::warn!(endpoint = %self.endpoint.id, ?tool, "a server made a task without createdAt");
            return false;
        };
        // No request could name it, and what is bound is kept.
        if id.is_empty() || id.len() > MAX_NAME {
            return false;
        }
        let made = Made { id: id.into(), endpoint: Arc::clone(&self.endpoint.id), tool: Arc::clone(tool), created };
        let holder = self.standing.asked().holder();
        let bound = self.shared.tasks.bind(&holder, &made);
        if bound {
            let Made { id, endpoint, tool, created } = &made;
            let owner = Owner { id: holder.owner.clone(), subject: holder.subject.clone() };
            self.shared.owners.made_mcp(McpTask { target: &holder.target, endpoint, id, created }, owner, tool);
        }
        bound
    }

    /// The caller's task that a notification tells of, as if it had been asked for.
    pub(super) fn told_task(&self, method: &str, message: &ServerMessage) -> Option<McpCall> {
        if !matches!(method, "notifications/tasks" | "notifications/tasks/status") {
            return None;
        }
        let params = message.params()?;
        let (id, created) = (params.get("taskId")?.as_str()?, Some(task_created(params)?));
        let mut task = Task { id: Knowable::Known(id.into()), tool: None, created };
        task.tool = Some(self.made(&task)?.tool);
        Some(McpCall { method: "tasks/get".into(), ..self.awaited.call.entry(McpObject::Task(task)) })
    }
}

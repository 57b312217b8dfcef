//! What of a server's messages may reach the caller: lists cut down, tasks learnt, requests of the server decided on.
//!
//! What an answer is is told by the request, never by its shape.

use std::sync::Arc;

use super::super::answer::ProxyFault;
use super::super::note;
use super::super::sessions::subject;
use super::super::tasks::Made;
use super::reply::Reply;
use crate::call::{Call, Knowable, McpCall, McpObject, Task, Value};
use crate::fault::Faulty;
use crate::policy::{Answered, Decision, Denial, Redactor};
use crate::telemetry::{Operation, Protocol};
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{
    ServerKind, ServerMessage, filter_list, filter_lookalikes, is_list, resource_entry, server_request,
};

/// Why a message does not reach the caller as it is.
#[derive(Debug)]
pub(super) enum Unpassable {
    /// It asks something of the caller that policy refuses.
    Refused(Box<Denial>),
    /// It cannot be read in one way only.
    Bad,
}

impl Reply {
    /// Makes `message`, the answer to `request`, fit for the caller. `late` is an answer whose id may have been another
    /// request's before: there whatever could be a list is one.
    ///
    /// # Errors
    /// [`Unpassable`]: the caller gets another answer instead.
    pub(super) fn see_through(
        &self,
        request: &McpCall,
        message: &mut ServerMessage,
        late: bool,
    ) -> Result<(), Unpassable> {
        let hidden = self.filter(request, message, late);
        self.shared.telemetry.metrics().list_entries_hidden(hidden);
        if !self.learn_task(request, message) {
            return Err(Unpassable::Bad);
        }
        self.decide_inputs(request, message)?;
        self.decide_answer(request, message)
    }

    /// Decides on what the answer to `request` says, and blacks out of it what policies say.
    fn decide_answer(&self, request: &McpCall, message: &mut ServerMessage) -> Result<(), Unpassable> {
        let asked = self.standing.asked();
        let rules = &asked.target().rules;
        if !rules.reads_answers() {
            return Ok(());
        }
        let call = Call::Mcp(request.clone());
        let facts = asked.facts(&call);
        let answered = Answered::of(message.tree());
        if let Some(denial) = rules.decide_answer(&facts, &answered) {
            return Err(Unpassable::Refused(Box::new(denial)));
        }
        self.redact(&rules.redactors(&facts, &answered), message);
        Ok(())
    }

    /// Blacks out of a notification what policies black out of the answer that it comes with.
    pub(super) fn redact_notice(&self, message: &mut ServerMessage) {
        let asked = self.standing.asked();
        let rules = &asked.target().rules;
        if !rules.reads_answers() {
            return;
        }
        let call = Call::Mcp(self.awaited.call.clone());
        self.redact(&rules.redactors(&asked.facts(&call), &Answered::of(message.tree())), message);
    }

    fn redact(&self, redactors: &[&Redactor], message: &mut ServerMessage) {
        let result = *message.kind() == ServerKind::Result;
        let Some(content) = message.content_mut() else { return };
        let redact = |redactor: &&Redactor| {
            if result { redactor.redact(content) } else { redactor.redact_words(content) }
        };
        let redacted: usize = redactors.iter().map(redact).sum();
        self.shared.telemetry.metrics().strings_redacted(redacted);
    }

    /// Decides on what a result of 2026-07-28 asks of the caller. One refusal refuses all: without that answer the call
    /// could never be ended.
    fn decide_inputs(&self, request: &McpCall, message: &ServerMessage) -> Result<(), Unpassable> {
        for asked in message.input_requests(request).map_err(|fault| self.count(&fault))? {
            self.may_ask(&asked).map_err(Unpassable::Refused)?;
        }
        Ok(())
    }

    /// Takes out of a list what the caller may not see; says how much that was.
    fn filter(&self, request: &McpCall, message: &mut ServerMessage, late: bool) -> usize {
        let Some(result) = message.result_mut() else { return 0 };
        let seen = |entry: &McpCall| self.sees(entry);
        if late && !is_list(&request.method) {
            return filter_lookalikes(request, result, seen).dropped;
        }
        filter_list(request, result, seen).dropped
    }

    fn sees(&self, entry: &McpCall) -> bool {
        let asked = self.standing.asked();
        let mut entry = entry.clone();
        if let McpObject::Task(task) = &mut entry.object {
            let Some(made) = self.made(task) else { return false };
            task.tool = Some(made.tool);
        }
        asked.target().rules.visible(&asked.facts(&Call::Mcp(entry)))
    }

    /// The caller's own task of this id.
    fn made(&self, task: &Task) -> Option<Made> {
        let asked = self.standing.asked();
        let subject = asked.claims().map(subject);
        self.shared.tasks.find(&asked.target().key, task.id.known()?, asked.peer().id(), subject.as_deref())
    }

    /// Binds the task that a call of a tool turned into, so that nobody else can use it. False where its id is taken.
    fn learn_task(&self, request: &McpCall, message: &ServerMessage) -> bool {
        let (McpObject::Tool { name, .. }, Some(result)) = (&request.object, message.result()) else { return true };
        let (Some(tool), Some(id)) = (name.known(), task_of(result)) else { return true };
        let asked = self.standing.asked();
        let made = Made {
            owner: asked.peer().id().clone(),
            subject: asked.claims().map(subject),
            tool: Arc::clone(tool),
            endpoint: Arc::clone(&self.endpoint.id),
        };
        self.shared.tasks.bind(&asked.target().key, id, made)
    }

    /// Whether a notification may pass: of a resource that the caller may read, of a task that is the caller's.
    pub(super) fn may_tell(&self, method: &str, message: &ServerMessage) -> bool {
        let said = |key| message.params().and_then(|params| params.get(key)).and_then(Value::as_str);
        let of = &self.awaited.call;
        match method {
            "notifications/resources/updated" => said("uri")
                .and_then(resource_entry)
                .is_some_and(|resource| self.sees(&McpCall { method: "resources/read".into(), ..of.entry(resource) })),
            "notifications/tasks" | "notifications/tasks/status" => {
                let made =
                    said("taskId").and_then(|id| self.made(&Task { id: Knowable::Known(id.into()), tool: None }));
                made.is_some() && self.decide_inputs(of, message).is_ok()
            }
            _ => true,
        }
    }

    /// Whether the server's request `id` of `method` may go to the client, which then may answer it once. Only a session
    /// says whose answer it is.
    pub(super) fn may_pass_on(&self, method: &str, id: &Id, message: &ServerMessage) -> bool {
        let Some(bound) = self.session.as_ref().filter(|_| method != "ping") else { return false };
        let asked = match server_request(method, message.params(), &self.awaited.call) {
            Ok(asked) => asked,
            Err(fault) => {
                self.count(&fault);
                return false;
            }
        };
        let mut hold = self.shared.budget.hold(self.standing.asked().peer().id());
        // What is kept is the tree; its text is about as large.
        if hold.grow(message.canonical().len()).is_err() {
            self.shared.telemetry.metrics().fault(&ProxyFault::OverBudget);
            return false;
        }
        self.may_ask(&asked).is_ok() && bound.session.question(id, asked, hold)
    }

    /// Decides on one request of the server, and records that.
    fn may_ask(&self, request: &McpCall) -> Result<(), Box<Denial>> {
        let asked = self.standing.asked();
        let target = asked.target();
        let call = Call::Mcp(request.clone());
        let mut record = self.shared.telemetry.begin(asked.peer(), Protocol::Mcp);
        record.within();
        record.site(&note::site(target));
        record.operation(Operation::of(&call, asked.head()));
        if let Some(session) = &request.session {
            record.session(Arc::clone(session));
        }
        match target.rules.decide(&asked.facts(&call)) {
            Decision::Allow(permit) => {
                record.allowed(note::permit(&permit));
                Ok(())
            }
            Decision::Deny(denial) => {
                record.denied(note::denial(&denial, target));
                Err(Box::new(denial))
            }
        }
    }

    fn count(&self, fault: &dyn Faulty) -> Unpassable {
        self.shared.telemetry.metrics().fault(fault);
        Unpassable::Bad
    }
}

/// The id of the task that a result announces: in `task` (MCP 2025-11-25), or its own (the extension of 2026-07-28).
fn task_of(result: &Value) -> Option<&str> {
    let modern = || result.get("resultType").and_then(Value::as_str) == Some("task");
    let task = result.get("task").or_else(|| modern().then_some(result))?;
    task.get("taskId").and_then(Value::as_str)
}

//! What of a server's messages may reach the caller: lists cut down, tasks learnt, requests of the server decided on.
//!
//! What an answer is is told by the request, never by its shape.

mod tasks;

use std::sync::Arc;

use super::super::answer::ProxyFault;
use super::super::cursors::{Cursor, Untold};
use super::super::definitions::Listed;
use super::super::labels::Unshared;
use super::super::note;
use super::super::tasks::Made;
use super::listing;
use super::reply::Reply;
use crate::call::{Call, Knowable, McpCall, McpObject, Task, Value};
use crate::document::agent_policy::PinMode;
use crate::fault::Faulty;
use crate::mesh::TargetKey;
use crate::policy::{Answered, Decision, Denial, Pinned, Redactor};
use crate::seal::SealFault;
use crate::telemetry::{Operation, Protocol};
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{
    Declared, ServerKind, ServerMessage, Version, alike, filter_list, filter_lookalikes, is_list, mark_private,
    resource_entry, server_request, task_created,
};

/// Why a message does not reach the caller as it is.
#[derive(Debug)]
pub(super) enum Unpassable {
    /// It asks something of the caller that policy refuses.
    Refused(Box<Denial>),
    /// It cannot be read in one way only.
    Bad,
    /// It tells of another task than the caller's.
    OtherTask,
    /// An id in it is to be the caller's own, and could not be sealed.
    Unsealed,
}

impl Unpassable {
    /// What a caller is told in place of an answer that no rule refused.
    pub(super) fn fault(&self) -> ProxyFault {
        match self {
            Self::Refused(_) | Self::Bad => ProxyFault::BadAnswer,
            Self::OtherTask => ProxyFault::TaskUnknown,
            Self::Unsealed => ProxyFault::Unsealed,
        }
    }
}

impl From<SealFault> for Unpassable {
    fn from(fault: SealFault) -> Self {
        tracing::warn!(%fault, "an id for a caller was not sealed");
        Self::Unsealed
    }
}

impl Reply {
    /// Makes `message`, the answer to `request`, fit for the caller. `late` is an answer on another stream than the one that
    /// it was asked on: servers keep answers to send them again, and one that then takes one for another's must not pass a list
    /// as a call's. There whatever could be a list is one. What it puts on its session is to be told before it passes.
    ///
    /// # Errors
    /// [`Unpassable`]: the caller gets another answer instead.
    pub(super) fn see_through(
        &self,
        request: &McpCall,
        message: &mut ServerMessage,
        late: bool,
    ) -> Result<Option<Unshared>, Unpassable> {
        if !self.is_of_task(request, message) {
            return Err(Unpassable::OtherTask);
        }
        if let Some(result) = message.result_mut() {
            mark_private(request, result);
        }
        let hidden = self.filter(request, message, late);
        self.shared.telemetry.metrics().list_entries_hidden(hidden);
        if !self.learn_task(request, message) {
            return Err(Unpassable::Bad);
        }
        let untold = self.decide_answer(request, message)?;
        // After what is blacked out is: on what the caller gets.
        self.decide_inputs(request, message)?;
        self.tell_tasks(request, message)?;
        self.seal_cursor(request, message)?;
        Ok(untold)
    }

    /// Tells the caller of its tasks by the ids that it has them by.
    pub(super) fn tell_tasks(&self, request: &McpCall, message: &mut ServerMessage) -> Result<(), Unpassable> {
        let asked = self.standing.asked();
        self.shared.tasks.tell((|| asked.holder(), &self.endpoint.id), request, message).map_err(Unpassable::from)
    }

    /// Hands a list's cursor on to its caller alone.
    fn seal_cursor(&self, request: &McpCall, message: &mut ServerMessage) -> Result<(), Unpassable> {
        let (sealer, asked) = (self.shared.sessions.sealer(), self.standing.asked());
        Cursor::tell(sealer, (|| asked.holder(), &self.endpoint.id), request, message).map_err(|untold| match untold {
            Untold::Bad => Unpassable::Bad,
            Untold::Unsealed(fault) => fault.into(),
        })
    }

    /// Whether the answer to a request for a task is about the caller's: its server may have begun anew since, and given its id
    /// to another's. What does not say the time was asked for where the task was seen to be the caller's.
    fn is_of_task(&self, request: &McpCall, message: &ServerMessage) -> bool {
        let McpObject::Task(Task { id: Knowable::Known(id), tool: Some(tool), created: Some(created) }) =
            &request.object
        else {
            return true;
        };
        let Some(result) = message.result().and_then(Value::as_object) else { return true };
        let says = || result.iter().any(|(key, _)| alike("createdAt", key));
        let of = task_created(result);
        match &*request.method {
            "tasks/get" if of.as_ref() == Some(created) => {
                let (id, endpoint) = (Arc::clone(id), Arc::clone(&self.endpoint.id));
                let made = Made { id, endpoint, tool: Arc::clone(tool), created: Arc::clone(created) };
                self.shared.tasks.bind(&self.standing.asked().holder(), &made)
            }
            "tasks/get" => false,
            "tasks/cancel" if says() => of.as_ref() == Some(created),
            _ => true,
        }
    }

    /// Decides on what the answer to `request` says, puts on the session what it shows, and blacks out of it what policies
    /// say.
    fn decide_answer(&self, request: &McpCall, message: &mut ServerMessage) -> Result<Option<Unshared>, Unpassable> {
        let asked = self.standing.asked();
        let rules = &asked.target().rules;
        if !rules.reads_answers() {
            return Ok(None);
        }
        let call = Call::Mcp(request.clone());
        let facts = asked.facts(&call);
        let answered = match (message.kind(), message.params()) {
            (ServerKind::Notification(_), Some(params)) => Answered::told(params),
            _ => Answered::of(message.tree()),
        };
        // A task that has ended holds the whole answer to the call that made it (the extension of 2026-07-28).
        let task = matches!(request.object, McpObject::Task(_));
        let ended = message.content().filter(|_| task).map(Answered::of);
        for answered in std::iter::once(&answered).chain(&ended) {
            if let Some(denial) = rules.decide_answer(&facts, answered) {
                return Err(Unpassable::Refused(Box::new(denial)));
            }
        }
        let answers = std::iter::once(&answered).chain(&ended);
        let labellers: Vec<_> = answers.flat_map(|answered| rules.labellers(&facts, answered)).collect();
        let untold = asked.label(&labellers);
        let of_ended = ended.map(|ended| rules.redactors(&facts, &ended)).unwrap_or_default();
        let redactors = rules.redactors(&facts, &answered);
        let structured = *message.kind() != ServerKind::Error;
        let Some(content) = message.content_mut() else { return Ok(untold) };
        for (key, structured) in [("result", true), ("error", false)] {
            if let Some(content) = content.as_object_mut().and_then(|content| content.get_mut(key)) {
                self.redact(&of_ended, content, structured);
            }
        }
        self.redact(&redactors, content, structured);
        Ok(untold)
    }

    /// Makes a notification fit for the caller: what policies black out of the answer that it comes with is blacked out
    /// of it, and one that says what a task came to is decided on as that task. What it puts on its
    /// session is to be told before it passes.
    ///
    /// # Errors
    /// [`Unpassable`]: it is dropped.
    pub(super) fn see_notice(&self, method: &str, message: &mut ServerMessage) -> Result<Option<Unshared>, Unpassable> {
        if !self.may_tell(method, message) {
            return Err(Unpassable::Bad);
        }
        if method == "notifications/tools/list_changed" {
            let place = (self.standing.asked().target().key.clone(), Arc::clone(&self.endpoint.id));
            self.shared.definitions.changed(&place);
        }
        let untold = match self.told_task(method, message) {
            Some(task) => self.decide_answer(&task, message)?,
            None => None,
        };
        let asked = self.standing.asked();
        let rules = &asked.target().rules;
        if rules.reads_answers() {
            let call = Call::Mcp(self.awaited.call.clone());
            let redactors = rules.redactors(&asked.facts(&call), &Answered::of(message.tree()));
            if let Some(content) = message.content_mut() {
                self.redact(&redactors, content, false);
            }
        }
        self.tell_tasks(&self.awaited.call, message)?;
        Ok(untold)
    }

    /// Blacks out of a request of the server what policies black out of the answer that it comes with, before it is decided
    /// on.
    pub(super) fn see_request(&self, message: &mut ServerMessage) {
        let asked = self.standing.asked();
        let rules = &asked.target().rules;
        if matches!(message.kind(), ServerKind::Request(_)) && rules.reads_answers() {
            let call = Call::Mcp(self.awaited.call.clone());
            let redactors = rules.redactors(&asked.facts(&call), &Answered::of(message.tree()));
            if let Some(content) = message.content_mut() {
                self.redact(&redactors, content, true);
            }
        }
    }

    fn redact(&self, redactors: &[&Redactor], content: &mut Value, structured: bool) {
        let redact = |redactor: &&Redactor| {
            if structured { redactor.redact(content) } else { redactor.redact_words(content) }
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
        let rules = &self.standing.asked().target().rules;
        let viewer = rules.viewer(&self.standing.asked().facts(&Call::Http));
        let (mode, mut listed) = (rules.pins(), Vec::new());
        let modern = request.version.as_deref().and_then(Version::parse).is_some_and(Version::is_modern);
        let seen = |entry: McpCall, raw: &Value| {
            if let Some(tool) = entry.tool().filter(|_| modern) {
                let there = |target: &TargetKey| self.shared.published.current().get(target).is_some();
                let of = self.standing.asked().target().served_by();
                self.shared.parameters.listed((of, tool), Declared::of(raw), there);
            }
            let tool = mode.and_then(|_| listing::read(rules, &entry.object, raw));
            let refused = tool.as_ref().is_some_and(|tool| tool.pinned == Pinned::No(PinMode::Enforce));
            listed.extend(tool);
            !refused && self.whose(entry).is_some_and(|entry| viewer.sees(&Call::Mcp(entry)))
        };
        let filtered = if late && !is_list(&request.method) {
            filter_lookalikes(request, result, seen)
        } else {
            filter_list(request, result, seen)
        };
        if mode.is_some() {
            self.note_listed(&listed);
        }
        filtered.dropped
    }

    /// Remembers what the endpoint listed, and tells of what is not pinned.
    fn note_listed(&self, listed: &[Listed]) {
        let target = self.standing.asked().target();
        let place = (target.key.clone(), Arc::clone(&self.endpoint.id));
        self.shared.note_listed(&target.rules, place, listed);
    }

    fn sees(&self, entry: McpCall) -> bool {
        let asked = self.standing.asked();
        self.whose(entry).is_some_and(|entry| asked.target().rules.visible(&asked.facts(&Call::Mcp(entry))))
    }

    /// The entry, of a task with its tool; none where the task is not the caller's.
    fn whose(&self, mut entry: McpCall) -> Option<McpCall> {
        if let McpObject::Task(task) = &mut entry.object {
            task.tool = Some(self.made(task)?.tool);
        }
        Some(entry)
    }

    /// Whether a notification may pass: of a resource that the caller may read, of a task that is the caller's.
    fn may_tell(&self, method: &str, message: &ServerMessage) -> bool {
        let said = |key| message.params().and_then(|params| params.get(key)).and_then(Value::as_str);
        let of = &self.awaited.call;
        match method {
            "notifications/resources/updated" => said("uri")
                .and_then(resource_entry)
                .is_some_and(|resource| self.sees(McpCall { method: "resources/read".into(), ..of.entry(resource) })),
            "notifications/tasks" | "notifications/tasks/status" => {
                let task = self.told_task(method, message);
                task.is_some_and(|task| self.sees(task.clone()) && self.decide_inputs(&task, message).is_ok())
            }
            _ => true,
        }
    }

    /// The id under which the server's request `id` of `method` may go to the client, which then may answer it once; none
    /// where it may not. Only a session says whose answer it is.
    pub(super) fn may_pass_on(&self, method: &str, id: &Id, message: &ServerMessage) -> Option<Id> {
        let bound = self.session.as_ref().filter(|_| method != "ping")?;
        let asked = match server_request(method, message.params(), &self.awaited.call) {
            Ok(asked) => asked,
            Err(fault) => {
                self.count(&fault);
                return None;
            }
        };
        // Not of what decoding may take: a server whose questions stay open would keep its caller from every other server.
        let mut hold = self.shared.sessions.hold(self.standing.asked().peer().id());
        // What is kept is the tree; its text is about as large.
        if hold.grow(message.canonical().len()).is_err() {
            self.shared.telemetry.metrics().fault(&ProxyFault::OverBudget);
            return None;
        }
        self.may_ask(&asked).ok()?;
        bound.session.question(id, asked, hold)
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
        match asked.decide(&call) {
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

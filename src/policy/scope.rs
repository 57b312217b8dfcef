use std::borrow::Cow;

use super::a2a_names;
use super::answers::Answered;
use super::cel::{Fault, Stop, Val};
use super::facts::Facts;
use super::names::{Group, Name};
use crate::call::{A2aCall, Call, Elicitation, HttpHead, Knowable, McpCall, McpObject, Object, Phase};
use crate::wire::path::has_parameters;

/// How much of the call is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lens {
    /// All of it: a rule that is neither true nor false has failed.
    Call,
    /// A list request, or one entry of a list: names may be known, arguments are not.
    List,
    /// Any call that this caller could make with this token: nothing of the call is known, nor of its HTTP request.
    AnyCall,
    /// Anything that this peer could send, with any token.
    Anything,
}

/// The facts as rules see them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) facts: Facts<'a>,
    pub(super) lens: Lens,
    /// The MCP method that rules are asked about: for a list entry, that of the call it offers.
    pub(super) method: &'a str,
    /// What an A2A caller says it wants.
    pub(super) skill: Option<&'a str>,
    /// What the server answered, once it did.
    pub(super) answered: Option<Answered<'a>>,
}

/// Whether a name has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Has {
    Yes,
    No,
    Unknown,
}

const ABSENT: Stop = Stop::Error(Fault::Absent);

impl<'a> Scope<'a> {
    /// The call as it is.
    pub(super) fn of(facts: &Facts<'a>, lens: Lens) -> Self {
        let method = if let Call::Mcp(call) = facts.call { &*call.method } else { "" };
        Self { facts: *facts, lens, method, skill: None, answered: None }
    }

    /// Whether nothing of the call itself is known.
    pub(super) fn any_call(&self) -> bool {
        matches!(self.lens, Lens::AnyCall | Lens::Anything)
    }

    pub(super) fn mcp(&self) -> Option<&'a McpCall> {
        if let Call::Mcp(call) = self.facts.call { Some(call) } else { None }
    }

    /// The object of an MCP call; none where the call is not MCP.
    pub(super) fn object(&self) -> Option<&'a McpObject> {
        self.mcp().map(|call| &call.object)
    }

    fn token_unknown(&self) -> bool {
        self.lens == Lens::Anything
    }

    /// Base methods are judged by what could be called: nothing of that is known.
    fn of_base(&self) -> bool {
        matches!(self.object(), Some(McpObject::Base)) && self.lens != Lens::Call
    }

    pub(super) fn has(&self, name: Name) -> Has {
        // That they are not known does not mean that there are none: a rule behind `has()` must be asked.
        if name == Name::SessionLabels {
            return self.has_group(Group::Session);
        }
        match self.value(name) {
            Ok(_) => Has::Yes,
            Err(Stop::Unknown) if self.kind_known(name) => Has::Yes,
            Err(Stop::Unknown) => Has::Unknown,
            Err(Stop::Error(_)) => Has::No,
        }
    }

    /// Whether the call is surely one that has `name`, though its value is not known.
    fn kind_known(&self, name: Name) -> bool {
        if self.any_call() || self.of_base() {
            return false;
        }
        matches!(
            (name, self.object()),
            (Name::Tool | Name::ToolArguments, Some(McpObject::Tool { .. }))
                | (Name::Prompt | Name::PromptArguments, Some(McpObject::Prompt { .. }))
                | (Name::Resource | Name::ResourceUri, Some(McpObject::Resource(_)))
                | (Name::Tool | Name::ToolArguments | Name::TaskId, Some(McpObject::Task(_)))
        )
    }

    pub(super) fn has_group(&self, group: Group) -> Has {
        let known = |there: bool| if there { Has::Yes } else { Has::No };
        let own_kind = |test: fn(&McpObject) -> bool| {
            if self.any_call() || self.of_base() { Has::Unknown } else { known(self.object().is_some_and(test)) }
        };
        match group {
            Group::Source | Group::Destination => Has::Yes,
            Group::Identity => known(self.facts.peer.id().istio().is_some()),
            Group::Request if self.any_call() => Has::Unknown,
            Group::Request => known(self.facts.request.is_some()),
            Group::Mcp | Group::Session if self.any_call() && self.mcp().is_none() => Has::Unknown,
            Group::Mcp | Group::Session => known(self.mcp().is_some()),
            Group::Tool => own_kind(|object| matches!(object, McpObject::Tool { .. } | McpObject::Task(_))),
            Group::Prompt => own_kind(|object| matches!(object, McpObject::Prompt { .. })),
            Group::Resource => own_kind(|object| matches!(object, McpObject::Resource(_))),
            Group::Result => known(self.answered.is_some()),
            Group::ServerRequest => own_kind(|object| matches!(object, McpObject::ServerRequest(_))),
            Group::Task => own_kind(|object| matches!(object, McpObject::Task(_))),
            Group::A2a | Group::A2aTask | Group::A2aContext | Group::A2aCard if self.any_call() => Has::Unknown,
            Group::A2a => known(self.a2a().is_ok()),
            Group::A2aTask => known(self.a2a().is_ok_and(|call| call.task.is_some())),
            Group::A2aCard => known(self.a2a().is_ok_and(|call| call.card.is_some())),
            Group::A2aContext => known(self.a2a().is_ok_and(|call| call.context.is_some() || call.operation.sends())),
        }
    }

    /// The value of a name; `Unknown` where this phase does not know it, an error where the call has none.
    pub(super) fn value(&self, name: Name) -> Result<Val<'a>, Stop> {
        let (peer, destination) = (self.facts.peer, self.facts.destination);
        let istio = || peer.id().istio().ok_or(ABSENT);
        match name {
            Name::SpiffeId => Ok(Val::text(peer.id().uri())),
            Name::TrustDomain => istio().map(|_| Val::text(peer.id().trust_domain().as_str())),
            Name::SourceNamespace => istio().map(|id| Val::text(&id.namespace)),
            Name::ServiceAccount => istio().map(|id| Val::text(&id.service_account)),
            Name::SourceAddress => Ok(Val::Str(Cow::Owned(peer.addr().ip().to_canonical().to_string()))),
            Name::Service => Ok(Val::text(&destination.service)),
            Name::DestinationNamespace => Ok(Val::text(&destination.namespace)),
            Name::Port => Ok(Val::Int(destination.port.into())),
            Name::HttpMethod => self.head().map(|head| Val::text(head.method.as_str())),
            Name::Path => self.path(),
            Name::Host => self.head().map(|head| Val::text(&head.host)),
            Name::Headers => self.head().map(|head| Val::Headers(&head.headers)),
            Name::Jwt if self.token_unknown() => Err(Stop::Unknown),
            Name::Jwt => self.facts.claims.map(|claims| Val::object(claims.object())).ok_or(ABSENT),
            Name::McpMethod => self.message().map(|_| Val::text(self.method)),
            Name::McpVersion => self.message()?.version.as_deref().map(Val::text).ok_or(ABSENT),
            Name::McpSession => self.message()?.session.as_deref().map(Val::text).ok_or(ABSENT),
            Name::SessionLabels => self.labels(),
            Name::McpPhase if self.answered.is_some() => Ok(Val::text(Phase::Result.as_str())),
            Name::McpPhase => self.message().map(|call| Val::text(call.phase().as_str())),
            Name::Tool
            | Name::ToolArguments
            | Name::ToolTarget
            | Name::Prompt
            | Name::PromptArguments
            | Name::Resource
            | Name::ResourceUri
            | Name::TaskId => self.named(name),
            Name::ResultIsError => {
                let is = self.answered.ok_or(ABSENT)?.is_error();
                is.map(Val::Bool).ok_or(Stop::Error(Fault::Lookalike))
            }
            Name::ResultText => self.answered.map(|answered| Val::Str(Cow::Owned(answered.text()))).ok_or(ABSENT),
            Name::ResultValue => self.answered.and_then(|answered| answered.result).map(Val::object).ok_or(ABSENT),
            Name::ResultError => self.answered.and_then(|answered| answered.error).map(Val::object).ok_or(ABSENT),
            Name::ServerMethod
            | Name::ServerParams
            | Name::ServerTool
            | Name::ElicitationMode
            | Name::ElicitationUrl
            | Name::ElicitationHost => self.asked_by_server(name),
            Name::A2a(name) => a2a_names::value(self.a2a()?, self.skill, name).ok_or(ABSENT),
        }
    }

    /// Labels of the session. Where they are not known the rule fails, also of a list and its entries: what refuses by a
    /// label must not let through what goes on, as a task, by taking it for one of many.
    fn labels(&self) -> Result<Val<'a>, Stop> {
        if self.lens == Lens::Anything {
            return Err(Stop::Unknown);
        }
        let labels = self.facts.labels.ok_or(ABSENT)?.labels().ok_or(Stop::Error(Fault::LabelsUnknown))?;
        Ok(Val::List(labels.iter().map(|label| Val::Str(Cow::Owned(label.to_string()))).collect()))
    }

    fn head(&self) -> Result<&'a HttpHead, Stop> {
        if self.any_call() { Err(Stop::Unknown) } else { self.facts.request.ok_or(ABSENT) }
    }

    /// The path, where all servers read the same: to those that cut parameters off, `/admin;x` is `/admin`.
    fn path(&self) -> Result<Val<'a>, Stop> {
        let path = &self.head()?.path;
        if has_parameters(path) { Err(Stop::Error(Fault::PathParameters)) } else { Ok(Val::text(path)) }
    }

    fn message(&self) -> Result<&'a McpCall, Stop> {
        if self.any_call() { Err(Stop::Unknown) } else { self.mcp().ok_or(ABSENT) }
    }

    /// The A2A call.
    fn a2a(&self) -> Result<&'a A2aCall, Stop> {
        if self.any_call() {
            return Err(Stop::Unknown);
        }
        if let Call::A2a(call) = self.facts.call { Ok(call) } else { Err(ABSENT) }
    }

    /// What the call names: tool, prompt or resource.
    fn named(&self, name: Name) -> Result<Val<'a>, Stop> {
        if self.any_call() || self.of_base() {
            return Err(Stop::Unknown);
        }
        match (name, self.object().ok_or(ABSENT)?) {
            (Name::Tool, McpObject::Tool { name, .. }) | (Name::Prompt, McpObject::Prompt { name, .. }) => {
                name.known().map(|name| Val::text(name)).ok_or(Stop::Unknown)
            }
            (Name::ToolArguments, McpObject::Tool { arguments, .. })
            | (Name::PromptArguments, McpObject::Prompt { arguments, .. }) => self.arguments(arguments),
            (Name::ToolTarget, McpObject::Tool { .. } | McpObject::Task(_)) => {
                Ok(Val::text(&self.facts.destination.service))
            }
            (Name::Resource, McpObject::Resource(uri)) => {
                uri.known().map(|uri| Val::text(&uri.raw)).ok_or(Stop::Unknown)
            }
            (Name::ResourceUri, McpObject::Resource(uri)) => {
                uri.known().map(|uri| Val::text(&uri.normal)).ok_or(Stop::Unknown)
            }
            // A task goes on with arguments that were decided on when it began.
            (Name::ToolArguments, McpObject::Task(_)) => Err(Stop::Unknown),
            (Name::Tool, McpObject::Task(task)) => match (&task.tool, &task.id) {
                (Some(tool), _) => Ok(Val::text(tool)),
                (None, Knowable::Unknown) => Err(Stop::Unknown),
                (None, Knowable::Known(_)) => Err(ABSENT),
            },
            (Name::TaskId, McpObject::Task(task)) => task.id.known().map(|id| Val::text(id)).ok_or(Stop::Unknown),
            _ => Err(ABSENT),
        }
    }

    /// What a server asks of its client. No call of the client has it, but some call to come may.
    fn asked_by_server(&self, name: Name) -> Result<Val<'a>, Stop> {
        if self.any_call() || self.of_base() {
            return Err(Stop::Unknown);
        }
        let Some(McpObject::ServerRequest(request)) = self.object() else { return Err(ABSENT) };
        match (name, &request.elicitation) {
            (Name::ServerMethod, _) => Ok(Val::text(self.method)),
            (Name::ServerParams, _) => Ok(Val::object(&request.params)),
            (Name::ServerTool, _) => request.tool.as_deref().map(Val::text).ok_or(ABSENT),
            (Name::ElicitationMode, Some(Elicitation::Form)) => Ok(Val::text("form")),
            (Name::ElicitationMode, Some(Elicitation::Url { .. })) => Ok(Val::text("url")),
            (Name::ElicitationUrl, Some(Elicitation::Url { url, .. })) => Ok(Val::text(url)),
            (Name::ElicitationHost, Some(Elicitation::Url { host, .. })) => Ok(Val::text(host)),
            _ => Err(ABSENT),
        }
    }

    /// In lists never known, even where the caller has them: a list entry is one for every call of it.
    fn arguments(&self, arguments: &'a Knowable<std::sync::Arc<Object>>) -> Result<Val<'a>, Stop> {
        let known = arguments.known().filter(|_| self.lens != Lens::List);
        known.map(|arguments| Val::object(arguments)).ok_or(Stop::Unknown)
    }
}

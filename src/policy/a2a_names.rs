//! The values of `a2a.*`.

use std::rc::Rc;
use std::sync::Arc;

use super::cel::Val;
use super::names::A2aName;
use crate::call::{A2aCall, Named, PushTarget, UrlHost};

/// The value of a name; none where the call has none.
pub(super) fn value<'a>(call: &'a A2aCall, skill: Option<&'a str>, name: A2aName) -> Option<Val<'a>> {
    let owner = |named: &Option<Named>| named.as_ref().and_then(|named| named.owner.clone());
    match name {
        A2aName::Operation => Some(Val::text(call.operation.as_str())),
        A2aName::Binding => Some(Val::text(call.binding.as_str())),
        A2aName::Version => Some(Val::text(call.version.as_str())),
        A2aName::Tenant => call.tenant.as_deref().map(Val::text),
        A2aName::Streaming => Some(Val::Bool(call.operation.streams())),
        A2aName::Extensions => Some(Val::List(call.extensions.iter().map(|uri| Val::text(uri)).collect())),
        A2aName::Task => call.task.as_ref().map(|task| Val::text(&task.id)),
        A2aName::TaskOwner => owner(&call.task).map(|owner| owned(owner.id.uri())),
        A2aName::TaskState => call.task.as_ref().and_then(|task| task.state).map(|state| Val::text(state.as_str())),
        A2aName::Context => call.context.as_ref().map(|context| Val::text(&context.id)),
        A2aName::ContextOwner => owner(&call.context).map(|owner| owned(owner.id.uri())),
        A2aName::ContextNew => Some(Val::Bool(call.operation.sends() && call.context.is_none() && call.task.is_none())),
        A2aName::References => Some(Val::List(call.references.iter().map(reference).collect())),
        A2aName::Message => call.message.as_ref().map(Val::object),
        A2aName::Push => Some(Val::List(call.push.iter().map(push).collect())),
        A2aName::Skill => skill.map(Val::text),
        A2aName::CardVerified => call.card.as_ref().map(|card| Val::Bool(card.verified)),
        A2aName::CardKeyId => call.card.as_ref()?.key_id.as_deref().map(Val::text),
        A2aName::CardDigest => call.card.as_ref().map(|card| Val::text(&card.digest)),
        A2aName::CardSkills => {
            call.card.as_ref().map(|card| Val::List(card.skills.iter().map(|id| Val::text(id)).collect()))
        }
    }
}

fn owned(text: &str) -> Val<'static> {
    Val::Str(text.to_owned().into())
}

fn reference(named: &Named) -> Val<'_> {
    let mut pairs = vec![(Val::text("id"), Val::text(&named.id))];
    if let Some(owner) = &named.owner {
        pairs.push((Val::text("owner"), Val::text(owner.id.uri())));
    }
    Val::Map(pairs.into())
}

/// A URL that cannot be told apart without doubt has neither scheme nor host: a rule that reads them fails.
fn push(target: &PushTarget) -> Val<'_> {
    let mut pairs = vec![
        (Val::text("url"), Val::text(&target.url)),
        (Val::text("hasCredentials"), Val::Bool(target.has_credentials)),
        (Val::text("inline"), Val::Bool(target.inline)),
    ];
    if let Some(parts) = &target.parts {
        let host: Arc<str> = match &parts.host {
            UrlHost::Name(name) => Arc::clone(name),
            UrlHost::Address(address) => address.to_string().into(),
        };
        pairs.push((Val::text("scheme"), Val::text(&parts.scheme)));
        pairs.push((Val::text("host"), owned(&host)));
        pairs.push((Val::text("port"), Val::Int(parts.port.into())));
    }
    let pairs: Rc<[_]> = pairs.into();
    Val::Map(pairs)
}

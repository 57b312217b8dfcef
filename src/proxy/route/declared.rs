//! Ports that are declared MCP or A2A: the way is chosen by the request as it was sent, before the call is decided on, as
//! the rules of the Service that it leads to decide on the call too, and on each entry of a list.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::super::Shared;
use super::super::answer::ProxyFault;
use crate::call::HttpHead;
use crate::mesh::{Backend, Routes, Snapshot, Taken, Target};
use crate::upstream::Upstreams;

/// What settles which of a way's backends a call goes to.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) struct Choice<'a> {
    /// The endpoint that must have it, where one must: what began at one backend goes on there, whatever weights say now.
    stick: Option<&'a str>,
    /// Whether the server itself gave the address, which then is no route's.
    addressed: bool,
    dice: u64,
}

impl<'a> Choice<'a> {
    /// By weight, or where the call's session or task is. `addressed`: the server gave the address.
    pub(in crate::proxy) fn new(stick: Option<&'a str>, addressed: bool) -> Self {
        Self { stick, addressed, dice: Upstreams::dice() }
    }

    /// By weight, but always the same for one caller: what it began is where it goes on, and only the backend knows it.
    pub(in crate::proxy) fn of(caller: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        caller.hash(&mut hasher);
        Self { stick: None, addressed: false, dice: hasher.finish() }
    }
}

/// Where a call goes.
#[derive(Debug)]
pub(in crate::proxy) struct Leg {
    /// What decides on it and answers it.
    pub(in crate::proxy) target: Arc<Target>,
    pub(in crate::proxy) taken: Option<Taken>,
    /// Why it goes nowhere, to be told to whoever is permitted to call.
    pub(in crate::proxy) fault: Option<ProxyFault>,
}

/// Chooses the way of a call; straight on where its target has no routes.
pub(in crate::proxy) fn leg(shared: &Shared, target: &Arc<Target>, head: &HttpHead, choice: Choice<'_>) -> Leg {
    let straight = |fault| Leg { target: Arc::clone(target), taken: None, fault };
    let Some(routes) = &target.routes else { return straight(None) };
    choose(&shared.published.current(), (target, routes), head, choice).unwrap_or_else(|fault| straight(Some(fault)))
}

/// Whether `endpoint` is where calls of this port can go.
pub(in crate::proxy) fn is_there(shared: &Shared, target: &Target, endpoint: &str) -> bool {
    let Some(routes) = &target.routes else { return target.has(endpoint) };
    let snapshot = shared.published.current();
    routes.backends().iter().filter_map(|key| snapshot.get(key)).any(|to| to.has(endpoint))
}

/// Whether one of the Services to which this port's calls can go has both endpoints.
pub(in crate::proxy) fn is_one_backend(shared: &Shared, target: &Target, one: &str, other: &str) -> bool {
    let both = |to: &Target| to.has(one) && to.has(other);
    let Some(routes) = &target.routes else { return both(target) };
    let snapshot = shared.published.current();
    routes.backends().iter().filter_map(|key| snapshot.get(key)).any(|to| both(&to))
}

fn choose(
    snapshot: &Snapshot,
    (target, routes): (&Arc<Target>, &Routes),
    head: &HttpHead,
    Choice { stick, addressed, dice }: Choice<'_>,
) -> Result<Leg, ProxyFault> {
    let way = routes.choose(head);
    if way.is_none() && !(addressed && stick.is_some()) {
        return Err(ProxyFault::NoRoute);
    }
    let backend = match stick {
        None => way.and_then(|way| way.then.backend(dice)),
        Some(endpoint) => {
            let has = |backend: &&Backend| find(snapshot, backend).is_some_and(|to| to.has(endpoint));
            way.and_then(|way| way.then.backends.iter().find(has))
        }
    };
    let to = match (backend, stick) {
        (Some(backend), _) => find(snapshot, backend).ok_or(ProxyFault::NoBackend)?,
        // What began where another way leads, or this one led before.
        (None, Some(endpoint)) => {
            let mut all = routes.backends().iter().filter_map(|key| snapshot.get(key));
            all.find(|to| to.has(endpoint)).ok_or(ProxyFault::SessionUnknown)?
        }
        (None, None) => return Err(ProxyFault::NoBackend),
    };
    let taken = way.map(|way| Taken::of(&way.then, backend));
    // Its provider would be shown what the route makes another of.
    let edited = taken.as_ref().is_some_and(Taken::edits_requests);
    if edited && to.key != target.key && to.rules.asks() {
        tracing::warn!(target = %target.key, to = %to.key, "a route changes headers of what a provider is asked about; its calls go nowhere");
        return Err(ProxyFault::NoBackend);
    }
    let target = target.leading_to(&to).ok_or(ProxyFault::NoBackend)?;
    tracing::debug!(target = %target.key, to = %to.key, route = way.map_or("", |way| &*way.name), "led");
    Ok(Leg { target, taken, fault: None })
}

fn find(snapshot: &Snapshot, backend: &Backend) -> Option<Arc<Target>> {
    snapshot.get(backend.to.as_ref()?)
}
